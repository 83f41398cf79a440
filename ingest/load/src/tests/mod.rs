//! Tests that need more than one module: in virtual time, and over the real SDK with a made-up server.

mod crowd;
mod files;
mod rate;
mod sdk;
mod world;

use std::time::Duration;

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
