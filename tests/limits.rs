//! Limits as users meet them: a query's rows and time, the metrics that tell of all this.

use crate::support::{Home, event, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn ask(server: &crate::support::Server, sql: &str) -> (u16, Value) {
    let response = server.post("/v1/sql", "text/plain", sql.to_owned()).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_query_past_its_rows_or_its_time_gets_an_error_that_names_the_limit() {
    let home = Home::new();
    let server = home.up(&["--query-rows", "100", "--query-time", "3s", "--query-memory", "16MiB"]);
    let (status, rows) = ask(&server, "SELECT value FROM generate_series(1, 100)").await;
    assert_eq!((status, rows.as_array().unwrap().len()), (200, 100));
    let endless = "SELECT count(*) FROM generate_series(1, 10000000000) a, generate_series(1, 1000) b";
    // A join's table must fit into memory; a grouping would spill.
    let wide = "SELECT count(*) FROM generate_series(1, 20000000) a JOIN generate_series(1, 20000000) b USING (value)";
    for (sql, expected, kind, words) in [
        ("SELECT value FROM generate_series(1, 101)", 400, "row_limit", "more than 100 rows, the limit; add a LIMIT"),
        (endless, 504, "time_limit", "the query was stopped at its time limit of 3 s"),
        (wide, 400, "memory_limit", "needs more memory than the 16777216 bytes that all queries share"),
    ] {
        let (status, problem) = ask(&server, sql).await;
        assert_eq!((status, problem["kind"].as_str()), (expected, Some(kind)), "{sql}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        let run = server.run(&["sql", sql]);
        assert_eq!(run.status.code(), Some(1), "{}", text(&run));
        assert!(text(&run).starts_with("error: ") && text(&run).contains(words), "{}", text(&run));
        assert_eq!(text(&run).lines().count(), 1, "{}", text(&run));
    }
}

/// Families by name, with kind and help, and the value of each line, as Prometheus' text format has it.
fn scrape(page: &str) -> (BTreeMap<String, [String; 2]>, BTreeMap<String, f64>) {
    let mut families: BTreeMap<String, [String; 2]> = BTreeMap::new();
    let mut values = BTreeMap::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (word, name, said) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            families.entry(name.to_owned()).or_default()[usize::from(word == "HELP")] = said.to_owned();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            values.insert(name.to_owned(), value.parse().unwrap());
        }
    }
    (families, values)
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
    assert_eq!(ask(&server, "SELECT nope").await.0, 400);
    server.balanced().await;

    let page = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let (families, values) = scrape(&page.text().await.unwrap());
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
        "killfeed_http_connections_total",
    ] {
        assert!(value(name).is_some_and(|value| value > 0.0), "{name} in {values:#?}");
    }
    for (name, [kind, help]) in &families {
        assert!(name.starts_with("killfeed_") && !help.is_empty(), "{name}: {kind} {help}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name} is a {kind}");
    }
}
