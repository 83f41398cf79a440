//! The log on the local disk: fjall below, one writer above it, groups in the process.
//!
//! | limit | default |
//! |---|---|
//! | bytes that wait for the writer | 64 MiB, then `Unavailable` |
//! | bytes in one group commit | 16 MiB |
//! | disk kept in reserve | 256 MiB, then `Full` |
//! | bytes of records kept | none |
//!
//! ```text
//! DIR/lock          held while open: one process at a time
//! DIR/store/        fjall: journals, tables, blobs
//! DIR/ends.a .b     where each partition stood, and which offsets may have been given
//! DIR/lost/         bytes that were cut off a damaged journal
//! ```
//!
//! An append is packed by its caller, queued, and written by the one writer thread together with all
//! that waits: one atomic batch and one fsync, in which each partition gets one key and value (see
//! `packed`). A step of a transaction is the same batch with the group's positions in it. Readers see
//! a batch after its fsync. Generations grow across starts, since each start begins a new block.

mod ends;
mod journal;
mod keeper;
mod meters;
mod open;
mod packed;
mod queue;
mod retention;
mod space;
mod state;
mod store;
mod streams;
mod writer;

pub use open::{Lost, OpenReport};
pub use space::SpaceProbe;

use super::groups::Coordinator;
use super::member::{Host, LocalMember};
use super::{
    Append, Appended, Batch, Durability, Ends, Error, Generation, Log, Member, Offset, ReadLimit, Result, Step,
    StreamInfo, StreamSpec, Transactor, checks,
};
use crate::clock::Clock;
use crate::streams::{Stream, TopicPartition};
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use queue::{Chore, Move, Piece, Queue, Work};
use state::State;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use store::Store;
use tokio::sync::oneshot;

/// Limits and tuning; sizes in bytes.
#[derive(Debug, Clone)]
pub struct Config {
    /// What may wait for the writer.
    pub queue_bytes: usize,
    /// About what one group commit takes.
    pub group_bytes: usize,
    /// Disk that is left free for the store's own background work, and for others.
    pub reserve_bytes: u64,
    /// Records kept, at most; `None` for as many as the disk takes.
    pub size_limit_bytes: Option<u64>,
    /// Cache of blocks read from disk.
    pub cache_bytes: u64,
    /// Records held in memory until they are written to tables. Each of these writes goes to the disk at once,
    /// and what syncs then waits for it: the smaller, the shorter the longest wait of an append.
    pub memtable_bytes: u64,
    /// How free disk is found out.
    pub space: SpaceProbe,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_bytes: 64 << 20,
            group_bytes: 16 << 20,
            reserve_bytes: 256 << 20,
            size_limit_bytes: None,
            cache_bytes: 64 << 20,
            memtable_bytes: 8 << 20,
            space: SpaceProbe::default(),
        }
    }
}

/// The log in a directory. Clones share it; it closes when the last clone, member and transactor is
/// gone, or by [`Self::close`].
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

/// What the writer and everybody else share.
#[derive(Debug)]
struct Core {
    dir: PathBuf,
    config: Config,
    clock: Arc<dyn Clock>,
    queue: Queue,
    groups: Coordinator,
    state: RwLock<State>,
    /// `None` while it is opened anew, or can't be.
    store: RwLock<Option<Store>>,
    /// Held while open.
    lock: Mutex<Option<std::fs::File>>,
    /// Why appends fail, while they do.
    trouble: Mutex<Option<String>>,
    /// Whether the writer has stopped.
    ended: tokio::sync::watch::Sender<bool>,
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    report: OpenReport,
    epochs: Mutex<BTreeMap<Arc<str>, u64>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    /// Closes the queue and waits for the writer to finish what is in it.
    fn finish(&self) {
        self.core.queue.close();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer had panicked");
        }
        *self.core.store.write() = None;
        // Given back, not only closed: a process that is just being started shares the file until it runs.
        if let Some(lock) = self.core.lock.lock().take()
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(%error, "the log's lock could not be given back");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.finish();
    }
}

impl EmbeddedLog {
    /// Opens the log in `dir`, which is made if it isn't there. Blocks while it reads journals.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if another process has it open or the disk fails, [`Error::Full`] if it
    /// has no room, [`Error::Corrupt`] if more than the tail is damaged.
    pub fn open(dir: impl AsRef<Path>, config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        open::open(dir.as_ref(), config, clock).map(|shared| Self { shared: Arc::new(shared) })
    }

    /// What was found at open: damage that was cut, records that were lost.
    pub fn report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// Deletes what is past its retention, as the laws allow; answers how many bytes of records went.
    /// To be called every now and then.
    ///
    /// # Errors
    /// As an append.
    pub async fn enforce_retention(&self) -> Result<u64> {
        self.shared.ask(Chore::Sweep).await?
    }

    /// Ready once the writer has stopped, by [`Self::close`] or by a panic: nothing is written any more.
    pub async fn ended(&self) {
        let mut ended = self.shared.core.ended.subscribe();
        // It fails only if the sender is gone, which `self` holds.
        _ = ended.wait_for(|ended| *ended).await;
    }

    /// Writes what waits, and closes; what comes after is refused as unavailable.
    pub async fn close(&self) {
        let shared = self.shared.clone();
        if tokio::task::spawn_blocking(move || shared.finish()).await.is_err() {
            tracing::error!("closing the log panicked");
        }
    }
}

impl Shared {
    async fn ask<T>(&self, chore: impl FnOnce(oneshot::Sender<T>) -> Chore) -> Result<T> {
        let (answer, asked) = oneshot::channel();
        self.core.queue.chore(chore(answer))?;
        asked.await.map_err(|_| queue::closed())
    }

    fn piece(&self, append: &Append) -> Result<Piece> {
        self.core.state.read().partition(&append.to)?;
        checks::records(append)?;
        Piece::of(append)
    }

    /// Queues records (and positions), `check`ed at the last moment before, and waits for their fate.
    async fn work(&self, pieces: Vec<Piece>, moves: Option<Move>, durability: Durability) -> Result<Vec<Appended>> {
        let (answer, asked) = oneshot::channel();
        self.core.queue.push(Work { pieces, moves, durability, answer })?;
        asked.await.unwrap_or_else(|_| Err(Error::InDoubt("the log's writer stopped".into())))
    }

    fn moves(&self, generation: &Generation, positions: Vec<(TopicPartition, Offset)>) -> Result<Move> {
        let admission = self.core.groups.admit(generation, positions.iter().map(|(of, _)| of))?;
        Ok(Move { group: generation.group.clone(), positions, admission })
    }
}

#[async_trait]
impl Host for Shared {
    fn coordinator(&self) -> &Coordinator {
        &self.core.groups
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        let (place, ends) = {
            let state = self.core.state.read();
            let partition = state.partition(from)?;
            (partition.place, partition.ends())
        };
        if position < ends.start || position > ends.end {
            return Err(Error::OutOfRange { from: from.clone(), position, ends });
        }
        if position == ends.end {
            return Ok(Batch { from: from.clone(), position, records: Vec::new(), next: position });
        }
        let store = self.core.store.read();
        let Some(store) = &*store else { return Err(Error::Unavailable("the log's store is not open".into())) };
        store.read(from, place, (position, ends.end), limit)
    }

    async fn commit_positions(&self, generation: &Generation, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        let moves = self.moves(generation, positions.to_vec())?;
        self.work(Vec::new(), Some(moves), Durability::All).await.map(drop)
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        let spec = spec.clone();
        self.shared.ask(|answer| Chore::Create(spec, answer)).await?
    }

    async fn grow(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        let spec = spec.clone();
        self.shared.ask(|answer| Chore::Grow(spec, answer)).await?
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        Ok(self.shared.core.state.read().streams.get(stream).map(|stored| stored.info(stream)))
    }

    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        let mut sound = Vec::with_capacity(appends.len());
        let checked: Vec<Result<()>> =
            appends.iter().map(|append| self.shared.piece(append).map(|piece| sound.push(piece))).collect();
        drop(appends);
        let outcome = if sound.is_empty() { Ok(Vec::new()) } else { self.shared.work(sound, None, durability).await };
        let mut placed = outcome.as_deref().unwrap_or_default().iter();
        let answer = |check: Result<()>| {
            check?;
            match &outcome {
                Ok(_) => placed.next().copied().ok_or_else(queue::closed),
                Err(error) => Err(error.clone()),
            }
        };
        checked.into_iter().map(answer).collect()
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        Host::read(&*self.shared, from, position, limit).await
    }

    async fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        Ok(self.shared.core.state.read().partition(of)?.ends())
    }

    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset> {
        let (place, ends) = {
            let state = self.shared.core.state.read();
            let partition = state.partition(of)?;
            (partition.place, partition.ends())
        };
        let store = self.shared.core.store.read();
        let Some(store) = &*store else { return Err(Error::Unavailable("the log's store is not open".into())) };
        store.offset_at(place, (ends.start, ends.end), time_ms)
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        let state = self.shared.core.state.read();
        state.partition(of)?;
        Ok(state.positions.get(&(group.into(), of.clone())).copied())
    }

    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>> {
        let count = |topic: &str| self.shared.core.state.read().partition_count(topic);
        LocalMember::join(self.shared.clone(), group, topics, count, instance)
    }

    fn trouble(&self) -> Option<String> {
        if self.shared.core.queue.is_closed() {
            return Some("the log is closed".into());
        }
        self.shared.core.trouble.lock().clone()
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>> {
        let epoch = {
            let mut epochs = self.shared.epochs.lock();
            let epoch = epochs.entry(id.into()).or_default();
            *epoch += 1;
            *epoch
        };
        self.shared.ask(Chore::Pass).await?;
        Ok(Box::new(EmbeddedTransactor { shared: self.shared.clone(), id: id.into(), epoch, spent: false }))
    }
}

#[derive(Debug)]
struct EmbeddedTransactor {
    shared: Arc<Shared>,
    id: Arc<str>,
    epoch: u64,
    spent: bool,
}

impl EmbeddedTransactor {
    /// Queues the step under the lock of the epochs: whoever takes the id afterwards waits for it.
    fn queue(&self, step: Step) -> Result<oneshot::Receiver<Result<Vec<Appended>>>> {
        let pieces = step.appends.iter().map(|append| self.shared.piece(append)).collect::<Result<Vec<_>>>()?;
        let epochs = self.shared.epochs.lock();
        if self.spent || epochs.get(&self.id) != Some(&self.epoch) {
            return Err(Error::Fenced(format!("transactor {} was opened again, or is spent", self.id)));
        }
        let moves = Some(self.shared.moves(&step.generation, step.positions)?);
        let (answer, asked) = oneshot::channel();
        self.shared.core.queue.push(Work { pieces, moves, durability: Durability::All, answer })?;
        Ok(asked)
    }
}

#[async_trait]
impl Transactor for EmbeddedTransactor {
    async fn commit(&mut self, step: Step) -> Result<()> {
        let outcome = match self.queue(step) {
            Ok(asked) => asked.await.unwrap_or_else(|_| Err(Error::InDoubt("the log's writer stopped".into()))),
            Err(error) => Err(error),
        };
        self.spent |= matches!(outcome, Err(Error::InDoubt(_) | Error::Fenced(_)));
        outcome.map(drop)
    }
}
