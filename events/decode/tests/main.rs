//! The decoder from outside: single cases in tables, random documents against a slow model, and the
//! columns as golden files.

mod columns;
mod model;
mod rows;
mod support;
