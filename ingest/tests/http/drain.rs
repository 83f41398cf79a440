//! Shutting down: nothing acknowledged is lost, nothing half-answered.

use crate::double::Fault;
use crate::harness::{Harness, event, game_in, request};
use axum::body::Body;
use bytes::Bytes;
use edge::Keys;
use events::log::Error;
use ingest::Config;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_drain_refuses_the_new_finishes_the_old_and_writes_the_ledger() {
    let config = Config { ledger_interval: Duration::from_secs(3_600), ..Config::default() };
    let harness = Arc::new(Harness::with(config, Keys::none()));
    assert!(harness.ingest.is_ready());
    // A request in work: its body comes once the drain is under way.
    let (sender, body) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    let in_work = tokio::spawn({
        let harness = harness.clone();
        async move { harness.send(request("/v1/batch", "text/plain").body(Body::from_stream(body)).unwrap()).await }
    });
    tokio::task::yield_now().await;
    let drain = tokio::spawn({
        let harness = harness.clone();
        async move { harness.ingest.drain().await }
    });
    while harness.ingest.is_ready() {
        tokio::task::yield_now().await;
    }
    let refused = harness.lines(&[event("late", "g")]).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    assert!(!drain.is_finished());
    sender.unbounded_send(Ok(event("1", "g").into())).unwrap();
    drop(sender);
    assert_eq!(in_work.await.unwrap().status, 202);
    drain.await.unwrap().unwrap();
    assert_eq!(harness.ledger(), (1, 0));
    assert_eq!(harness.log.all("events.raw").len(), 1);
}

#[tokio::test]
async fn a_drain_tries_the_ledger_until_it_stands_or_time_is_up() {
    let hour = Duration::from_secs(3_600);
    let down = || Some(Fault::Fail(Error::Unavailable("down".into())));
    for drain_limit in [Duration::from_millis(50), hour] {
        let config = Config { ledger_interval: hour, drain_limit, ..Config::default() };
        let harness = Arc::new(Harness::with(config, Keys::none()));
        harness.lines(&[event("1", &game_in(0))]).await;
        harness.log.fault("events.ledger", 0, down());
        harness.log.calls();
        let drain = tokio::spawn({
            let harness = harness.clone();
            async move { harness.ingest.drain().await }
        });
        if drain_limit == hour {
            while harness.log.calls().is_empty() {
                tokio::task::yield_now().await;
            }
            harness.log.fault("events.ledger", 0, None);
        }
        assert_eq!(drain.await.unwrap().is_ok(), drain_limit == hour);
        assert_eq!(harness.ledger().0, u64::from(drain_limit == hour));
    }
}

#[tokio::test]
async fn the_ledger_is_written_at_each_interval() {
    let config = Config { ledger_interval: Duration::from_millis(5), ..Config::default() };
    let harness = Harness::with(config, Keys::none());
    for round in 1..=2 {
        harness.lines(&[event("1", "g"), event("2", "g")]).await;
        while harness.ledger() != (2 * round, 0) {
            tokio::task::yield_now().await;
        }
    }
}
