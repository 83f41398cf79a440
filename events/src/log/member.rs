//! A member of an in-process group, over any log that has a [`Coordinator`].

use super::groups::{Coordinator, Seat, Turn};
use super::{Batch, Error, Generation, Member, Offset, Poll, ReadLimit, Result};
use crate::streams::TopicPartition;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a log does for its members.
#[async_trait]
pub(crate) trait Host: Send + Sync + 'static {
    /// The groups.
    fn coordinator(&self) -> &Coordinator;

    /// As [`super::Log::read`].
    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch>;

    /// Commits positions on their own, if the generation still stands.
    async fn commit_positions(&self, generation: &Generation, positions: &[(TopicPartition, Offset)]) -> Result<()>;
}

/// A member: its seat, and how far it has read what it owns.
pub(crate) struct LocalMember {
    host: Arc<dyn Host>,
    seat: Seat,
    generation: Generation,
    /// What it owns; `None` until the first seek.
    positions: BTreeMap<TopicPartition, Option<Offset>>,
    paused: BTreeSet<TopicPartition>,
    /// Where the next poll begins, so that a full partition doesn't starve the others.
    turn: usize,
}

impl fmt::Debug for LocalMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("generation", &self.generation).field("positions", &self.positions).finish()
    }
}

/// Waits longer than this are cut to it: about thirty years.
const WAIT_MAX: Duration = Duration::from_secs(1_000_000_000);

impl LocalMember {
    pub(crate) fn join(
        host: Arc<dyn Host>,
        group: &str,
        topics: &[Arc<str>],
        partitions: impl Fn(&str) -> Result<i32>,
        instance: &str,
    ) -> Result<Box<dyn Member>> {
        let topics: BTreeSet<_> = topics.iter().cloned().collect();
        let topics: Vec<_> =
            topics.into_iter().map(|topic| partitions(&topic).map(|count| (topic, count))).collect::<Result<_>>()?;
        let seat = host.coordinator().join(group, topics, instance)?;
        let generation = Generation { group: group.into(), member: instance.into(), number: 0 };
        Ok(Box::new(Self { host, seat, generation, positions: BTreeMap::new(), paused: BTreeSet::new(), turn: 0 }))
    }

    async fn read_owned(&mut self, limit: ReadLimit) -> Result<Vec<Batch>> {
        let due: Vec<_> = self
            .positions
            .iter()
            .filter(|(of, _)| !self.paused.contains(of))
            .filter_map(|(of, position)| position.map(|position| (of.clone(), position)))
            .collect();
        let mut left = limit;
        let mut batches = Vec::new();
        self.turn = self.turn.wrapping_add(1);
        for step in 0..due.len() {
            if left.records == 0 || left.bytes == 0 {
                break;
            }
            let (of, position) = &due[(self.turn + step) % due.len()];
            let batch = self.host.read(of, *position, left).await?;
            if batch.next == *position {
                continue;
            }
            left.records = left.records.saturating_sub(batch.records.len());
            left.bytes = left.bytes.saturating_sub(batch.records.iter().map(|record| record.len()).sum());
            self.positions.insert(of.clone(), Some(batch.next));
            batches.push(batch);
        }
        Ok(batches)
    }
}

#[async_trait]
impl Member for LocalMember {
    async fn poll(&mut self, limit: ReadLimit, wait: Duration) -> Result<Poll> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            let (turn, generation) = self.seat.turn()?;
            self.generation = generation;
            match turn {
                Turn::Revoked(partitions) => {
                    self.positions.clear();
                    self.paused.clear();
                    return Ok(Poll::Revoked(partitions));
                }
                Turn::Assigned(partitions) => {
                    self.positions = partitions.iter().map(|of| (of.clone(), None)).collect();
                    return Ok(Poll::Assigned(partitions));
                }
                Turn::Steady => {}
            }
            let batches = self.read_owned(limit).await?;
            if !batches.is_empty() {
                return Ok(Poll::Batches(batches));
            }
            if tokio::time::timeout_at(deadline, self.seat.wake.notified()).await.is_err() {
                return Ok(Poll::Idle);
            }
        }
    }

    fn generation(&self) -> Generation {
        self.generation.clone()
    }

    fn seek(&mut self, of: &TopicPartition, position: Offset) -> Result<()> {
        let owned = self.positions.get_mut(of);
        let owned =
            owned.ok_or_else(|| Error::Refused(format!("{of} is not assigned to {}", self.generation.member)))?;
        *owned = Some(position);
        Ok(())
    }

    fn pause(&mut self, of: &[TopicPartition]) {
        self.paused.extend(of.iter().cloned());
    }

    fn resume(&mut self, of: &[TopicPartition]) {
        self.paused.retain(|paused| !of.contains(paused));
    }

    async fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        self.host.commit_positions(&self.generation, positions).await
    }
}
