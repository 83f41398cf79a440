//! A log that lost its tail after the tables had it: the start is refused, and nothing doubles.

use crate::stops::refused;
use crate::support::{Home, event};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The newest journal of the log.
fn journal(log: &Path) -> PathBuf {
    let found = fs::read_dir(log.join("store")).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).max().unwrap()
}

fn events(ids: std::ops::Range<u32>) -> Vec<Value> {
    ids.map(|n| event("cut.event", &format!("e{n}"), &json!({ "text": format!("payload number {n}!") }))).collect()
}

/// Cuts the journal where `text` stands first.
fn cut(log: &Path, text: &str) {
    let mut bytes = fs::read(journal(log)).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes.truncate(at);
    fs::write(journal(log), bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_what_the_tables_hold_does_not_start() {
    let home = Home::new();
    let server = home.up(&[]);
    for batch in [0..20, 20..40] {
        server.accept(&events(batch)).await;
        server.flush().await;
    }
    server.kill();
    let log = home.path("data").join("log");
    cut(&log, "payload number 25!");
    for time in ["at once", "and the next time, too"] {
        let (code, errors) = refused(home.command(&[]));
        assert_eq!(code, Some(2), "{time}: {errors}");
        let said = ["events.", "ends at offset", "twice", "move"].iter().all(|words| errors.contains(words));
        assert!(said && errors.lines().count() == 1, "{time}: {errors}");
    }

    fs::rename(&log, home.path("damaged")).unwrap();
    let server = home.up(&[]);
    server.accept(&events(40..60)).await;
    server.flush().await;
    assert_eq!(server.number("SELECT count(DISTINCT id) FROM cut_event").await, 60);
    assert_eq!(server.number("SELECT count(*) FROM cut_event").await, 60);
    let audit = server.balanced().await;
    assert_eq!(audit["delivered"], 60, "{audit:#}");
}

/// What only the log knew may be lost without harm to the tables; the start says what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_what_no_table_holds_goes_on_and_says_what_is_gone() {
    let home = Home::new();
    let server = home.up(&["--flush-interval", "1h"]);
    server.accept(&events(0..20)).await;
    server.flush().await;
    server.accept(&events(20..40)).await;
    server.kill();
    cut(&home.path("data").join("log"), "payload number 25!");
    let server = home.up(&[]);
    assert!(home.stderr().contains("records of this range of offsets are gone"), "{}", home.stderr());
    server.accept(&events(20..40)).await;
    server.flush().await;
    assert_eq!(server.number("SELECT count(DISTINCT id) FROM cut_event").await, 40);
    assert_eq!(server.number("SELECT count(*) FROM cut_event").await, 40);
    server.balanced().await;
}
