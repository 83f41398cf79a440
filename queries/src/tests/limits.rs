//! Rows, memory, and how many may run.

use super::support::{chat, config, csv, viewer};
use crate::{Config, Error};
use futures::future::{Either, select};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_past_the_row_limit_ends_in_an_error_that_names_it() {
    let fixture = chat().await;
    let engine = fixture.engine(Config { rows_max: 100, ..config() });
    let of = |rows: u32| format!("SELECT value FROM generate_series(1, {rows})");
    assert_eq!(csv(&engine, &of(100)).await.unwrap().lines().count(), 101);
    let error = csv(&engine, &of(101)).await.unwrap_err();
    assert!(matches!(error, Error::Rows(100)), "{error}");
    assert_eq!(csv(&engine, "SELECT count(*) AS n FROM generate_series(1, 5000)").await.unwrap(), "n\n5000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_past_the_memory_limit_fails_alone() {
    let fixture = chat().await;
    let engine = fixture.engine(Config { memory_bytes: 4 << 20, ..config() });
    let sql = "SELECT count(DISTINCT value) AS n FROM generate_series(1, 5000000)";
    let error = csv(&engine, sql).await.unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    assert_eq!(csv(&engine, "SELECT 1 AS n").await.unwrap(), "n\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_spills_within_its_directory() {
    let fixture = chat().await;
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = Some(dir.path().join("spill"));
    let engine = fixture.engine(Config { memory_bytes: 24 << 20, spill_dir, ..config() });
    let sql =
        "SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY -value) AS n FROM generate_series(1, 3000000))";
    assert_eq!(csv(&engine, sql).await.unwrap(), "n\n3000000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn past_those_that_run_and_wait_a_query_is_refused_and_later_served() {
    let fixture = chat().await;
    let engine = fixture.engine(Config { running_max: 1, waiting_max: 1, ..config() });
    let endless = "SELECT value FROM generate_series(1, 900000)";
    let mut running = engine.query(endless, Vec::new(), &viewer(true)).await.unwrap();
    assert!(running.next().await.unwrap().is_ok());
    let further = || Box::pin(csv(&engine, "SELECT 2 AS n"));
    let (refused, waiting) = match select(further(), further()).await {
        Either::Left(done) => done,
        Either::Right(done) => done,
    };
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Busy { running: 1, waiting: 1 }), "{error}");
    assert!(error.to_problem().retry_after.is_some());
    drop(running);
    assert_eq!(waiting.await.unwrap(), "n\n2\n");
}
