//! What the log measures of itself: counted once a group commit, never once a record.

use super::Core;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::{Duration, Instant};

/// How often the size on disk is looked at: it asks the file system for each journal.
const DISK_EVERY: Duration = Duration::from_secs(5);

/// Handles, looked up once.
pub(super) struct Meters {
    records: Counter,
    bytes: Counter,
    failures: Counter,
    commit_seconds: Histogram,
    queue_bytes: Gauge,
    kept_bytes: Gauge,
    disk_bytes: Gauge,
    disk_seen: Option<Instant>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            records: counter!("killfeed_log_appended_records_total"),
            bytes: counter!("killfeed_log_appended_bytes_total"),
            failures: counter!("killfeed_log_failed_commits_total"),
            commit_seconds: histogram!("killfeed_log_commit_seconds"),
            queue_bytes: gauge!("killfeed_log_queue_bytes"),
            kept_bytes: gauge!("killfeed_log_kept_bytes"),
            disk_bytes: gauge!("killfeed_log_disk_bytes"),
            disk_seen: None,
        }
    }

    /// One group commit, its sync included.
    pub(super) fn commit(&self, began: Instant, records: u64, bytes: u64, stands: bool) {
        self.commit_seconds.record(began.elapsed().as_secs_f64());
        if stands {
            self.records.increment(records);
            self.bytes.increment(bytes);
        } else {
            self.failures.increment(1);
        }
    }

    /// What waits and what is kept, between two commits.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub(super) fn look(&mut self, core: &Core) {
        self.queue_bytes.set(core.queue.bytes() as f64);
        if self.disk_seen.is_some_and(|seen| seen.elapsed() < DISK_EVERY) {
            return;
        }
        self.disk_seen = Some(Instant::now());
        self.kept_bytes.set(core.state.read().kept() as f64);
        if let Some(Ok(bytes)) = core.store.read().as_ref().map(|store| store.db.disk_space()) {
            self.disk_bytes.set(bytes as f64);
        }
    }
}
