//! Who may still commit: the generation of each member, as the cluster told it.
//!
//! ```text
//! assigned ──▶ number += 1, open      step or commit: admitted if number, member and partitions are
//! revoked  ──▶ number += 1, closed    those of the open seat; counted until it has met its fate
//!              wait for the admitted, then give the partitions up
//! ```
//!
//! The group's metadata is read once, while the assignment is handed over, and goes with its number.
//! Read later it may name no generation at all (the client has lost its membership and hasn't said
//! so), and the cluster accepts offsets of no generation from anybody.

use crate::meters;
use events::log::{Error, Generation, Result, checks};
use events::{Stream, TopicPartition};
use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::ConsumerGroupMetadata;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The seats of all members of this process.
#[derive(Default)]
pub(crate) struct Seats {
    given: AtomicU64,
    seats: Mutex<HashMap<Arc<str>, Arc<Seat>>>,
}

/// One member's seat.
pub(crate) struct Seat {
    pub(crate) group: Arc<str>,
    topics: BTreeSet<Arc<str>>,
    pub(crate) member: Arc<str>,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    number: i64,
    /// `None` between two assignments.
    metadata: Option<Arc<ConsumerGroupMetadata>>,
    holds: BTreeSet<TopicPartition>,
    /// Steps and commits admitted, and not yet decided.
    under_way: usize,
}

/// Leave to commit under a generation.
pub(crate) struct Admission {
    seat: Arc<Seat>,
    number: i64,
    pub(crate) metadata: Arc<ConsumerGroupMetadata>,
    /// Whether it counts as under way.
    is_counted: AtomicBool,
}

impl Seats {
    /// A seat for a new member. Refused if another one of this process reads other topics of the stream.
    pub(crate) fn take(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Arc<Seat>> {
        let topics: BTreeSet<_> = topics.iter().cloned().collect();
        let stream = checks::one_stream(group, topics.iter().map(|topic| &**topic))?;
        let mut seats = self.seats.lock();
        let meets = |seat: &&Arc<Seat>| *seat.group == *group && seat.stream() == stream && seat.topics != topics;
        if let Some(other) = seats.values().find(meets) {
            return Err(Error::Refused(format!(
                "group {group} reads {:?}, and {instance} wants to join it for {topics:?}",
                other.topics
            )));
        }
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let member: Arc<str> = format!("{instance}#{number}").into();
        let seat = Arc::new(Seat {
            group: group.into(),
            topics,
            member: member.clone(),
            state: Mutex::default(),
            settled: Condvar::new(),
        });
        seats.insert(member, seat.clone());
        Ok(seat)
    }

    /// The member is gone.
    pub(crate) fn leave(&self, seat: &Seat) {
        seat.close();
        self.seats.lock().remove(&seat.member);
    }

    /// Admits a step or a commit, if its generation stands and each of the partitions is its own.
    pub(crate) fn admit<'a>(
        &self,
        generation: &Generation,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<Admission> {
        let seat = self.seats.lock().get(&generation.member).cloned();
        let Some(seat) = seat.filter(|seat| seat.group == generation.group) else {
            meters::stale(&generation.group);
            return Err(Error::Fenced(format!("{} has left group {}", generation.member, generation.group)));
        };
        let mut state = seat.state.lock();
        let metadata = state.metadata.clone().filter(|_| state.number == generation.number);
        let Some(metadata) = metadata else {
            meters::stale(&seat.group);
            return Err(Error::Fenced(format!(
                "{} spoke for generation {} of group {}, and is past it at {}",
                generation.member, generation.number, generation.group, state.number
            )));
        };
        for partition in partitions {
            if !state.holds.contains(partition) {
                return Err(Error::Fenced(format!("{partition} is not {}'s own", generation.member)));
            }
        }
        state.under_way += 1;
        drop(state);
        Ok(Admission { seat, number: generation.number, metadata, is_counted: AtomicBool::new(true) })
    }
}

impl Seat {
    fn stream(&self) -> &str {
        self.topics.first().map_or("", |topic| Stream::name_of(topic))
    }

    /// The generation as the member knows it.
    pub(crate) fn generation(&self) -> Generation {
        let number = self.state.lock().number;
        Generation { group: self.group.clone(), member: self.member.clone(), number }
    }

    /// The member was assigned these.
    pub(crate) fn open(&self, holds: &[TopicPartition], metadata: Option<ConsumerGroupMetadata>) {
        let mut state = self.state.lock();
        state.number += 1;
        meters::held(&self.group, state.holds.len(), holds.len());
        state.holds = holds.iter().cloned().collect();
        state.metadata = metadata.map(Arc::new);
    }

    /// Nothing is admitted from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.number += 1;
        state.metadata = None;
        meters::held(&self.group, state.holds.len(), 0);
        state.holds.clear();
    }

    /// Waits until what was admitted has met its fate; false if the time ran out.
    pub(crate) fn settle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while state.under_way > 0 {
            if self.settled.wait_until(&mut state, deadline).timed_out() {
                return state.under_way == 0;
            }
        }
        true
    }
}

impl Admission {
    /// Whether the generation has ended since: what isn't committed yet must be aborted.
    pub(crate) fn is_over(&self) -> bool {
        self.seat.state.lock().number != self.number
    }

    /// Nobody waits for its fate any longer: it is so old that the cluster has ended its transaction.
    pub(crate) fn let_go(&self) {
        if !self.is_counted.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.seat.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            self.seat.settled.notify_all();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.let_go();
    }
}
