//! The processor's metrics.

use crate::partition::Partition;
use crate::step::Counts;
use crate::window::Budget;
use events::streams::TopicPartition;
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// After the computing part of a step.
pub(crate) fn computed(took: Duration) {
    histogram!("killfeed_process_compute_seconds").record(took);
}

/// After a step's commit: what it counted, and bytes of all records in and out.
pub(crate) fn committed(counted: &[Counts], (read, written): (usize, usize), took: Duration) {
    histogram!("killfeed_process_step_seconds").record(took);
    counter!("killfeed_process_read_bytes_total").increment(read as u64);
    counter!("killfeed_process_written_bytes_total").increment(written as u64);
    for counts in counted {
        counter!("killfeed_process_events_total").increment(counts.accepted);
        counter!("killfeed_process_clean_events_total").increment(counts.clean);
        counter!("killfeed_process_duplicate_events_total").increment(counts.duplicates);
        counter!("killfeed_process_redriven_events_total").increment(counts.redriven);
        for (reason, events) in &counts.dead {
            counter!("killfeed_process_dead_events_total", "reason" => reason.as_str()).increment(*events);
        }
    }
}

/// When a partition goes to another member: this one says nothing of it any longer.
pub(crate) fn gone(of: &TopicPartition) {
    let label = of.to_string();
    gauge!("killfeed_process_lag_offsets", "partition" => label.clone()).set(0.0);
    gauge!("killfeed_process_lag_seconds", "partition" => label.clone()).set(0.0);
    gauge!("killfeed_process_fingerprints", "partition" => label.clone()).set(0.0);
    gauge!("killfeed_process_fingerprints_spilled", "partition" => label).set(0.0);
}

/// Now and then, for each partition: lag is offsets and seconds.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn partition(of: &TopicPartition, partition: &Partition, (offsets, seconds): (i64, f64)) {
    let label = of.to_string();
    gauge!("killfeed_process_lag_offsets", "partition" => label.clone()).set(offsets as f64);
    gauge!("killfeed_process_lag_seconds", "partition" => label.clone()).set(seconds);
    gauge!("killfeed_process_fingerprints", "partition" => label.clone()).set(partition.window().len() as f64);
    gauge!("killfeed_process_fingerprints_spilled", "partition" => label).set(partition.window().spilled() as f64);
}

/// Now and then.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn memory(budget: &Budget) {
    gauge!("killfeed_process_state_bytes").set(budget.bytes() as f64);
}
