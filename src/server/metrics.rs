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
    (Gauge, "killfeed_build_info", "1, with version and role as labels"),
    (Gauge, "killfeed_ready", "1 if `/readyz` answers 200, else 0"),
    (Gauge, "killfeed_part_ready", "1 if this part is ready, else 0"),
    (Gauge, "killfeed_memory_limit_bytes", "Memory that the process may have: its container's, or the machine's"),
    (Gauge, "killfeed_data_dir_free_bytes", "Bytes free where the data directory is"),
    (Gauge, "killfeed_data_dir_size_bytes", "Bytes there in all"),
    (Counter, "killfeed_http_connections_total", "Connections accepted"),
    (Counter, "killfeed_http_responses_total", "Responses, by status"),
    (Counter, "killfeed_edge_refused_requests_total", "Requests refused for their key, by status"),
    (Counter, "killfeed_traces_exported_spans_total", "Spans that the collector has taken"),
    (Counter, "killfeed_traces_dropped_spans_total", "Spans dropped: by a full queue, an absent collector, the end"),
    (Counter, "killfeed_ingest_accepted_events_total", "Events answered with 202"),
    (Counter, "killfeed_ingest_refused_events_total", "Events refused one by one, by status and reason"),
    (Counter, "killfeed_ingest_refused_requests_total", "Requests refused as a whole, by status"),
    (Counter, "killfeed_ingest_body_bytes_total", "Bytes of bodies whose events were read, unpacked"),
    (Histogram, "killfeed_ingest_batch_events", "Events in a request"),
    (Histogram, "killfeed_ingest_request_seconds", "Time from a request's head to its answer"),
    (Gauge, "killfeed_ingest_memory_bytes", "Memory set aside for requests in work"),
    (Gauge, "killfeed_ingest_memory_limit_bytes", "The most of it; past it requests get 503"),
    (Counter, "killfeed_log_appended_records_total", "Records that stand in the log since the start"),
    (Counter, "killfeed_log_appended_bytes_total", "Their bytes, packed"),
    (Counter, "killfeed_log_failed_commits_total", "Group commits that failed"),
    (Histogram, "killfeed_log_commit_seconds", "Time of a group commit, its sync included"),
    (Gauge, "killfeed_log_queue_bytes", "Bytes that wait for the writer"),
    (Gauge, "killfeed_log_kept_bytes", "Bytes of records that are kept"),
    (Gauge, "killfeed_log_disk_bytes", "Bytes that the log takes on disk, journals included"),
    (Gauge, "killfeed_log_oldest_unread_ratio", "Age of a group's oldest unread record over the retention"),
    (Gauge, "killfeed_kafka_queue_bytes", "Bytes of appends that Kafka has not answered yet"),
    (
        Gauge,
        "killfeed_kafka_queue_limit_bytes",
        "The most of them; past it appends wait, and are refused by their deadline",
    ),
    (Gauge, "killfeed_kafka_queue_records", "Records that the clients have not sent, or not heard of"),
    (Histogram, "killfeed_kafka_append_seconds", "From an append to its answer"),
    (Counter, "killfeed_kafka_failed_appends_total", "Appends to partitions that failed, by what became of them"),
    (Counter, "killfeed_kafka_replaced_producers_total", "Producers that lost track, and were replaced"),
    (Counter, "killfeed_kafka_transactions_total", "Transactions, by what became of them"),
    (Histogram, "killfeed_kafka_transaction_seconds", "Time of a transaction"),
    (Histogram, "killfeed_kafka_commit_seconds", "Time of its commit, the last part of it"),
    (Counter, "killfeed_kafka_rebalances_total", "Times that partitions were assigned, revoked or lost"),
    (Gauge, "killfeed_kafka_assigned_partitions", "Partitions that members of this process hold"),
    (Counter, "killfeed_kafka_stale_generations_total", "Commits refused since their member's generation was over"),
    (Gauge, "killfeed_kafka_broker_connections", "Connections to brokers that stand"),
    (Counter, "killfeed_kafka_broker_connects_total", "Connections to brokers that were tried"),
    (Counter, "killfeed_kafka_broker_disconnects_total", "Connections to brokers that ended"),
    (Counter, "killfeed_kafka_broker_errors_total", "Requests to brokers that failed, by how"),
    (Gauge, "killfeed_kafka_round_trip_seconds", "The slowest broker's 99th percentile, by what the client is for"),
    (Counter, "killfeed_process_events_total", "Events read from raw"),
    (Counter, "killfeed_process_read_bytes_total", "Bytes of these events"),
    (Counter, "killfeed_process_written_bytes_total", "Bytes of all records written: clean, dead, state, ledger"),
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
    (Gauge, "killfeed_process_lag_seconds", "Time that the oldest unread event has waited, at most"),
    (Gauge, "killfeed_process_fingerprints", "Fingerprints that a partition remembers"),
    (Gauge, "killfeed_process_fingerprints_spilled", "Of these, those on disk"),
    (Gauge, "killfeed_process_state_bytes", "Memory of all fingerprints"),
    (Counter, "killfeed_process_geoip_broken_total", "Geo databases that could not be read"),
    (Counter, "killfeed_sink_read_records_total", "Records read from the log"),
    (Counter, "killfeed_sink_read_bytes_total", "Their bytes"),
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
    (
        Histogram,
        "killfeed_sink_latency_seconds",
        "From an event's receipt, just before its 202, to the commit of its row",
    ),
    (Gauge, "killfeed_sink_lag_records", "Records between a partition's position and its end"),
    (Gauge, "killfeed_sink_lag_seconds", "Time that the oldest record without a row has waited, at most"),
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
    (Gauge, "killfeed_queries_running", "Queries that run, those among them that nobody wants any more"),
    (Gauge, "killfeed_queries_waiting", "Queries that wait for their turn"),
    (Counter, "killfeed_queries_cancelled_total", "Queries ended by DELETE"),
    (Gauge, "killfeed_queries_open_answers", "Answers whose pages are kept"),
    (Gauge, "killfeed_queries_open_bytes", "Memory of their rows, and of those on their way there"),
    (Counter, "killfeed_queries_open_answers_expired_total", "Answers let go because nobody looked at them"),
    (
        Gauge,
        "killfeed_fresh_newest_age_seconds",
        "Time since the newest event that queries see of a table was received",
    ),
    (Gauge, "killfeed_fresh_held_records", "Records held that may be in no table yet"),
    (Gauge, "killfeed_fresh_held_bytes", "Memory of these records, and of the rows made of them"),
    (Gauge, "killfeed_fresh_full", "1 while nothing is read ahead of the sinks for want of room, else 0"),
    (Counter, "killfeed_fresh_released_records_total", "Records let go since they are in their tables"),
    (Counter, "killfeed_fresh_incomplete_total", "Answers that were complete up to an earlier time only"),
    (Histogram, "killfeed_fresh_wait_seconds", "Time that a query took to read the log to its end"),
    (Gauge, "killfeed_queries_audit_balanced", "1 if the last audit balanced, else 0"),
    (Gauge, "killfeed_queries_audit_timestamp_seconds", "When that was, since the epoch"),
    (Gauge, "killfeed_postgres_connections", "Connections by PostgreSQL's protocol"),
    (Counter, "killfeed_postgres_refused_connections_total", "Connections closed at the limit of 100"),
    (Counter, "killfeed_schedules_ticks_total", "Ticks that this process brought to an end, by outcome"),
    (Histogram, "killfeed_schedules_run_seconds", "Time of a report's run"),
    (Counter, "killfeed_schedules_deliveries_total", "Tries to deliver, by outcome"),
    (Gauge, "killfeed_schedules_open", "Ticks that are not finished"),
    (
        Gauge,
        "killfeed_schedules_stored_timestamp_seconds",
        "Tick of the newest output that this process stored, since the epoch",
    ),
    (
        Counter,
        "killfeed_schedules_store_failures_total",
        "Steps given up because the store failed; each is tried again",
    ),
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
        for (name, kind, meaning) in super::super::system::PROCESS {
            assert!(page.contains(&format!("| `{name}` | {kind} | {meaning} |")), "{name} in docs/metrics.md");
        }
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
            let said = format!("| {} | {meaning} |", word(kind));
            assert!(page.lines().any(|line| line.contains(name) && line.ends_with(&said)), "{name}: {said}");
        }
    }
}
