//! Damage done behind killfeed's back, to live tables by somebody else's writer and to the log: the
//! audit finds each, says what and where, and exits with 1.

use crate::readers::python;
use crate::support::{Home, Server, event, repository, text};
use rustix::process::Signal;
use serde_json::json;
use std::process::Command;

/// Damages one row that a condition chooses; gives the table's version from before.
fn sabotage(home: &Home, table: &str, what: &str, detail: &str) -> String {
    let script = repository().join("tests/readers/sabotage.py");
    let done = Command::new(python()).arg(script).arg(home.tables().join(table)).args([what, detail]).output().unwrap();
    assert!(done.status.success(), "{what} {table}: {}", text(&done));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// What the command says of books that don't balance.
fn unbalanced(server: &Server) -> String {
    let audit = server.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(1), "{}", text(&audit));
    text(&audit)
}

#[tokio::test]
async fn each_row_that_somebody_takes_or_doubles_is_named() {
    let home = Home::new();
    let server = home.up(&["--partitions", "1"]);
    let mut events: Vec<_> = (0..50).map(|n| event("chat.message", &format!("c{n}"), &json!({ "n": n }))).collect();
    server.accept(&events).await;
    events[0]["data"] = json!({ "n": 1_000 });
    server.accept(&events[..1]).await;
    server.flush().await;
    server.balanced().await;
    // (table, damage, the row, what the audit must say)
    let cases: [(&str, &str, &str, &[&str]); 8] = [
        (
            "chat_message",
            "delete",
            "n = 7",
            &["1 rows are missing: 1 of ", "counted 50 rows into table chat_message, it has 49"],
        ),
        ("chat_message", "double", "n = 7", &["1 rows stand twice: raw offset 7 in table chat_message"]),
        ("dead_letters", "delete", "true", &["counted 1 dead letters for conflict, table dead_letters has 0"]),
        ("dead_letters", "double", "true", &["1 rows stand twice: raw offset 50 in table dead_letters"]),
        ("killfeed_ledger", "delete", "stage = 'ingest'", &["1 entries are missing in table killfeed_ledger: offset "]),
        (
            "killfeed_ledger",
            "delete",
            "stage = 'process'",
            &["1 entries are missing in table", "entries of the processor "],
        ),
        ("killfeed_ledger", "delete", "stage = 'sink'", &["1 entries are missing in table", "entries of the sink "]),
        ("killfeed_ledger", "double", "stage = 'sink'", &["1 entries stand twice in table killfeed_ledger: offset "]),
    ];
    for (table, what, row, sentences) in cases {
        let version = sabotage(&home, table, what, row);
        let said = unbalanced(&server);
        for sentence in sentences {
            assert!(said.contains(sentence), "{what} {row} in {table}: {sentence:?} is not in\n{said}");
        }
        sabotage(&home, table, "restore", &version);
        let audit = server.run(&["audit"]);
        assert!(audit.status.success(), "{what} {row} in {table} was undone: {}", text(&audit));
    }
}

/// Takes a group of raw records out of the store of a log that nobody has open.
fn take_raw_records(home: &Home) {
    let db = fjall::Database::builder(home.path("data/log/store")).open().unwrap();
    let options = || fjall::KeyspaceCreateOptions::default().with_kv_separation(Some(Default::default()));
    let keys = db.keyspace("log", options).unwrap();
    // Records of topic 0, `events.raw`: see events/src/log/embedded/packed.rs.
    let first = keys.prefix([3, 0, 0, 0, 0]).next().unwrap().key().unwrap();
    keys.remove(first).unwrap();
    db.persist(fjall::PersistMode::SyncAll).unwrap();
}

#[tokio::test]
async fn a_raw_record_lost_before_it_was_read_is_missed() {
    let home = Home::new();
    let server = home.role("ingest", &["--partitions", "1"]);
    for n in 0..3 {
        server.accept(&[event("chat.message", &format!("c{n}"), &json!({ "n": n }))]).await;
    }
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", home.stderr());
    take_raw_records(&home);
    let server = home.up(&["--partitions", "1"]);
    server.flush().await;
    let said = unbalanced(&server);
    let sentence = "ingest acknowledged 3 events, but only 2 were read from raw and 0 are there to read: 1 are lost";
    assert!(said.contains(sentence), "{said}");
}
