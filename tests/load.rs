//! `killfeed load` against a real server: what it says was acknowledged is what the tables have.

use crate::support::{Home, text};
use serde_json::Value;

/// The truth that a run wrote, which must be what the tables have.
async fn held_against_tables(server: &crate::support::Server, file: &std::path::Path) -> u64 {
    let truth: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(truth["unknown"], serde_json::json!({}));
    server.flush().await;
    let mut all = 0;
    for (table, rows) in truth["tables"].as_object().unwrap() {
        let found = server.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(found, rows.as_u64().unwrap(), "{table}");
        all += found;
    }
    all
}

#[tokio::test]
async fn what_load_says_was_acknowledged_is_in_the_tables() {
    let home = Home::new();
    let server = home.up(&[]);
    let (truth, out) = (home.path("truth.json"), home.path("histograms.json"));
    let (truth_file, out_file) = (truth.to_str().unwrap(), out.to_str().unwrap());
    let ran =
        server.run(&["load", "--rate", "20", "--duration", "3", "--json", "--truth", truth_file, "--out", out_file]);
    assert!(ran.status.success(), "{}", text(&ran));
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let stage = &report["stages"][0];
    assert_eq!((&stage["counts"]["due"], &stage["counts"]["answered"]), (&60.into(), &60.into()), "{stage:#}");
    assert_eq!((&stage["counts"]["acknowledged"], &stage["counts"]["not_sent"]), (&600.into(), &0.into()));
    assert_eq!(held_against_tables(&server, &truth).await, 600);
    let audit = server.balanced().await;
    assert_eq!((&audit["delivered"], &audit["dead"]), (&600.into(), &0.into()));

    let merged = server.run(&["load", "merge", out_file, out_file, "--json"]);
    assert!(merged.status.success(), "{}", text(&merged));
    let merged: Value = serde_json::from_slice(&merged.stdout).unwrap();
    assert_eq!(
        (&merged["stages"][0]["wanted_rate"], &merged["stages"][0]["from_due"]["count"]),
        (&40.into(), &120.into())
    );
    assert_eq!(merged["stages"][0]["from_due"]["p99_ms"], stage["from_due"]["p99_ms"]);
    let foreign = server.run(&["load", "merge", truth_file]);
    assert_eq!(foreign.status.code(), Some(2), "{}", text(&foreign));
    assert!(text(&foreign).contains("is no file of `killfeed load --out`"), "{}", text(&foreign));
}

#[tokio::test]
async fn players_play_whole_matches_and_all_of_it_arrives() {
    let home = Home::new();
    let server = home.up(&[]);
    let truth = home.path("truth.json");
    let truth_file = truth.to_str().unwrap();
    let ran = server.run(&[
        "load",
        "--players",
        "30",
        "--duration",
        "4",
        "--speed",
        "500",
        "--seed",
        "7",
        "--truth",
        truth_file,
    ]);
    assert!(ran.status.success(), "{}", text(&ran));
    assert!(text(&ran).contains("30 players"), "{}", text(&ran));
    assert!(held_against_tables(&server, &truth).await > 100);
    // Each game that ended has a winner, and nobody killed before its start.
    let wrong = "SELECT count(*) FROM lol_champion_kill k LEFT JOIN lol_game_start s ON k.game_id = s.game_id WHERE s.time IS NULL OR k.time < s.time";
    assert_eq!(server.number(wrong).await, 0);
    let ran = server.run(&["report", "run", "first_blood", "--format", "json"]);
    assert!(ran.status.success() && !text(&ran).is_empty(), "{}", text(&ran));
}

#[test]
fn wrong_usage_is_said_with_code_2() {
    let run = |args: &[&str]| {
        let ran = std::process::Command::new(crate::support::KILLFEED).arg("load").args(args).output().unwrap();
        (ran.status.code(), text(&ran))
    };
    for args in [
        &["--rate", "0", "--duration", "1"][..],
        &["--duration", "1"],
        &["--rate", "1"],
        &["--players", "3", "--duration", "1"],
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
    }
    let (code, said) = run(&["--rate", "1", "--duration", "1", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot reach http://127.0.0.1:1: connection refused"), "{said}");
}
