//! What the role measures of itself.

use crate::answer::Slot;
use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

/// Handles, looked up once: a look-up for each request would cost more than the count.
#[derive(Clone)]
pub(crate) struct Meters {
    accepted: Counter,
    bytes: Counter,
    batch_events: Histogram,
    request_seconds: Histogram,
    memory_bytes: Gauge,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    /// For a role that sets so much memory aside for requests.
    pub(crate) fn new(memory_bytes_max: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        gauge!("killfeed_ingest_memory_limit_bytes").set(memory_bytes_max as f64);
        Self {
            accepted: counter!("killfeed_ingest_accepted_events_total"),
            bytes: counter!("killfeed_ingest_body_bytes_total"),
            batch_events: histogram!("killfeed_ingest_batch_events"),
            request_seconds: histogram!("killfeed_ingest_request_seconds"),
            memory_bytes: gauge!("killfeed_ingest_memory_bytes"),
        }
    }

    /// A request whose events were read.
    pub(crate) fn events(&self, slots: &[Slot<'_>], bytes: usize) {
        let mut accepted = 0;
        let mut run: Option<(Why, u64)> = None;
        for slot in slots {
            if slot.outcome.is_accepted() {
                accepted += 1;
                continue;
            }
            let why = (slot.outcome.status, slot.outcome.reason);
            run = Some(match run {
                Some((same, events)) if same == why => (why, events + 1),
                before => {
                    refused_events(before);
                    (why, 1)
                }
            });
        }
        refused_events(run);
        self.accepted.increment(accepted);
        self.bytes.increment(bytes as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 events")]
        self.batch_events.record(slots.len() as f64);
    }

    /// A request that was refused as a whole.
    #[expect(clippy::unused_self, reason = "stands with the others")]
    pub(crate) fn refused_request(&self, status: StatusCode) {
        counter!("killfeed_ingest_refused_requests_total", "status" => status.as_u16().to_string()).increment(1);
    }

    /// Any request, once answered.
    pub(crate) fn request(&self, took: Duration, memory_bytes: usize) {
        self.request_seconds.record(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.memory_bytes.set(memory_bytes as f64);
    }
}

/// Status and reason.
type Why = (u16, &'static str);

/// A run of events that were refused for one reason.
fn refused_events(run: Option<(Why, u64)>) {
    if let Some(((status, reason), events)) = run {
        counter!("killfeed_ingest_refused_events_total", "status" => status.to_string(), "reason" => reason)
            .increment(events);
    }
}
