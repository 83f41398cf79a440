//! The laws of the log as checks that any implementation must pass: call [`all`] from a test, or
//! [`laws`] where the log has a clock of its own and members in other processes.
//!
//! Each check gets a fresh log from the factory, with a clock that stands still until the check moves
//! it. No check counts on density of offsets, or on a record being readable at once: logs with gaps
//! and with foreign transactions pass, too. A broken law is a panic that says which.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this is test code that other crates may call")]

mod appending;
mod groups;
mod growing;
mod reading;
mod transactions;

use super::{
    Append, Appended, Durability, Generation, Log, Member, NewRecord, Offset, Poll, ReadLimit, Record, Result,
    StreamSpec,
};
use crate::clock::ManualClock;
use crate::headers::{self, Headers};
use crate::streams::{Stream, TopicPartition};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Makes a fresh, empty log on the clock given.
pub type Factory<'a> = &'a (dyn Fn(ManualClock) -> BoxFuture<'static, Arc<dyn Log>> + Sync);

/// Waits that should be ended by an event take at most this long: three times the session of the slowest
/// log, Kafka's, after which a member that is silent is put out.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one poll waits.
const SLICE: Duration = Duration::from_millis(20);
/// Partitions of the stream that checks use.
const PARTITIONS: i32 = 3;
/// Where checks' clocks begin: µs since the epoch.
const BEGIN_US: i64 = 1_700_000_000_000_000;

/// Every law, and what a log within one process can promise beyond: its time is the clock's, and a group
/// has moved on as soon as somebody joins.
pub async fn all(factory: Factory<'_>) {
    laws(factory).await;
    appending::time_is_the_clocks(factory).await;
    groups::whoever_joins_ends_the_generation(factory).await;
}

/// Every law.
pub async fn laws(factory: Factory<'_>) {
    appending::all(factory).await;
    reading::all(factory).await;
    groups::all(factory).await;
    transactions::all(factory).await;
    growing::all(factory).await;
}

/// A fresh log with one stream on it.
struct Bench {
    log: Arc<dyn Log>,
    clock: ManualClock,
    stream: Stream,
}

impl Bench {
    async fn new(factory: Factory<'_>) -> Self {
        let clock = ManualClock::at(BEGIN_US);
        let log = factory(clock.clone()).await;
        let stream = Stream::new("events").unwrap();
        log.create_stream(&spec(&stream, PARTITIONS)).await.expect("a stream is made");
        Self { log, clock, stream }
    }

    fn raw(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.stream.raw(), partition)
    }

    fn clean(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.stream.clean(), partition)
    }

    async fn append(&self, to: &TopicPartition, names: &[&str]) -> Appended {
        let append = append(to, names);
        self.log.append(vec![append], Durability::All).await.remove(0).expect("an append succeeds")
    }

    /// Reads `count` records from `position` on; panics if they don't come.
    async fn read(&self, from: &TopicPartition, position: Offset, count: usize) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        let mut next = position;
        for _ in 0..1_000 {
            let batch = self.log.read(from, next, ReadLimit::default()).await.expect("a read in range succeeds");
            assert_eq!(batch.position, next, "a batch says where it was read from");
            assert!(batch.next >= next && batch.records.iter().all(|record| record.offset >= next));
            next = batch.next;
            records.extend(batch.records);
            if records.len() >= count {
                break;
            }
        }
        assert_eq!(names(&records).len(), count, "records of {from} from {position} on: {:?}", names(&records));
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset), "offsets strictly increase");
        assert!(records.is_sorted_by_key(|record| record.time_ms), "time never goes back");
        records
    }

    async fn join(&self, topics: &[Arc<str>], name: &str) -> Box<dyn Member> {
        self.log.join("readers", topics, name).await.expect("a member joins")
    }
}

fn spec(stream: &Stream, partitions: i32) -> StreamSpec {
    let day = Duration::from_secs(24 * 3_600);
    StreamSpec { stream: stream.clone(), partitions, retention: 7 * day, state_retention: 2 * day }
}

fn record(name: &str) -> NewRecord {
    let headers = Headers::of([(headers::ID, name), (headers::TYPE, "test")]);
    NewRecord { key: name.as_bytes().to_vec().into(), headers, payload: Some(format!("{{\"{name}\":1}}").into()) }
}

fn append(to: &TopicPartition, names: &[&str]) -> Append {
    Append { to: to.clone(), records: names.iter().map(|name| record(name)).collect() }
}

fn names(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.headers.get_str(headers::ID).unwrap_or("?")).collect()
}

/// Polls until the member is assigned something; what it is told before is returned, too.
async fn assigned(member: &mut dyn Member) -> Vec<TopicPartition> {
    match told(member).await {
        Poll::Assigned(partitions) => partitions,
        other => panic!("an assignment was due, and {other:?} came"),
    }
}

/// The next poll that says something. It asks anew every now and then: a foreign transaction that
/// holds readers back may end without a sign.
async fn told(member: &mut dyn Member) -> Poll {
    for _ in 0..PATIENCE.as_millis() / SLICE.as_millis() {
        match member.poll(ReadLimit::default(), SLICE).await.expect("a poll succeeds") {
            Poll::Idle => {}
            told => return told,
        }
    }
    panic!("nothing came within {PATIENCE:?}")
}

/// Polls records until there are `count`.
async fn polled(member: &mut dyn Member, count: usize) -> Vec<(TopicPartition, Record)> {
    let mut found = Vec::new();
    while found.len() < count {
        match told(member).await {
            Poll::Batches(batches) => {
                for batch in batches {
                    assert!(batch.next > batch.position, "a batch that is handed out moves the position");
                    found.extend(batch.records.into_iter().map(|record| (batch.from.clone(), record)));
                }
            }
            other => panic!("records were due, and {other:?} came"),
        }
    }
    found
}

/// Nothing is to be said to this member now.
async fn silent(member: &mut dyn Member, why: &str) {
    let poll = member.poll(ReadLimit::default(), Duration::ZERO).await.expect("a poll succeeds");
    assert_eq!(poll, Poll::Idle, "{why}");
}
