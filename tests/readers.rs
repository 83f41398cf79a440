//! Tables opened by readers that aren't ours: delta-rs for Python, and DuckDB.

use crate::support::{Home, KILLFEED, repository, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with readers and writers that aren't ours: target/debug/killfeed -> target/reader-venv, which
/// `make test` fills.
pub(crate) fn python() -> PathBuf {
    let target = Path::new(KILLFEED).ancestors().nth(2).unwrap();
    let python = target.join("reader-venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make reader`", python.display());
    python
}

#[tokio::test]
async fn other_readers_count_the_same_rows() {
    let home = Home::new();
    let server = home.up(&[]);
    let sent =
        server.run(&["generate", "--games", "20", "--duplicates", "0.05", "--conflicts", "0.01", "--url", &server.url]);
    assert!(sent.status.success(), "{}", text(&sent));
    server.flush().await;

    let script = repository().join("tests/readers/count.py");
    let counted = Command::new(python()).arg(script).arg(home.tables()).output().unwrap();
    assert!(counted.status.success(), "{}", text(&counted));
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    let counted = counted.as_object().unwrap();
    assert!(counted.len() > 5 && counted.contains_key("dead_letters") && counted.contains_key("killfeed_ledger"));
    for (table, counts) in counted.iter().filter(|(table, _)| *table != "killfeed_ledger") {
        let ours = server.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!((&counts["delta_rs"], &counts["duckdb"]), (&ours.into(), &ours.into()), "{table}");
    }
}
