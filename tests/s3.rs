//! The same pipeline with its tables on S3: from HTTP to a bucket, each event once, whatever dies.

use crate::readers::python;
use crate::support::{Home, KILLFEED, PATIENCE, Server, event, repository, text};
use chaos::minio::{BUCKET, Minio, environment};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// One server at a time is what a small machine has room for.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Bytes of a payload in the outage tests.
const PAYLOAD: usize = 16 << 10;
/// Events of a request there.
const BATCH: u64 = 250;

fn location(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}")
}

fn events(range: std::ops::Range<u64>, payload: usize) -> Vec<Value> {
    let filler = "x".repeat(payload);
    range.map(|n| event("s3.tried", &n.to_string(), &json!({ "n": n, "filler": filler }))).collect()
}

/// Every event has its row, once, and the books balance.
async fn assert_once(server: &Server, count: u64) {
    server.flush().await;
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids, sum(n) AS sum FROM s3_tried").await;
    assert_eq!(rows, [json!({ "rows": count, "ids": count, "sum": count * (count - 1) / 2 })]);
    server.balanced().await;
}

/// How a sink is, as `/readyz` says it.
async fn sinks(server: &Server) -> String {
    server.get("/readyz").await["parts"]["sinks"].as_str().unwrap().to_owned()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    began.elapsed()
}

/// The value of a metric; the sum, if it has labels.
async fn metric(server: &Server, name: &str) -> f64 {
    let page = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Resident memory, in MiB.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn tables_on_s3_hold_each_event_once_and_other_readers_count_the_same() {
    let _turn = TURN.lock().await;
    let (minio, home) = (Minio::start(), Home::new());
    let location = location("games/one");
    let home = home.with_env(environment(&minio.endpoint));
    let up = || home.up(&["--store", &location]);
    let server = up();
    let sent =
        server.run(&["generate", "--games", "10", "--duplicates", "0.05", "--conflicts", "0.01", "--url", &server.url]);
    assert!(sent.status.success(), "{}", text(&sent));
    server.accept(&events(0..300, 10)).await;
    server.flush().await;
    // It dies with events on their way; the next one goes on where it was.
    server.accept(&events(300..600, 10)).await;
    server.kill();
    let server = up();
    assert_once(&server, 600).await;
    assert!(!home.tables().exists(), "nothing goes to the local disk");

    let counted = Command::new(python())
        .arg(repository().join("tests/readers/count.py"))
        .arg(&location)
        .envs(environment(&minio.endpoint))
        .output()
        .unwrap();
    assert!(counted.status.success(), "{}", text(&counted));
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    let counted = counted.as_object().unwrap();
    assert!(counted.len() > 5 && counted.contains_key("dead_letters") && counted.contains_key("killfeed_ledger"));
    for (table, counts) in counted.iter().filter(|(table, _)| *table != "killfeed_ledger") {
        let ours = server.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!((&counts["delta_rs"], &counts["duckdb"]), (&ours.into(), &ours.into()), "{table}");
    }

    // What works on all tables works there: a player forgotten, reports.
    let forgotten = server.run(&["forget", "--player", "nobody-at-all"]);
    assert!(forgotten.status.success(), "{}", text(&forgotten));
    let report = server.run(&["report", "run", "first_blood"]);
    assert!(report.status.success(), "{}", text(&report));
    server.balanced().await;
}

/// Sends while the store is away, until the sink's buffers are full; gives how many events there are now.
///
/// The sink reads no further once it has 64 MiB beside the flush at work, which may hold as much again: how much
/// it takes hangs on when that flush began.
async fn send_until_full(server: &Server, from: u64) -> u64 {
    for batch in 0..64 {
        let to = from + batch * BATCH;
        // Looked at twice, since what was sent is read a little later.
        if batch > 15 && metric(server, "killfeed_sink_paused").await > 0.0 {
            return to;
        }
        server.accept(&events(to..to + BATCH, PAYLOAD)).await;
    }
    panic!("the sink took 260 MB and reads on");
}

#[tokio::test]
async fn a_store_that_is_killed_or_frozen_is_waited_for_with_memory_flat() {
    let _turn = TURN.lock().await;
    let (minio, home) = (Minio::start(), Home::new());
    let home = home.with_env(environment(&minio.endpoint));
    let location = location("away");
    let server = home.up(&["--store", &location]);
    server.accept(&events(0..BATCH, PAYLOAD)).await;
    assert_once(&server, BATCH).await;

    for outage in ["killed", "frozen"] {
        let before = server.number("SELECT count(*) FROM s3_tried").await;
        match outage {
            "killed" => minio.kill(),
            _ => minio.freeze(),
        }
        // Ingest goes on: the log holds what comes.
        let count = send_until_full(&server, before).await;
        until("health says so", async || sinks(&server).await != "ready").await;
        assert_eq!(server.get("/readyz").await["ready"], false, "{outage}");
        assert!(metric(&server, "killfeed_sink_well").await < 1.0, "{outage}");
        until("it stops reading", async || metric(&server, "killfeed_sink_paused").await > 0.0).await;
        let held = metric(&server, "killfeed_sink_held_bytes").await;
        assert!(held < 160e6, "{outage}: {held} bytes are held");
        let first = resident(&server);
        server.accept(&events(count..count + BATCH, PAYLOAD)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let later = resident(&server);
        assert!(later < first + 64, "{outage}: memory grew from {first} to {later} MiB");

        match outage {
            "killed" => drop(minio.up()),
            _ => minio.thaw(),
        }
        let count = count + BATCH;
        let well = until("it goes on by itself", async || sinks(&server).await == "ready").await;
        assert_once(&server, count).await;
        assert!(metric(&server, "killfeed_sink_paused").await < 1.0, "{outage}");
        if outage == "killed" {
            assert!(metric(&server, "killfeed_store_failures_total").await > 0.0);
        }
        println!("{outage}: held {held} bytes, resident {first} to {later} MiB, ready {well:?} after its return");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told_in_one_line_without_secrets() {
    let _turn = TURN.lock().await;
    let (minio, home) = (Minio::start(), Home::new());
    let home = home.with_env(environment(&minio.endpoint));
    let tried = |args: &[&str]| {
        let output = home.command(args).stderr(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, part) in [
        (vec!["--store", "s3://no-such-bucket/a"], "there is no bucket no-such-bucket"),
        (
            vec!["--store", "s3://lake/a", "--store-property", "secret_access_key=hush-hush"],
            "secret access key is another",
        ),
        (vec!["--store", "s3://lake/a", "--store-property", "colour=red"], "no setting is called colour"),
        (vec!["--store", "s3://lake/a", "--store-property", "allow_http=false"], "has no TLS"),
        (vec!["--store", "gs://lake/a"], "scheme gs is none of"),
        (vec!["--store-property", "region=x"], "has no settings"),
    ] {
        let (code, said) = tried(&args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{args:?}: {said}");
        assert!(lines[0].contains(part) && !said.contains("hush-hush"), "{args:?}: {said}");
    }
    let shown = Command::new(KILLFEED)
        .args(["config", "--store-property", "secret_access_key=hush-hush", "--store-property", "region=x"])
        .output()
        .unwrap();
    let shown = text(&shown);
    assert!(shown.contains("secret_access_key=...") && shown.contains("region=x"), "{shown}");
    assert!(!shown.contains("hush-hush"), "{shown}");
}
