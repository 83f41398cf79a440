//! The log on a real Kafka: against the laws, and against what only a cluster does.
//!
//! `make test` fetches Kafka's jars first. Without Java, or without the jars and a way to fetch them,
//! these tests fail and say so.
#![expect(clippy::unwrap_used, reason = "a failed test is a panic")]

mod aborted;
mod conformance;
mod copier;
mod deleted;
mod growing;
mod killed;
mod outages;
mod topics;

use chaos::Cluster;
use events::log::{Append, Durability, Log, NewRecord, Offset, ReadLimit, Record, StreamSpec};
use events::{Stream, TopicPartition};
use kafka_log::{Config, KafkaLog};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Held by tests on the shared node together, by a test with nodes of its own alone: one cluster at work
/// at a time is what a small machine has room for.
static TURN: RwLock<()> = RwLock::const_new(());

/// A cluster of the test's own, alone on the machine.
async fn alone(nodes: usize) -> (Cluster, RwLockWriteGuard<'static, ()>) {
    let turn = TURN.write().await;
    (Cluster::start(nodes), turn)
}

/// One node that tests share which don't harm it. It ends with the process.
async fn shared() -> (&'static Cluster, RwLockReadGuard<'static, ()>) {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    let turn = TURN.read().await;
    (SHARED.get_or_init(|| Cluster::start(1)), turn)
}

/// How a log finds the cluster; each call names things apart from all others.
fn config(cluster: &Cluster) -> Config {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("t{}-", COUNT.fetch_add(1, Ordering::Relaxed));
    Config { prefix, single_node: cluster.nodes == 1, ..Config::new(cluster.brokers.clone()) }
}

/// A log on topics of its own.
fn log(cluster: &Cluster) -> KafkaLog {
    KafkaLog::new(config(cluster)).unwrap()
}

fn stream() -> Stream {
    Stream::new("events").unwrap()
}

fn raw(partition: i32) -> TopicPartition {
    TopicPartition::new(stream().raw(), partition)
}

fn clean(partition: i32) -> TopicPartition {
    TopicPartition::new(stream().clean(), partition)
}

fn spec(partitions: i32) -> StreamSpec {
    let day = Duration::from_secs(24 * 3_600);
    StreamSpec { stream: stream(), partitions, retention: 7 * day, state_retention: 14 * day }
}

fn append(to: &TopicPartition, texts: &[String]) -> Append {
    let record = |text: &String| NewRecord { payload: Some(text.clone().into()), ..NewRecord::default() };
    Append { to: to.clone(), records: texts.iter().map(record).collect() }
}

async fn put(log: &dyn Log, to: &TopicPartition, texts: &[String]) -> events::log::Result<Offset> {
    Ok(log.append(vec![append(to, texts)], Durability::All).await.remove(0)?.first)
}

/// All that is to be read of a partition.
async fn read_all(log: &dyn Log, of: &TopicPartition) -> Vec<Record> {
    let (mut records, mut position) = (Vec::new(), 0);
    loop {
        let batch = log.read(of, position, ReadLimit::default()).await.unwrap();
        if batch.next == position {
            return records;
        }
        position = batch.next;
        records.extend(batch.records);
    }
}

fn text(record: &Record) -> &str {
    std::str::from_utf8(record.payload.as_deref().unwrap_or_default()).unwrap()
}

/// One line on standard output, at once: what a child of a test tells its parent.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say(line: &str) {
    println!("{line}");
}
