//! A store that is down for long: the sink holds what fits a flush or two, says why it waits, and goes
//! on where it was.

use super::{clock, event, offsets, spec, stream};
use crate::{Config, FlushSignal, run};
use events::Clock;
use events::log::memory::MemoryLog;
use events::log::{Append, Durability, Log, NewRecord};
use events::schema::{Registry, SharedRegistry};
use events::streams::{SINK_GROUP, TopicPartition};
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tables::faults::{FaultyStore, Rates};
use tokio_util::sync::CancellationToken;

const FLUSH_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

async fn append(log: &dyn Log, clean: &TopicPartition, from: i64, to: i64) {
    let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000));
    let record = |offset| {
        let event = event(offset, "game.chat", "p", &payload);
        NewRecord { key: event.key, headers: event.headers, payload: event.payload }
    };
    let append = Append { to: clean.clone(), records: (from..to).map(record).collect() };
    log.append(vec![append], Durability::All).await.pop().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_stops_the_reading_and_loses_nothing() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Arc::new(clock())));
    log.create_stream(&spec(1)).await.unwrap();
    let clean = TopicPartition::new(stream().clean(), 0);
    let faulty = FaultyStore::new(Arc::new(InMemory::new()), 1, Rates::default());
    let store = Store::with_object_store(Arc::new(faulty.clone()), "memory:///lake".parse().unwrap()).unwrap();
    let config = Config {
        flush_interval: Duration::from_millis(20),
        flush_bytes: FLUSH_BYTES,
        retry_max: Duration::from_millis(20),
        ..Config::new(stream(), "sink")
    };
    let (health, flush, shutdown) = (config.health.clone(), FlushSignal::default(), CancellationToken::new());
    let (registry, clock): (_, Arc<dyn Clock>) = (SharedRegistry::new(Registry::default()), Arc::new(clock()));
    let running = tokio::spawn(run(config, log.clone(), store.clone(), registry, clock, flush, shutdown.clone()));
    let committed = async || log.committed(SINK_GROUP, &clean).await.unwrap().unwrap_or(0);

    append(log.as_ref(), &clean, 0, 100).await;
    until("a first flush", async || committed().await == 100).await;
    faulty.set_down(true);
    // Some forty flushes' worth.
    for round in 0..100 {
        append(log.as_ref(), &clean, 100 + round * 100, 200 + round * 100).await;
        assert!(health.held_bytes() < 4 * FLUSH_BYTES, "{} bytes are held", health.held_bytes());
        tokio::task::yield_now().await;
    }
    until("its buffers are full", async || health.held_bytes() > FLUSH_BYTES).await;
    until("it says why", async || health.trouble().is_some_and(|trouble| trouble.contains("is down"))).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(health.held_bytes() < 4 * FLUSH_BYTES, "{} bytes are held", health.held_bytes());
    }
    assert_eq!(committed().await, 100, "nothing moves");
    faulty.set_down(false);
    until("all of it", async || committed().await == 10_100).await;
    until("it is well again", async || health.is_well()).await;
    assert_eq!(offsets(&store, "game_chat").await, (0..10_100).collect::<Vec<_>>());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
