//! When to try again: exponential backoff with full jitter, and a circuit that opens.

use crate::ports::Random;
use std::time::Duration;

/// The longest that a server may ask to wait; more is taken for a fault of a proxy.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Failures in a row, and the moment before which nothing is sent.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    opens_after: u32,
    failures: u32,
    not_before: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration, opens_after: u32) -> Self {
        Self { first, cap, opens_after, failures: 0, not_before: Duration::ZERO }
    }

    /// Everything went well.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = Duration::ZERO;
    }

    /// Something has to be sent again; with `progress`, something else was taken.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        progress: bool,
        retry_after: Option<Duration>,
        random: &mut dyn Random,
    ) {
        self.failures = if progress { 1 } else { self.failures.saturating_add(1) };
        let doublings = (self.failures - 1).min(30);
        let most = self.first.saturating_mul(1 << doublings).min(self.cap);
        let wait = if self.is_open() { self.cap / 2 + random.up_to(self.cap / 2) } else { random.up_to(most) };
        // Beside the server's own wait, the jitter stands: all its clients were told the same.
        self.not_before = now + wait + retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    }

    /// Whether only a probe may go.
    pub(crate) fn is_open(&self) -> bool {
        self.failures >= self.opens_after
    }

    /// Whether the last request failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The moment before which nothing is sent.
    pub(crate) fn not_before(&self) -> Duration {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Seeded;

    #[test]
    fn waits_double_to_the_cap_and_lie_anywhere_below() {
        let mut random = Seeded::new(7);
        let (first, cap) = (Duration::from_secs(1), Duration::from_secs(8));
        for round in 0..200 {
            let mut backoff = Backoff::new(first, cap, 5);
            for (failure, most) in [1, 2, 4, 8].into_iter().enumerate() {
                let now = Duration::from_secs(100 * round);
                backoff.failed(now, false, None, &mut random);
                let wait = backoff.not_before() - now;
                assert!(wait <= Duration::from_secs(most), "failure {failure}: {wait:?}");
                assert!(!backoff.is_open());
            }
            backoff.failed(Duration::ZERO, false, None, &mut random);
            assert!(backoff.is_open());
            assert!((cap / 2..=cap).contains(&backoff.not_before()), "an open circuit waits long");
            backoff.failed(Duration::ZERO, true, None, &mut random);
            assert!(!backoff.is_open(), "progress closes it");
            assert!(backoff.not_before() <= first);
        }
    }

    #[test]
    fn the_servers_wait_is_the_least_and_has_a_limit() {
        let mut random = Seeded::new(7);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1), 5);
        backoff.failed(Duration::ZERO, false, Some(Duration::from_secs(30)), &mut random);
        assert!((Duration::from_secs(30)..=Duration::from_secs(31)).contains(&backoff.not_before()));
        backoff.failed(Duration::ZERO, false, Some(Duration::MAX), &mut random);
        assert!(backoff.not_before() <= RETRY_AFTER_MAX + Duration::from_secs(1));
    }
}
