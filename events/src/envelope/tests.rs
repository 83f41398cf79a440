//! Tests of the envelope: golden files, a table of malformations, properties.
