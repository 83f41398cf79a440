//! The pure processing step, with addresses met before and not, and the loop around it on the
//! embedded log, beside a bare copy from log to log.

use crate::filled::{self, Filled};
use crate::table::{Row, print};
use crate::{cpu, records, samples};
use anyhow::Context;
use events::log::{Append, Batch, Poll, ReadLimit, Record, Step};
use events::schema::{DEDUPE_WINDOW_DEFAULT, SharedRegistry};
use events::streams::{PROCESSOR_GROUP, Stream};
use events::{SystemClock, TopicPartition};
use processors::enrich::{Databases, Enricher};
use processors::partition::Partition;
use processors::route::Router;
use processors::spill::Scratch;
use processors::step::{Stage, process};
use processors::window::{Budget, Claim, Window};
use rand::RngCore;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Fingerprints that are live while the pure step is measured.
const LIVE: usize = 10_000_000;
/// Events of the pure step; their payloads have some 200 B, the whole event 0.3 KB and more.
const PURE: usize = 1_500_000;
/// Events of the loop.
const LOOPED: u64 = 600_000;
/// Events in one batch.
const BATCH: usize = 4_096;
/// Payload of an event of 0.3 KB, beside its attributes.
pub(crate) const PAYLOAD_BYTES: usize = 200;
/// How often the position is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs both.
pub(crate) fn run() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let warm = pure(dir.path(), false)?;
    let cold = pure(dir.path(), true)?;
    let row = |what: &str, ours, note: &str| Row { what: what.into(), ours, limit: None, note: note.into() };
    print(
        "The pure step: 0.3 KB, ten million live fingerprints",
        "events per CPU-second",
        &[
            row("addresses met before", warm, "one core"),
            row("every address new", cold, "each looked up in the database"),
        ],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let copied = runtime.block_on(looped(true))?;
    let processed = runtime.block_on(looped(false))?;
    print(
        "The processor on the embedded log",
        "events per CPU-second",
        &[Row {
            what: "raw to clean, fsynced steps".into(),
            ours: processed,
            limit: Some(copied),
            note: "the limit copies raw to clean in the same transactions, and looks at nothing".into(),
        }],
    );
    Ok(())
}

fn pure(dir: &Path, cold: bool) -> anyhow::Result<f64> {
    let geoip = dir.join("generated.mmdb");
    if !geoip.exists() {
        gamegen::write_geoip(&geoip)?;
    }
    let mut random = samples::random();
    let budget = Budget::new(4 << 30);
    let mut window = Window::new("bench", budget, Scratch::new(dir.join("scratch"))?);
    let window_ms = i64::try_from(DEDUPE_WINDOW_DEFAULT.as_millis())?;
    let now_ms = 1_769_734_876_000;
    window.restore(
        (0..LIVE).map(|_| Claim {
            fingerprint: (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64()),
            payload_hash: random.next_u64(),
            expires_ms: now_ms + window_ms,
        }),
        now_ms,
    );
    let mut partition = Partition::new(window);
    let enricher = Enricher::new(Databases::open(&[geoip]), processors::AddressPolicy::Drop, 131_072);
    let mut stage = Stage::new(Router::new(SharedRegistry::default(), true), enricher);
    let mut batches = Vec::new();
    for first in (0..PURE as u64).step_by(BATCH) {
        let records: Vec<Record> = (first..first + BATCH as u64)
            .map(|id| {
                let mut new = records::raw(&mut random, id, PAYLOAD_BYTES);
                if cold {
                    let address = format!("198.18.{}.{}", (id >> 8) & 0xff, id & 0xff);
                    let address = if id % 2 == 0 { address } else { format!("2001:db8::{id:x}") };
                    let kept = new.headers.iter().filter(|(name, _)| *name != b"ce_clientaddress");
                    let mut builder = events::HeadersBuilder::default();
                    for (name, value) in kept {
                        builder.push(&String::from_utf8_lossy(name), value);
                    }
                    builder.push("ce_clientaddress", address.as_bytes());
                    new.headers = builder.build();
                }
                let mut record = records::stored(new, id as i64);
                record.time_ms = now_ms;
                record
            })
            .collect();
        let from = TopicPartition::new("events.raw", 0);
        let next = first as i64 + BATCH as i64;
        batches.push(Batch { from, position: first as i64, records, next });
    }
    let mut rest = batches.split_off(batches.len() / 10);
    for batch in batches {
        process(batch, "bench", &mut partition, &mut stage)?;
    }
    let events: usize = rest.iter().map(|batch| batch.records.len()).sum();
    let (clean, took) = cpu::time(|| {
        let mut clean = 0;
        for batch in rest.drain(..) {
            clean += process(batch, "bench", &mut partition, &mut stage)?.clean.len();
        }
        Ok(clean)
    })?;
    anyhow::ensure!(clean == events, "{clean} of {events} came through");
    Ok(events as f64 / took.as_secs_f64())
}

/// One topic partition full of raw events on an embedded log, carried to clean; gives events per CPU-second.
async fn looped(bare: bool) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut random = samples::random();
    let record = |id| records::raw(&mut random, id, PAYLOAD_BYTES);
    let filled = filled::embedded(dir.path(), Stream::raw, LOOPED, record).await?;
    let took = if bare {
        let start = cpu_time::ProcessTime::now();
        copy(&filled).await?;
        start.elapsed()
    } else {
        process_all(&filled).await?
    };
    Ok(LOOPED as f64 / took.as_secs_f64())
}

/// The processor, until its position is behind all records; gives the CPU time of all threads meanwhile.
pub(crate) async fn process_all(filled: &Filled) -> anyhow::Result<Duration> {
    let Filled { log, stream, from: raw, end, .. } = filled;
    let scratch = tempfile::tempdir()?;
    let mut config = processors::Config::new(stream.clone(), "bench", scratch.path().to_owned());
    config.state_retention = Duration::from_secs(14 * 86_400).into();
    let shutdown = CancellationToken::new();
    let start = cpu_time::ProcessTime::now();
    let running = tokio::spawn(processors::run(
        config,
        log.clone(),
        SharedRegistry::default(),
        Arc::new(SystemClock),
        shutdown.clone(),
    ));
    while log.committed(PROCESSOR_GROUP, raw).await? != Some(*end) {
        anyhow::ensure!(!running.is_finished(), "the processor ended early");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let took = start.elapsed();
    shutdown.cancel();
    running.await??;
    Ok(took)
}

async fn copy(Filled { log, stream, from: raw, end, .. }: &Filled) -> anyhow::Result<()> {
    let mut member = log.join(PROCESSOR_GROUP, &[stream.raw()], "bench").await?;
    let mut transactor = log.transactor("bench").await?;
    let clean = TopicPartition::new(stream.clean(), 0);
    loop {
        match member.poll(ReadLimit { records: 16_384, bytes: 16 << 20 }, Duration::from_secs(1)).await? {
            Poll::Assigned(_) => member.seek(raw, 0)?,
            Poll::Batches(batches) => {
                for batch in batches {
                    let records = batch
                        .records
                        .into_iter()
                        .map(|record| events::log::NewRecord {
                            key: record.key,
                            headers: record.headers,
                            payload: record.payload,
                        })
                        .collect();
                    let appends = vec![Append { to: clean.clone(), records }];
                    let positions = vec![(raw.clone(), batch.next)];
                    transactor.commit(Step { appends, positions, generation: member.generation() }).await?;
                    if batch.next >= *end {
                        return Ok(());
                    }
                }
            }
            Poll::Revoked(_) => anyhow::bail!("revoked"),
            Poll::Idle => None.context("nothing came within a second")?,
        }
    }
}
