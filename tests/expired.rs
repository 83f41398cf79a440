//! Records that Kafka deleted before anybody had read them: the role stops, an operator gives them up, and
//! the books say so.

use crate::kafka::{self, TURN};
use crate::support::{Home, KILLFEED, Server, event, text};
use chaos::Cluster;
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

fn events(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|n| event("lost.tried", &n.to_string(), &json!({ "n": n }))).collect()
}

/// Deletes all but the last `kept` offsets of each partition, as retention does.
async fn delete(cluster: &Cluster, topic: &str, kept: i64) {
    let config = |group: &str| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &cluster.brokers).set("group.id", group);
        config
    };
    let asker: BaseConsumer = config("asker").create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        let (start, end) = asker.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
        assert!(end - start > kept, "{topic}/{partition} holds [{start}, {end})");
        list.add_partition_offset(topic, partition, Offset::Offset(end - kept)).unwrap();
    }
    let admin: AdminClient<DefaultClientContext> = config("admin").create().unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

fn accept_loss(home: &Home, on: &[&str], more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(KILLFEED);
    command.args(["topics", "accept-loss", "--data-dir"]).arg(home.path("data"));
    let output = command.args(on).args(more).output().unwrap();
    (output.status.code(), text(&output))
}

/// A role that comes up, finds what is missing, and stops with a line that says what to do.
fn stops(home: &Home, role: &str, on: &[&str], topic: &str) {
    let before = home.stderr().len();
    let status = home.role(role, on).wait();
    assert_eq!(status.code(), Some(1));
    let said = &home.stderr()[before..];
    let line = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(topic) && line.contains("`killfeed topics accept-loss`"), "{line}");
}

/// Waits until the query role finds this of the books.
async fn wait_for(query: &Server, what: &str, number: u64) {
    let began = Instant::now();
    loop {
        let audit = query.get("/v1/audit").await;
        if audit[what] == number {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what} is to be {number}: {audit:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn count(audit: &Value, name: &str) -> u64 {
    audit[name].as_u64().unwrap()
}

#[tokio::test]
async fn what_kafka_deleted_unread_is_given_up_by_command_and_counted() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, on) = (Home::new(), kafka::on(&cluster, "lost-"));
    let on = [&kafka::args(&on)[..], &["--partitions", "2"]].concat();
    let server = home.up(&on);
    kafka::send(&server, &events(0..200)).await;
    server.flush().await;
    server.kill();

    // The sink is stopped, and what it had to read is gone.
    let ingest = home.role("ingest", &on);
    let process = home.role("process", &on);
    kafka::send(&ingest, &events(200..500)).await;
    let query = home.role("query", &on);
    wait_for(&query, "accepted", 500).await;
    drop(query);
    delete(&cluster, "lost-events.clean", 5).await;
    let query = home.role("query", &on);
    let began = Instant::now();
    loop {
        let ready = query.get("/readyz").await;
        let told = ready["parts"]["retention"].as_str().unwrap_or_default().to_owned();
        if told.contains("killfeed-sink has not read is at 100 % of its retention") {
            assert_eq!(ready["ready"], true, "clients may come all the same");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{ready}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(query);
    for _ in 0..2 {
        stops(&home, "sink", &on, "events.clean");
    }
    let (code, said) = accept_loss(&home, &on, &["--dry-run"]);
    assert!(code == Some(1) && said.contains("events.clean/1: sinks have missed offsets"), "{code:?} {said}");
    let (code, said) = accept_loss(&home, &on, &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let given: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(given.len(), 2, "{said}");
    assert_eq!(accept_loss(&home, &on, &["--dry-run"]).0, Some(0));
    drop((ingest, process));
    let server = home.up(&on);
    server.flush().await;
    let audit = server.get("/v1/audit").await;
    assert_eq!(audit["balanced"], true, "{audit:#}");
    let lost: u64 = given.iter().map(|loss| loss["records_max"].as_u64().unwrap()).sum();
    assert_eq!((count(&audit, "expired"), count(&audit, "accepted")), (lost, 500), "{audit:#}");
    let delivered = count(&audit, "delivered");
    assert!((200..500).contains(&delivered) && delivered + lost >= 500, "{audit:#}");
    assert_eq!(server.number("SELECT count(*) FROM lost_tried").await, delivered);

    // The same of processors: what they had to read is gone before anybody knew it.
    server.kill();
    let ingest = home.role("ingest", &on);
    kafka::send(&ingest, &events(500..700)).await;
    delete(&cluster, "lost-events.raw", 5).await;
    stops(&home, "process", &on, "events.raw");
    let (code, said) = accept_loss(&home, &on, &[]);
    assert!(code == Some(0) && said.contains("given up"), "{code:?} {said}");
    drop(ingest);
    let server = home.up(&on);
    // Clients that kept what they had sent get it in after all, once; what was known before still is.
    kafka::send(&server, &events(0..200)).await;
    kafka::send(&server, &events(500..700)).await;
    server.flush().await;
    let audit = server.get("/v1/audit").await;
    assert_eq!(audit["balanced"], true, "{audit:#}");
    assert!(count(&audit, "expired") > lost, "{audit:#}");
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM lost_tried WHERE n >= 500").await;
    assert_eq!(rows, [json!({ "rows": 200, "ids": 200 })]);
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM lost_tried WHERE n < 200").await;
    assert_eq!(rows, [json!({ "rows": 200, "ids": 200 })]);
}

/// Shortens the retention of all topics that hold events, and waits until Kafka has deleted all of clean.
async fn shorten(cluster: &Cluster, home: &Home, on: &[&str], topic: &str) {
    let applied = Command::new(KILLFEED)
        .args(["topics", "apply", "--data-dir"])
        .arg(home.path("data"))
        .args(on)
        .args(["--retention", "1s"])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", text(&applied));
    let asker: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &cluster.brokers).set("group.id", "asker").create().unwrap();
    let began = Instant::now();
    for partition in 0..2 {
        loop {
            let (start, end) = asker.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
            if start == end {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{topic}/{partition} still holds [{start}, {end})");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn a_sink_stopped_past_a_shortened_retention_waits_for_an_operators_word() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, on) = (Home::new(), kafka::on(&cluster, "short-"));
    let on = [&kafka::args(&on)[..], &["--partitions", "2"]].concat();
    let server = home.up(&on);
    kafka::send(&server, &events(0..200)).await;
    server.flush().await;
    server.kill();

    let (ingest, process) = (home.role("ingest", &on), home.role("process", &on));
    kafka::send(&ingest, &events(200..500)).await;
    let query = home.role("query", &on);
    wait_for(&query, "accepted", 500).await;
    drop((ingest, process, query));
    shorten(&cluster, &home, &on, "short-events.clean").await;
    stops(&home, "sink", &on, "events.clean");
    stops(&home, "sink", &on, "events.clean");
    let (code, said) = accept_loss(&home, &on, &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let given: Vec<Value> = serde_json::from_str(&said).unwrap();
    let lost: u64 = given.iter().map(|loss| loss["records_max"].as_u64().unwrap()).sum();
    assert!((300..350).contains(&lost), "300 events, and the gaps of some transactions: {said}");

    let server = home.up(&on);
    kafka::send(&server, &events(500..600)).await;
    server.flush().await;
    let audit = server.get("/v1/audit").await;
    assert_eq!(audit["balanced"], true, "{audit:#}");
    assert_eq!(["accepted", "delivered", "expired"].map(|name| count(&audit, name)), [600, 300, lost], "{audit:#}");
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM lost_tried").await;
    assert_eq!(rows, [json!({ "rows": 300, "ids": 300 })]);
}
