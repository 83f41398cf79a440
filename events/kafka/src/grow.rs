//! Growing: a generation's raw topic is fenced, gets its end markers, and the next one is recorded.
//!
//! ```text
//! topics made ─▶ fence ─▶ every leader refuses ─▶ marker · wait · marker ─▶ recorded
//!                └────────── ingest is refused: 503 ─────────────────────┘  └─ ingest goes on
//! ```
//!
//! The fence is `max.message.bytes`, which each broker holds against each batch of each producer. A leader
//! may not have heard of it yet, so a marker that is too long is tried until it is refused. A request that
//! passed the check just before it changed may still be written behind the first marker; so a second one
//! follows after a pause, and if anything but markers stands between, another.

use crate::streams::Streams;
use crate::topics::Found;
use events::TopicPartition;
use events::log::{
    Append, Durability, Error, NewRecord, Offset, ReadLimit, Record, Result, StreamInfo, StreamSpec, checks,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long leaders may take to hear of the fence.
const FENCE_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at whether they have.
const LOOK: Duration = Duration::from_millis(100);
/// A request that passed the fence's check before the fence was there is written within this time, by far.
const SETTLE: Duration = Duration::from_millis(500);
/// Bytes of a marker that is refused once the fence is there.
const LONG: usize = 256;

impl Streams {
    /// Ends the generation before `spec.stream`, and makes that one.
    pub(crate) async fn grow(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        if self.registered(&spec.stream).await?.is_none() {
            let before = match spec.stream.before() {
                Some(before) => self.find(&before).await?,
                None => None,
            };
            checks::grows(spec, before.as_ref())?;
            let Some(before) = before else { return Err(checks::unknown_topic(&spec.stream.raw())) };
            let found = self.prepare(spec).await?;
            self.topics.fence(&before.stream).await?;
            let ended = self.mark_ends(&before).await?;
            self.register(spec, found.iter().map(Found::mark).collect(), Some(ended)).await?;
        }
        let made = self.find(&spec.stream).await?;
        let made = made.ok_or_else(|| Error::Unavailable(format!("stream {} is not recorded yet", spec.stream)))?;
        checks::same(spec, &made)?;
        Ok(made)
    }

    /// Appends the markers, and gives the positions past the last ones.
    async fn mark_ends(&self, ending: &StreamInfo) -> Result<Arc<[Offset]>> {
        let raw: Vec<TopicPartition> =
            (0..ending.partitions).map(|partition| TopicPartition::new(ending.stream.raw(), partition)).collect();
        self.await_fence(&raw).await?;
        let mut first = self.append_markers(&raw).await?;
        loop {
            tokio::time::sleep(SETTLE).await;
            let last = self.append_markers(&raw).await?;
            let between: Vec<_> = raw.iter().cloned().zip(first.iter().copied().zip(last.iter().copied())).collect();
            let readers = self.topics.readers.clone();
            let clean = crate::log::blocking(move || {
                between.iter().try_fold(true, |clean, (of, (from, to))| {
                    Ok(clean
                        && readers
                            .read(of, from + 1, ReadLimit::default())
                            .map(|batch| only_markers(&batch.records, *to))?)
                })
            });
            if clean.await? {
                return Ok(last.iter().map(|marker| marker + 1).collect());
            }
            first = last;
        }
    }

    /// Waits until every leader refuses what is too long for the fence.
    async fn await_fence(&self, raw: &[TopicPartition]) -> Result<()> {
        let deadline = Instant::now() + FENCE_LIMIT;
        let mut long = NewRecord::end();
        long.payload = long.payload.map(|marker| [&*marker, &[0; LONG]].concat().into());
        let mut open: Vec<TopicPartition> = raw.to_vec();
        loop {
            let appends = open.iter().map(|to| Ok(Append { to: to.clone(), records: vec![long.clone()] })).collect();
            let answers = self.appender.append(appends, Durability::All).await;
            let mut left = Vec::new();
            for (to, answer) in open.into_iter().zip(answers) {
                match answer {
                    Err(Error::Ended(_)) => {}
                    Ok(_) => left.push(to),
                    Err(error) if error.is_retryable() && Instant::now() < deadline => left.push(to),
                    Err(error) => return Err(error),
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable(format!("{} still takes events after {FENCE_LIMIT:?}", left[0])));
            }
            open = left;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One marker for each partition; where they stand.
    async fn append_markers(&self, raw: &[TopicPartition]) -> Result<Vec<Offset>> {
        let marker = |to: &TopicPartition| Ok(Append { to: to.clone(), records: vec![NewRecord::end()] });
        let answers = self.appender.append(raw.iter().map(marker).collect(), Durability::All).await;
        answers.into_iter().map(|answer| answer.map(|appended| appended.last)).collect()
    }
}

/// Whether nothing but markers stands below `to`.
fn only_markers(records: &[Record], to: Offset) -> bool {
    records.iter().take_while(|record| record.offset < to).all(Record::is_end)
}
