//! The log in memory: for tests, and as the ground that the simulation stands on.
//!
//! Nothing in it looks at a wall clock, starts a thread or waits by itself: time comes from a
//! [`Clock`], waiting is tokio's (which tests pause), and what goes wrong is drawn from one seed (see
//! [`Faults`]). The same calls in the same order give the same log.

mod faults;
mod partition;

pub use faults::Faults;

use super::groups::Coordinator;
use super::member::{Host, LocalMember};
use super::{
    Append, Appended, Batch, Durability, Ends, Error, Generation, Log, Member, NewRecord, Offset, ReadLimit, Record,
    Result, Step, StreamInfo, StreamSpec, Transactor, checks,
};
use crate::clock::Clock;
use crate::streams::{Stream, TopicPartition};
use async_trait::async_trait;
use faults::{Dice, Fate};
use parking_lot::Mutex;
use partition::Partition;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A log in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    groups: Coordinator,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    /// Whether names are drawn from the seed too, or are random.
    seeded: bool,
    streams: BTreeMap<Stream, (StreamInfo, StreamSpec)>,
    partitions: BTreeMap<TopicPartition, Partition>,
    positions: BTreeMap<(Arc<str>, TopicPartition), Offset>,
    /// How often each transactional id was opened.
    epochs: BTreeMap<Arc<str>, u64>,
    /// Whether ended topics take appends all the same.
    unfenced: bool,
}

impl MemoryLog {
    /// A log in which nothing goes wrong.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::build(Dice::new(0, Faults::default()), false, clock)
    }

    /// A log in which things go wrong as `faults` say, drawn from `seed`.
    pub fn with_faults(seed: u64, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::build(Dice::new(seed, faults), true, clock)
    }

    fn build(dice: Dice, seeded: bool, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            dice,
            seeded,
            streams: BTreeMap::new(),
            partitions: BTreeMap::new(),
            positions: BTreeMap::new(),
            epochs: BTreeMap::new(),
            unfenced: false,
        };
        Self { shared: Arc::new(Shared { clock, groups: Coordinator::default(), state: Mutex::new(state) }) }
    }

    /// Deletes what is past its retention, as the laws allow; answers how many records went.
    pub fn enforce_retention(&self) -> usize {
        let now_ms = self.shared.clock.now_ms();
        let state = &mut *self.shared.state.lock();
        let mut gone = 0;
        for (of, partition) in &mut state.partitions {
            let owner = |(stream, _): &(&Stream, _)| stream.to_string() == Stream::name_of(&of.topic);
            let Some((_, (_, spec))) = state.streams.iter().find(owner) else { continue };
            let keep = if of.topic == spec.stream.state() { spec.state_retention } else { spec.retention };
            let cutoff_ms = now_ms.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
            let unread = self.shared.groups.readers(&of.topic).into_iter();
            let unread = unread.filter(|group| !state.positions.contains_key(&(group.clone(), of.clone()))).map(|_| 0);
            let read = state.positions.iter().filter(|((_, read), _)| read == of).map(|(_, position)| *position);
            gone += partition.expire(cutoff_ms, read.chain(unread).min().unwrap_or(Offset::MAX));
        }
        gone
    }

    /// Crashes and starts again: what wasn't appended with durability `all` since is lost (its
    /// offsets stay taken), members and transactors are put out, committed positions stand.
    pub fn crash(&self) {
        self.shared.crash(&mut self.shared.state.lock());
    }

    /// From now on things go wrong as these say, drawn from the same seed as before.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state.lock().dice.set_faults(faults);
    }

    /// Puts the members that joined under this name out of their groups, as a time-out of their session
    /// does: they may still speak, and are fenced.
    pub fn evict(&self, instance: &str) {
        self.shared.groups.evict(instance);
    }

    /// Starts a new generation of a group, as if a member had come and gone.
    pub fn upset_group(&self, group: &str) {
        self.shared.groups.upset(group);
    }

    /// Damage, for tests that must find it: the record at `offset` is gone. True if there was one.
    pub fn remove_record(&self, of: &TopicPartition, offset: Offset) -> bool {
        let mut state = self.shared.state.lock();
        let Some(partition) = state.partitions.get_mut(of) else { return false };
        let place = partition.records.binary_search_by_key(&offset, |record| record.offset);
        place.is_ok_and(|place| partition.records.remove(place).is_some())
    }

    /// Damage, for tests that must find it: the log ends at `position`, and gives the offsets from
    /// there on again.
    pub fn truncate(&self, of: &TopicPartition, position: Offset) {
        if let Some(partition) = self.shared.state.lock().partitions.get_mut(of) {
            partition.truncate(position);
        }
    }

    /// Damage, for tests that must find it: everything below `position` is deleted, read or not.
    pub fn delete_below(&self, of: &TopicPartition, position: Offset) {
        if let Some(partition) = self.shared.state.lock().partitions.get_mut(of) {
            partition.delete_below(position);
        }
    }

    /// Damage, for tests that must live with it: raw topics of ended generations take appends again.
    pub fn unfence(&self) {
        self.shared.state.lock().unfenced = true;
    }

    /// Every record of a partition, decided or not.
    pub fn records(&self, of: &TopicPartition) -> Vec<Record> {
        let state = self.shared.state.lock();
        state.partitions.get(of).map(|partition| partition.records.iter().cloned().collect()).unwrap_or_default()
    }
}

impl State {
    fn partition(&mut self, of: &TopicPartition) -> Result<&mut Partition> {
        self.partitions.get_mut(of).ok_or_else(|| checks::unknown(of))
    }

    fn partition_counts(&self) -> BTreeMap<Arc<str>, i32> {
        let each = self.streams.values();
        each.flat_map(|(info, _)| info.stream.topics().map(|topic| (topic, info.partitions))).collect()
    }

    /// Whether a topic is the raw one of a generation that has ended.
    fn has_ended(&self, topic: &str) -> bool {
        let ended = |(info, _): &(StreamInfo, StreamSpec)| info.ended.is_some() && *info.stream.raw() == *topic;
        !self.unfenced && self.streams.values().any(ended)
    }

    /// Makes a stream that isn't there.
    fn make(&mut self, spec: &StreamSpec) -> StreamInfo {
        let incarnation = if self.seeded { self.dice.name() } else { crate::ledger::new_id() };
        let info = StreamInfo {
            stream: spec.stream.clone(),
            partitions: spec.partitions,
            incarnation: incarnation.into(),
            retention: spec.retention,
            ended: None,
        };
        self.streams.insert(spec.stream.clone(), (info.clone(), spec.clone()));
        for topic in spec.stream.topics() {
            for partition in 0..spec.partitions {
                self.partitions.insert(TopicPartition::new(topic.clone(), partition), Partition::default());
            }
        }
        info
    }

    /// Appends to a partition that was checked to be there, after the faults that come before it.
    fn put(&mut self, append: Append, now_ms: i64, durability: Durability) -> Result<Appended> {
        let (gap, aborted, open) = (self.dice.gap(), self.dice.aborted(), self.dice.open());
        let partition = self.partition(&append.to)?;
        partition.burn(gap.unwrap_or(0) + aborted.unwrap_or(0));
        if let Some((offsets, touches)) = open {
            partition.open(offsets, touches);
        }
        let appended = partition.append(append, now_ms);
        partition.touch();
        if durability == Durability::All {
            self.partitions.values_mut().for_each(Partition::make_durable);
        }
        Ok(appended)
    }

    fn move_positions(&mut self, group: &Arc<str>, positions: &[(TopicPartition, Offset)]) {
        self.positions.extend(positions.iter().map(|(of, position)| ((group.clone(), of.clone()), *position)));
    }
}

impl Shared {
    fn crash(&self, state: &mut State) {
        state.partitions.values_mut().for_each(Partition::crash);
        state.epochs.values_mut().for_each(|epoch| *epoch += 1);
        self.groups.evict_all();
    }

    fn append_one(&self, append: Append, durability: Durability) -> Result<Appended> {
        let mut state = self.state.lock();
        state.partition(&append.to)?;
        checks::records(&append)?;
        if state.has_ended(&append.to.topic) {
            return Err(checks::ended(&append.to));
        }
        let (to, now_ms) = (append.to.clone(), self.clock.now_ms());
        let appended = match state.dice.append() {
            Fate::Unavailable => return Err(Error::Unavailable(format!("append to {to} (injected)"))),
            Fate::Good | Fate::Fenced { .. } => state.put(append, now_ms, durability),
            Fate::InDoubt { happened } => {
                if happened {
                    state.put(append, now_ms, durability)?;
                }
                Err(Error::InDoubt(format!("append to {to} (injected)")))
            }
            Fate::Crash { happened } => {
                if happened {
                    state.put(append, now_ms, durability)?;
                }
                self.crash(&mut state);
                Err(Error::InDoubt(format!("append to {to}, ended by a crash (injected)")))
            }
        };
        drop(state);
        self.groups.wake([&to]);
        appended
    }

    /// Commits a step whose fate was drawn; `fenced` takes whatever the step stands on away.
    fn decide(&self, step: Step, fenced: impl FnOnce(&mut State)) -> Result<()> {
        let state = &mut *self.state.lock();
        for append in &step.appends {
            state.partition(&append.to)?;
            checks::records(append)?;
            if state.has_ended(&append.to.topic) {
                return Err(checks::ended(&append.to));
            }
        }
        let _admission = self.groups.admit(&step.generation, step.positions.iter().map(|(of, _)| of))?;
        let group = step.generation.group.clone();
        let error = match state.dice.commit() {
            Fate::Good => {
                self.apply(state, step)?;
                return Ok(());
            }
            Fate::Unavailable => Error::Unavailable(format!("commit for group {group} (injected)")),
            Fate::Fenced { by_group: false } => {
                fenced(state);
                Error::Fenced(format!("commit for group {group}: somebody took the id (injected)"))
            }
            Fate::Fenced { by_group: true } => {
                self.groups.upset(&group);
                Error::Fenced(format!("commit for group {group}: a new generation (injected)"))
            }
            Fate::InDoubt { happened } => {
                if happened {
                    self.apply(state, step)?;
                }
                Error::InDoubt(format!("commit for group {group} (injected)"))
            }
            Fate::Crash { happened } => {
                if happened {
                    self.apply(state, step)?;
                }
                self.crash(state);
                Error::InDoubt(format!("commit for group {group}, ended by a crash (injected)"))
            }
        };
        Err(error)
    }

    fn apply(&self, state: &mut State, step: Step) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let touched: Vec<_> = step.appends.iter().map(|append| append.to.clone()).collect();
        for append in step.appends {
            state.put(append, now_ms, Durability::All)?;
        }
        state.move_positions(&step.generation.group, &step.positions);
        self.groups.wake(&touched);
        Ok(())
    }
}

#[async_trait]
impl Host for Shared {
    fn coordinator(&self) -> &Coordinator {
        &self.groups
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        let mut state = self.state.lock();
        let partition = state.partition(from)?;
        let ended = partition.touch();
        let batch = partition.read(from, position, limit);
        drop(state);
        if ended {
            self.groups.wake([from]);
        }
        batch
    }

    async fn commit_positions(&self, generation: &Generation, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        let step = Step { appends: Vec::new(), positions: positions.to_vec(), generation: generation.clone() };
        self.decide(step, |_| ())
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        let mut state = self.shared.state.lock();
        if let Some((found, kept)) = state.streams.get_mut(&spec.stream) {
            checks::same(spec, found)?;
            found.retention = spec.retention;
            *kept = StreamSpec { state_retention: kept.state_retention.max(spec.state_retention), ..spec.clone() };
            return Ok(found.clone());
        }
        if spec.stream.generation() > 1 {
            return Err(Error::Refused(format!("stream {} comes by growing only", spec.stream)));
        }
        Ok(state.make(spec))
    }

    async fn grow(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.shared.state.lock();
        if let Some((found, _)) = state.streams.get(&spec.stream) {
            checks::same(spec, found)?;
            return Ok(found.clone());
        }
        let before = spec.stream.before().and_then(|before| state.streams.get(&before)).map(|(info, _)| info.clone());
        checks::grows(spec, before.as_ref())?;
        let Some(before) = before else { return Err(checks::unknown_topic(&spec.stream.raw())) };
        let mut ended = Vec::new();
        for partition in 0..before.partitions {
            let to = TopicPartition::new(before.stream.raw(), partition);
            let marker = Append { to: to.clone(), records: vec![NewRecord::end()] };
            ended.push(state.put(marker, now_ms, Durability::All)?.last + 1);
            self.shared.groups.wake([&to]);
        }
        if let Some((info, _)) = state.streams.get_mut(&before.stream) {
            info.ended = Some(ended.into());
        }
        Ok(state.make(spec))
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        Ok(self.shared.state.lock().streams.get(stream).map(|(info, _)| info.clone()))
    }

    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        appends.into_iter().map(|append| self.shared.append_one(append, durability)).collect()
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        Host::read(&*self.shared, from, position, limit).await
    }

    async fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        let mut state = self.shared.state.lock();
        let partition = state.partition(of)?;
        let ended = partition.touch();
        let ends = partition.ends();
        drop(state);
        if ended {
            self.shared.groups.wake([of]);
        }
        Ok(ends)
    }

    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset> {
        Ok(self.shared.state.lock().partition(of)?.offset_at(time_ms))
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        let mut state = self.shared.state.lock();
        state.partition(of)?;
        Ok(state.positions.get(&(group.into(), of.clone())).copied())
    }

    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>> {
        let counts = self.shared.state.lock().partition_counts();
        let count = |topic: &str| counts.get(topic).copied().ok_or_else(|| checks::unknown_topic(topic));
        LocalMember::join(self.shared.clone(), group, topics, count, instance)
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>> {
        let mut state = self.shared.state.lock();
        let epoch = state.epochs.entry(id.into()).or_default();
        *epoch += 1;
        Ok(Box::new(MemoryTransactor { shared: self.shared.clone(), id: id.into(), epoch: *epoch, spent: false }))
    }
}

#[derive(Debug)]
struct MemoryTransactor {
    shared: Arc<Shared>,
    id: Arc<str>,
    epoch: u64,
    spent: bool,
}

#[async_trait]
impl Transactor for MemoryTransactor {
    async fn commit(&mut self, step: Step) -> Result<()> {
        let opened = self.shared.state.lock().epochs.get(&self.id).copied();
        if self.spent || opened != Some(self.epoch) {
            return Err(Error::Fenced(format!("transactor {} was opened again, or is spent", self.id)));
        }
        let outcome = self.shared.decide(step, |state| {
            state.epochs.entry(self.id.clone()).and_modify(|epoch| *epoch += 1);
        });
        self.spent = matches!(outcome, Err(Error::InDoubt(_) | Error::Fenced(_)));
        outcome
    }
}
