//! The log as one process sees it: the memory log behind calls that take time, fail, arrive after their
//! caller has gone, or answer with less than was asked for.

use crate::process::Process;
use async_trait::async_trait;
use events::log::memory::MemoryLog;
use events::log::{
    Append, Appended, Batch, Durability, Ends, Error, Generation, Log, Member, Offset, Poll, ReadLimit, Result, Step,
    StreamInfo, StreamSpec, Transactor,
};
use events::streams::{Stream, TopicPartition};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SimLog {
    inner: MemoryLog,
    process: Arc<Process>,
}

impl SimLog {
    pub(crate) fn new(inner: &MemoryLog, process: &Arc<Process>) -> Self {
        Self { inner: inner.clone(), process: process.clone() }
    }

    /// A call that changes nothing: it takes time, and may fail.
    async fn read_only<T>(&self, what: String, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut draw = self.process.ask(&what).await;
        let result = if self.process.fails(&mut draw, self.process.world.plan.log_reads_failed) {
            Err(Error::Unavailable(format!("{what} (injected)")))
        } else {
            call.await
        };
        self.process.note(&format!("{what}{}", said(&result)));
        self.process.answer(&mut draw).await;
        result
    }
}

/// What a result adds to a line of history.
fn said<T>(result: &Result<T>) -> String {
    match result {
        Ok(_) => String::new(),
        Err(error) => format!(": {error}"),
    }
}

/// A call that is on its way whatever becomes of its caller.
async fn sent<T: Send + 'static>(
    process: &Arc<Process>,
    what: String,
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    process.may_send().await;
    let sender = process.clone();
    let under_way = tokio::spawn(async move {
        let (draw, arrives) = sender.send(&what).await;
        if !arrives {
            sender.note(&format!("{what}: never arrives"));
            return None;
        }
        let result = call.await;
        sender.note(&format!("{what}{}", said(&result)));
        Some((result, draw))
    });
    match under_way.await {
        Ok(Some((result, mut draw))) => {
            process.answer(&mut draw).await;
            result
        }
        _ => std::future::pending().await,
    }
}

#[async_trait]
impl Log for SimLog {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        self.inner.create_stream(spec).await
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        // Asked once, at start: a role that can't learn of its stream ends, and is started again.
        self.inner.stream(stream).await
    }

    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        let mut what = String::from("append");
        appends.iter().for_each(|append| _ = write!(what, " {} to {}", append.records.len(), append.to));
        let (inner, count) = (self.inner.clone(), appends.len());
        let call = async move { Ok(inner.append(appends, durability).await) };
        match sent(&self.process, what, call).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        self.read_only(format!("read {from} from {position}"), self.inner.read(from, position, limit)).await
    }

    async fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        self.read_only(format!("ends of {of}"), self.inner.ends(of)).await
    }

    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset> {
        self.read_only(format!("offset of {of} at {time_ms}"), self.inner.offset_at(of, time_ms)).await
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        self.read_only(format!("position of {group} in {of}"), self.inner.committed(group, of)).await
    }

    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>> {
        let joined = self.read_only(format!("join {group}"), self.inner.join(group, topics, instance)).await?;
        let generation = joined.generation();
        let process = self.process.clone();
        Ok(Box::new(SimMember { inner: joined, process, generation, held: None }))
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>> {
        let opened = self.read_only(format!("open transactor {id}"), self.inner.transactor(id)).await?;
        let inner = Arc::new(Mutex::new(opened));
        Ok(Box::new(SimTransactor { inner, id: id.to_owned(), process: self.process.clone() }))
    }
}

/// A member whose answers come late, and in smaller pieces.
struct SimMember {
    inner: Box<dyn Member>,
    process: Arc<Process>,
    /// Of the last poll that was answered.
    generation: Generation,
    /// What the next poll answers: a poll that is dropped loses nothing.
    held: Option<Result<Poll>>,
}

#[async_trait]
impl Member for SimMember {
    async fn poll(&mut self, limit: ReadLimit, wait: Duration) -> Result<Poll> {
        let mut draw = self.process.ask("poll").await;
        if self.held.is_none() {
            let plan = &self.process.world.plan;
            let polled = if self.process.fails(&mut draw, plan.log_reads_failed) {
                Err(Error::Unavailable("poll (injected)".into()))
            } else {
                let torn = self.process.world.is_faulty() && draw.strikes(300);
                let records = if torn { 1 + usize::try_from(draw.below(4)).unwrap_or(0) } else { limit.records };
                self.inner.poll(ReadLimit { records: records.min(limit.records), ..limit }, wait).await
            };
            if !matches!(polled, Ok(Poll::Idle)) {
                self.process.note(&polled_line(&polled));
            }
            self.held = Some(polled);
        }
        self.process.answer(&mut draw).await;
        self.generation = self.inner.generation();
        self.held.take().unwrap_or(Ok(Poll::Idle))
    }

    fn generation(&self) -> Generation {
        self.generation.clone()
    }

    fn seek(&mut self, of: &TopicPartition, position: Offset) -> Result<()> {
        self.inner.seek(of, position)
    }

    fn pause(&mut self, of: &[TopicPartition]) {
        self.inner.pause(of);
    }

    fn resume(&mut self, of: &[TopicPartition]) {
        self.inner.resume(of);
    }

    async fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        let mut draw = self.process.ask("commit positions").await;
        let result = self.inner.commit(positions).await;
        self.process.note(&format!("commit of positions {positions:?}{}", said(&result)));
        self.process.answer(&mut draw).await;
        result
    }
}

fn polled_line(polled: &Result<Poll>) -> String {
    let named =
        |partitions: &[TopicPartition]| partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match polled {
        Ok(Poll::Idle) => String::new(),
        Ok(Poll::Assigned(partitions)) => format!("polls: assigned {}", named(partitions)),
        Ok(Poll::Revoked(partitions)) => format!("polls: revoked {}", named(partitions)),
        Ok(Poll::Batches(batches)) => {
            let each = batches
                .iter()
                .map(|batch| format!("{} of {} [{}, {})", batch.records.len(), batch.from, batch.position, batch.next));
            format!("polls: {}", each.collect::<Vec<_>>().join(", "))
        }
        Err(error) => format!("polls: {error}"),
    }
}

/// A transactor whose commits are on their way whatever becomes of their caller.
struct SimTransactor {
    inner: Arc<Mutex<Box<dyn Transactor>>>,
    id: String,
    process: Arc<Process>,
}

#[async_trait]
impl Transactor for SimTransactor {
    async fn commit(&mut self, step: Step) -> Result<()> {
        let mut what = format!("{} commits generation {}", self.id, step.generation.number);
        step.appends.iter().for_each(|append| _ = write!(what, ", {} to {}", append.records.len(), append.to));
        step.positions.iter().for_each(|(of, position)| _ = write!(what, ", {of} to {position}"));
        let inner = self.inner.clone();
        sent(&self.process, what, async move { inner.lock().await.commit(step).await }).await
    }
}
