//! What a relay has done and how it is: counters for Prometheus, and whether it is ready.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters and states, shared by everything in the process.
#[derive(Debug, Default)]
pub struct Status {
    /// Rows acknowledged by the API, and marked or deleted.
    pub delivered: AtomicU64,
    /// Rows refused for good.
    pub refused: AtomicU64,
    /// Rows held back because they were in doubt for longer than the dedupe window.
    pub held: AtomicU64,
    /// Rows that the API said to send again.
    pub retried: AtomicU64,
    /// Requests to the API with events.
    pub requests: AtomicU64,
    /// Of these, how many came to nothing.
    pub requests_failed: AtomicU64,
    /// Failures of the database: connections that broke or could not be made, statements that failed.
    pub database_failures: AtomicU64,
    /// The last exchange with the database went well.
    pub database_ready: AtomicBool,
    /// The last exchange with the API went well.
    pub api_ready: AtomicBool,
}

impl Status {
    /// Both sides answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.database_ready.load(Ordering::Relaxed) && self.api_ready.load(Ordering::Relaxed)
    }

    /// The text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let counters = [
            ("rows_delivered_total", "Rows acknowledged by the API, and marked or deleted.", &self.delivered),
            ("rows_refused_total", "Rows refused for good; they stay in the table with the reason.", &self.refused),
            ("rows_held_total", "Rows held back: in doubt for longer than the dedupe window.", &self.held),
            ("rows_retried_total", "Rows that the API said to send again.", &self.retried),
            ("requests_total", "Requests with events.", &self.requests),
            ("requests_failed_total", "Requests with events that came to nothing.", &self.requests_failed),
            ("database_failures_total", "Connections and statements that failed.", &self.database_failures),
        ];
        let mut text = String::new();
        for (name, help, value) in counters {
            let value = value.load(Ordering::Relaxed);
            let name = format!("killfeed_outbox_{name}");
            // Writing into a string doesn't fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        for (part, ready) in [("database", &self.database_ready), ("api", &self.api_ready)] {
            let ready = u8::from(ready.load(Ordering::Relaxed));
            if part == "database" {
                text.push_str("# HELP killfeed_outbox_ready 1 if the last exchange with this part went well.\n");
                text.push_str("# TYPE killfeed_outbox_ready gauge\n");
            }
            let _ = writeln!(text, "killfeed_outbox_ready{{part=\"{part}\"}} {ready}");
        }
        text
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_help_type_and_value() {
        let status = Status::default();
        add(&status.delivered, 3);
        status.api_ready.store(true, Ordering::Relaxed);
        let text = status.render();
        assert!(
            text.contains(
                "# TYPE killfeed_outbox_rows_delivered_total counter\nkillfeed_outbox_rows_delivered_total 3\n"
            )
        );
        assert!(text.contains("killfeed_outbox_ready{part=\"database\"} 0\nkillfeed_outbox_ready{part=\"api\"} 1\n"));
        assert!(!status.is_ready());
        for line in text.lines() {
            assert!(line.starts_with('#') || line.split(' ').count() == 2, "{line}");
        }
    }
}
