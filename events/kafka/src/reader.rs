//! Reads without a group, bounds, and committed positions: what recovery, audit and flush ask for.
//!
//! A reader is a consumer that is given one partition and a position. It is kept for a while after a
//! read, since most reads go on where the last one ended and find their records fetched already.

use crate::config::Config;
use crate::error::{Cause, asking, is_passing, report_to_tracing};
use crate::names::Names;
use crate::record;
use events::headers::HeadersBuilder;
use events::log::{Batch, Ends, Error, Offset, ReadLimit, Result};
use events::{Stream, TopicPartition};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Readers that are kept: whoever follows partitions comes back to each of them.
const IDLE_MAX: usize = 32;
/// How long an idle reader is kept.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// How long one attempt of asking may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The wait of one look for messages.
const SLICE: Duration = Duration::from_millis(50);

/// A client that remembers why it has no connection.
#[derive(Debug)]
pub(crate) struct Quiet(pub(crate) Cause);

impl ClientContext for Quiet {
    report_to_tracing!(|this: &Self, facility: &str, message: &str| this.0.note(facility, message));
}

impl ConsumerContext for Quiet {}

pub(crate) type Consumer = BaseConsumer<Quiet>;

/// All that asks without a group. Every call blocks.
pub(crate) struct Readers {
    config: Config,
    names: Names,
    idle: Mutex<Vec<Reader>>,
    /// Sees the last stable offset as the end.
    committed: Consumer,
    /// Sees the high watermark as the end.
    uncommitted: Consumer,
    /// For each group one that asks for its positions.
    groups: Mutex<HashMap<String, Arc<Consumer>>>,
    /// Why they have no connection, if so.
    pub(crate) cause: Cause,
}

struct Reader {
    consumer: Consumer,
    at: Option<(TopicPartition, Offset)>,
    used: Instant,
}

impl Readers {
    pub(crate) fn new(config: Config, names: Names) -> Result<Self> {
        let cause = Cause::default();
        let asker = |isolation| make(config.asker(&names.there("killfeed-ask"), isolation), &cause);
        Ok(Self {
            committed: asker("read_committed")?,
            uncommitted: asker("read_uncommitted")?,
            idle: Mutex::default(),
            groups: Mutex::default(),
            config,
            names,
            cause,
        })
    }

    /// What the cluster says of a topic.
    pub(crate) fn metadata(&self, topic: &str) -> Result<Metadata> {
        let found = self.committed.fetch_metadata(Some(&self.names.there(topic)), self.config.request_timeout);
        match found {
            Ok(found) => {
                self.cause.forget();
                Ok(found)
            }
            Err(error) => {
                // What the client was told of its connections is handed over when it is polled.
                drop(self.committed.poll(SLICE));
                Err(self.cause.explain(asking(&format!("metadata of {topic}"), &error)))
            }
        }
    }

    /// Whether a partition's leader answers, and has enough replicas in sync.
    pub(crate) fn takes_appends(&self, of: &TopicPartition, in_sync: i32, limit: Duration) -> bool {
        let topic = self.names.there(&of.topic);
        let Ok(metadata) = self.committed.fetch_metadata(Some(&topic), limit) else { return false };
        let partitions = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
        let found = partitions.iter().find(|partition| partition.id() == of.partition);
        let enough = |isr: usize| i32::try_from(isr).is_ok_and(|isr| isr >= in_sync);
        found.is_some_and(|partition| partition.leader() >= 0 && enough(partition.isr().len()))
            && self.committed.fetch_watermarks(&topic, of.partition, limit).is_ok()
    }

    /// Asks again while the partition is between two leaders: who asks shall see a slower answer only.
    fn patiently<T>(
        &self,
        consumer: &Consumer,
        of: &TopicPartition,
        ask: impl Fn(Duration) -> KafkaResult<T>,
    ) -> KafkaResult<T> {
        let deadline = Instant::now() + self.config.request_timeout;
        loop {
            let left = || deadline.saturating_duration_since(Instant::now()).max(SLICE);
            // What is sent to a dead leader waits for its return: it is better asked anew.
            match ask(left().min(ATTEMPT)) {
                Err(error) if error.rdkafka_error_code().is_some_and(is_passing) && Instant::now() < deadline => {
                    std::thread::sleep(SLICE);
                    // The client looks for leaders now and then only. What it finds, the next call sees.
                    let _ = consumer.fetch_metadata(Some(&self.names.there(&of.topic)), left());
                }
                answer => return answer,
            }
        }
    }

    /// The bounds of a partition.
    pub(crate) fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        let topic = self.names.there(&of.topic);
        let ask = |consumer: &Consumer| {
            let asked = |left| consumer.fetch_watermarks(&topic, of.partition, left);
            self.patiently(consumer, of, asked).map_err(|error| asking(&format!("bounds of {of}"), &error))
        };
        let (start, last_stable) = ask(&self.committed)?;
        // Asked for second, so that it is the larger one.
        let (_, end) = ask(&self.uncommitted)?;
        Ok(Ends { start, last_stable, end: end.max(last_stable) })
    }

    /// The first offset appended at `time_ms` or later, if there is one below the last stable offset.
    pub(crate) fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Option<Offset>> {
        let what = |error: KafkaError| asking(&format!("offset of {of} by time"), &error);
        let list = self.names.list([(of, KafkaOffset::Offset(time_ms.max(0)))]).map_err(what)?;
        let asked = |left| offset_in(&self.committed.offsets_for_times(list.clone(), left)?);
        self.patiently(&self.committed, of, asked).map_err(what)
    }

    /// The position that a group has committed, once no transaction that would move it is open.
    pub(crate) fn position(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        let what = |error: KafkaError| asking(&format!("position of {group} in {of}"), &error);
        let consumer = {
            let group = self.names.group(group, Stream::name_of(&of.topic));
            let mut groups = self.groups.lock();
            match groups.get(&group) {
                Some(consumer) => consumer.clone(),
                None => {
                    let made = Arc::new(make(self.config.asker(&group, "read_committed"), &self.cause)?);
                    groups.entry(group).or_insert(made).clone()
                }
            }
        };
        let list = self.names.list([(of, KafkaOffset::Invalid)]).map_err(what)?;
        let asked = |left| offset_in(&consumer.committed_offsets(list.clone(), left)?);
        self.patiently(&consumer, of, asked).map_err(what)
    }

    /// Committed records from `position` on, up to what was stable when it was asked.
    pub(crate) fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        let ends = self.ends(from)?;
        if position < ends.start || position > ends.end {
            return Err(Error::OutOfRange { from: from.clone(), position, ends });
        }
        if position >= ends.last_stable || limit.records == 0 {
            return Ok(Batch { from: from.clone(), position, records: Vec::new(), next: position });
        }
        let mut reader = self.reader(from, position)?;
        let batch = reader.read(&self.names, (from, position), limit, ends.last_stable, self.config.request_timeout);
        match batch {
            Ok(batch) => {
                reader.at = Some((from.clone(), batch.next));
                reader.used = Instant::now();
                self.idle.lock().push(reader);
                Ok(batch)
            }
            Err(Trouble::OutOfRange) => {
                let ends = self.ends(from)?;
                if position < ends.start || position > ends.end {
                    return Err(Error::OutOfRange { from: from.clone(), position, ends });
                }
                Err(Error::Unavailable(format!("{from} moved while it was read")))
            }
            Err(Trouble::Log(error)) => Err(error),
        }
    }

    /// The reader that stands there, or another that is idle, or a new one.
    fn reader(&self, from: &TopicPartition, position: Offset) -> Result<Reader> {
        let mut idle = self.idle.lock();
        let there = |reader: &Reader| reader.at.as_ref().is_some_and(|(of, at)| of == from && *at == position);
        if let Some(place) = idle.iter().position(there) {
            return Ok(idle.swap_remove(place));
        }
        // One that is kept for others may be taken once there are enough of them.
        if idle.len() >= IDLE_MAX {
            return Ok(idle.remove(0));
        }
        drop(idle);
        let consumer = make(self.config.reader(&self.names.there("killfeed-read")), &self.cause)?;
        Ok(Reader { consumer, at: None, used: Instant::now() })
    }

    /// Serves the clients' events, and lets go of readers that nobody uses. Called now and then.
    pub(crate) fn look_after(&self) {
        let groups: Vec<Arc<Consumer>> = self.groups.lock().values().cloned().collect();
        let groups = groups.iter().map(|consumer| &**consumer);
        for consumer in [&self.committed, &self.uncommitted].into_iter().chain(groups) {
            // Nothing is assigned to these: what comes are errors, which the client acts on itself.
            while consumer.poll(Duration::ZERO).is_some() {}
        }
        let old: Vec<Reader> = {
            let mut idle = self.idle.lock();
            let (old, kept) =
                std::mem::take(&mut *idle).into_iter().partition(|reader| reader.used.elapsed() > IDLE_TIME);
            *idle = kept;
            old
        };
        drop(old);
    }
}

enum Trouble {
    /// The position is gone, or not there yet.
    OutOfRange,
    Log(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Log(error)
    }
}

impl Reader {
    fn read(
        &mut self,
        names: &Names,
        (from, position): (&TopicPartition, Offset),
        limit: ReadLimit,
        stable: Offset,
        patience: Duration,
    ) -> Result<Batch, Trouble> {
        let what = |error: KafkaError| asking(&format!("read of {from}"), &error);
        let deadline = Instant::now() + patience;
        if !self.at.as_ref().is_some_and(|(of, at)| of == from && *at == position) {
            self.go_to(names, from, position, deadline).map_err(what)?;
        }
        let mut builder = HeadersBuilder::with_capacity(4 << 10);
        let mut batch = Batch { from: from.clone(), position, records: Vec::new(), next: position };
        let mut bytes = 0;
        while batch.next < stable && batch.records.len() < limit.records && bytes < limit.bytes.max(1) {
            match self.consumer.poll(SLICE) {
                Some(Ok(message)) => {
                    if message.offset() < batch.next || message.partition() != from.partition {
                        continue;
                    }
                    let record = record::record(&message, &mut builder);
                    bytes += record.len();
                    batch.next = record.offset + 1;
                    batch.records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => {
                    // Markers and aborted records move the position without a sign.
                    batch.next = batch.next.max(self.position(names, from).map_err(what)?);
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                    return Err(Trouble::OutOfRange);
                }
                // The client goes on trying by itself.
                Some(Err(error)) => tracing::debug!(%error, %from, "while reading"),
            }
            if batch.next < stable && Instant::now() >= deadline {
                if batch.next > position {
                    break;
                }
                return Err(Error::Unavailable(format!("nothing came of {from} from {position} on")).into());
            }
        }
        Ok(batch)
    }

    /// Moves to a position, and away from all that was fetched before.
    fn go_to(
        &mut self,
        names: &Names,
        from: &TopicPartition,
        position: Offset,
        deadline: Instant,
    ) -> Result<(), KafkaError> {
        let topic = names.there(&from.topic);
        if self.at.as_ref().is_some_and(|(of, _)| of == from) {
            let left = deadline.saturating_duration_since(Instant::now());
            return self.consumer.seek(&topic, from.partition, KafkaOffset::Offset(position), left);
        }
        self.consumer.assign(&names.list([(from, KafkaOffset::Offset(position))])?)
    }

    fn position(&self, names: &Names, from: &TopicPartition) -> Result<Offset, KafkaError> {
        let topic = names.there(&from.topic);
        let list = self.consumer.position()?;
        Ok(match list.find_partition(&topic, from.partition).map(|of| of.offset()) {
            Some(KafkaOffset::Offset(offset)) => offset,
            _ => -1,
        })
    }
}

/// The offset of the one partition in a list of the client.
fn offset_in(found: &TopicPartitionList) -> KafkaResult<Option<Offset>> {
    let Some(of) = found.elements().into_iter().next() else { return Ok(None) };
    of.error()?;
    Ok(match of.offset() {
        KafkaOffset::Offset(offset) => Some(offset),
        _ => None,
    })
}

fn make(config: rdkafka::ClientConfig, cause: &Cause) -> Result<Consumer> {
    config.create_with_context(Quiet(cause.clone())).map_err(|error| Error::Unavailable(format!("consumer: {error}")))
}
