//! How long the oldest unread record of a partition has waited.

/// What a reader remembers of one partition, to tell its lag in seconds without reading ahead.
///
/// What is unread now was appended after the newest record that was read, and after the last moment at
/// which nothing was unread. So the answer is never too small, but for records that waited before this
/// reader came, and too large only by the time between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lag {
    /// What is unread came after this time, in ms since the epoch; 0: nothing is known yet.
    after_ms: i64,
}

impl Lag {
    /// The record appended at `time_ms` was read, and all before it.
    pub fn read(&mut self, time_ms: i64) {
        self.after_ms = self.after_ms.max(time_ms);
    }

    /// Seconds that the oldest of `unread` records has waited, at most.
    #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
    pub fn seconds(&mut self, unread: i64, now_ms: i64) -> f64 {
        if unread <= 0 || self.after_ms == 0 {
            self.after_ms = self.after_ms.max(now_ms);
            return 0.0;
        }
        now_ms.saturating_sub(self.after_ms).max(0) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_came_after_what_was_read_and_after_the_last_quiet_moment() {
        let mut lag = Lag::default();
        lag.read(1_000);
        assert!((lag.seconds(5, 4_000) - 3.0).abs() < 1e-9);
        lag.read(3_500);
        assert!((lag.seconds(2, 4_000) - 0.5).abs() < 1e-9);
        assert!(lag.seconds(0, 60_000).abs() < 1e-9, "nothing waits");
        assert!((lag.seconds(1, 61_000) - 1.0).abs() < 1e-9, "not as old as the record before the quiet time");
        let mut fresh = Lag::default();
        assert!(fresh.seconds(9, 10_000).abs() < 1e-9, "nothing is known yet");
        assert!((fresh.seconds(9, 12_000) - 2.0).abs() < 1e-9, "at least since the first look");
    }
}
