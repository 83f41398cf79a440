//! How long to wait before a try is repeated.

use parking_lot::Mutex;
use rand::{Rng as _, RngCore};
use std::time::Duration;

/// Pauses between runs of a report that fails, in s.
const RUN: [u64; 4] = [30, 60, 300, 900];
/// Pauses between tries to deliver, in s, as Standard Webhooks proposes them; the last is repeated.
const DELIVERY: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Chance, handed in.
pub(crate) type Random = Mutex<Box<dyn RngCore + Send>>;

/// The pause after the run with this many before it.
pub(crate) fn run(before: usize, random: &Random) -> Duration {
    jittered(RUN[before.min(RUN.len() - 1)], random)
}

/// The pause after the try to deliver with this many before it; longer if the receiver asks for that.
pub(crate) fn delivery(before: usize, asked: Option<Duration>, random: &Random) -> Duration {
    jittered(DELIVERY[before.min(DELIVERY.len() - 1)], random).max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Up to a fifth more, so that what failed together isn't repeated together.
fn jittered(seconds: u64, random: &Random) -> Duration {
    Duration::from_secs(seconds + random.lock().random_range(0..=seconds / 5))
}
