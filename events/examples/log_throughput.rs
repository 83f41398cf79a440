//! Durable events per second of processor time, on the embedded log and on bare fjall beside it.
//!
//! `cargo run --release -p events --example log_throughput [DIR] [SECONDS]`
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use events::log::embedded::{Config, EmbeddedLog};
use events::log::{Append, Durability, Log, NewRecord, ReadLimit, StreamSpec};
use events::{Headers, Stream, SystemClock, TopicPartition, headers};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Processor time of this process, user and system, in seconds: Linux counts it in ticks of 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u32 = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

fn records(count: usize) -> Vec<NewRecord> {
    let packed = Headers::of([
        (headers::ID, "0123456789abcdef"),
        (headers::TYPE, "lol.champion_kill"),
        (headers::SOURCE, "/game"),
    ]);
    let payload = bytes::Bytes::from(vec![b'x'; 1_000 - packed.len()]);
    vec![NewRecord { key: "game".into(), headers: packed, payload: Some(payload) }; count]
}

fn report(name: &str, events: u64, wall: Duration, cpu: f64) {
    let (events, wall) = (events as f64, wall.as_secs_f64());
    println!("{name:<44} {:>9.0} events/s, {:>9.0} per CPU second", events / wall, events / cpu);
}

async fn ours(dir: &Path, run: Duration, batch: usize, callers: i32) {
    let log = EmbeddedLog::open(dir, Config::default(), Arc::new(SystemClock)).unwrap();
    let day = Duration::from_secs(86_400);
    let stream = Stream::new("events").unwrap();
    let spec = StreamSpec { stream: stream.clone(), partitions: 8, retention: 7 * day, state_retention: 7 * day };
    log.create_stream(&spec).await.unwrap();
    let events = Arc::new(AtomicU64::new(0));
    let (began, cpu) = (Instant::now(), cpu_s());
    let callers = (0..callers).map(|caller| {
        let (log, events, to) = (log.clone(), events.clone(), TopicPartition::new(stream.raw(), caller % 8));
        tokio::spawn(async move {
            let fresh = records(batch);
            while began.elapsed() < run {
                let append = Append { to: to.clone(), records: fresh.clone() };
                log.append(vec![append], Durability::All).await.remove(0).unwrap();
                events.fetch_add(batch as u64, Ordering::Relaxed);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let count = callers.len();
    for caller in callers {
        caller.await.unwrap();
    }
    report(
        &format!("append {batch} x 1 KB, {count} callers"),
        events.load(Ordering::Relaxed),
        began.elapsed(),
        cpu_s() - cpu,
    );
    let (began, cpu, mut read) = (Instant::now(), cpu_s(), 0);
    for partition in 0..8 {
        let (from, mut position) = (TopicPartition::new(stream.raw(), partition), 0);
        loop {
            let found = log.read(&from, position, ReadLimit::default()).await.unwrap();
            if found.next == position {
                break;
            }
            read += found.records.len() as u64;
            position = found.next;
        }
    }
    report("  read back", read, began.elapsed(), cpu_s() - cpu);
    log.close().await;
}

fn bare(dir: &Path, run: Duration, batch: usize) {
    let db = fjall::Database::builder(dir).open().unwrap();
    let keys = db.keyspace("bare", fjall::KeyspaceCreateOptions::default).unwrap();
    let value = bytes::Bytes::from(vec![b'x'; 1_000]);
    let (began, cpu, mut events) = (Instant::now(), cpu_s(), 0u64);
    while began.elapsed() < run {
        let mut write = db.batch().durability(Some(fjall::PersistMode::SyncData));
        for _ in 0..batch {
            write.insert(&keys, events.to_be_bytes(), value.clone());
            events += 1;
        }
        write.commit().unwrap();
    }
    report(&format!("bare fjall, {batch} x 1 KB, a key per event"), events, began.elapsed(), cpu_s() - cpu);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let run = Duration::from_secs(args.next().map_or(5, |text| text.parse().unwrap()));
    for (batch, callers) in [(1, 1), (1, 64), (1, 512), (100, 8), (1_000, 4)] {
        let fresh = tempfile::tempdir_in(&dir).unwrap();
        ours(fresh.path(), run, batch, callers).await;
    }
    for batch in [1, 100, 1_000] {
        let fresh = tempfile::tempdir_in(&dir).unwrap();
        bare(fresh.path(), run, batch);
    }
}
