//! A log with one partition that is filled with what a stage reads.

use events::log::embedded::{Config, EmbeddedLog};
use events::log::{Append, Durability, Log, NewRecord, Offset, StreamSpec};
use events::streams::Stream;
use events::{SystemClock, TopicPartition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Records in one append.
const BATCH: u64 = 8_192;

/// Where a stage begins.
pub(crate) struct Filled {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its stream.
    pub stream: Stream,
    /// The partition with records.
    pub from: TopicPartition,
    /// The position behind the last of them.
    pub end: Offset,
    /// How many they are.
    pub count: u64,
}

/// The stream `events`, kept as long as by default.
pub(crate) fn spec(partitions: i32) -> anyhow::Result<StreamSpec> {
    let stream = Stream::new("events").map_err(anyhow::Error::msg)?;
    let day = Duration::from_secs(86_400);
    Ok(StreamSpec { stream, partitions, retention: day * 7, state_retention: day * 14 })
}

/// The embedded log under `dir`, filled as [`fill`] does.
pub(crate) async fn embedded(
    dir: &Path,
    topic: impl Fn(&Stream) -> Arc<str>,
    count: u64,
    record: impl FnMut(u64) -> NewRecord,
) -> anyhow::Result<Filled> {
    let log = EmbeddedLog::open(dir.join("log"), Config::default(), Arc::new(SystemClock))?;
    fill(Arc::new(log), topic, count, record).await
}

/// Makes the stream with one partition, and puts `count` records into the topic that `topic` names.
pub(crate) async fn fill(
    log: Arc<dyn Log>,
    topic: impl Fn(&Stream) -> Arc<str>,
    count: u64,
    mut record: impl FnMut(u64) -> NewRecord,
) -> anyhow::Result<Filled> {
    let spec = spec(1)?;
    log.create_stream(&spec).await?;
    let stream = spec.stream;
    let from = TopicPartition::new(topic(&stream), 0);
    let mut next = 0;
    while next < count {
        let end = (next + BATCH).min(count);
        let records = (next..end).map(&mut record).collect();
        for done in log.append(vec![Append { to: from.clone(), records }], Durability::All).await {
            done?;
        }
        next = end;
    }
    let end = log.ends(&from).await?.last_stable;
    Ok(Filled { log, stream, from, end, count })
}
