//! A step as one transaction: records out, positions forward, all or nothing.
//!
//! ```text
//! admitted? ─▶ begin ─▶ produce ─▶ flush ─▶ offsets, with the group's metadata ─▶ still admitted? ─▶ commit
//!                          └───────────┴──────────────┴──────────────┴─▶ abort: nothing was written
//! ```
//!
//! Until the commit is asked for, every failure ends in an abort, and then nothing was written. From
//! the commit on, an error that isn't definite leaves the step in doubt and the producer unusable;
//! whoever opens the id again learns from the committed positions what became of it.
//!
//! After an abort the id is opened anew, which raises the producer's epoch. The client would number its
//! next records like those it gave up, and the broker may have taken these without the client knowing: it
//! would take the next ones for repeats, and say that they are written.

use crate::config::Config;
use crate::error::{is_fencing, is_refusal, report_to_tracing};
use crate::meters::{self, Watched};
use crate::names::Names;
use crate::record;
use crate::seats::Admission;
use events::TopicPartition;
use events::log::{Append, Error, Offset, Result};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The wait for room in the producer's queue.
const QUEUE_WAIT: Duration = Duration::from_millis(2);

/// What one transactional id commits.
pub(crate) struct Transactions {
    config: Config,
    names: Names,
    id: Arc<str>,
    /// `None` after a failure.
    epoch: Mutex<Option<Epoch>>,
}

/// The producer of one epoch of a transactional id. The next epoch fences it.
struct Epoch {
    producer: ThreadedProducer<Quiet>,
    names: Names,
    timeout: Duration,
    id: Arc<str>,
}

/// Reports of single records say nothing that the transaction's own outcome doesn't.
struct Quiet {
    watched: Watched,
}

impl Quiet {
    fn new() -> Self {
        Self { watched: Watched::new("transact") }
    }
}

impl ClientContext for Quiet {
    report_to_tracing!();

    fn stats_raw(&self, statistics: &[u8]) {
        self.watched.take(statistics);
    }
}

impl ProducerContext<NoCustomPartitioner> for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}

impl Transactions {
    /// Opens the id, which fences whoever held it and ends what they had begun. Blocks.
    pub(crate) fn open(config: &Config, names: &Names, id: &str) -> Result<Self> {
        let epoch = Mutex::new(Some(Epoch::open(config, names, id)?));
        Ok(Self { config: config.clone(), names: names.clone(), id: id.into(), epoch })
    }

    /// Commits one step that was checked and admitted. Blocks.
    pub(crate) fn commit(
        &self,
        appends: &[Append],
        positions: &[(TopicPartition, Offset)],
        admission: &Admission,
    ) -> Result<()> {
        let began = Instant::now();
        let mut current = self.epoch.lock();
        let epoch = match current.take() {
            Some(epoch) => epoch,
            None => Epoch::open(&self.config, &self.names, &self.id)?,
        };
        let decided = epoch.attempt(appends, positions, admission);
        meters::transaction(&decided, began.elapsed());
        if decided.is_ok() {
            let records = appends.iter().flat_map(|append| &append.records);
            meters::stand(records.clone().count(), records.map(record::queued_bytes).sum());
            *current = Some(epoch);
        }
        decided
    }
}

impl Epoch {
    fn open(config: &Config, names: &Names, id: &str) -> Result<Self> {
        let what = |error: KafkaError| Error::Unavailable(format!("transactor {id}: {error}"));
        let producer: ThreadedProducer<Quiet> =
            config.transactor(&names.there(id)).create_with_context(Quiet::new()).map_err(what)?;
        let timeout = config.transaction_timeout;
        // The one before may be in the middle of a transaction, which is ended first.
        let deadline = Instant::now() + timeout * 2;
        loop {
            match producer.init_transactions(timeout) {
                Ok(()) => break,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return Err(what(error)),
            }
        }
        Ok(Self { producer, names: names.clone(), timeout, id: id.into() })
    }

    fn attempt(&self, appends: &[Append], positions: &[(TopicPartition, Offset)], admission: &Admission) -> Result<()> {
        self.producer.begin_transaction().map_err(|error| self.broken("begin", &error))?;
        if let Err(error) = self.fill(appends, positions, admission) {
            return Err(self.abort(error));
        }
        if admission.is_over() {
            let over = Error::Fenced(format!("transactor {}: the group moved on before the commit", self.id));
            return Err(self.abort(Failure { error: over, is_fatal: false }));
        }
        self.decide()
    }

    /// All of a transaction but its end.
    fn fill(
        &self,
        appends: &[Append],
        positions: &[(TopicPartition, Offset)],
        admission: &Admission,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        for append in appends {
            let topic = self.names.there(&append.to.topic);
            for record in &append.records {
                self.produce(&topic, append.to.partition, record, deadline)?;
            }
        }
        self.producer.flush(self.timeout).map_err(|error| self.failure("flush", &error))?;
        if positions.is_empty() {
            return Ok(());
        }
        let offsets = positions.iter().map(|(of, position)| (of, KafkaOffset::Offset(*position)));
        let offsets = self.names.list(offsets).map_err(|error| self.failure("offsets", &error))?;
        self.producer
            .send_offsets_to_transaction(&offsets, &admission.metadata, self.timeout)
            .map_err(|error| self.failure("offsets", &error))
    }

    fn produce(
        &self,
        topic: &str,
        partition: i32,
        record: &events::log::NewRecord,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut message = record::message(topic, partition, record, ());
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((error, rejected)) => {
                    let is_full = error.rdkafka_error_code() == Some(Code::QueueFull);
                    if !is_full || Instant::now() >= deadline {
                        return Err(self.failure("produce", &error));
                    }
                    message = rejected;
                    std::thread::sleep(QUEUE_WAIT);
                }
            }
        }
    }

    /// Asks for the commit until there is an answer, or time has run out.
    fn decide(&self) -> Result<()> {
        let began = Instant::now();
        let deadline = began + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.producer.commit_transaction(left.max(Duration::from_millis(100))) {
                Ok(()) => {
                    meters::committed(began.elapsed());
                    return Ok(());
                }
                Err(error) => error,
            };
            match &error {
                KafkaError::Transaction(inner) if inner.txn_requires_abort() => {
                    return Err(self.abort(self.failure("commit", &error)));
                }
                KafkaError::Transaction(inner) if inner.is_retriable() && Instant::now() < deadline => {}
                _ => return Err(self.broken("commit", &error)),
            }
        }
    }

    /// Ends a transaction of which nothing shall stand; gives the error that tells so, if it does.
    fn abort(&self, failure: Failure) -> Error {
        if failure.is_fatal {
            return failure.error;
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.producer.abort_transaction(self.timeout) {
                Ok(()) => return failure.error,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return self.broken("abort", &error),
            }
        }
    }

    /// An error before the commit was asked for: nothing stands once the transaction is aborted.
    fn failure(&self, what: &str, error: &KafkaError) -> Failure {
        let text = format!("transactor {}: {what}: {error}", self.id);
        let is_fatal = self.producer.client().fatal_error().is_some()
            || matches!(error, KafkaError::Transaction(error) if error.is_fatal());
        let error = match error.rdkafka_error_code() {
            Some(code) if is_fencing(code) => Error::Fenced(text),
            _ if is_fatal => self.fate_by_fatal(text),
            Some(code) if is_refusal(code) => Error::Refused(text),
            _ => Error::Unavailable(text),
        };
        Failure { error, is_fatal }
    }

    /// An error after which the producer is of no use, and the step's fate unknown unless it is fenced.
    fn broken(&self, what: &str, error: &KafkaError) -> Error {
        let text = format!("transactor {}: {what}: {error}", self.id);
        match error.rdkafka_error_code() {
            Some(code) if is_fencing(code) => Error::Fenced(text),
            _ => self.fate_by_fatal(text),
        }
    }

    /// The producer's own last word may say more than the call's error.
    fn fate_by_fatal(&self, text: String) -> Error {
        match self.producer.client().fatal_error() {
            Some((code, reason)) if is_fencing(code) => Error::Fenced(format!("{text}: {reason}")),
            Some((_, reason)) => Error::InDoubt(format!("{text}: {reason}")),
            None => Error::InDoubt(text),
        }
    }
}

/// What went wrong before a commit was asked for.
struct Failure {
    error: Error,
    /// The producer can't even abort.
    is_fatal: bool,
}
