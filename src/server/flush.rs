//! Flush: waits until all that was acknowledged before is visible in the tables.
//!
//! In this order, since each step writes what the next one waits for: ingest's counts to the ledger,
//! raw through the processors, clean and dead through the sinks, and at last the ledger entries that
//! these wrote on the way.

use edge::Problem;
use events::SharedStreams;
use events::log::{self, Log, Offset, StreamInfo};
use events::streams::{PROCESSOR_GROUP, SINK_GROUP, TopicPartition};
use ingest::Ingest;
use sinks::FlushSignal;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How often positions are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a flush asks of the parts.
#[derive(Clone)]
pub(crate) struct Flusher {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) streams: SharedStreams,
    pub(crate) ingest: Option<Ingest>,
    pub(crate) sinks: Option<FlushSignal>,
}

/// Why a flush did not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The deadline passed.
    #[error("not flushed within {limit:?}: still waiting for {waiting}; nothing is lost, try again")]
    Deadline {
        /// The deadline, from the start.
        limit: Duration,
        /// What it waited for then.
        waiting: &'static str,
    },
    /// The log failed.
    #[error("cannot flush: {0}")]
    Log(#[from] log::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Deadline { .. } => Self::timeout(error.to_string()),
            Error::Log(inner) if inner.is_retryable() => Self::unavailable(error.to_string(), Duration::from_secs(1)),
            Error::Log(_) => Self::internal(error.to_string()),
        }
    }
}

impl Flusher {
    /// Flushes, and gives the time that it took.
    pub(crate) async fn flush(&self, limit: Duration) -> Result<Duration, Error> {
        let start = Instant::now();
        let deadline = start + limit;
        let mut waiting = "ingest to write its counts";
        timeout_at(deadline, self.steps(&mut waiting)).await.map_err(|_| Error::Deadline { limit, waiting })??;
        Ok(start.elapsed())
    }

    async fn steps(&self, waiting: &mut &'static str) -> Result<(), Error> {
        if let Some(ingest) = &self.ingest {
            ingest.write_ledger().await?;
        }
        *waiting = "processors to read raw";
        let raw = self.goals(|info| vec![info.stream.raw()]).await?;
        self.reached(PROCESSOR_GROUP, &raw).await?;
        *waiting = "sinks to write clean and dead events";
        let outputs = self.goals(|info| vec![info.stream.clean(), info.stream.dead()]).await?;
        self.signal();
        self.reached(SINK_GROUP, &outputs).await?;
        *waiting = "sinks to write the ledger";
        let ledger = self.goals(|info| vec![info.stream.ledger()]).await?;
        self.signal();
        self.reached(SINK_GROUP, &ledger).await
    }

    fn signal(&self) {
        if let Some(sink) = &self.sinks {
            sink.request();
        }
    }

    /// The end of every partition of these topics, where there is something to read. What lies behind an open
    /// transaction can't be read yet, so this waits until everything below the end is decided.
    async fn goals(
        &self,
        topics: impl Fn(&StreamInfo) -> Vec<Arc<str>>,
    ) -> Result<Vec<(TopicPartition, Offset)>, Error> {
        let mut goals = Vec::new();
        for info in &self.streams.current() {
            for topic in topics(info) {
                for partition in 0..info.partitions {
                    let of = TopicPartition::new(topic.clone(), partition);
                    let (end, ends) = log::decided(self.log.as_ref(), &of).await?;
                    if end > ends.start {
                        goals.push((of, end));
                    }
                }
            }
        }
        Ok(goals)
    }

    /// Waits until the group's positions are there.
    async fn reached(&self, group: &str, goals: &[(TopicPartition, Offset)]) -> Result<(), Error> {
        for (of, goal) in goals {
            while self.log.committed(group, of).await?.is_none_or(|position| position < *goal) {
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Stream;
    use events::log::memory::{Faults, MemoryLog};
    use events::log::{Append, Durability, NewRecord, StreamSpec};

    #[tokio::test]
    async fn a_flush_that_nobody_works_on_ends_at_its_deadline_with_504() {
        let log = Arc::new(MemoryLog::new(Arc::new(events::SystemClock)));
        let day = Duration::from_secs(86_400);
        let stream = Stream::new("events").unwrap();
        let spec = StreamSpec { stream: stream.clone(), partitions: 2, retention: day, state_retention: day };
        let info = log.create_stream(&spec).await.unwrap();
        let flusher = Flusher { log: log.clone(), streams: SharedStreams::new(vec![info]), ingest: None, sinks: None };
        assert!(flusher.flush(Duration::from_secs(5)).await.is_ok(), "there is nothing to wait for");

        let to = TopicPartition::new(stream.raw(), 1);
        let records = vec![NewRecord { payload: Some("x".into()), ..NewRecord::default() }];
        log.append(vec![Append { to, records }], Durability::All).await.remove(0).unwrap();
        let limit = Duration::from_millis(50);
        let start = Instant::now();
        let error = flusher.flush(limit).await.unwrap_err();
        assert!(start.elapsed() >= limit);
        let problem = Problem::from(error);
        assert_eq!(problem.status.as_u16(), 504);
        assert!(problem.detail.contains("within 50ms: still waiting for processors to read raw"), "{problem}");
    }

    #[tokio::test]
    async fn a_flush_waits_for_what_lies_behind_an_open_transaction() {
        let faults = Faults { open: 1.0, ..Faults::default() };
        let log = Arc::new(MemoryLog::with_faults(1, faults, Arc::new(events::SystemClock)));
        let day = Duration::from_secs(86_400);
        let stream = Stream::new("events").unwrap();
        let spec = StreamSpec { stream: stream.clone(), partitions: 1, retention: day, state_retention: day };
        let info = log.create_stream(&spec).await.unwrap();
        let to = TopicPartition::new(stream.raw(), 0);
        let records = vec![NewRecord { payload: Some("x".into()), ..NewRecord::default() }];
        log.append(vec![Append { to, records }], Durability::All).await.remove(0).unwrap();
        let flusher = Flusher { log, streams: SharedStreams::new(vec![info]), ingest: None, sinks: None };
        assert!(flusher.flush(Duration::from_millis(50)).await.is_err(), "nobody has read the record");
    }
}
