//! The log on a real Kafka: against the laws, and against what only a cluster does.
//!
//! `make test` fetches Kafka's jars first. Without Java, or without the jars and a way to fetch them,
//! these tests fail and say so.
#![expect(clippy::unwrap_used, reason = "a failed test is a panic")]

mod cluster;
mod conformance;
mod copier;
mod deleted;
mod killed;
mod outages;
mod topics;

use events::log::{Append, Durability, Log, NewRecord, Offset, ReadLimit, Record, StreamSpec};
use events::{Stream, TopicPartition};
use std::time::Duration;

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
