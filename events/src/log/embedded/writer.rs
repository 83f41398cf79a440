//! The one thread that writes: it takes what waits, makes one atomic batch of it, syncs once, and
//! answers everybody.
//!
//! After a failed write the store takes no more. The writer then opens it anew and looks whether the
//! batch is there: if it is, it stands (opening syncs what it finds), else nothing of it was written.
//! Offsets that were meant for it are burned. Only if the store doesn't open is the batch in doubt.

use super::Core;
use super::ends::EndsFile;
use super::keeper::{self, Keeper, RESERVE};
use super::meters::Meters;
use super::packed::Chunk;
use super::queue::{self, Chore, Move, Next, Piece, Work};
use super::space::{io_error, store_error};
use super::store::{Store, position_key};
use super::{retention, streams};
use crate::log::{Appended, Durability, Error, Offset, Result, checks};
use crate::streams::TopicPartition;
use bytes::Bytes;
use fjall::PersistMode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long the writer waits for work at once.
const WAIT: Duration = Duration::from_secs(1);

/// One key and its value, `None` to delete it.
type Change = (Vec<u8>, Option<Bytes>);

/// What a partition gets by one batch.
#[derive(Debug)]
pub(super) struct Growth {
    first: Offset,
    count: u32,
    time_ms: i64,
    packed: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Writer {
    core: Arc<Core>,
    keeper: Keeper,
    meters: Meters,
    /// Bytes of the works that were refused last, while appends fail.
    refused_bytes: u64,
    looked: Instant,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.core.queue.abandon();
        self.core.ended.send_replace(true);
    }
}

impl Writer {
    pub(super) fn new(core: Arc<Core>, file: EndsFile) -> std::io::Result<Self> {
        let keeper = Keeper::start(core.clone(), file)?;
        Ok(Self { core, keeper, meters: Meters::new(), refused_bytes: 0, looked: Instant::now() })
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            match self.core.queue.take(self.core.config.group_bytes, WAIT) {
                Next::Group(group) => self.group(group),
                Next::Chore(chore) => self.chore(chore),
                Next::Nothing => {}
                Next::Closed => break,
            }
            if self.looked.elapsed() >= WAIT {
                self.look_again();
                self.looked = Instant::now();
            }
            self.meters.look(&self.core);
        }
        let synced =
            self.core.store.read().as_ref().is_some_and(|store| store.db.persist(PersistMode::SyncAll).is_ok());
        let Some(file) = self.keeper.stop() else { return };
        if let Err(error) = keeper::close(&self.core, file, synced) {
            tracing::warn!(%error, "the file of ends was not written; the next start reads the journals with care");
        }
    }

    fn chore(&mut self, chore: Chore) {
        match chore {
            Chore::Create(spec, answer) => drop(answer.send(streams::create(self, &spec))),
            Chore::Grow(spec, answer) => drop(answer.send(streams::grow(self, &spec))),
            Chore::Sweep(answer) => drop(answer.send(retention::sweep(self))),
            Chore::Pass(answer) => drop(answer.send(())),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Works of lesser durability go first and in a batch of their own: they don't wait for the sync.
    fn group(&mut self, group: Vec<Work>) {
        let (strict, relaxed): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|work| work.durability == Durability::All);
        for (works, mode) in [(relaxed, PersistMode::Buffer), (strict, PersistMode::SyncData)] {
            if !works.is_empty() {
                self.write(works, mode);
            }
        }
    }

    fn write(&mut self, works: Vec<Work>, mode: PersistMode) {
        let began = Instant::now();
        let asked = works.len();
        let works = self.let_in(works);
        let all_let_in = works.len() == asked;
        if works.is_empty() {
            return;
        }
        let bytes = bytes(&works);
        let records = works.iter().flat_map(|work| &work.pieces).map(|piece| u64::from(piece.count)).sum();
        let mut growths = BTreeMap::new();
        let mut moves = Vec::new();
        let mut answers: Vec<(oneshot::Sender<_>, Vec<Appended>)> = Vec::with_capacity(works.len());
        for work in works {
            let placed = work.pieces.into_iter().map(|piece| self.place(&mut growths, piece)).collect();
            answers.push((work.answer, placed));
            moves.extend(work.moves);
        }
        let outcome = self.reserve(&growths).and_then(|()| self.store(growths, &moves, mode));
        self.meters.commit(began, records, bytes, outcome.is_ok());
        match &outcome {
            Ok(()) if all_let_in => self.works_again(),
            Ok(()) => {}
            Err(error) => self.troubled(error, bytes),
        }
        drop(moves.into_iter().map(|Move { admission, .. }| admission).collect::<Vec<_>>());
        for (answer, placed) in answers {
            drop(answer.send(outcome.clone().map(|()| placed)));
        }
    }

    /// Refuses what there is no room for. Steps and positions may use three quarters of the reserve,
    /// and pass the size limit: they are how what fills the log gets read, and can go.
    fn let_in(&mut self, works: Vec<Work>) -> Vec<Work> {
        let reserve = self.core.config.reserve_bytes;
        let works = self.not_ended(works);
        let asked = bytes(&works);
        if let Err(error) = self.opened() {
            self.troubled(&error, asked);
            refuse(works, &error);
            return Vec::new();
        }
        let Err(error) = self.room(asked, reserve).and_then(|()| self.below_limit(asked)) else { return works };
        self.troubled(&error, asked);
        let (steps, plain): (Vec<_>, Vec<_>) = works.into_iter().partition(|work| work.moves.is_some());
        refuse(plain, &error);
        if let Err(error) = self.room(bytes(&steps), reserve / 4) {
            refuse(steps, &error);
            return Vec::new();
        }
        steps
    }

    /// Refuses what is for a raw topic that takes no more.
    fn not_ended(&self, mut works: Vec<Work>) -> Vec<Work> {
        let state = self.core.state.read();
        let ended = |work: &mut Work| work.pieces.iter().any(|piece| state.has_ended(&piece.to.topic));
        for work in works.extract_if(.., ended) {
            let error = work.pieces.first().map_or_else(queue::closed, |piece| checks::ended(&piece.to));
            drop(work.answer.send(Err(error)));
        }
        works
    }

    /// From now on appends fail, for this reason.
    fn troubled(&mut self, error: &Error, bytes: u64) {
        self.refused_bytes = bytes;
        let mut trouble = self.core.trouble.lock();
        if trouble.is_none() {
            tracing::warn!(%error, "appends to the log fail");
        }
        *trouble = Some(error.to_string());
    }

    fn works_again(&self) {
        if self.core.trouble.lock().take().is_some() {
            tracing::info!("appends to the log work again");
        }
    }

    /// While appends fail, whether one like the last would work by now: nobody may send another
    /// before this says so.
    fn look_again(&mut self) {
        if self.core.trouble.lock().is_none() {
            return;
        }
        let bytes = self.refused_bytes;
        let room = self.opened().and_then(|()| self.room(bytes, self.core.config.reserve_bytes));
        let room = room.and_then(|()| self.below_limit(bytes));
        match room.and_then(|()| self.keeper.now().map_err(|error| io_error("trying to write", &error))) {
            Ok(()) => self.works_again(),
            Err(error) => self.troubled(&error, bytes),
        }
    }

    pub(super) fn opened(&mut self) -> Result<()> {
        if self.core.store.read().is_none() { self.reopen() } else { Ok(()) }
    }

    /// Whether the store is open and the disk has room for small things.
    pub(super) fn has_room(&mut self) -> Result<()> {
        self.opened()?;
        self.room(0, self.core.config.reserve_bytes)
    }

    /// Appends what was placed, synced.
    pub(super) fn append(&mut self, growths: BTreeMap<TopicPartition, Growth>) -> Result<()> {
        self.reserve(&growths)?;
        self.store(growths, &[], PersistMode::SyncAll)
    }

    /// Whether the disk has room for `bytes` above a reserve.
    fn room(&self, bytes: u64, reserve: u64) -> Result<()> {
        let dir = &self.core.dir;
        let free = self.core.config.space.free(dir).map_err(|error| io_error("asking for free space", &error))?;
        if free < reserve.saturating_add(bytes) {
            let dir = dir.display();
            return Err(Error::Full(format!("{free} bytes are free in {dir}, and {reserve} are kept in reserve")));
        }
        Ok(())
    }

    /// Whether the log has room for `bytes` below its size limit, after what may go is gone.
    fn below_limit(&mut self, bytes: u64) -> Result<()> {
        let Some(limit) = self.core.config.size_limit_bytes else { return Ok(()) };
        let kept = self.core.state.read().kept();
        if kept.saturating_add(bytes) <= limit {
            return Ok(());
        }
        let freed = retention::make_room(self, kept.saturating_add(bytes) - limit)?;
        if kept.saturating_add(bytes).saturating_sub(freed) > limit {
            let kept = kept.saturating_sub(freed);
            return Err(Error::Full(format!("{kept} bytes that must be kept fill the log up to its limit of {limit}")));
        }
        Ok(())
    }

    /// Gives offsets and a time to one piece.
    pub(super) fn place(&self, growths: &mut BTreeMap<TopicPartition, Growth>, piece: Piece) -> Appended {
        let now_ms = self.core.clock.now_ms();
        let growth = growths.entry(piece.to.clone()).or_insert_with(|| {
            let state = self.core.state.read();
            let found = state.partitions.get(&piece.to);
            let (first, time_ms) = found.map_or((0, 0), |found| (found.next, found.time_ms));
            Growth { first, count: 0, time_ms: time_ms.max(now_ms), packed: Vec::new() }
        });
        let first = growth.first + Offset::from(growth.count);
        growth.count = growth.count.saturating_add(piece.count);
        if growth.packed.is_empty() {
            growth.packed = piece.packed;
        } else {
            growth.packed.extend_from_slice(&piece.packed);
        }
        Appended { first, last: first + Offset::from(piece.count) - 1, time_ms: growth.time_ms }
    }

    /// Makes sure that no offset is given before the file of ends knows that it may be. More are asked
    /// for while there are enough, so that this waits for a partition's first ones only.
    fn reserve(&self, growths: &BTreeMap<TopicPartition, Growth>) -> Result<()> {
        let (mut low, mut short) = (false, false);
        {
            let mut state = self.core.state.write();
            for (to, growth) in growths {
                let Some(partition) = state.partitions.get_mut(to) else { continue };
                let end = growth.first + Offset::from(growth.count);
                if end + RESERVE / 2 > partition.reserved.max(partition.needed) {
                    partition.needed = end + RESERVE;
                    low = true;
                }
                short |= end > partition.reserved;
            }
        }
        if short {
            return self.keeper.now().map_err(|error| io_error("reserving offsets", &error));
        }
        if low {
            self.keeper.soon();
        }
        Ok(())
    }

    fn store(&mut self, growths: BTreeMap<TopicPartition, Growth>, moves: &[Move], mode: PersistMode) -> Result<()> {
        let mut changes: Vec<Change> = Vec::with_capacity(growths.len());
        let mut grown = Vec::with_capacity(growths.len());
        {
            let mut state = self.core.state.write();
            for (to, growth) in growths {
                let Some(partition) = state.partitions.get_mut(&to) else { continue };
                let bytes = partition.bytes + growth.packed.len() as u64;
                let chunk = Chunk { base: growth.first, count: growth.count, time_ms: growth.time_ms, bytes };
                changes.push((partition.place.key(&chunk), Some(growth.packed.into())));
                partition.next = chunk.end();
                grown.push((to, chunk));
            }
        }
        for Move { group, positions, .. } in moves {
            for (of, position) in positions {
                changes.push((position_key(group, of), Some(position.to_be_bytes().to_vec().into())));
            }
        }
        self.commit(&changes, mode)?;
        let mut state = self.core.state.write();
        for (to, chunk) in &grown {
            if let Some(partition) = state.partitions.get_mut(to) {
                partition.end = chunk.end();
                partition.time_ms = chunk.time_ms;
                partition.bytes = chunk.bytes;
            }
        }
        for Move { group, positions, .. } in moves {
            state.positions.extend(positions.iter().map(|(of, at)| ((group.clone(), of.clone()), *at)));
        }
        drop(state);
        self.keeper.moved();
        self.core.groups.wake(grown.iter().map(|(to, _)| to));
        Ok(())
    }

    /// Writes changes, all or none.
    pub(super) fn commit(&mut self, changes: &[Change], mode: PersistMode) -> Result<()> {
        let outcome = match &*self.core.store.read() {
            None => return Err(Error::Unavailable("the store is not open".into())),
            Some(store) => {
                let mut batch = store.db.batch().durability(Some(mode));
                for (key, value) in changes {
                    match value {
                        Some(value) => batch.insert(&store.keys, key.as_slice(), value.clone()),
                        None => batch.remove(&store.keys, key.as_slice()),
                    }
                }
                batch.commit()
            }
        };
        let Err(error) = outcome else { return Ok(()) };
        let error = store_error("writing to the log", &error);
        tracing::error!(%error, "a write to the log failed; opening its store anew");
        if let Err(closed) = self.reopen() {
            return Err(Error::InDoubt(format!("{error}; then {closed}")));
        }
        if self.stands(changes)? { Ok(()) } else { Err(self.full_or(error)) }
    }

    /// Whether changes, which stand or fall together, are there.
    fn stands(&self, changes: &[Change]) -> Result<bool> {
        let store = self.core.store.read();
        let Some(store) = &*store else { return Err(Error::InDoubt("the store is not open".into())) };
        for (key, value) in changes {
            let found =
                store.keys.get(key).map_err(|error| Error::InDoubt(store_error("reading back", &error).to_string()))?;
            if found.map(Bytes::from) != *value {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Background work of the store may have failed for want of room without saying so.
    fn full_or(&self, error: Error) -> Error {
        let free = self.core.config.space.free(&self.core.dir).unwrap_or(u64::MAX);
        let low = free < self.core.config.reserve_bytes;
        if low { Error::Full(format!("{free} bytes are free in {}; {error}", self.core.dir.display())) } else { error }
    }

    /// Closes the store and opens it again. What it holds is the truth about ends and positions; the
    /// offsets that were given out go on from where they were.
    fn reopen(&mut self) -> Result<()> {
        let core = self.core.clone();
        let mut slot = core.store.write();
        *slot = None;
        let store = Store::open(&core.dir.join("store"), core.config.cache_bytes, core.config.memtable_bytes)?;
        let mut loaded = store.load()?;
        let mut state = core.state.write();
        for (of, before) in &state.partitions {
            if let Some(now) = loaded.partitions.get_mut(of) {
                now.next = now.next.max(before.next);
                now.reserved = before.reserved;
                now.needed = before.needed;
                now.time_ms = now.time_ms.max(before.time_ms);
            }
        }
        *state = loaded;
        *slot = Some(store);
        tracing::warn!(dir = %core.dir.display(), "opened the log's store anew");
        Ok(())
    }
}

fn bytes(works: &[Work]) -> u64 {
    works.iter().map(Work::bytes).sum::<usize>() as u64
}

/// Answers works of which nothing was written.
fn refuse(works: Vec<Work>, error: &Error) {
    for work in works {
        drop(work.answer.send(Err(error.clone())));
    }
}

/// The partitions that a sweep may touch, in order.
pub(super) fn in_order(core: &Core) -> BTreeSet<TopicPartition> {
    core.state.read().partitions.keys().cloned().collect()
}
