//! Processors against the memory log: dedupe's promise, take-over, geography, dead letters.

mod dedupe;
mod geo;
mod step;
mod support;
mod takeover;
