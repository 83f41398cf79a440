//! The metrics: what `/metrics` says after work whose outcome is known, and that docs/metrics.md says the same.

use crate::support::{Home, Server, event, repository};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Families by name, with kind and help.
    families: BTreeMap<String, [String; 2]>,
    /// The value of each line.
    values: BTreeMap<String, f64>,
}

impl Metrics {
    /// As Prometheus' text format has it.
    fn read(page: &str) -> Self {
        let mut families: BTreeMap<String, [String; 2]> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for line in page.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (word, name, said) =
                    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
                families.entry(name.to_owned()).or_default()[usize::from(word == "HELP")] = said.to_owned();
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                values.insert(name.to_owned(), value.parse().unwrap());
            }
        }
        let metrics = Self { families, values };
        metrics.assert_documented();
        metrics
    }

    /// The sum over all labels whose text has this part; `None` without such a line.
    pub(crate) fn sum(&self, name: &str, part: &str) -> Option<f64> {
        let of = |line: &&String| line.split('{').next() == Some(name) && line.contains(part);
        let found: Vec<f64> = self.values.iter().filter(|(line, _)| of(line)).map(|(_, value)| *value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// Each line has the labels that docs/metrics.md gives its metric, and each family its kind and meaning.
    fn assert_documented(&self) {
        let documented = documented();
        for (name, [kind, help]) in &self.families {
            let Some(of) = documented.get(name) else { panic!("{name} is not in docs/metrics.md") };
            assert_eq!((&of.kind, &of.meaning), (kind, help), "{name}");
        }
        for line in self.values.keys() {
            let (name, labels) = line.trim_end_matches('}').split_once('{').unwrap_or((line, ""));
            let labels = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0));
            let labels: BTreeSet<&str> = labels.filter(|label| *label != "le").collect();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
                let family = name.strip_suffix(part)?;
                self.families.get(family).filter(|[kind, _]| kind == "histogram").map(|_| family)
            });
            let of = &documented[family.unwrap_or(name)];
            assert_eq!(labels, of.labels.iter().map(String::as_str).collect(), "labels of {line}");
        }
    }
}

/// A metric as docs/metrics.md has it.
pub(crate) struct Documented {
    pub(crate) labels: BTreeSet<String>,
    pub(crate) kind: String,
    meaning: String,
}

/// All of them, by name.
pub(crate) fn documented() -> BTreeMap<String, Documented> {
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let mut found = BTreeMap::new();
    for [name, kind, meaning] in rows.filter_map(|row| <[&str; 3]>::try_from(row.split(" | ").collect::<Vec<_>>()).ok())
    {
        let (name, labels) = name
            .trim_end_matches('`')
            .trim_end_matches('}')
            .split_once('{')
            .unwrap_or((name.trim_end_matches('`'), ""));
        if !["counter", "gauge", "histogram"].contains(&kind) {
            continue;
        }
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
        found.insert(name.to_owned(), Documented { labels, kind: kind.to_owned(), meaning: meaning.to_owned() });
    }
    assert!(found.len() > 80, "only {} metrics found", found.len());
    found
}

impl Server {
    /// What it measured so far, held against docs/metrics.md.
    pub(crate) async fn metrics(&self) -> Metrics {
        let page = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Metrics::read(&page.text().await.unwrap())
    }
}

#[tokio::test]
async fn the_metrics_say_what_became_of_each_event() {
    let home = Home::new();
    let server = home.up(&[]);
    let good = |id: &str| event("metric.tried", id, &json!({ "n": 1 })).to_string();
    let mut reserved = event("metric.tried", "r", &json!({}));
    reserved["receivedat"] = json!("2026-01-01T00:00:00Z");
    let lines = [good("1"), good("2"), good("2"), "{".into(), "[]".into(), reserved.to_string(), good("3")];
    assert_eq!(server.post("/v1/batch", "text/plain", lines.join("\n")).await.status(), 200);
    assert_eq!(server.post("/v1/events", "image/png", "x").await.status(), 415);
    server.flush().await;
    server.number("SELECT count(*) FROM metric_tried").await;
    assert_eq!(server.post("/v1/sql", "text/plain", "SELECT nope").await.status(), 400);
    server.balanced().await;

    let Metrics { families, values } = server.metrics().await;
    let value = |name: &str| values.get(name).copied();
    for (name, expected) in [
        ("killfeed_ingest_accepted_events_total", 4.0),
        ("killfeed_ingest_refused_events_total{status=\"400\",reason=\"not_json\"}", 1.0),
        ("killfeed_ingest_refused_events_total{status=\"400\",reason=\"not_an_object\"}", 1.0),
        ("killfeed_ingest_refused_events_total{status=\"400\",reason=\"attribute_reserved\"}", 1.0),
        ("killfeed_ingest_refused_requests_total{status=\"415\"}", 1.0),
        ("killfeed_ingest_batch_events_count", 1.0),
        ("killfeed_ingest_batch_events_bucket{le=\"10\"}", 1.0),
        ("killfeed_process_events_total", 4.0),
        ("killfeed_process_duplicate_events_total", 1.0),
        ("killfeed_queries_errors_total{kind=\"refused\"}", 1.0),
        ("killfeed_queries_audit_balanced", 1.0),
        ("killfeed_log_queue_bytes", 0.0),
        ("killfeed_ready", 1.0),
        ("killfeed_part_ready{part=\"sinks\"}", 1.0),
        ("killfeed_http_responses_total{status=\"415\"}", 1.0),
        ("killfeed_queries_running", 0.0),
        ("killfeed_sink_well{stream=\"events\"}", 1.0),
        ("killfeed_sink_latency_seconds_count{stream=\"events\"}", 3.0),
        ("killfeed_sink_latency_seconds_bucket{stream=\"events\",le=\"60\"}", 3.0),
        ("killfeed_sink_lag_records{topic=\"events.clean\",partition=\"0\"}", 0.0),
        ("killfeed_sink_lag_seconds{topic=\"events.clean\",partition=\"0\"}", 0.0),
    ] {
        assert_eq!(value(name), Some(expected), "{name} in {values:#?}");
    }
    for name in [
        "killfeed_log_appended_records_total",
        "killfeed_log_appended_bytes_total",
        "killfeed_log_commit_seconds_count",
        "killfeed_log_commit_seconds_sum",
        "killfeed_log_disk_bytes",
        "killfeed_sink_rows_total",
        "killfeed_sink_read_records_total{topic=\"events.clean\"}",
        "killfeed_sink_read_bytes_total{topic=\"events.clean\"}",
        "killfeed_process_read_bytes_total",
        "killfeed_process_written_bytes_total",
        "killfeed_ingest_memory_limit_bytes",
        "killfeed_data_dir_free_bytes",
        "killfeed_memory_limit_bytes",
        "killfeed_queries_audit_timestamp_seconds",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "killfeed_http_connections_total",
    ] {
        assert!(value(name).is_some_and(|value| value > 0.0), "{name} in {values:#?}");
    }
    for (name, [kind, help]) in &families {
        assert!(
            (name.starts_with("killfeed_") || name.starts_with("process_")) && !help.is_empty(),
            "{name}: {kind} {help}"
        );
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name} is a {kind}");
    }
}
