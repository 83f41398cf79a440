//! A log of one partition, filled with what a stage reads.

use events::log::embedded::{Config, EmbeddedLog};
use events::log::{Append, Durability, Log, NewRecord, StreamSpec};
use events::streams::Stream;
use events::{SystemClock, TopicPartition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Records in one append.
const BATCH: u64 = 8_192;

/// The embedded log under `dir`, with `count` records in the topic that `topic` names.
pub(crate) async fn log(
    dir: &Path,
    topic: impl Fn(&Stream) -> Arc<str>,
    count: u64,
    mut record: impl FnMut(u64) -> NewRecord,
) -> anyhow::Result<(Arc<dyn Log>, Stream, TopicPartition)> {
    let log = EmbeddedLog::open(dir.join("log"), Config::default(), Arc::new(SystemClock))?;
    let stream = Stream::new("events").map_err(anyhow::Error::msg)?;
    let day = Duration::from_secs(86_400);
    let spec = StreamSpec { stream: stream.clone(), partitions: 1, retention: day * 7, state_retention: day * 14 };
    log.create_stream(&spec).await?;
    let to = TopicPartition::new(topic(&stream), 0);
    let mut next = 0;
    while next < count {
        let end = (next + BATCH).min(count);
        let records = (next..end).map(&mut record).collect();
        for done in log.append(vec![Append { to: to.clone(), records }], Durability::All).await {
            done?;
        }
        next = end;
    }
    Ok((Arc::new(log), stream, to))
}
