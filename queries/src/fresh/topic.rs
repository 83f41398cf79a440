//! One topic of one stream: how far it was read, what is held of it, and who still needs it.
//!
//! ```text
//!     floor (the sink's position)      next
//!       │                               │
//!  ─────┼───────────────────────────────┼──────────▶ offsets of a partition
//!       └── held: records, rows of them ─┘
//! ```
//!
//! What lies below the sink's position stands in the tables, and is let go; but never below the floor at
//! which a query began that has not taken its rows yet, for it may have pinned an older snapshot.

use super::held::{Bytes, Form, Held, Placed};
use super::{Config, Limits};
use events::log::{Batch, Error, Log, Offset, ReadLimit, Result, StreamInfo};
use events::streams::{SINK_GROUP, TopicPartition};
use events::{Clock, headers};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Carries {
    /// Events.
    Events,
    /// Dead letters.
    Letters,
    /// Entries of the ledger.
    Ledger,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) carries: Carries,
    pub(super) info: StreamInfo,
    pub(super) name: Arc<str>,
    /// One reads a partition at a time.
    turns: Vec<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    bytes: Arc<Bytes>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct State {
    partitions: Vec<Partition>,
    pins: BTreeMap<u64, Arc<[Offset]>>,
    pinned: u64,
    held: HashMap<Arc<str>, Arc<Held>>,
    /// Append time of the oldest record held, in ms.
    oldest_ms: Option<i64>,
}

#[derive(Debug, Clone)]
struct Partition {
    /// The sink's position, as last seen: never more than it is.
    floor: Offset,
    /// To be read next.
    next: Offset,
    /// All that was appended before is below `next`.
    complete_ms: i64,
    /// Why it can't be read.
    trouble: Option<String>,
}

/// Where a partition stands for a query.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) next: Offset,
    pub(super) complete_ms: i64,
    pub(super) trouble: Option<String>,
}

impl Topic {
    /// Begins at the sink's positions.
    pub(super) async fn open(
        log: &dyn Log,
        info: &StreamInfo,
        carries: Carries,
        (bytes, clock): (Arc<Bytes>, Arc<dyn Clock>),
    ) -> Result<Self> {
        let name = match carries {
            Carries::Events => info.stream.clean(),
            Carries::Letters => info.stream.dead(),
            Carries::Ledger => info.stream.ledger(),
        };
        let all = (0..info.partitions).map(|partition| {
            let of = TopicPartition::new(name.clone(), partition);
            async move { log.committed(SINK_GROUP, &of).await }
        });
        let positions = futures::future::try_join_all(all).await?;
        let partitions = positions.into_iter().map(|position| {
            let floor = position.unwrap_or(0);
            Partition { floor, next: floor, complete_ms: 0, trouble: None }
        });
        let state = State {
            partitions: partitions.collect(),
            pins: BTreeMap::new(),
            pinned: 0,
            held: HashMap::new(),
            oldest_ms: None,
        };
        let turns = (0..info.partitions).map(|_| tokio::sync::Mutex::new(())).collect();
        Ok(Self { carries, info: info.clone(), name, turns, state: Mutex::new(state), bytes, clock })
    }

    pub(super) fn partitions(&self) -> std::ops::Range<i32> {
        0..self.info.partitions
    }

    pub(super) fn partition(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.name.clone(), partition)
    }

    pub(super) fn reach(&self, partition: i32) -> Reach {
        let state = self.state.lock();
        let Partition { next, complete_ms, trouble, .. } = state.partitions[index(partition)].clone();
        Reach { next, complete_ms, trouble }
    }

    /// Keeps what lies above the floors of now until the pin is dropped.
    pub(super) fn pin(self: &Arc<Self>) -> Pin {
        let mut state = self.state.lock();
        let floors: Arc<[Offset]> = state.partitions.iter().map(|of| of.floor).collect();
        state.pinned += 1;
        let number = state.pinned;
        state.pins.insert(number, floors.clone());
        Pin { topic: self.clone(), number, floors }
    }

    /// All types held.
    pub(super) fn held(&self) -> Vec<Arc<Held>> {
        self.state.lock().held.values().cloned().collect()
    }

    /// Looks where the sink stands by now, and lets go of what is in the tables for everybody; answers how
    /// many records went.
    pub(super) async fn follow_sink(&self, log: &dyn Log) -> Result<usize> {
        let all = self.partitions().map(|partition| {
            let of = self.partition(partition);
            async move { log.committed(SINK_GROUP, &of).await }
        });
        let positions = futures::future::try_join_all(all).await?;
        let below: Vec<Offset> = {
            let mut state = self.state.lock();
            for (of, position) in state.partitions.iter_mut().zip(positions) {
                of.floor = of.floor.max(position.unwrap_or(0));
            }
            let State { partitions, pins, .. } = &mut *state;
            let mut below = Vec::with_capacity(partitions.len());
            for (at, of) in partitions.iter_mut().enumerate() {
                let pinned = pins.values().map(|floors| floors[at]).min();
                let kept = pinned.map_or(of.floor, |pinned| pinned.min(of.floor));
                // The sink was faster: what lies between is of no use to anybody.
                if kept > of.next {
                    of.next = kept;
                    of.trouble = None;
                }
                below.push(kept);
            }
            below
        };
        let held = self.held();
        let gone = held.iter().map(|held| held.trim(&below)).sum();
        let measured: Option<Vec<_>> = held.iter().map(|held| held.measure()).collect();
        if let Some(measured) = measured {
            let mut state = self.state.lock();
            state.oldest_ms = measured.into_iter().filter_map(|(_, oldest_ms)| oldest_ms).min();
            // Whoever sends ever other types shall not fill the memory with their names.
            if state.held.len() > TYPES_KEPT {
                state.held.retain(|_, held| held.measure().is_none_or(|(records, _)| records > 0));
            }
        }
        Ok(gone)
    }

    /// Whether no more may be held.
    pub(super) fn is_full(&self, config: &Config) -> bool {
        let limits = Limits::of(config);
        let oldest_ms = self.state.lock().oldest_ms;
        let held = self.bytes.records.load(std::sync::atomic::Ordering::SeqCst);
        held >= limits.records_bytes || oldest_ms.is_some_and(|oldest| oldest < self.clock.now_ms() - limits.age_ms)
    }

    /// Reads a partition on: up to `goal`, or as far as there is anything; and as long as there is room.
    ///
    /// # Errors
    /// What the log says. A position that the log doesn't hold is remembered as the partition's trouble.
    pub(super) async fn read_on(
        &self,
        log: &dyn Log,
        partition: i32,
        goal: Option<Offset>,
        config: &Config,
    ) -> Result<()> {
        let of = self.partition(partition);
        let _turn = self.turns[index(partition)].lock().await;
        loop {
            let now_ms = self.clock.now_ms();
            let Reach { next, .. } = self.reach(partition);
            if goal.is_some_and(|goal| next >= goal) || self.is_full(config) {
                return Ok(());
            }
            match log.read(&of, next, config.read).await {
                Ok(batch) if batch.next == next => {
                    let mut state = self.state.lock();
                    let of = &mut state.partitions[index(partition)];
                    of.complete_ms = of.complete_ms.max(now_ms);
                    of.trouble = None;
                    return Ok(());
                }
                Ok(batch) => self.take(partition, batch),
                Err(error @ Error::OutOfRange { .. }) => {
                    let trouble = error.to_string();
                    tracing::warn!(trouble, "queries can't see what is not in the tables yet");
                    self.state.lock().partitions[index(partition)].trouble = Some(trouble);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what was read, unless the sink was faster meanwhile.
    fn take(&self, partition: i32, batch: Batch) {
        let mut by_type: HashMap<Arc<str>, Vec<Placed>> = HashMap::new();
        let (first_ms, last_ms) = match (batch.records.first(), batch.records.last()) {
            (Some(first), Some(last)) => (Some(first.time_ms), last.time_ms),
            _ => (None, 0),
        };
        let (position, next) = (batch.position, batch.next);
        for record in batch.records {
            let key = match self.carries {
                Carries::Events => record.headers.get_str(headers::TYPE).unwrap_or_default(),
                Carries::Letters | Carries::Ledger => "",
            };
            let placed = Placed { partition, record: record.clone() };
            match by_type.get_mut(key) {
                Some(placed_of) => placed_of.push(placed),
                None => {
                    by_type.insert(key.into(), vec![placed]);
                }
            }
        }
        let mut state = self.state.lock();
        if state.partitions[index(partition)].next != position {
            return;
        }
        // Under the lock: whoever sees `next` finds the records.
        for (key, placed) in by_type {
            let held = state.held.entry(key).or_insert_with_key(|key| Arc::new(self.hold(key)));
            held.push(placed);
        }
        state.oldest_ms = state.oldest_ms.or(first_ms);
        let of = &mut state.partitions[index(partition)];
        of.next = next;
        of.complete_ms = of.complete_ms.max(last_ms);
        of.trouble = None;
    }

    fn hold(&self, event_type: &Arc<str>) -> Held {
        let form = match self.carries {
            Carries::Events => Form::Events(event_type.clone()),
            Carries::Letters => Form::Letters(self.name.clone()),
            Carries::Ledger => Form::Ledger,
        };
        Held::new(form, self.info.incarnation.clone(), self.bytes.clone())
    }
}

/// Types of which nothing is held, and of which it is remembered how old their newest event is, at most.
const TYPES_KEPT: usize = 1_000;
/// As much as one read brings.
pub(super) const READ: ReadLimit = ReadLimit { records: 16_384, bytes: 4 << 20 };

fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or_default()
}

/// Holds on to what lies above its floors.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) topic: Arc<Topic>,
    number: u64,
    /// The sink's positions, read before any snapshot was pinned.
    pub(super) floors: Arc<[Offset]>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.topic.state.lock().pins.remove(&self.number);
    }
}
