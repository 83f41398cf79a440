//! Appends: one producer for each durability, made when it is first asked for.
//!
//! ```text
//! append ─▶ room for its bytes ─▶ its partition's turn ─▶ librdkafka's queue ─▶ reports ─▶ one answer
//!            (bounded, by time)     (order as handed in)                          (one a record)
//! ```
//!
//! All of an append's records enter the queue in one go, so those of one process stand next to each
//! other. Records of other processes may come between them where the append is longer than a batch.

use crate::config::Config;
use crate::error::{report_to_tracing, writing};
use crate::meters::{self, Appends, Watched};
use crate::names::Names;
use crate::record;
use crate::trouble::Troubles;
use events::TopicPartition;
use events::log::{Append, Appended, Durability, Error, NO_OFFSET, Offset, Result, checks};
use parking_lot::{Mutex, RwLock};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

type Producer = ThreadedProducer<Reports>;

/// Partitions that share a turn; more than cores.
const TURNS: usize = 64;

/// Appends of all durabilities.
pub(crate) struct Appender {
    config: Config,
    names: Names,
    room: Arc<Semaphore>,
    lanes: [Lane; 3],
    turns: [Mutex<()>; TURNS],
    meters: Arc<Appends>,
    pub(crate) troubles: Troubles,
}

/// The producer of one durability.
#[derive(Default)]
struct Lane {
    producer: RwLock<Option<Arc<Producer>>>,
}

/// Brings delivery reports to the appends that wait for them.
struct Reports {
    watched: Watched,
}

impl ClientContext for Reports {
    report_to_tracing!();

    fn stats_raw(&self, statistics: &[u8]) {
        self.watched.take(statistics);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        match result {
            Ok(message) => {
                pending.delivered((message.offset(), message.timestamp().to_millis().unwrap_or_default()));
            }
            Err((error, _)) => pending.failed(1, error.clone()),
        }
    }
}

/// One append in work.
struct Pending {
    what: String,
    to: TopicPartition,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Records without a report.
    left: usize,
    records: usize,
    bytes: usize,
    meters: Arc<Appends>,
    delivered: usize,
    appended: Appended,
    /// The error that says least about what became of its record.
    error: Option<Error>,
    answer: Option<oneshot::Sender<Result<Appended>>>,
    /// Given back with the last report.
    room: Option<OwnedSemaphorePermit>,
}

impl Pending {
    fn delivered(&self, (offset, time_ms): (Offset, i64)) {
        let mut progress = self.progress.lock();
        if offset >= 0 {
            progress.delivered += 1;
            let at = &mut progress.appended;
            at.first = if at.first == NO_OFFSET { offset } else { at.first.min(offset) };
            at.last = at.last.max(offset);
            at.time_ms = at.time_ms.max(time_ms);
        } else {
            // The client concludes from a later record's success that an earlier one must stand, but a
            // broker that doesn't know the producer yet takes a later one first. (With acks 0 nobody
            // learns any offset, and nobody waits for this.)
            progress.error = Some(Error::InDoubt(format!("{}: delivered, and nobody knows where", self.what)));
        }
        progress.reported(1);
    }

    fn failed(&self, records: usize, error: KafkaError) {
        let mut progress = self.progress.lock();
        // No record is too long for a topic of ours, but for a raw one that takes no more events.
        let error = match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) if self.to.topic.ends_with(".raw") => checks::ended(&self.to),
            _ => writing(&self.what, &error),
        };
        let vague = matches!(error, Error::InDoubt(_));
        if vague || progress.error.is_none() {
            progress.error = Some(error);
        }
        progress.reported(records);
    }
}

impl Progress {
    fn reported(&mut self, records: usize) {
        self.left = self.left.saturating_sub(records);
        if self.left > 0 {
            return;
        }
        self.room = None;
        if self.error.is_none() {
            self.meters.stands(self.records, self.bytes);
        }
        let answer = match self.error.take() {
            None => Ok(self.appended),
            Some(error @ Error::InDoubt(_)) => Err(error),
            Some(error) if self.delivered == 0 => Err(error),
            Some(error) => Err(Error::InDoubt(format!("{} records stand, and then: {error}", self.delivered))),
        };
        if let Some(waiting) = self.answer.take() {
            // Nobody waits any longer: what became of the append is in doubt to its caller.
            let _ = waiting.send(answer);
        }
    }
}

impl Appender {
    pub(crate) fn new(config: Config, names: Names) -> Self {
        let room = Arc::new(Semaphore::new(config.append_bytes_max));
        let turns = std::array::from_fn(|_| Mutex::new(()));
        let meters = Arc::new(Appends::new(config.append_bytes_max));
        Self { config, names, room, lanes: Default::default(), turns, meters, troubles: Troubles::default() }
    }

    /// Appends that were checked, each answered in its place.
    pub(crate) async fn append(&self, appends: Vec<Result<Append>>, durability: Durability) -> Vec<Result<Appended>> {
        let began = Instant::now();
        let deadline = began + self.config.delivery_timeout;
        let mut waiting = Vec::with_capacity(appends.len());
        // One after the other, so that two appends of one call for one partition keep their order.
        for append in appends {
            waiting.push(match append {
                Ok(append) => (Some(append.to.clone()), self.hand_over(&append, durability, deadline).await),
                Err(error) => (None, Err(error)),
            });
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for (to, waiting) in waiting {
            let answer = match waiting {
                Ok(_) if durability == Durability::None => {
                    Ok(Appended { first: NO_OFFSET, last: NO_OFFSET, time_ms: 0 })
                }
                Ok(waiting) => match timeout_at(deadline, waiting).await {
                    Ok(Ok(answer)) => answer,
                    Err(_) => Err(Error::InDoubt("Kafka has not answered in time".into())),
                    Ok(Err(_)) => Err(Error::InDoubt("the producer was closed before it answered".into())),
                },
                Err(error) => Err(error),
            };
            self.meters.answered(durability, &answer, began.elapsed());
            // Who asks for no durability learns nothing of the cluster either.
            if let Some(to) = to.filter(|_| durability != Durability::None) {
                self.troubles.note(&to, &answer);
            }
            answers.push(answer);
        }
        if answers.iter().any(Result::is_err) {
            self.replace_broken(durability);
        }
        answers
    }

    /// Puts an append's records into the producer's queue.
    async fn hand_over(
        &self,
        append: &Append,
        durability: Durability,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Appended>>> {
        let bytes: usize = append.records.iter().map(record::queued_bytes).sum();
        let wanted = u32::try_from(bytes.min(self.config.append_bytes_max)).unwrap_or(u32::MAX);
        let room = match timeout_at(deadline, self.room.clone().acquire_many_owned(wanted)).await {
            Ok(Ok(room)) => room,
            _ => {
                return Err(Error::Unavailable(format!(
                    "no room for an append to {}: Kafka is slow or away",
                    append.to
                )));
            }
        };
        let producer = self.producer(durability)?;
        let (answer, waiting) = oneshot::channel();
        let pending = Arc::new(Pending {
            what: format!("append to {}", append.to),
            to: append.to.clone(),
            progress: Mutex::new(Progress {
                left: append.records.len(),
                records: append.records.len(),
                bytes,
                meters: self.meters.clone(),
                delivered: 0,
                appended: Appended { first: NO_OFFSET, last: NO_OFFSET, time_ms: 0 },
                error: None,
                answer: Some(answer),
                room: Some(room),
            }),
        });
        let topic = self.names.there(&append.to.topic);
        let turn = usize::try_from(append.to.partition).unwrap_or_default() % TURNS;
        let _turn = self.turns[turn].lock();
        for (place, record) in append.records.iter().enumerate() {
            let message = record::message(&topic, append.to.partition, record, pending.clone());
            if let Err((error, _)) = producer.send(message) {
                pending.failed(append.records.len() - place, error);
                break;
            }
        }
        Ok(waiting)
    }

    fn lane(&self, durability: Durability) -> (&Lane, &'static str) {
        match durability {
            Durability::All => (&self.lanes[0], "all"),
            Durability::Leader => (&self.lanes[1], "1"),
            Durability::None => (&self.lanes[2], "0"),
        }
    }

    fn producer(&self, durability: Durability) -> Result<Arc<Producer>> {
        let (lane, acks) = self.lane(durability);
        if let Some(producer) = &*lane.producer.read() {
            return Ok(producer.clone());
        }
        let mut slot = lane.producer.write();
        if let Some(producer) = &*slot {
            return Ok(producer.clone());
        }
        let made = self.config.producer(acks).create_with_context(Reports { watched: Watched::new("append") });
        let made: Producer = made.map_err(|error| Error::Unavailable(format!("producer: {error}")))?;
        Ok(slot.insert(Arc::new(made)).clone())
    }

    /// An idempotent producer that lost track of its sequence never recovers: the next append gets a
    /// new one.
    fn replace_broken(&self, durability: Durability) {
        let (lane, _) = self.lane(durability);
        let mut slot = lane.producer.write();
        let broken = slot.take_if(|producer| producer.client().fatal_error().is_some());
        drop(slot);
        if let Some(broken) = broken {
            meters::replaced();
            tracing::warn!(error = ?broken.client().fatal_error(), "a producer broke; the next append gets a new one");
            close_apart(broken, Duration::ZERO);
        }
    }

    /// Says how much waits.
    pub(crate) fn measure(&self) {
        let bytes = self.config.append_bytes_max.saturating_sub(self.room.available_permits());
        let queued =
            self.lanes.iter().filter_map(|lane| lane.producer.read().as_ref().map(|made| made.in_flight_count()));
        self.meters.queued(bytes, queued.map(|count| usize::try_from(count).unwrap_or_default()).sum());
    }

    /// Sends what is queued, as far as the time goes.
    pub(crate) fn flush(&self, limit: Duration) {
        for lane in &self.lanes {
            let producer = lane.producer.read().clone();
            if let Some(producer) = producer
                && let Err(error) = producer.flush(limit)
            {
                tracing::warn!(%error, "records of no durability were still queued");
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            if let Some(producer) = lane.producer.get_mut().take() {
                close_apart(producer, Duration::from_secs(2));
            }
        }
    }
}

/// Closing waits for the client's threads, and callers may be tokio's.
fn close_apart(producer: Arc<Producer>, limit: Duration) {
    std::thread::spawn(move || {
        let _ = producer.flush(limit);
        drop(producer);
    });
}
