//! The decoder from outside: single cases in tables, random documents against a slow model, and the
//! columns as golden files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "the model casts where the decoder does")]

mod columns;
mod model;
mod rows;
mod support;
