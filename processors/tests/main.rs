//! Processors against the memory log: dedupe's promise, take-over, geography, dead letters.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests, too")]

mod dedupe;
mod geo;
mod growing;
mod step;
mod support;
mod takeover;
