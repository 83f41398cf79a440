//! Tables rearranged, emptied and widened beside appends.

use super::{Bench, clock, event, floats, offsets, rows, spec, stream};
use crate::{Maintenance, apply, forget, maintain_once};
use events::ledger::{Count, Entry};
use events::log::memory::MemoryLog;
use events::log::{Log, ReadLimit, StreamSpec};
use events::streams::TopicPartition;
use events::{ManualClock, SharedStreams, Stream};
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;
use tables::faults::{FaultyStore, Rates};
use tables::{Store, files, removal_app_id};

async fn setting() -> (Store, Arc<dyn Log>, Maintenance, ManualClock) {
    let clock = clock();
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Arc::new(clock.clone())));
    let streams = SharedStreams::new(vec![log.create_stream(&spec(1)).await.unwrap()]);
    let config = Maintenance { small_files: 4, checkpoint_every: 10, ..Maintenance::new(streams, "m") };
    (Store::open("memory:///lake").unwrap(), log, config, clock)
}

async fn removals(log: &Arc<dyn Log>) -> Vec<(String, u64)> {
    removals_of(log, &stream()).await
}

async fn removals_of(log: &Arc<dyn Log>, stream: &Stream) -> Vec<(String, u64)> {
    let batch = log.read(&TopicPartition::new(stream.ledger(), 0), 0, ReadLimit::default()).await.unwrap();
    let entries = batch.records.iter().map(|record| Entry::from_payload(record.payload.as_deref().unwrap()).unwrap());
    let removal = |entry: Entry| match entry.count {
        Count::Removal { removal, rows, .. } => Some((removal, rows.values().sum())),
        _ => None,
    };
    entries.filter_map(removal).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_and_checkpoints_beside_appends_keep_each_row_once() {
    let (store, log, config, clock) = setting().await;
    let bench = Bench::new(&store);
    let appends = tokio::spawn({
        let bench = bench.clone();
        async move {
            for i in 0..40 {
                bench.flush(i, i + 1, vec![event(i, "game.kill", "p", "{}")]).await.unwrap();
            }
        }
    });
    let clock: Arc<dyn events::Clock> = Arc::new(clock);
    let mut compacted = 0;
    while !appends.is_finished() {
        compacted += maintain_once(&config, &log, &store, &clock).await.unwrap().compacted;
        tokio::task::yield_now().await;
    }
    appends.await.unwrap();
    compacted += maintain_once(&config, &log, &store, &clock).await.unwrap().compacted;
    assert!(compacted > 0);
    assert_eq!(offsets(&store, "game_kill").await, (0..40).collect::<Vec<_>>());
    let (table, head) = Store::open_table(&store, "game_kill").await.unwrap().unwrap();
    assert!(files::live(&table).unwrap().len() < 10, "few files remain");
    assert_eq!(head.txn(&tables::app_id("inc", "events.clean", 0)), Some(40), "transactions outlive a checkpoint");
    // A fresh process reads the transactions from the checkpoint.
    let again = Store::with_object_store(store.object_store().clone(), store.url().clone()).unwrap();
    let head = again.head("game_kill").await.unwrap().unwrap();
    assert_eq!(head.txn(&tables::app_id("inc", "events.clean", 0)), Some(40));
}

/// What stands before the store may deliver a put twice: the second is told that the version is taken, by
/// ourselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_delivered_twice_is_known_as_our_own() {
    let (_, log, config, clock) = setting().await;
    let faulty = FaultyStore::new(Arc::new(InMemory::new()), 1, Rates::default());
    let store = Store::with_object_store(Arc::new(faulty.clone()), "memory:///lake".parse().unwrap()).unwrap();
    let bench = Bench::new(&store);
    faulty.set_repeating(true);
    for i in 0..8 {
        bench.flush(i, i + 1, vec![event(i, "game.kill", "p", "{}")]).await.unwrap();
    }
    let clock: Arc<dyn events::Clock> = Arc::new(clock);
    let done = maintain_once(&config, &log, &store, &clock).await.unwrap();
    assert!(done.compacted >= 8, "{done:?}");
    assert_eq!(offsets(&store, "game_kill").await, (0..8).collect::<Vec<_>>());
    let forgotten = forget(&config, &log, &store, &clock, "p").await.unwrap();
    assert_eq!(forgotten.rows, [("game_kill".to_owned(), 8)].into());
    assert_eq!(removals(&log).await.len(), 1, "taken out in one try");
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_takes_what_compaction_left_only_after_its_retention() {
    let (store, log, config, clock) = setting().await;
    let bench = Bench::new(&store);
    for i in 0..8 {
        bench.flush(i, i + 1, vec![event(i, "game.kill", "p", "{}")]).await.unwrap();
    }
    let shared: Arc<dyn events::Clock> = Arc::new(clock.clone());
    let done = maintain_once(&config, &log, &store, &shared).await.unwrap();
    assert!(done.compacted >= 8 && done.vacuumed == 0, "{done:?}");
    clock.advance_us(2 * 3_600_000_000);
    let done = maintain_once(&config, &log, &store, &shared).await.unwrap();
    assert_eq!(done.vacuumed, 8, "{done:?}");
    assert_eq!(offsets(&store, "game_kill").await, (0..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_player_is_gone_and_the_ledger_counts_it() {
    let (store, log, config, clock) = setting().await;
    let bench = Bench::new(&store);
    let players = ["ann", "bob"].into_iter().cycle();
    let records = (0..10).zip(players).map(|(i, player)| event(i, "game.kill", player, "{}")).collect();
    bench.flush(0, 10, records).await.unwrap();
    bench.flush(10, 11, vec![event(10, "game.kill", "bob", "{no json")]).await.unwrap();
    let clock: Arc<dyn events::Clock> = Arc::new(clock);
    let forgotten = forget(&config, &log, &store, &clock, "bob").await.unwrap();
    assert_eq!(forgotten.rows, [("dead_letters".to_owned(), 1), ("game_kill".to_owned(), 5)].into());
    assert_eq!(offsets(&store, "game_kill").await, [0, 2, 4, 6, 8]);
    assert!(rows(&store, "dead_letters").await.is_empty());
    let counted = removals(&log).await;
    assert_eq!(counted.iter().map(|(_, rows)| rows).sum::<u64>(), 6);
    for (table, rows) in [("game_kill", 5), ("dead_letters", 1)] {
        let head = store.head(table).await.unwrap().unwrap();
        let stands = counted.iter().find(|(removal, _)| head.txn(&removal_app_id(removal)).is_some());
        assert_eq!(stands.map(|(_, rows)| *rows), Some(rows), "{table}");
    }
    let again = forget(&config, &log, &store, &clock, "bob").await.unwrap();
    assert!(again.rows.is_empty() && again.files_until_us.is_none());
    assert_eq!(removals(&log).await.len(), counted.len(), "nothing to count the second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_s_removals_stand_in_its_own_ledger() {
    let (store, log, config, clock) = setting().await;
    let combat = Stream::new("combat").unwrap();
    let info = log.create_stream(&StreamSpec { stream: combat.clone(), ..spec(1) }).await.unwrap();
    config.streams.put(info.clone());
    let bench = Bench::new(&store);
    bench.flush(0, 3, (0..3).map(|i| event(i, "game.kill", "bob", "{}")).collect()).await.unwrap();
    let own = (0..2).map(|i| event(i, "fight.hit", "bob", "{}")).collect();
    bench.flush_of(&combat, &info.incarnation, 0, 2, own).await.unwrap();
    let clock: Arc<dyn events::Clock> = Arc::new(clock);
    assert_eq!(forget(&config, &log, &store, &clock, "bob").await.unwrap().rows.len(), 2);
    let of = async |stream: &Stream| removals_of(&log, stream).await.into_iter().map(|(_, rows)| rows).sum::<u64>();
    assert_eq!((of(&stream()).await, of(&combat).await), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_past_their_keep_are_removed_and_counted() {
    let (store, log, config, clock) = setting().await;
    Bench::new(&store).flush(0, 3, (0..3).map(|i| event(i, "game.kill", "p", "{}")).collect()).await.unwrap();
    let received = chrono::DateTime::parse_from_rfc3339("2026-03-04T00:00:00Z").unwrap().timestamp_micros();
    let shared: Arc<dyn events::Clock> = Arc::new(ManualClock::at(received + 7 * 86_400_000_000));
    let config = Maintenance { keep_days: Some(7), ..config };
    assert_eq!(maintain_once(&config, &log, &store, &shared).await.unwrap().removed, 0, "seven days are kept");
    drop(clock);
    let shared: Arc<dyn events::Clock> = Arc::new(ManualClock::at(received + 8 * 86_400_000_000));
    assert_eq!(maintain_once(&config, &log, &store, &shared).await.unwrap().removed, 3);
    assert!(offsets(&store, "game_kill").await.is_empty());
    assert_eq!(removals(&log).await.iter().map(|(_, rows)| rows).sum::<u64>(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_widened_with_its_values_while_a_sink_appends() {
    let store = Store::open("memory:///lake").unwrap();
    let bench = Bench::new(&store);
    bench.flush(0, 1, vec![event(0, "net.ping", "p", "{\"ms\":1,\"deep\":{\"loss\":2}}")]).await.unwrap();
    bench.flush(1, 2, vec![event(1, "net.ping", "p", "{\"ms\":1.5,\"deep\":{\"loss\":0.25}}")]).await.unwrap();
    let appends = tokio::spawn({
        let bench = bench.clone();
        async move {
            for i in 2..12 {
                bench.flush(i, i + 1, vec![event(i, "net.ping", "p", "{\"ms\":0.5}")]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let applied = apply(&store, "net.ping").await.unwrap();
    assert_eq!(applied.columns, ["ms", "deep.loss"]);
    appends.await.unwrap();
    assert_eq!(floats(&store, "net_ping", "ms").await, (2.5 + 10.0 * 0.5, 12));
    assert_eq!(offsets(&store, "net_ping").await, (0..12).collect::<Vec<_>>());
    for batch in rows(&store, "net_ping").await {
        let extra = batch.column_by_name("extra").unwrap();
        assert_eq!(extra.null_count(), extra.len(), "everything is back from extra");
    }
    assert!(apply(&store, "net.ping").await.unwrap().columns.is_empty(), "nothing left to do");
}
