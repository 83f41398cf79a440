//! Generated games: reports, tables and audit equal what the generator says of them.

use crate::support::{Home, text};
use serde_json::Value;

/// Games in the normal run; `KILLFEED_TEST_GAMES` asks for more.
const GAMES: &str = "200";

/// The first place where two values differ, as a sentence.
fn difference(path: &str, expected: &Value, actual: &Value) -> Option<String> {
    match (expected, actual) {
        (Value::Array(left), Value::Array(right)) if left.len() != right.len() => {
            Some(format!("{path}: {} rows expected, {} found", left.len(), right.len()))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.iter().zip(right).enumerate().find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b))
        }
        (Value::Object(left), Value::Object(right)) => left.iter().find_map(|(name, a)| {
            difference(&format!("{path}.{name}"), a, right.get(name).unwrap_or(&Value::String("nothing".into())))
        }),
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: {a} expected, {b} found")),
    }
}

#[tokio::test]
async fn reports_tables_and_audit_equal_the_truth() {
    let home = Home::new();
    let geoip = home.path("geoip.mmdb");
    let truth = home.path("truth.json");
    let games = std::env::var("KILLFEED_TEST_GAMES").unwrap_or_else(|_| GAMES.into());
    let server = home.up(&["--geoip", geoip.to_str().unwrap()]);
    let made = server.run(&["generate", "--games", "1", "--geoip-out", geoip.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made));
    drop(server);

    let server = home.up(&["--geoip", geoip.to_str().unwrap()]);
    let sent = server.run(&[
        "generate",
        "--games",
        &games,
        "--seed",
        "3",
        "--days",
        "40",
        "--duplicates",
        "0.05",
        "--conflicts",
        "0.01",
        "--malformed",
        "0.01",
        "--late",
        "0.05",
        "--truth",
        truth.to_str().unwrap(),
        "--url",
        &server.url,
    ]);
    assert!(sent.status.success(), "{}", text(&sent));
    let flushed = server.run(&["flush"]);
    assert!(flushed.status.success(), "{}", text(&flushed));

    let truth: Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
    for (table, rows) in truth["tables"].as_object().unwrap() {
        let found = server.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(found, rows.as_u64().unwrap(), "{table}");
    }
    for (name, expected) in truth["reports"].as_object().unwrap() {
        let ran = server.run(&["report", "run", name, "--format", "json"]);
        assert!(ran.status.success(), "{name}: {}", text(&ran));
        let actual: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(difference(name, expected, &actual), None);
    }
    let audit = server.balanced().await;
    let rows: u64 = truth["tables"].as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum();
    assert_eq!(audit["delivered"], rows);
    assert_eq!(audit["duplicates"], truth["duplicates"]);
    assert_eq!(audit["conflicts"], truth["conflicts"]);
    assert_eq!((&audit["dead"], &audit["in_flight"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(audit["acknowledged"], audit["accepted"]);
}
