//! Which part answers which call.

use crate::config::Config;
use crate::member::Member as Blocking;
use crate::names::Names;
use crate::plan::Change;
use crate::producer::Appender;
use crate::reader::Readers;
use crate::seats::{Seat, Seats};
use crate::streams::Streams;
use crate::topics::Topics;
use crate::transactor::Transactions;
use async_trait::async_trait;
use events::TopicPartition;
use events::log::{
    Append, Appended, Batch, Durability, Ends, Error, Generation, Log, Member, Offset, Poll, ReadLimit, Result, Step,
    StreamInfo, StreamSpec, Transactor, checks,
};
use events::streams::Stream;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Waits longer than this are cut to it.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// How often clients that nobody uses are served.
const LOOK_AFTER_INTERVAL: Duration = Duration::from_millis(500);

/// The log on a Kafka cluster. Clones share it.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    names: Names,
    readers: Arc<Readers>,
    appender: Arc<Appender>,
    streams: Streams,
    seats: Arc<Seats>,
    /// Partitions of topics that were asked for.
    partitions: Mutex<HashMap<Arc<str>, i32>>,
    closing: Arc<Closing>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("brokers", &self.shared.config.brokers).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// The log on the cluster that `config` names. The cluster is looked for when it is first needed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the client library refuses a setting.
    pub fn new(config: Config) -> Result<Self> {
        let names = Names::new(&config.prefix);
        let readers = Arc::new(Readers::new(config.clone(), names.clone())?);
        let appender = Arc::new(Appender::new(config.clone(), names.clone()));
        let topics = Topics { config: config.clone(), names: names.clone(), readers: readers.clone() };
        look_after(&readers, &appender, topics.in_sync());
        let streams = Streams::new(topics, appender.clone());
        let shared = Shared {
            config,
            names,
            readers,
            appender,
            streams,
            seats: Arc::default(),
            partitions: Mutex::default(),
            closing: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What there is to do before a stream can be served: topics, settings, its record.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the cluster doesn't answer.
    pub async fn plan(&self, spec: &StreamSpec) -> Result<Vec<Change>> {
        self.shared.streams.plan(spec).await
    }

    /// Does what [`Self::plan`] says.
    ///
    /// # Errors
    /// [`Error::Refused`] with all that is impossible; then nothing was changed.
    pub async fn apply(&self, spec: &StreamSpec) -> Result<()> {
        self.shared.streams.apply(spec).await
    }

    /// Sends what is still queued, and waits until members and transactors that were dropped have
    /// left, at most for `limit`: who leaves properly isn't waited for by others.
    pub async fn close(&self, limit: Duration) {
        let (appender, closing) = (self.shared.appender.clone(), self.shared.closing.clone());
        let closed = blocking(move || {
            let deadline = Instant::now() + limit;
            appender.flush(limit);
            if !closing.wait(deadline) {
                tracing::warn!("clients of Kafka were still closing");
            }
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "closing the Kafka log");
        }
    }
}

/// Serves what nobody waits for, until the log is gone.
fn look_after(readers: &Arc<Readers>, appender: &Arc<Appender>, in_sync: i32) {
    let (readers, appender) = (Arc::downgrade(readers), Arc::downgrade(appender));
    std::thread::spawn(move || {
        while let (Some(readers), Some(appender)) = (readers.upgrade(), appender.upgrade()) {
            readers.look_after();
            appender.troubles.look(&readers, in_sync);
            appender.measure();
            drop((readers, appender));
            std::thread::sleep(LOOK_AFTER_INTERVAL);
        }
    });
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Unavailable(format!("a call to Kafka ended early: {error}"))),
    }
}

/// The same for what writes: where nothing tells what became of it, that is in doubt. The client itself may
/// wait without end for the answer of a broker that is gone.
async fn decided<T: Send + 'static>(
    what: &str,
    limit: Duration,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(Error::InDoubt(format!("{what} ended early: {error}"))),
        Err(_) => Err(Error::InDoubt(format!("{what} has not ended in {limit:?}, and may never"))),
    }
}

/// Clients on their way out: closing one talks to the cluster, and blocks.
#[derive(Default)]
struct Closing {
    count: Mutex<usize>,
    done: Condvar,
}

impl Closing {
    /// Drops `client` on a thread of its own.
    fn close<T: Send + 'static>(self: &Arc<Self>, client: T) {
        *self.count.lock() += 1;
        let closing = self.clone();
        std::thread::spawn(move || {
            drop(client);
            *closing.count.lock() -= 1;
            closing.done.notify_all();
        });
    }

    fn wait(&self, deadline: Instant) -> bool {
        let mut count = self.count.lock();
        while *count > 0 {
            if self.done.wait_until(&mut count, deadline).timed_out() {
                return *count == 0;
            }
        }
        true
    }
}

impl Shared {
    /// Partitions of a topic; looked up once, since they are fixed for a generation of the stream.
    async fn count(&self, topic: &Arc<str>) -> Result<i32> {
        if let Some(count) = self.partitions.lock().get(topic) {
            return Ok(*count);
        }
        let (readers, name) = (self.readers.clone(), topic.clone());
        let count = blocking(move || Streams::partitions(&readers, &name)).await?;
        let count = count.ok_or_else(|| checks::unknown_topic(topic))?;
        self.partitions.lock().insert(topic.clone(), count);
        Ok(count)
    }

    async fn known(&self, of: &TopicPartition) -> Result<()> {
        if (0..self.count(&of.topic).await?).contains(&of.partition) { Ok(()) } else { Err(checks::unknown(of)) }
    }

    async fn checked(&self, append: Append) -> Result<Append> {
        self.known(&append.to).await?;
        checks::records(&append)?;
        Ok(append)
    }

    /// A topic that went away is asked for anew the next time.
    fn forget(&self, topic: &str) {
        self.partitions.lock().remove(topic);
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        self.shared.streams.create(spec).await
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        self.shared.streams.find(stream).await
    }

    async fn grow(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        self.shared.streams.grow(spec).await
    }

    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        let mut checked = Vec::with_capacity(appends.len());
        let mut topics = Vec::with_capacity(appends.len());
        for append in appends {
            topics.push(append.to.topic.clone());
            checked.push(self.shared.checked(append).await);
        }
        let answers = self.shared.appender.append(checked, durability).await;
        for (topic, answer) in topics.iter().zip(&answers) {
            if matches!(answer, Err(Error::Refused(_))) {
                self.shared.forget(topic);
            }
        }
        answers
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        self.shared.known(from).await?;
        let (readers, from) = (self.shared.readers.clone(), from.clone());
        blocking(move || readers.read(&from, position, limit)).await
    }

    async fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        self.shared.known(of).await?;
        let (readers, of) = (self.shared.readers.clone(), of.clone());
        blocking(move || readers.ends(&of)).await
    }

    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset> {
        self.shared.known(of).await?;
        let (readers, of) = (self.shared.readers.clone(), of.clone());
        blocking(move || match readers.offset_at(&of, time_ms)? {
            Some(offset) => Ok(offset),
            None => Ok(readers.ends(&of)?.end),
        })
        .await
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        self.shared.known(of).await?;
        let (readers, group, of) = (self.shared.readers.clone(), group.to_owned(), of.clone());
        blocking(move || readers.position(&group, &of)).await
    }

    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>> {
        for topic in topics {
            self.shared.count(topic).await?;
        }
        let seat = self.shared.seats.take(group, topics, instance)?;
        let (shared, taken, group, topics) = (self.shared.clone(), seat.clone(), group.to_owned(), topics.to_vec());
        let joined = blocking(move || {
            let (readers, seats) = (shared.readers.clone(), shared.seats.clone());
            Blocking::join(&shared.config, &shared.names, (readers, seats), taken, (&group, &topics))
        });
        match joined.await {
            Ok(member) => {
                let member = Some(Arc::new(Mutex::new(member)));
                Ok(Box::new(KafkaMember { member, seat, shared: self.shared.clone() }))
            }
            Err(error) => {
                self.shared.seats.leave(&seat);
                Err(error)
            }
        }
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>> {
        let (shared, name) = (self.shared.clone(), id.to_owned());
        let opened = blocking(move || Transactions::open(&shared.config, &shared.names, &name)).await?;
        Ok(Box::new(KafkaTransactor {
            shared: self.shared.clone(),
            id: id.into(),
            transactions: Some(Arc::new(opened)),
            // By half of it the cluster has aborted what is open.
            commit_limit: self.shared.config.transaction_timeout * 2,
            is_spent: false,
        }))
    }

    fn trouble(&self) -> Option<String> {
        self.shared.appender.troubles.current()
    }
}

/// Ends with whoever waits.
#[derive(Default)]
struct Patience(Arc<AtomicBool>);

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A member as tokio's tasks see it.
struct KafkaMember {
    /// `None` only while it is dropped.
    member: Option<Arc<Mutex<Blocking>>>,
    seat: Arc<Seat>,
    shared: Arc<Shared>,
}

impl KafkaMember {
    fn member(&self) -> Result<Arc<Mutex<Blocking>>> {
        self.member.clone().ok_or_else(|| Error::Fenced("the member has left".into()))
    }

    /// Pausing fails only where the client has lost the partition, and then nothing is fetched.
    fn steer(&self, work: impl FnOnce(&mut Blocking) -> Result<()>) {
        let done = self.member().and_then(|member| work(&mut member.lock()));
        if let Err(error) = done {
            tracing::debug!(%error, "pausing or resuming");
        }
    }
}

#[async_trait]
impl Member for KafkaMember {
    async fn poll(&mut self, limit: ReadLimit, wait: Duration) -> Result<Poll> {
        let (member, deadline) = (self.member()?, Instant::now() + wait.min(WAIT_MAX));
        let (polled, patience) = (member.clone(), Patience::default());
        let stop = patience.0.clone();
        blocking(move || {
            polled.lock().fetch(limit, deadline, &stop);
            Ok(())
        })
        .await?;
        member.lock().take()
    }

    fn generation(&self) -> Generation {
        self.seat.generation()
    }

    fn seek(&mut self, of: &TopicPartition, position: Offset) -> Result<()> {
        self.member()?.lock().seek(of, position)
    }

    fn pause(&mut self, of: &[TopicPartition]) {
        self.steer(|member| member.pause(of));
    }

    fn resume(&mut self, of: &[TopicPartition]) {
        self.steer(|member| member.resume(of));
    }

    async fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        let (member, positions) = (self.member()?, positions.to_vec());
        blocking(move || member.lock().commit(&positions)).await
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // Nothing more is admitted from this moment on; leaving the group may take longer.
        self.shared.seats.leave(&self.seat);
        if let Some(member) = self.member.take() {
            self.shared.closing.close(member);
        }
    }
}

struct KafkaTransactor {
    shared: Arc<Shared>,
    id: Arc<str>,
    /// `None` only while it is dropped.
    transactions: Option<Arc<Transactions>>,
    /// From the begin of a commit to its outcome at most.
    commit_limit: Duration,
    is_spent: bool,
}

#[async_trait]
impl Transactor for KafkaTransactor {
    async fn commit(&mut self, step: Step) -> Result<()> {
        let transactions = self.transactions.clone().filter(|_| !self.is_spent);
        let Some(transactions) = transactions else {
            return Err(Error::Fenced(format!("transactor {} is spent", self.id)));
        };
        for append in &step.appends {
            self.shared.known(&append.to).await?;
            checks::records(append)?;
        }
        let positions = step.positions.iter().map(|(of, _)| of);
        let admission = self.shared.seats.admit(&step.generation, positions)?;
        if step.appends.is_empty() && step.positions.is_empty() {
            return Ok(());
        }
        // A caller that stops waiting leaves the commit to its fate, and may not use the id again.
        self.is_spent = true;
        let (what, admission) = (format!("transactor {}: commit", self.id), Arc::new(admission));
        let admitted = admission.clone();
        let work = move || transactions.commit(&step.appends, &step.positions, &admitted);
        let outcome = decided(&what, self.commit_limit, work).await;
        admission.let_go();
        self.is_spent = matches!(outcome, Err(Error::InDoubt(_) | Error::Fenced(_)));
        outcome
    }
}

impl Drop for KafkaTransactor {
    fn drop(&mut self) {
        if let Some(transactions) = self.transactions.take() {
            self.shared.closing.close(transactions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_that_never_ends_or_panics_is_in_doubt() {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let hangs = decided("commit", Duration::from_millis(20), move || {
            let _ = held.recv();
            Ok(())
        });
        assert!(matches!(hangs.await, Err(Error::InDoubt(said)) if said.contains("may never")));
        drop(let_go);
        let panics = decided("commit", Duration::from_secs(9), || -> Result<()> { panic!("as planned") });
        assert!(matches!(panics.await, Err(Error::InDoubt(said)) if said.contains("ended early")));
        assert!(matches!(decided("commit", Duration::from_secs(9), || Ok(1)).await, Ok(1)));
    }
}
