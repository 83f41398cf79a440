//! A processor at its barest: copies raw to clean, each step one transaction. Whatever happens to it,
//! clean must be raw, once and in order.

use crate::{clean, put, raw, read_all, stream, text};
use events::log::{Append, Error, Log, NewRecord, Poll, ReadLimit, Record, Result, Step};
use kafka_log::KafkaLog;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const GROUP: &str = "copiers";

/// Copies until told to stop, whatever it meets on the way; tells of each step and each new start.
pub(crate) async fn copy(log: KafkaLog, name: String, stop: &AtomicBool, tell: impl Fn(&str)) {
    while !stop.load(Ordering::Relaxed) {
        match membership(&log, &name, stop, &tell).await {
            Ok(()) => {}
            Err(error @ Error::Fenced(_)) => tell(&format!("is out: {error}")),
            Err(error) if error.is_retryable() => tell(&format!("is out, and joins again: {error}")),
            Err(error) => panic!("a copier met {error}"),
        }
    }
}

async fn membership(log: &KafkaLog, name: &str, stop: &AtomicBool, tell: &impl Fn(&str)) -> Result<()> {
    let mut transactor = log.transactor(name).await?;
    let mut member = log.join(GROUP, &[stream().raw()], name).await?;
    while !stop.load(Ordering::Relaxed) {
        match member.poll(ReadLimit { records: 200, bytes: 1 << 20 }, Duration::from_millis(200)).await? {
            Poll::Assigned(partitions) => {
                for of in partitions {
                    let position = log.committed(GROUP, &of).await?.unwrap_or(0);
                    member.seek(&of, position)?;
                }
            }
            Poll::Batches(batches) => {
                let copied = |record: &Record| NewRecord { payload: record.payload.clone(), ..NewRecord::default() };
                let appends = batches.iter().filter(|batch| !batch.records.is_empty()).map(|batch| Append {
                    to: clean(batch.from.partition),
                    records: batch.records.iter().map(copied).collect(),
                });
                let positions = batches.iter().map(|batch| (batch.from.clone(), batch.next)).collect();
                let step = Step { appends: appends.collect(), positions, generation: member.generation() };
                transactor.commit(step).await?;
                tell("step");
            }
            Poll::Revoked(_) => tell("is out: revoked"),
            Poll::Idle => {}
        }
    }
    Ok(())
}

/// Appends `count` records to each of `partitions` partitions of raw.
pub(crate) async fn fill(log: &KafkaLog, partitions: i32, name: &str, count: usize) {
    for partition in 0..partitions {
        let texts: Vec<String> = (0..count).map(|n| format!("{name} {partition} {n}")).collect();
        for some in texts.chunks(500) {
            put(log, &raw(partition), some).await.unwrap();
        }
    }
}

/// Waits until all of raw was copied, and holds clean against it.
pub(crate) async fn assert_copied(log: &KafkaLog, partitions: i32) {
    let deadline = Instant::now() + Duration::from_secs(90);
    for partition in 0..partitions {
        let of = raw(partition);
        let end = log.ends(&of).await.unwrap().end;
        while !matches!(log.committed(GROUP, &of).await, Ok(Some(position)) if position >= end) {
            assert!(Instant::now() < deadline, "{of} was not copied in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (sent, copied) = (read_all(log, &of).await, read_all(log, &clean(partition)).await);
        assert_eq!(copied.len(), sent.len(), "records of {of} in clean");
        for (copied, sent) in copied.iter().zip(&sent) {
            assert_eq!(text(copied), text(sent), "in order, and once");
        }
    }
}
