//! The log from outside: every implementation against the laws, against a model, and against kills,
//! full disks and damaged files.
#![expect(clippy::unwrap_used, reason = "a failed test is a panic")]

mod conformance;
mod crash;
mod damage;
mod full;
mod model;
mod retention;

use events::log::embedded::{Config, EmbeddedLog};
use events::log::{Append, Durability, Log, NewRecord, Offset, ReadLimit, Record, StreamSpec};
use events::{Clock, ManualClock, Stream, TopicPartition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

fn clock() -> ManualClock {
    ManualClock::at(1_700_000_000_000_000)
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

async fn open(dir: &Path, config: Config, clock: &ManualClock) -> EmbeddedLog {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let log = EmbeddedLog::open(dir, config, clock).unwrap();
    log.create_stream(&spec(2)).await.unwrap();
    log
}

fn record(payload: impl Into<bytes::Bytes>) -> NewRecord {
    NewRecord { payload: Some(payload.into()), ..NewRecord::default() }
}

fn append(to: &TopicPartition, payload: impl Into<bytes::Bytes>) -> Append {
    Append { to: to.clone(), records: vec![record(payload)] }
}

async fn put(log: &dyn Log, to: &TopicPartition, payload: impl Into<bytes::Bytes>) -> events::log::Result<Offset> {
    Ok(log.append(vec![append(to, payload)], Durability::All).await.remove(0)?.first)
}

async fn read_all(log: &dyn Log, from: &TopicPartition) -> Vec<Record> {
    let mut position = log.ends(from).await.unwrap().start;
    let mut records = Vec::new();
    loop {
        let batch = log.read(from, position, ReadLimit::default()).await.unwrap();
        records.extend(batch.records);
        if batch.next == position {
            return records;
        }
        position = batch.next;
    }
}

fn text(record: &Record) -> &str {
    std::str::from_utf8(record.payload.as_deref().unwrap()).unwrap()
}
