//! Rows, memory, and how many may run.

use super::support::{chat, config, csv, viewer};
use crate::engine::Running;
use crate::{Config, Error};
use futures::future::{Either, select};
use std::time::Duration;
use tokio::time::Instant;

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
    let said = "there is no place for the query: 1 query is running, 0 are ending and 1 is waiting, which is the limit; \
                try again";
    assert_eq!(error.to_string(), said);
    assert!(error.to_problem().retry_after.is_some());
    drop(running);
    assert_eq!(waiting.await.unwrap(), "n\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_wants_any_more_is_listed_for_as_long_as_it_holds_its_place() {
    let fixture = chat().await;
    let engine = fixture.engine(Config { running_max: 2, time_limit: Duration::from_secs(20), ..config() });
    // As an operator that doesn't yield: its asker is gone, and the place with the query's own thread.
    let ticket = engine.queries().enter(&viewer(true).name, Some("stuck"), 9).unwrap();
    let stuck = Running::new(engine.turn(Instant::now()).await.unwrap(), Some(ticket.placed()));
    drop(ticket);
    let states = || engine.queries().list(None).iter().map(|listed| listed.state).collect::<Vec<_>>();
    assert_eq!(states(), ["ending"]);
    assert_eq!(csv(&engine, "SELECT 2 AS n").await.unwrap(), "n\n2\n");
    let other = Running::new(engine.turn(Instant::now()).await.unwrap(), None);
    let error = engine.turn(Instant::now() + Duration::from_millis(10)).await.unwrap_err();
    let said =
        "no place came free in the 20 s that a query may take: 1 query is running, 1 is ending and 0 are waiting";
    assert!(error.to_string().starts_with(said) && error.to_problem().retry_after.is_some(), "{error}");
    drop((stuck, other));
    assert!(states().is_empty());
    assert_eq!(csv(&engine, "SELECT 2 AS n").await.unwrap(), "n\n2\n");
}
