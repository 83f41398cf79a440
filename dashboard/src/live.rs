//! The live tail: what comes into the clean topics, for those who look.
//!
//! One reader for all of them, and none while nobody looks: a stream may carry far more than a process should
//! read for nothing. It reads from the end of the log at that time on, holds a bounded number of events, and
//! tells each who looks how many went by.

use bytes::Bytes;
use events::log::{Error, Log, Offset, ReadLimit, Record};
use events::{SharedStreams, TopicPartition};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// Events that are held for those who look; who falls behind further loses the oldest, and is told how many.
const HELD: usize = 1_024;
/// Bytes of a payload that are held; of larger ones none are.
pub(crate) const PAYLOAD_MAX: usize = 16 << 10;
/// Who may look at once.
pub(crate) const VIEWERS_MAX: usize = 32;
/// Between two looks at the log that found nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// One read.
const LIMIT: ReadLimit = ReadLimit { records: 2_048, bytes: 4 << 20 };
/// Offsets that the reader may be behind; past it, it goes on from the end.
const BEHIND_MAX: Offset = 100_000;

/// What those who look are told.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// An event; without its payload where that is larger than [`PAYLOAD_MAX`], whose size then stands beside.
    Event(Arc<Record>, Option<usize>),
    /// The reader was too far behind, and left out what lay between: these offsets, so as many events at most.
    Jumped(u64),
}

/// The live tail of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Arc<dyn Log>,
    streams: SharedStreams,
    stop: CancellationToken,
    /// `None` while nobody looks.
    sender: Mutex<Option<Sender<Seen>>>,
}

impl Live {
    /// Of these streams, until `stop`. Nothing is read yet.
    pub fn new(log: Arc<dyn Log>, streams: SharedStreams, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { log, streams, stop, sender: Mutex::new(None) }))
    }

    /// Ends with the process: long answers end then, too.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// What comes from now on; `None` if too many look.
    pub(crate) fn look(&self) -> Option<Receiver<Seen>> {
        let mut sender = self.0.sender.lock();
        if let Some(sender) = &*sender {
            return (sender.receiver_count() < VIEWERS_MAX).then(|| sender.subscribe());
        }
        let (send, receiver) = broadcast::channel(HELD);
        *sender = Some(send.clone());
        tokio::spawn(self.clone().follow(send));
        Some(receiver)
    }

    /// Whether somebody looks; if not, the sender goes, under the lock that new ones come by.
    fn is_watched(&self, sender: &Sender<Seen>) -> bool {
        let mut held = self.0.sender.lock();
        let is_watched = sender.receiver_count() > 0;
        if !is_watched {
            *held = None;
        }
        is_watched
    }

    async fn follow(self, sender: Sender<Seen>) {
        let mut positions: HashMap<TopicPartition, Offset> = HashMap::new();
        while !self.0.stop.is_cancelled() && self.is_watched(&sender) {
            let mut found = 0;
            for info in self.0.streams.current() {
                for partition in 0..info.partitions {
                    let of = TopicPartition::new(info.stream.clean(), partition);
                    match self.read(&of, &mut positions, &sender).await {
                        Ok(count) => found += count,
                        Err(error) => tracing::debug!(%of, %error, "the live tail can't read"),
                    }
                }
            }
            if found == 0 {
                tokio::select! {
                    () = self.0.stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        *self.0.sender.lock() = None;
    }

    /// Passes on what is new in one partition; gives how many events that were.
    async fn read(
        &self,
        of: &TopicPartition,
        positions: &mut HashMap<TopicPartition, Offset>,
        sender: &Sender<Seen>,
    ) -> Result<usize, Error> {
        let ends = self.0.log.ends(of).await?;
        let position = *positions.entry(of.clone()).or_insert(ends.last_stable);
        let behind = ends.last_stable.saturating_sub(position);
        if behind > BEHIND_MAX || position < ends.start || position > ends.end {
            positions.insert(of.clone(), ends.last_stable);
            let _ = sender.send(Seen::Jumped(u64::try_from(behind).unwrap_or_default()));
            return Ok(0);
        }
        if behind == 0 {
            return Ok(0);
        }
        let batch = self.0.log.read(of, position, LIMIT).await?;
        positions.insert(of.clone(), batch.next);
        let count = batch.records.len();
        for record in batch.records {
            // Nobody looks any more: the loop notices.
            let _ = sender.send(held(record));
        }
        Ok(count)
    }
}

/// A copy that doesn't hold on to the bytes of its whole batch.
fn held(record: Record) -> Seen {
    let size = record.payload.as_ref().map_or(0, Bytes::len);
    let is_small = size <= PAYLOAD_MAX;
    let payload = record.payload.filter(|_| is_small).map(|payload| Bytes::copy_from_slice(&payload));
    let headers = events::headers::Headers::from_trusted(Bytes::copy_from_slice(record.headers.packed()));
    let record = Record { key: Bytes::new(), headers, payload, ..record };
    Seen::Event(Arc::new(record), (!is_small).then_some(size))
}
