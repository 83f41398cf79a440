//! Rows once: zombies, overlapping flushes, races for columns and names.

use super::{Bench, event, offsets, rows, spec, stream};
use crate::recover::{self, Position};
use crate::route::Kind;
use crate::{Config, FlushSignal, check_log, run};
use arrow::array::AsArray;
use events::Stream;
use events::ledger::{Count, Entry};
use events::log::memory::MemoryLog;
use events::log::{Append, Durability, Log, NewRecord, StreamSpec};
use events::schema::{Registry, SharedRegistry};
use events::streams::{SINK_GROUP, TopicPartition};
use std::sync::Arc;
use std::time::Duration;
use tables::{DEAD_LETTERS, Store};
use tokio_util::sync::CancellationToken;

fn kills(offsets: std::ops::Range<i64>) -> Vec<events::log::Record> {
    offsets.map(|offset| event(offset, "game.kill", "p", "{\"gold\":1}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_flushes_of_two_sinks_never_double_a_row() {
    let store = Store::open("memory:///lake").unwrap();
    let (one, other) = (Bench::new(&store), Bench::new(&store));
    one.flush(0, 10, kills(0..10)).await.unwrap();
    other.flush(5, 15, kills(5..15)).await.unwrap();
    one.flush(0, 10, kills(0..10)).await.unwrap();
    let (a, b) = tokio::join!(one.flush(15, 40, kills(15..40)), other.flush(15, 30, kills(15..30)));
    a.unwrap();
    b.unwrap();
    assert_eq!(offsets(&store, "game_kill").await, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_others_deliver_from_meanwhile_is_not_behind() {
    let (log, store) = (MemoryLog::new(Arc::new(events::SystemClock)), Store::open("memory:///lake").unwrap());
    let info = log.create_stream(&spec(1)).await.unwrap();
    let (delivered_from, into, incarnation) = (log.clone(), Bench::new(&store), info.incarnation.clone());
    let delivering = tokio::spawn(async move {
        for offset in 0..100 {
            let to = TopicPartition::new(stream().clean(), 0);
            let records = vec![NewRecord { payload: Some("x".into()), ..NewRecord::default() }];
            delivered_from.append(vec![Append { to, records }], Durability::All).await.remove(0).unwrap();
            into.flush_of(&stream(), &incarnation, offset, offset + 1, kills(offset..offset + 1)).await.unwrap();
        }
    });
    while !delivering.is_finished() {
        check_log(&log, &store, &info).await.unwrap();
    }
    delivering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_died_between_two_tables_is_finished_by_the_next() {
    let store = Store::open("memory:///lake").unwrap();
    let all = |range: std::ops::Range<i64>| -> Vec<_> {
        let types = ["game.kill", "game.chat", "killfeed_x"].into_iter().cycle();
        (0..range.end).zip(types).skip_while(|(i, _)| *i < range.start).map(|(i, of)| event(i, of, "p", "{}")).collect()
    };
    let first: Vec<_> = all(0..9).into_iter().filter(|record| record.offset % 3 == 0).collect();
    Bench::new(&store).flush(0, 9, first).await.unwrap();
    Bench::new(&store).flush(0, 12, all(0..12)).await.unwrap();
    assert_eq!(offsets(&store, "game_kill").await, [0, 3, 6, 9]);
    assert_eq!(offsets(&store, "game_chat").await, [1, 4, 7, 10]);
    assert_eq!(offsets(&store, DEAD_LETTERS).await, [2, 5, 8, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_sinks_add_both_their_columns_and_lose_no_value() {
    let store = Store::open("memory:///lake").unwrap();
    let bench = Bench::new(&store);
    bench.flush(0, 1, vec![event(0, "game.kill", "p", "{\"a\":1}")]).await.unwrap();
    let (left, right) = (Bench::new(&store), Bench::new(&store));
    let (a, b) = tokio::join!(
        left.flush(1, 2, vec![event(1, "game.kill", "p", "{\"left\":2}")]),
        right.flush(
            1,
            3,
            vec![event(1, "game.kill", "p", "{\"left\":2}"), event(2, "game.kill", "p", "{\"right\":3}")]
        )
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(offsets(&store, "game_kill").await, [0, 1, 2]);
    for batch in rows(&store, "game_kill").await {
        assert!(batch.column_by_name("left").is_some() && batch.column_by_name("right").is_some());
        assert_eq!(batch.column_by_name("extra").unwrap().null_count(), batch.num_rows(), "nothing went to extra");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_belongs_to_the_type_that_came_first() {
    let store = Store::open("memory:///lake").unwrap();
    let bench = Bench::new(&store);
    bench.flush(0, 1, vec![event(0, "game.kill", "p", "{}")]).await.unwrap();
    bench.flush(1, 3, vec![event(1, "game/kill", "p", "{}"), event(2, "game.kill", "p", "{}")]).await.unwrap();
    assert_eq!(offsets(&store, "game_kill").await, [0, 2]);
    let dead = rows(&store, DEAD_LETTERS).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].column_by_name("reason").unwrap().as_string::<i32>().value(0), "table_name_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_too_long_for_a_folder_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().to_str().unwrap()).unwrap();
    let bench = Bench::new(&store);
    bench.flush(0, 2, vec![event(0, &"x".repeat(2_000), "p", "{}"), event(1, "game.kill", "p", "{}")]).await.unwrap();
    assert_eq!(offsets(&store, "game_kill").await, [1]);
    let dead = rows(&store, DEAD_LETTERS).await;
    assert_eq!(dead[0].column_by_name("reason").unwrap().as_string::<i32>().value(0), "table_name_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_is_rebuilt_from_the_ledger() {
    let store = Store::open("memory:///lake").unwrap();
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Arc::new(super::clock())));
    let info = log.create_stream(&spec(2)).await.unwrap();
    let of = TopicPartition::new(stream().clean(), 1);
    let position = async || recover::position(log.as_ref(), &store, &info, &of, Kind::Clean).await.unwrap();
    assert_eq!(position().await, Position { at: 0, is_rebuilt: false }, "a new partition");
    for (to, incarnation) in [(7, info.incarnation.as_ref()), (12, info.incarnation.as_ref()), (99, "another")] {
        let count = Count::Sink { topic: "events.clean".into(), from: 0, to, records: 1, rows: Default::default() };
        let entry = Entry {
            id: "e".into(),
            time_us: 0,
            instance: "i".into(),
            stream: "events".into(),
            incarnation: incarnation.into(),
            partition: 1,
            count,
        };
        let append = Append { to: entry.destination(&stream()), records: vec![entry.to_record().unwrap()] };
        log.append(vec![append], Durability::All).await.pop().unwrap().unwrap();
    }
    assert_eq!(position().await, Position { at: 12, is_rebuilt: true });
    // The group is told, though nothing new comes.
    let records = vec![NewRecord { payload: Some("{}".into()), ..NewRecord::default() }; 12];
    log.append(vec![Append { to: of.clone(), records }], Durability::All).await.pop().unwrap().unwrap();
    let config = Config { flush_interval: Duration::from_millis(20), ..Config::new(stream(), "sink") };
    let (registry, shutdown) = (SharedRegistry::new(Registry::default()), CancellationToken::new());
    let clock = Arc::new(super::clock());
    let sink = run(config, log.clone(), store.clone(), registry, clock, FlushSignal::default(), shutdown.clone());
    let sink = tokio::spawn(sink);
    let told = async {
        while log.committed(SINK_GROUP, &of).await.unwrap() != Some(12) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), told).await.is_ok(), "the group was never told");
    shutdown.cancel();
    sink.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_of_two_streams_in_one_process_leave_each_other_alone() {
    let store = Store::open("memory:///lake").unwrap();
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Arc::new(super::clock())));
    let (shutdown, mut sinks) = (CancellationToken::new(), Vec::new());
    for name in ["one", "other"] {
        let stream = Stream::new(name).unwrap();
        log.create_stream(&StreamSpec { stream: stream.clone(), ..spec(1) }).await.unwrap();
        let config = Config { flush_interval: Duration::from_millis(5), ..Config::new(stream.clone(), "process") };
        let health = config.health.clone();
        let (registry, clock) = (SharedRegistry::new(Registry::default()), Arc::new(super::clock()));
        let flush = FlushSignal::default();
        let sink = run(config, log.clone(), store.clone(), registry, clock, flush, shutdown.clone());
        sinks.push((TopicPartition::new(stream.clean(), 0), health, tokio::spawn(sink)));
    }
    for round in 1..=3 {
        for (clean, health, _) in &sinks {
            let event = event(0, "game.kill", "p", "{}");
            let records = vec![NewRecord { key: event.key, headers: event.headers, payload: event.payload }];
            log.append(vec![Append { to: clean.clone(), records }], Durability::All).await.pop().unwrap().unwrap();
            let delivered = async {
                while log.committed(SINK_GROUP, clean).await.unwrap() != Some(round) {
                    assert_eq!(health.trouble(), None, "{clean}, round {round}");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(30), delivered).await.is_ok(), "{clean}, round {round}");
        }
    }
    shutdown.cancel();
    for (_, _, sink) in sinks {
        sink.await.unwrap().unwrap();
    }
}
