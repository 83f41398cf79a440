//! How long a new owner takes to read 10 million live fingerprints, from the memory log and from the
//! embedded one.
//!
//! `cargo run --release -p processors --example takeover [MILLIONS_OF_FINGERPRINTS]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may fail")]

use events::clock::{Clock, SystemClock};
use events::log::embedded::{Config, EmbeddedLog};
use events::log::memory::MemoryLog;
use events::log::{Append, Durability, Log, NewRecord, Poll, ReadLimit, StreamInfo, StreamSpec};
use events::streams::{PROCESSOR_GROUP, Stream, TopicPartition};
use processors::recover::recover;
use processors::spill::Scratch;
use processors::state::{ENTRIES_MAX, Entry, Head, pack};
use processors::window::{Budget, Window};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);
/// An odd number with its bits well spread: multiples of it never meet.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Writes state records of `fingerprints` admissions up to now, and commits where they end.
async fn prepare(log: &dyn Log, fingerprints: u64) -> StreamInfo {
    let stream = Stream::new("events").unwrap();
    let spec = StreamSpec { stream, partitions: 1, retention: 7 * DAY, state_retention: 7 * DAY };
    let info = log.create_stream(&spec).await.unwrap();
    let time_ms = SystemClock.now_ms();
    let mut from = 0;
    while from < fingerprints {
        let to = fingerprints.min(from + ENTRIES_MAX as u64);
        let entry = |number: u64| Entry {
            fingerprint: SPREAD.wrapping_mul(number.into()),
            payload_hash: number,
            key_hash: 7,
            time_ms,
            window_ms: 86_400_000,
        };
        let offset = |number: u64| i64::try_from(number).unwrap();
        let admitted: Vec<_> = (from..to).map(|number| (offset(number), entry(number))).collect();
        let (from_offset, to_offset) = (offset(from), offset(to));
        let incarnation = &info.incarnation;
        let head = Head { incarnation, from: from_offset, to: to_offset, time_ms, horizon_ms: 86_400_000 };
        let records = pack(head, &admitted).into_iter();
        let records = records.map(|payload| NewRecord { payload: Some(payload), ..NewRecord::default() }).collect();
        let append = Append { to: TopicPartition::new(info.stream.state(), 0), records };
        log.append(vec![append], Durability::All).await.remove(0).unwrap();
        from = to;
    }
    let mut member = log.join(PROCESSOR_GROUP, &[info.stream.raw()], "prepare").await.unwrap();
    assert!(matches!(member.poll(ReadLimit::default(), Duration::ZERO).await.unwrap(), Poll::Assigned(_)));
    let position = i64::try_from(fingerprints).unwrap();
    member.commit(&[(TopicPartition::new(info.stream.raw(), 0), position)]).await.unwrap();
    info
}

#[tokio::main]
async fn main() {
    let millions: u64 = std::env::args().nth(1).map_or(10, |text| text.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("killfeed-takeover-{}", std::process::id()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let embedded = EmbeddedLog::open(dir.join("log"), Config::default(), clock.clone()).unwrap();
    let logs: [(&str, Arc<dyn Log>); 2] =
        [("memory", Arc::new(MemoryLog::new(clock))), ("embedded", Arc::new(embedded))];
    for (name, log) in logs {
        let info = prepare(&*log, millions * 1_000_000).await;
        let scratch = Scratch::new(dir.join("scratch")).unwrap();
        let window = || Window::new("raw/0", Budget::new(usize::MAX), scratch.clone());
        let started = Instant::now();
        let recovered = recover(&*log, &info, 0, &SystemClock, window).await.unwrap();
        let took = started.elapsed();
        let window = recovered.partition.window();
        println!("{name}: {} fingerprints in {took:.2?}, {} MB of memory", window.len(), window.bytes() >> 20);
    }
    std::fs::remove_dir_all(dir).unwrap();
}
