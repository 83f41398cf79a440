//! Ingest from the outside: requests into its router, records out of a log that fails on demand.

mod double;
mod drain;
mod faults;
mod forms;
mod harness;
mod refusals;
