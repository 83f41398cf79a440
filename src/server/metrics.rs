//! Every metric of the process, with its meaning: what `/metrics` says of each, and what
//! docs/metrics.md lists. A test holds the sources, this list and the page together.

use Kind::{Counter, Gauge, Histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a metric moves.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Only up; named `_total`.
    Counter,
    /// Up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// In the order in which an event meets them.
const METRICS: &[(Kind, &str, &str)] = &[
    (Counter, "killfeed_http_connections_total", "Connections accepted"),
    (Counter, "killfeed_edge_refused_requests_total", "Requests refused for their key, by status"),
    (Counter, "killfeed_ingest_accepted_events_total", "Events answered with 202"),
    (Counter, "killfeed_ingest_refused_events_total", "Events refused one by one, by status and reason"),
    (Counter, "killfeed_ingest_refused_requests_total", "Requests refused as a whole, by status"),
    (Counter, "killfeed_ingest_body_bytes_total", "Bytes of bodies whose events were read, unpacked"),
    (Histogram, "killfeed_ingest_batch_events", "Events in a request"),
    (Histogram, "killfeed_ingest_request_seconds", "Time from a request's head to its answer"),
    (Gauge, "killfeed_ingest_memory_bytes", "Memory set aside for requests in work"),
    (Counter, "killfeed_log_appended_records_total", "Records that stand in the log since the start"),
    (Counter, "killfeed_log_appended_bytes_total", "Their bytes, packed"),
    (Counter, "killfeed_log_failed_commits_total", "Group commits that failed"),
    (Histogram, "killfeed_log_commit_seconds", "Time of a group commit, its sync included"),
    (Gauge, "killfeed_log_queue_bytes", "Bytes that wait for the writer"),
    (Gauge, "killfeed_log_kept_bytes", "Bytes of records that are kept"),
    (Gauge, "killfeed_log_disk_bytes", "Bytes that the log takes on disk, journals included"),
    (Gauge, "killfeed_log_oldest_unread_ratio", "Age of a group's oldest unread record over the retention"),
    (Counter, "killfeed_process_events_total", "Events read from raw"),
    (Counter, "killfeed_process_clean_events_total", "Events passed on to clean"),
    (Counter, "killfeed_process_duplicate_events_total", "Events dropped as duplicates"),
    (Counter, "killfeed_process_dead_events_total", "Events that became dead letters, by reason"),
    (Counter, "killfeed_process_redriven_events_total", "Events passed by the redrive marker"),
    (Histogram, "killfeed_process_compute_seconds", "Time of a step's computing part"),
    (Histogram, "killfeed_process_step_seconds", "Time of a step, its commit included"),
    (Histogram, "killfeed_process_take_over_seconds", "Time to take a partition over"),
    (Counter, "killfeed_process_rejoins_total", "Times that a worker left its group and came back"),
    (Counter, "killfeed_process_retries_total", "Tries after the log failed, by what was tried"),
    (Counter, "killfeed_process_late_events_total", "Events that came after their generation's end, and were sent on"),
    (Gauge, "killfeed_process_lag_offsets", "Offsets between a partition's position and its end"),
    (Gauge, "killfeed_process_fingerprints", "Fingerprints that a partition remembers"),
    (Gauge, "killfeed_process_fingerprints_spilled", "Of these, those on disk"),
    (Gauge, "killfeed_process_state_bytes", "Memory of all fingerprints"),
    (Counter, "killfeed_process_geoip_broken_total", "Geo databases that could not be read"),
    (Counter, "killfeed_sink_rows_total", "Rows written to tables"),
    (Counter, "killfeed_sink_written_bytes_total", "Bytes of the files that hold them"),
    (Counter, "killfeed_sink_extra_values_total", "Values that found no column and went to extra"),
    (Counter, "killfeed_sink_dead_letters_total", "Dead letters found by the sink, by reason"),
    (Counter, "killfeed_sink_removed_rows_total", "Rows taken out on purpose, by cause"),
    (Counter, "killfeed_sink_conflicts_total", "Commits tried again because somebody else's came first"),
    (Counter, "killfeed_sink_schema_races_total", "Flushes decoded again because a column came in between"),
    (Counter, "killfeed_sink_retries_total", "Tries after the store or the log failed"),
    (Counter, "killfeed_sink_fenced_total", "Times that another sink had taken a partition"),
    (Counter, "killfeed_sink_positions_rebuilt_total", "Positions read back from tables at start"),
    (Histogram, "killfeed_sink_decode_seconds", "Time to decode one table's part of a flush"),
    (Histogram, "killfeed_sink_commit_seconds", "Time of a commit to a table"),
    (Histogram, "killfeed_sink_flush_seconds", "Time of a flush"),
    (Histogram, "killfeed_sink_latency_seconds", "From an event's receipt to its commit in a table"),
    (Gauge, "killfeed_sink_lag_records", "Records between a partition's position and its end"),
    (Gauge, "killfeed_sink_held_bytes", "Bytes of records held: those of the flush at work and those of the next"),
    (Gauge, "killfeed_sink_paused", "1 while the sink reads nothing because its buffers are full, else 0"),
    (Gauge, "killfeed_sink_well", "1 while the sink delivers, else 0"),
    (
        Counter,
        "killfeed_store_failures_total",
        "Requests that S3 refused or left unanswered after their repeats, by operation",
    ),
    (Counter, "killfeed_maintenance_compacted_files_total", "Small files brought together"),
    (Counter, "killfeed_maintenance_vacuumed_files_total", "Files deleted that no version needs"),
    (Counter, "killfeed_maintenance_gave_way_total", "Compactions given up for an append"),
    (Counter, "killfeed_maintenance_failures_total", "Rounds of maintenance that failed"),
    (Counter, "killfeed_queries_total", "Queries that began to answer"),
    (Counter, "killfeed_queries_errors_total", "Queries that failed, by kind"),
    (Counter, "killfeed_queries_rows_total", "Rows answered"),
    (Histogram, "killfeed_queries_duration_seconds", "Time from a query to its last row"),
    (Gauge, "killfeed_queries_audit_balanced", "1 if the last audit balanced, else 0"),
];

/// Hands the meanings to the recorder.
pub(super) fn describe() {
    for (kind, name, meaning) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *meaning),
            Gauge => describe_gauge!(*name, *meaning),
            Histogram => describe_histogram!(*name, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The names after this macro's opening in all sources but this one.
    fn used(dir: &Path, found: &mut BTreeSet<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                used(&path, found);
            }
            if !name.ends_with(".rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for kind in ["counter", "gauge", "histogram"] {
                let opening = format!("{kind}!(\"killfeed_");
                for (at, _) in text.match_indices(&opening) {
                    let name = text[at + opening.len() - 9..].split('"').next().unwrap();
                    found.insert((kind.to_owned(), name.to_owned()));
                }
            }
        }
    }

    #[test]
    fn sources_list_and_page_name_the_same_metrics_as_prometheus_asks() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = BTreeSet::new();
        used(root, &mut sources);
        let word = |kind: &Kind| format!("{kind:?}").to_lowercase();
        let listed: BTreeSet<_> = METRICS.iter().map(|(kind, name, _)| (word(kind), (*name).to_owned())).collect();
        assert_eq!(sources, listed, "in the sources (left) and in the list (right)");
        assert_eq!(listed.len(), METRICS.len(), "a name twice");
        let page = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
        let documented: BTreeSet<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `killfeed_")?.split(['`', '{']).next()).collect();
        let names: BTreeSet<&str> = METRICS.iter().map(|(_, name, _)| &name["killfeed_".len()..]).collect();
        assert_eq!(documented, names, "in docs/metrics.md (left) and in the list (right)");
        for (kind, name, meaning) in METRICS {
            let is_total = name.ends_with("_total");
            assert_eq!(is_total, matches!(kind, Counter), "{name}: counters and nothing else end in _total");
            let units = ["_seconds", "_events"];
            let has_unit = units.iter().any(|unit| name.ends_with(unit));
            assert!(!matches!(kind, Histogram) || has_unit, "{name}: a histogram ends in its unit");
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{name}: {meaning}");
        }
    }
}
