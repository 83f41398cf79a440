//! An event is seen by SQL within a second of its 202, long before any flush; and once, after it.

use crate::kafka::{self, TURN};
use crate::support::Home;
use chaos::Cluster;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The aim; what a busy machine may take beyond it is in PATIENCE of the other tests.
const SOON: Duration = Duration::from_secs(1);

fn event(id: u64) -> Value {
    json!({ "specversion": "1.0", "id": id.to_string(), "source": "/fresh", "type": "game.kill", "data": { "n": id } })
}

/// Looks until the statement answers this number; answers how long it took.
async fn until(server: &crate::support::Server, sql: &str, number: u64) -> Duration {
    let start = Instant::now();
    loop {
        let body = json!({ "sql": sql }).to_string();
        let response = server.post("/v1/sql", "application/json", body).await;
        if response.status() == 200 {
            assert!(response.headers().get("killfeed-fresh-to").is_none());
            let rows: Value = response.json().await.unwrap();
            let found = rows[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap();
            assert!(found <= number, "{sql}: {found} of {number}");
            if found == number {
                return start.elapsed();
            }
        }
        assert!(start.elapsed() < crate::support::PATIENCE, "{sql}: never {number}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_event_is_seen_within_a_second_of_its_202_and_once_after_the_flush() {
    let home = Home::new();
    // No flush comes by itself while this looks.
    let server = home.up(&["--flush-interval", "10m"]);
    let count = "SELECT count(*) AS n FROM game_kill";
    let mut took = Vec::new();
    for id in 0..20 {
        server.accept(&[event(id)]).await;
        took.push(until(&server, count, id + 1).await);
    }
    took.sort();
    assert!(took[10] < SOON, "half of the events took longer than {:?} to be seen: {took:?}", took[10]);
    assert_eq!(server.number("SELECT sum(n) AS n FROM game_kill").await, 190);
    let audit = server.get("/v1/audit").await;
    assert_eq!((&audit["delivered"], &audit["in_flight"]), (&json!(0), &json!(20)), "the audit counts what is stored");

    server.flush().await;
    let sums = "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(n) AS s FROM game_kill";
    assert_eq!(server.sql(sums).await, [json!({ "n": 20, "ids": 20, "s": 190 })]);
    server.accept(&(20..50).map(event).collect::<Vec<_>>()).await;
    until(&server, count, 50).await;
    assert_eq!(server.balanced().await["delivered"], 20);
    let report = server.get("/v1/reports/freshness").await;
    assert!(report[0]["age_s"].as_f64().unwrap() < 600.0, "{report}");
    server.kill();

    // What was in no table is in the log: the next start sees it at once.
    let server = home.up(&["--flush-interval", "10m"]);
    until(&server, count, 50).await;
    server.kill();
    let server = home.up(&["--flush-interval", "10m", "--no-fresh"]);
    assert_eq!(server.number(count).await, 20, "switched off");
    server.flush().await;
    assert_eq!(server.number(count).await, 50);
}

#[tokio::test]
async fn query_servers_apart_see_what_stands_in_kafka_and_agree() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, further, on) = (Home::new(), Home::new(), kafka::on(&cluster, "fresh-"));
    let on = [&kafka::args(&on)[..], &["--flush-interval", "10m"]].concat();
    let tables = home.tables();
    let with_tables = [&on[..], &["--store", tables.to_str().unwrap()]].concat();
    let ingest = home.role("ingest", &on);
    let (_process, sink) = (home.role("process", &on), home.role("sink", &on));
    let (one, other) = (home.role("query", &on), further.role("query", &with_tables));
    let count = "SELECT count(*) AS n FROM game_kill";
    let mut took = Vec::new();
    for id in 0..20 {
        ingest.accept(&[event(id)]).await;
        took.push(until(&one, count, id + 1).await);
        // Whoever asks another server next sees no less.
        assert_eq!(other.number(count).await, id + 1);
    }
    took.sort();
    println!("from 202 to SELECT by way of Kafka: half within {:?}, the longest {:?}", took[10], took[19]);
    assert_eq!(one.get("/v1/audit").await["delivered"], 0, "the sink has written nothing");
    // A sink that ends writes what it holds: the same events, once.
    sink.signal(rustix::process::Signal::TERM);
    assert!(sink.wait().success());
    assert_eq!(one.get("/v1/audit").await["delivered"], 20);
    assert_eq!((one.number(count).await, other.number(count).await), (20, 20));
}
