//! Answers against the truth while the real sinks flush, widen and add columns, come and go, and maintenance
//! compacts, on a log and a store in which things go wrong: the offsets that a statement sees are those of
//! the log up to some place in each partition, each once; that place never goes back, and is never before
//! what could be read when the statement was sent.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use events::headers::{self, Headers};
use events::log::memory::{Faults, MemoryLog};
use events::log::{Append, Durability, Log, NewRecord, StreamInfo, StreamSpec};
use events::schema::{Registry, SharedRegistry};
use events::{Clock, SharedStreams, Stream, SystemClock, TopicPartition};
use object_store::memory::InMemory;
use queries::fresh::{Config, Fresh};
use queries::{Engine, Viewer};
use sinks::{FlushSignal, Maintenance};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tables::Store;
use tables::faults::{FaultyStore, Rates};
use tokio_util::sync::CancellationToken;

/// How many times as many queries are asked at most until something was compacted.
const LATE: usize = 3;
const PARTITIONS: i32 = 3;
const TYPES: [&str; 3] = ["game.kill", "game.chat", "game.end"];

struct Setting {
    seed: u64,
    faults: Faults,
    rates: Rates,
    queries: usize,
}

fn stream() -> Stream {
    Stream::new("events").unwrap()
}

fn clean(partition: i32) -> TopicPartition {
    TopicPartition::new(stream().clean(), partition)
}

fn record(number: u64) -> NewRecord {
    let kind = TYPES[usize::try_from(number % 7 % 3).unwrap()];
    let headers = Headers::of([
        (headers::ID, number.to_string().as_str()),
        (headers::SOURCE, "/test"),
        (headers::TYPE, kind),
        (headers::CONTENT_TYPE, "application/json"),
        (headers::SCHEMA_VERSION, "0"),
        (headers::RAW_OFFSET, number.to_string().as_str()),
    ]);
    let payload = match number % 97 {
        0 => format!(r#"{{"n":{number},"field_{number}":"new"}}"#),
        50 => format!(r#"{{"n":{number}.5}}"#),
        _ => format!(r#"{{"n":{number}}}"#),
    };
    NewRecord { key: "k".into(), headers, payload: Some(payload.into()) }
}

/// Appends until told to stop.
async fn send(log: MemoryLog, stop: CancellationToken) {
    let mut number = 0;
    while !stop.is_cancelled() {
        let partition = i32::try_from(number % 3).unwrap();
        let records = (number..number + 1 + number % 4).map(record).collect();
        number += 1 + number % 4;
        // What is in doubt may stand: the log is what counts.
        let _ = log.append(vec![Append { to: clean(partition), records }], Durability::All).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs a sink, over and over: each is told to stop, or killed, after a while.
async fn deliver(name: &'static str, log: Arc<dyn Log>, store: Store, stop: CancellationToken) {
    let mut life = 0;
    while !stop.is_cancelled() {
        life += 1;
        let config = sinks::Config {
            flush_interval: Duration::from_millis(60),
            retry_max: Duration::from_millis(10),
            drain: Duration::from_millis(500),
            ..sinks::Config::new(stream(), format!("{name}-{life}"))
        };
        let registry = SharedRegistry::new(Registry::default());
        let (log, store, shutdown) = (log.clone(), store.clone(), CancellationToken::new());
        let clock = Arc::new(SystemClock);
        let run = sinks::run(config, log, store, registry, clock, FlushSignal::default(), shutdown.clone());
        let sink = tokio::spawn(run);
        let _ = stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(900))).await;
        if life % 2 == 0 {
            sink.abort();
        }
        shutdown.cancel();
        if let Ok(ended) = sink.await {
            ended.unwrap();
        }
    }
}

async fn compact(
    log: Arc<dyn Log>,
    store: Store,
    streams: SharedStreams,
    stop: CancellationToken,
    done: Arc<AtomicU64>,
) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = Maintenance { small_files: 4, checkpoint_every: 7, ..Maintenance::new(streams, "maintenance") };
    while !stop.is_cancelled() {
        // What fails by an injected fault is tried again by the next round.
        if let Ok(maintained) = sinks::maintain_once(&config, &log, &store, &clock).await {
            done.fetch_add(maintained.compacted, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

type Seen = BTreeMap<i32, Vec<i64>>;

/// Offsets by partition, of all tables in one statement; `None` before there are all three.
async fn seen(engine: &Engine) -> Option<Seen> {
    let parts = ["game_kill", "game_chat", "game_end"].map(|table| format!("SELECT _partition, _offset FROM {table}"));
    let viewer = Viewer { name: "test".into(), personal: true };
    let answer = match engine.query(&parts.join(" UNION ALL "), Vec::new(), &viewer).await {
        Ok(answer) => answer,
        Err(queries::Error::NoTable { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(answer.warnings(), [""; 0]);
    let mut seen: Seen = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    for batch in answer.collect().await.unwrap() {
        let partitions = batch.column(0).as_primitive::<Int32Type>();
        let offsets = batch.column(1).as_primitive::<Int64Type>();
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            seen.entry(*partition).or_default().push(*offset);
        }
    }
    seen.values_mut().for_each(|offsets| offsets.sort_unstable());
    Some(seen)
}

async fn stable(log: &MemoryLog) -> BTreeMap<i32, i64> {
    let mut ends = BTreeMap::new();
    for partition in 0..PARTITIONS {
        ends.insert(partition, log.ends(&clean(partition)).await.unwrap().last_stable);
    }
    ends
}

async fn holds(setting: Setting) {
    let Setting { seed, faults, rates, queries } = setting;
    let log = MemoryLog::with_faults(seed, faults, Arc::new(SystemClock));
    let week = Duration::from_secs(7 * 86_400);
    let spec = StreamSpec { stream: stream(), partitions: PARTITIONS, retention: week, state_retention: week };
    let info: StreamInfo = log.create_stream(&spec).await.unwrap();
    let objects: Arc<InMemory> = Arc::default();
    let url = || "memory:///lake".parse().unwrap();
    let faulty = Store::with_object_store(Arc::new(FaultyStore::new(objects.clone(), seed, rates)), url()).unwrap();
    let sound = Store::with_object_store(objects, url()).unwrap();
    let (stop, shared): (_, Arc<dyn Log>) = (CancellationToken::new(), Arc::new(log.clone()));
    let streams = SharedStreams::new(vec![info]);
    let compacted = Arc::new(AtomicU64::new(0));
    let tasks = [
        tokio::spawn(send(log.clone(), stop.clone())),
        tokio::spawn(deliver("one", shared.clone(), faulty.clone(), stop.clone())),
        tokio::spawn(deliver("two", shared.clone(), faulty.clone(), stop.clone())),
        tokio::spawn(compact(shared.clone(), faulty, streams.clone(), stop.clone(), compacted.clone())),
    ];
    let registry = SharedRegistry::new(Registry::default());
    let config = Config { wait_max: Duration::from_secs(60), ..Config::default() };
    let fresh = Fresh::new(config, shared, streams, registry.clone(), Arc::new(SystemClock));
    let reading = tokio::spawn(fresh.clone().run(stop.clone()));
    let config = queries::Config { threads: 2, ..queries::Config::default() };
    let engine = Engine::new(sound, registry, config).unwrap().with_fresh(fresh);
    let mut before: BTreeMap<i32, usize> = BTreeMap::new();
    let mut answered = 0;
    // On a busy machine compaction may come late: it is waited for, in answers, and asked for below.
    let is_compacted = || compacted.load(Ordering::SeqCst) > 0;
    while answered < queries || (!is_compacted() && answered < queries * LATE) {
        let at_least = stable(&log).await;
        let Some(seen) = seen(&engine).await else {
            assert!(before.is_empty(), "seed {seed}: a table is gone");
            continue;
        };
        answered += 1;
        for (partition, seen) in seen {
            let place = format!("seed {seed}, answer {answered}, partition {partition}");
            let truth: Vec<i64> = log.records(&clean(partition)).iter().map(|record| record.offset).collect();
            assert_eq!(seen, truth.get(..seen.len()).unwrap_or_default(), "{place}: no prefix of the log");
            assert!(seen.len() >= before.insert(partition, seen.len()).unwrap_or(0), "{place}: a step back");
            let readable = truth.iter().filter(|offset| **offset < at_least[&partition]).count();
            assert!(seen.len() >= readable, "{place}: {} of {readable} that could be read", seen.len());
        }
    }
    stop.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    reading.await.unwrap();
    assert!(is_compacted(), "seed {seed}: nothing was compacted");
    assert!(before.values().sum::<usize>() > 100, "seed {seed}: too little came for this to prove anything");
}

/// `KILLFEED_FRESH_QUERIES` asks for more.
fn queries_of(default: usize) -> usize {
    std::env::var("KILLFEED_FRESH_QUERIES").ok().and_then(|queries| queries.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_a_prefix_of_the_log_while_real_sinks_flush_and_compact() {
    let setting = Setting { seed: 1, faults: Faults::GAPS, rates: Rates::default(), queries: queries_of(100) };
    holds(setting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_a_prefix_of_the_log_while_everything_fails() {
    let rates = Rates { puts_failed: 20, puts_in_doubt: 40, reads_failed: 5 };
    holds(Setting { seed: 2, faults: Faults::STORM, rates, queries: queries_of(100) }).await;
}
