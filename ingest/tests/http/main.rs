//! Ingest from the outside: requests into its router, records out of a log that fails on demand.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod double;
mod drain;
mod faults;
mod forms;
mod harness;
mod refusals;
