//! Past its limits an answer says up to when it is complete, and no answer steps back.

use super::world::{World, record, stream, viewer};
use crate::fresh::Config;
use crate::tests::support::csv;
use events::log::{Log as _, ReadLimit};
use events::{Clock as _, TopicPartition};
use std::time::Duration;

/// The count, and up to when it is complete.
async fn count(engine: &crate::Engine) -> (u64, Option<i64>) {
    let answer = engine.query("SELECT count(*) AS n FROM game_a", Vec::new(), &viewer()).await.unwrap();
    let fresh_to_us = answer.fresh_to_us();
    assert_eq!(answer.warnings().len(), usize::from(fresh_to_us.is_some()), "{:?}", answer.warnings());
    let text = crate::tests::support::written(answer, crate::format::Format::Csv).await.unwrap();
    (text.trim_start_matches("n\n").trim().parse().unwrap(), fresh_to_us)
}

fn events(ids: std::ops::Range<u64>) -> Vec<events::log::NewRecord> {
    ids.map(|id| record(id, "game.a", "p", r#"{"n":1}"#)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_bytes_nothing_more_is_read_until_the_sink_gets_on() {
    let world = World::calm().await;
    let read = ReadLimit { records: 10, bytes: 1 << 20 };
    let engine = world.quiet_engine(Config { bytes_max: 2 * 8_000, read, ..Config::default() });
    world.put(0, events(0..20)).await;
    assert_eq!(count(&engine).await, (20, None));
    let then_ms = world.clock.now_ms();
    world.clock.advance_us(5_000_000);
    world.put(0, events(20..200)).await;
    let (first, fresh_to_us) = count(&engine).await;
    assert!((20..60).contains(&first), "{first}");
    let fresh_to_us = fresh_to_us.unwrap();
    assert!((then_ms * 1_000..=world.clock.now_us()).contains(&fresh_to_us), "{fresh_to_us}");
    assert_eq!(count(&engine).await.0, first, "no step back");
    world.flush().await;
    engine.fresh().unwrap().step(true).await.unwrap();
    assert_eq!(count(&engine).await, (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_waits_too_long_keeps_further_ones_out() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config { age_max: Duration::from_secs(60), ..Config::default() });
    world.put(0, events(0..5)).await;
    assert_eq!(count(&engine).await, (5, None));
    world.clock.advance_us(61_000_000);
    world.put(0, events(5..9)).await;
    let (seen, fresh_to_us) = count(&engine).await;
    assert!(seen == 5 && fresh_to_us.is_some());
    world.flush().await;
    engine.fresh().unwrap().step(true).await.unwrap();
    assert_eq!(count(&engine).await, (9, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_switched_off_has_what_is_in_its_tables() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config { off: ["events".to_owned()].into(), ..Config::default() });
    world.put(0, events(0..5)).await;
    world.flush().await;
    world.put(0, events(5..9)).await;
    assert_eq!(count(&engine).await, (5, None));
    world.flush().await;
    assert_eq!(count(&engine).await, (9, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_what_no_table_has_is_said_to() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    world.put(0, events(0..5)).await;
    world.flush().await;
    world.put(0, events(5..9)).await;
    let of = TopicPartition::new(stream().clean(), 0);
    let end = world.log.ends(&of).await.unwrap().end;
    world.log.delete_below(&of, end);
    let answer = engine.query("SELECT count(*) AS n FROM game_a", Vec::new(), &viewer()).await.unwrap();
    assert!(answer.fresh_to_us().is_some());
    let warning = answer.warnings().join("");
    assert!(warning.contains("deleted unread"), "{warning}");
    drop(answer);
    assert_eq!(csv(&engine, "SELECT count(*) AS n FROM game_a").await.unwrap(), "n\n5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_tables_is_let_go_and_what_a_query_holds_on_to_is_not() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let fresh = engine.fresh().unwrap().clone();
    world.put(0, events(0..50)).await;
    assert_eq!(count(&engine).await, (50, None));
    assert_eq!(fresh.held_records(), 50);
    let pinned = fresh.pin(["game_a"].into_iter()).await;
    world.flush().await;
    fresh.step(true).await.unwrap();
    assert_eq!(fresh.held_records(), 50, "a query has pinned an older snapshot");
    drop(pinned);
    fresh.step(true).await.unwrap();
    assert_eq!((fresh.held_records(), fresh.held_bytes()), (0, 0));
    assert_eq!(count(&engine).await, (50, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_begins_at_the_sinks_positions() {
    let world = World::calm().await;
    world.put(0, events(0..50)).await;
    world.flush().await;
    world.put(0, events(50..60)).await;
    let engine = world.quiet_engine(Config::default());
    assert_eq!(count(&engine).await, (60, None));
    assert_eq!(engine.fresh().unwrap().held_records(), 10);
}
