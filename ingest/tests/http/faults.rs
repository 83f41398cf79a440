//! A log that fails: what is answered, and that order and counts hold.

use crate::double::Fault;
use crate::harness::{Harness, event, game_in, request};
use axum::body::Body;
use bytes::Bytes;
use edge::Keys;
use events::log::Error;
use ingest::Config;
use serde_json::json;
use std::time::Duration;

/// Short: these tests wait for it to pass.
const DEADLINE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn each_fault_has_its_answer_and_other_partitions_go_on() {
    let unavailable = || Error::Unavailable("down".into());
    let in_doubt = || Error::InDoubt("who knows".into());
    for (fault, status, unknown) in [
        (Fault::Fail(unavailable()), 503, false),
        (Fault::Fail(Error::Full("no room".into())), 503, false),
        (Fault::Fail(Error::Refused("no topic".into())), 500, false),
        (Fault::WriteAndFail(in_doubt()), 503, true),
    ] {
        let harness = Harness::new();
        harness.log.fault("events.raw", 1, Some(fault));
        let (bad, good) = (game_in(1), game_in(2));
        let answer = harness.lines(&[event("1", &bad), event("2", &good), event("3", &bad), "{".into()]).await;
        assert_eq!((answer.status, answer.statuses()), (200, vec![status, 202, status, 400]));
        for place in [0, 2] {
            let result = &answer.body["results"][place];
            assert_eq!((&result["retry"], &result["unknown"]), (&json!(true), &json!(unknown)), "{result}");
            assert_eq!(result["durability"], json!(null));
        }
        let answer = harness.lines(&[event("1", &bad), event("3", &bad)]).await;
        assert_eq!((u64::from(answer.status), answer.retry_after.is_some()), (status, status == 503));
        // Only retryable and not: 503, since something may be sent again.
        assert_eq!(harness.lines(&[event("1", &bad), "{".into()]).await.status, 503);
        harness.ingest.write_ledger().await.unwrap();
        assert_eq!(harness.ledger(), (1, 0));
    }
}

#[tokio::test]
async fn a_log_that_hangs_leaves_the_fate_unknown_after_the_deadline() {
    let harness = Harness::with(Config { deadline: DEADLINE, ..Config::default() }, Keys::none());
    harness.log.fault("events.raw", 1, Some(Fault::Hang));
    let before = tokio::time::Instant::now();
    let answer = harness.post("/v1/events", "application/json", event("1", &game_in(1))).await;
    assert!(before.elapsed() >= DEADLINE);
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
    assert_eq!(answer.body["results"][0]["unknown"], true);
    harness.ingest.write_ledger().await.unwrap();
    assert_eq!(harness.ledger(), (0, 0));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let harness = Harness::with(Config { deadline: DEADLINE, ..Config::default() }, Keys::none());
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = harness.send(request("/v1/batch", "text/plain").body(body).unwrap()).await;
    assert_eq!((answer.status, answer.media_type.as_str()), (408, "application/problem+json"));
}

#[tokio::test]
async fn past_the_memory_set_aside_requests_are_shed_and_it_is_given_back() {
    let harness = Harness::with(Config { memory_bytes_max: 1_000, ..Config::default() }, Keys::none());
    let answer = harness.lines(&[event("1", "g"), "x".repeat(1_000)]).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
    assert!(answer.body["detail"].as_str().unwrap().contains("of 1000 at most"));
    assert_eq!(harness.lines(&[event("1", "g")]).await.status, 202);
}

#[tokio::test]
async fn the_ledger_counts_each_acknowledged_event_once_whatever_the_log_says() {
    let config = Config { ledger_interval: Duration::from_secs(3_600), ..Config::default() };
    let harness = Harness::with(config, Keys::none());
    tokio::task::yield_now().await;
    let game = game_in(3);
    let send = async || assert_eq!(harness.lines(&[event("1", &game), event("2", &game)]).await.status, 202);
    send().await;
    for fault in [
        Fault::Fail(Error::Unavailable("down".into())),
        Fault::WriteAndFail(Error::InDoubt("maybe".into())),
        Fault::Fail(Error::Unavailable("down".into())),
        Fault::Fail(Error::InDoubt("maybe".into())),
    ] {
        harness.log.fault("events.ledger", 3, Some(fault));
        assert!(harness.ingest.write_ledger().await.is_err());
        send().await;
    }
    harness.log.fault("events.ledger", 3, Some(Fault::Hang));
    let hung = tokio::time::timeout(DEADLINE, harness.ingest.write_ledger()).await;
    assert!(hung.is_err());
    harness.log.fault("events.ledger", 3, None);
    // Carries what was in doubt, and then what was counted since.
    harness.ingest.write_ledger().await.unwrap();
    assert_eq!(harness.ledger(), (10, 0));
    assert_eq!(harness.log.all("events.raw").len(), 10);
}

#[tokio::test]
async fn a_stream_that_grows_is_a_short_pause_and_then_its_next_generation() {
    let harness = Harness::new();
    let game = game_in(1);
    harness.log.fault("events.raw", 1, Some(Fault::Fail(Error::Ended("grown".into()))));
    let send = async |id: &str| harness.lines(&[event(id, &game)]).await;
    let answer = send("1").await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
    tokio::time::timeout(Duration::from_secs(5), harness.ingest.some_ended()).await.expect("somebody is told");
    harness.log.calls();
    assert_eq!(send("1").await.status, 503);
    assert_eq!(harness.log.calls(), [], "what has ended isn't tried again at once");
    // The next look tries again: the growth may have been taken back.
    harness.log.fault("events.raw", 1, None);
    harness.ingest.write_ledger().await.unwrap();
    assert_eq!(send("1").await.status, 202);
    assert_eq!(harness.log.records("events.raw", 1).len(), 1);

    let info = events::log::StreamInfo {
        stream: events::Stream::new("events").unwrap().next(),
        partitions: 40,
        incarnation: "i2".into(),
        retention: Duration::from_secs(1),
        ended: None,
    };
    harness.ingest.serve(info);
    assert_eq!(send("2").await.status, 202);
    let partition = events::keys::partition_of(game.as_bytes(), 40);
    assert_eq!(harness.log.records("events.g2.raw", partition).len(), 1);
    harness.ingest.write_ledger().await.unwrap();
    let of = |topic: &str, partition| harness.log.records(topic, partition).len();
    assert_eq!((of("events.ledger", 1), of("events.g2.ledger", partition)), (1, 1), "each counts its own");
}
