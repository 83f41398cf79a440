//! The same pipeline on Apache Kafka: from HTTP to tables, each event once, whatever dies.

use crate::support::{Home, KILLFEED, Server, event};
use chaos::Cluster;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// One cluster at a time is what a small machine has room for.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What every process of a test is told of the cluster.
pub(crate) fn on(cluster: &Cluster, prefix: &str) -> Vec<String> {
    let log = format!("kafka://{}", cluster.brokers);
    ["--log", &log, "--single-node", "--kafka-prefix", prefix].map(str::to_owned).into()
}

pub(crate) fn args(on: &[String]) -> Vec<&str> {
    on.iter().map(String::as_str).collect()
}

fn topics(home: &Home, what: &str, on: &[String]) -> (Option<i32>, String) {
    let mut command = Command::new(KILLFEED);
    command.args(["topics", what, "--partitions", "4", "--data-dir"]).arg(home.path("data")).args(on);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

pub(crate) fn events(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|n| event("kafka.tried", &n.to_string(), &json!({ "n": n }))).collect()
}

/// Sends until all are accepted, as clients do; tells of the answers that it met on the way.
pub(crate) async fn send(server: &Server, events: &[Value]) -> Vec<u16> {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let mut met = Vec::new();
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = server.post("/v1/batch", "application/x-ndjson", lines.clone()).await;
        assert!(asked.elapsed() < Duration::from_secs(13), "answered within the request's deadline");
        met.push(answer.status().as_u16());
        match answer.status().as_u16() {
            202 => return met,
            200 | 503 => tokio::time::sleep(Duration::from_millis(200)).await,
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
        assert!(began.elapsed() < Duration::from_secs(90), "not accepted: {met:?}");
    }
}

/// Every event has its row, once, and the books balance.
pub(crate) async fn assert_once(server: &Server, count: u64) {
    server.flush().await;
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids, sum(n) AS sum FROM kafka_tried").await;
    assert_eq!(rows, [json!({ "rows": count, "ids": count, "sum": count * (count - 1) / 2 })]);
    server.balanced().await;
}

/// Waits until every event has its row, once, where nobody answers a flush.
async fn assert_rows(query: &Server, count: u64) {
    let began = Instant::now();
    loop {
        let asked = json!({ "sql": "SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM kafka_tried" });
        let answer = query.post("/v1/sql", "application/json", asked.to_string()).await;
        // No table yet is an error like any other.
        let rows: Value = answer.json().await.unwrap();
        match rows.get(0) {
            Some(found) if found["rows"] == count => {
                assert_eq!(found["ids"], count);
                return;
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(90), "not all in their table: {rows}");
    }
}

/// What the log measured of an outage, and of the work before and after it.
async fn assert_measured(server: &Server) {
    let began = Instant::now();
    loop {
        let metrics = server.metrics().await;
        let at_least = |name: &str, part: &str, least: f64| {
            let value = metrics.sum(name, part).unwrap_or_default();
            (value >= least).then_some(()).ok_or_else(|| format!("{name}{{{part}}} is {value}, not {least}"))
        };
        let checked = [
            ("killfeed_log_appended_records_total", "", 900.0),
            ("killfeed_log_appended_bytes_total", "", 90_000.0),
            ("killfeed_kafka_append_seconds_count", "acks=\"all\"", 2.0),
            ("killfeed_kafka_failed_appends_total", "", 1.0),
            ("killfeed_kafka_queue_limit_bytes", "", 1.0),
            ("killfeed_kafka_transactions_total", "committed", 2.0),
            ("killfeed_kafka_commit_seconds_count", "", 2.0),
            ("killfeed_kafka_rebalances_total", "killfeed-process\",kind=\"assigned", 1.0),
            ("killfeed_kafka_rebalances_total", "killfeed-sink\",kind=\"assigned", 1.0),
            // Four of raw; four each of clean, dead and ledger.
            ("killfeed_kafka_assigned_partitions", "killfeed-process", 4.0),
            ("killfeed_kafka_assigned_partitions", "killfeed-sink", 12.0),
            ("killfeed_kafka_broker_connections", "", 1.0),
            ("killfeed_kafka_broker_connects_total", "", 1.0),
            ("killfeed_kafka_broker_disconnects_total", "", 1.0),
            ("killfeed_kafka_round_trip_seconds", "client=\"group\"", 0.000_001),
            ("killfeed_sink_latency_seconds_count", "", 100.0),
        ]
        .map(|(name, part, least)| at_least(name, part, least));
        let missing: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
        if missing.is_empty() {
            assert_eq!(metrics.sum("killfeed_kafka_assigned_partitions", "killfeed-sink"), Some(12.0));
            return;
        }
        // Statistics come each 10 s.
        assert!(began.elapsed() < Duration::from_secs(40), "{missing:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn each_event_comes_once_through_kafka_whatever_is_killed() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, on) = (Home::new(), on(&cluster, "once-"));

    let (code, said) = topics(&home, "plan", &on);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("make once-events.raw: partitions 4, replicas 1"), "{said}");
    let (code, said) = topics(&home, "apply", &on);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = topics(&home, "plan", &on);
    assert_eq!((code, said.contains("as it should be")), (Some(0), true), "{said}");

    let server = home.up(&args(&on));
    send(&server, &events(0..500)).await;
    // A client that never saw its answer sends again.
    send(&server, &events(400..600)).await;
    assert_once(&server, 600).await;

    // The process dies with events on their way; the next one of its name goes on where it was.
    send(&server, &events(600..1_200)).await;
    server.kill();
    let server = home.up(&args(&on));
    assert_once(&server, 1_200).await;

    // All of Kafka dies and comes back: 503 in time, readiness says so, and nothing is lost or doubled.
    cluster.kill(1);
    let lines: String = events(1_200..1_500).iter().map(|event| format!("{event}\n")).collect();
    let asked = Instant::now();
    let away = server.post("/v1/batch", "application/x-ndjson", lines).await;
    assert_eq!(away.status(), 503, "Kafka is away");
    assert!(away.headers().contains_key("retry-after"));
    assert!(asked.elapsed() < Duration::from_secs(11), "answered after {:?}", asked.elapsed());
    assert_eq!(server.get("/readyz").await["ready"], false);
    cluster.up();
    send(&server, &events(1_200..1_500)).await;
    assert_once(&server, 1_500).await;
    assert_eq!(server.get("/readyz").await["ready"], true);
    assert_measured(&server).await;
}

/// Waits until a processor was so often given partitions, or has lost them.
async fn rebalanced(process: &Server, times: f64) {
    let began = Instant::now();
    loop {
        let metrics = process.metrics().await;
        let seen = metrics.sum("killfeed_kafka_rebalances_total", "killfeed-process");
        if seen.is_some_and(|seen| seen >= times) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "rebalanced {seen:?} times, not {times}: {metrics:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn roles_are_processes_of_their_own() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, on) = (Home::new(), on(&cluster, "roles-"));
    let on = args(&on);
    let ingest = home.role("ingest", &on);
    let query = home.role("query", &on);
    let (process, sink) = (home.role("process", &on), home.role("sink", &on));
    send(&ingest, &events(0..300)).await;
    // Up is not yet in the group: who has no partitions can't lose any.
    rebalanced(&process, 1.0).await;
    // A second of each, in a place of its own, takes partitions over; then of the first ones one freezes and
    // one dies.
    let further = Home::new();
    let tables = home.tables();
    let with_tables = [&on[..], &["--store", tables.to_str().unwrap()]].concat();
    let _more = (further.role("process", &with_tables), further.role("sink", &with_tables));
    send(&ingest, &events(300..600)).await;
    process.signal(Signal::STOP);
    sink.kill();
    send(&ingest, &events(600..900)).await;
    assert_rows(&query, 900).await;
    // It wakes up with what it had in work, which others have done.
    process.signal(Signal::CONT);
    send(&ingest, &events(900..1_000)).await;
    assert_rows(&query, 1_000).await;
    // The others may be done before it has noticed that it lost its partitions.
    rebalanced(&process, 2.0).await;
    let refused =
        Command::new(KILLFEED).args(["ingest", "--data-dir"]).arg(home.path("data")).args(&on).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("another `killfeed ingest`"), "{said}");
}
