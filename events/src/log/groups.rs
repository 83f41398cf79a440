//! Who reads what: the coordinator of in-process groups, shared by the memory and embedded logs.
//!
//! ```text
//!  join or leave         every member's next poll       when nobody holds any, and no
//!  number += 1    ──▶    gives up what it holds    ──▶  step is under way: Assigned
//!                        (Revoked)
//! ```
//!
//! The barrier is strict: a partition has a new owner only after the old one was told, and after
//! every step that was admitted under an older number has met its fate. Assignment is by partition
//! number, alike for all topics, and moves as few of them as balance allows. Members that read another
//! stream under the same group's name are a circle of their own.

use super::{Error, Generation, Result, checks};
use crate::streams::TopicPartition;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// A group's name, and which circle of it.
type Key = (Arc<str>, u32);

/// The groups of one log.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers begin above this one: it grows with each start of a log that outlives its process.
    floor: i64,
    seats: u64,
    groups: BTreeMap<Key, Group>,
}

/// A circle of a group: members that read the same topics.
#[derive(Debug, Default)]
struct Group {
    number: i64,
    topics: Vec<(Arc<str>, i32)>,
    members: BTreeMap<u64, MemberState>,
    /// Partition number to the seat of its owner.
    owners: BTreeMap<i32, u64>,
    /// Steps admitted and not yet decided.
    under_way: usize,
}

#[derive(Debug)]
struct MemberState {
    name: Arc<str>,
    /// The number up to which it was told what it owns.
    told: i64,
    /// What it was told last; empty once it was told to give up.
    holds: Vec<TopicPartition>,
    wake: Arc<Notify>,
}

/// A member's place in its group; dropping it leaves the group.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Arc<Mutex<State>>,
    group: Key,
    id: u64,
    /// Signalled when there may be something new to poll.
    pub(crate) wake: Arc<Notify>,
}

/// What a member is told at the start of a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Revoked(Vec<TopicPartition>),
    Assigned(Vec<TopicPartition>),
    Steady,
}

/// Leave to commit under a generation. While it lives, nobody else is assigned what it touches.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Arc<Mutex<State>>,
    group: Key,
}

impl State {
    /// The circles of a group.
    fn circles(&mut self, group: &str) -> impl Iterator<Item = (&Key, &mut Group)> {
        let name: Arc<str> = group.into();
        self.groups.range_mut((name.clone(), 0)..=(name, u32::MAX))
    }

    /// The circle for these topics: one that reads them, or one without members to be had for it.
    fn circle(&mut self, group: &str, topics: &[(Arc<str>, i32)], instance: &str) -> Result<Key> {
        let mut free = None;
        let mut next = 0;
        for (key, circle) in self.circles(group) {
            next = key.1 + 1;
            if circle.topics == topics {
                return Ok(key.clone());
            }
            let meets = topics.iter().any(|(topic, _)| circle.topics.iter().any(|(read, _)| read == topic));
            if circle.members.is_empty() {
                free = free.or(meets.then(|| key.clone()));
            } else if meets {
                return Err(Error::Refused(format!(
                    "group {group} reads {:?}, and {instance} wants to join it for {:?}",
                    names(&circle.topics),
                    names(topics)
                )));
            }
        }
        Ok(free.unwrap_or_else(|| (group.into(), next)))
    }
}

impl Coordinator {
    /// A coordinator whose generations begin above `floor`.
    pub(crate) fn above(floor: i64) -> Self {
        Self { state: Arc::new(Mutex::new(State { floor, ..State::default() })) }
    }

    /// Takes a seat in a group that reads `topics`, given with their numbers of partitions.
    pub(crate) fn join(&self, group: &str, topics: Vec<(Arc<str>, i32)>, instance: &str) -> Result<Seat> {
        checks::one_stream(group, topics.iter().map(|(topic, _)| &**topic))?;
        let mut state = self.state.lock();
        let key = state.circle(group, &topics, instance)?;
        state.seats += 1;
        let (id, floor) = (state.seats, state.floor);
        let group = state.groups.entry(key.clone()).or_insert_with(|| Group { number: floor, ..Group::default() });
        group.topics = topics;
        let wake = Arc::new(Notify::new());
        let member =
            MemberState { name: format!("{instance}#{id}").into(), told: 0, holds: Vec::new(), wake: wake.clone() };
        group.members.insert(id, member);
        group.reassign();
        Ok(Seat { state: self.state.clone(), group: key, id, wake })
    }

    /// Admits a step or a commit of positions, if its generation is the present one and each of the
    /// partitions is the member's own.
    pub(crate) fn admit<'a>(
        &self,
        generation: &Generation,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<Admission> {
        let mut state = self.state.lock();
        let mut circles = state.circles(&generation.group);
        let speaks = |member: &&MemberState| member.name == generation.member;
        let Some((key, group)) = circles.find(|(_, group)| group.members.values().any(|member| speaks(&member))) else {
            return Err(Error::Fenced(format!("{} is not in group {}", generation.member, generation.group)));
        };
        let member = group.members.values().find(speaks).ok_or_else(|| Error::Fenced("the member left".into()))?;
        if generation.number != group.number || member.told != group.number {
            return Err(Error::Fenced(format!(
                "{} spoke for generation {} of group {}, which is at {}",
                generation.member, generation.number, generation.group, group.number
            )));
        }
        for partition in partitions {
            if !member.holds.contains(partition) {
                return Err(Error::Fenced(format!("{partition} is not {}'s own", generation.member)));
            }
        }
        group.under_way += 1;
        Ok(Admission { state: self.state.clone(), group: key.clone() })
    }

    /// Wakes whoever owns one of these partitions.
    pub(crate) fn wake<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let state = self.state.lock();
        for partition in partitions {
            for group in state.groups.values() {
                let owner = group.owners.get(&partition.partition).and_then(|seat| group.members.get(seat));
                if let Some(owner) = owner
                    && group.topics.iter().any(|(topic, _)| *topic == partition.topic)
                {
                    owner.wake.notify_one();
                }
            }
        }
    }

    /// Starts a new generation of a group, as if somebody had come and gone.
    pub(crate) fn upset(&self, group: &str) {
        for (_, group) in self.state.lock().circles(group) {
            group.reassign();
        }
    }

    /// Puts the members of this name out of their groups: what they hold is fenced from now on.
    pub(crate) fn evict(&self, instance: &str) {
        let is_it = |member: &MemberState| member.name.rsplit_once('#').is_some_and(|(name, _)| name == instance);
        for group in self.state.lock().groups.values_mut() {
            let before = group.members.len();
            group.members.retain(|_, member| {
                let stays = !is_it(member);
                if !stays {
                    member.wake.notify_one();
                }
                stays
            });
            if group.members.len() < before {
                group.reassign();
            }
        }
    }

    /// Puts everybody out of every group: what they hold is fenced from now on.
    pub(crate) fn evict_all(&self) {
        for group in self.state.lock().groups.values_mut() {
            for member in std::mem::take(&mut group.members).into_values() {
                member.wake.notify_one();
            }
            group.reassign();
        }
    }

    /// The groups with members that read `topic`.
    pub(crate) fn readers(&self, topic: &str) -> Vec<Arc<str>> {
        let state = self.state.lock();
        let reads = |group: &Group| !group.members.is_empty() && group.topics.iter().any(|(name, _)| **name == *topic);
        state.groups.iter().filter(|(_, group)| reads(group)).map(|((name, _), _)| name.clone()).collect()
    }
}

fn names(topics: &[(Arc<str>, i32)]) -> Vec<&str> {
    topics.iter().map(|(name, _)| &**name).collect()
}

impl Group {
    /// A new generation: balances partition numbers over the members, and calls everybody.
    fn reassign(&mut self) {
        self.number += 1;
        let partitions = self.topics.iter().map(|(_, partitions)| *partitions).max().unwrap_or(0);
        let mut held: BTreeMap<u64, BTreeSet<i32>> = self.members.keys().map(|id| (*id, BTreeSet::new())).collect();
        let mut free = Vec::new();
        for partition in 0..partitions {
            let owner = self.owners.get(&partition).and_then(|owner| held.get_mut(owner));
            match owner {
                Some(held) => drop(held.insert(partition)),
                None => free.push(partition),
            }
        }
        self.owners.clear();
        if held.is_empty() {
            return;
        }
        while let Some(partition) = free.pop() {
            if let Some(least) = held.values_mut().min_by_key(|held| held.len()) {
                least.insert(partition);
            }
        }
        loop {
            let most = held.iter().max_by_key(|(_, held)| held.len()).map(|(id, held)| (*id, held.len()));
            let least = held.iter().min_by_key(|(_, held)| held.len()).map(|(id, held)| (*id, held.len()));
            let (Some((most, high)), Some((least, low))) = (most, least) else { break };
            if high <= low + 1 {
                break;
            }
            let moved = held.get_mut(&most).and_then(BTreeSet::pop_last);
            if let (Some(partition), Some(to)) = (moved, held.get_mut(&least)) {
                to.insert(partition);
            }
        }
        self.owners = held.iter().flat_map(|(id, held)| held.iter().map(|partition| (*partition, *id))).collect();
        self.call();
    }

    fn call(&self) {
        self.members.values().for_each(|member| member.wake.notify_one());
    }

    fn share(&self, seat: u64) -> Vec<TopicPartition> {
        let mine = |partition: &i32| self.owners.get(partition) == Some(&seat);
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| {
                (0..*partitions).filter(mine).map(|p| TopicPartition::new(topic.clone(), p))
            })
            .collect()
    }
}

impl Seat {
    /// What has changed for this member since it asked last, and the generation it speaks for now.
    pub(crate) fn turn(&self) -> Result<(Turn, Generation)> {
        let mut state = self.state.lock();
        let gone = || Error::Fenced(format!("this member of group {} was put out of it", self.group.0));
        let group = state.groups.get_mut(&self.group).ok_or_else(gone)?;
        let number = group.number;
        let member = group.members.get_mut(&self.id).ok_or_else(gone)?;
        let generation = Generation { group: self.group.0.clone(), member: member.name.clone(), number };
        if member.told == number {
            return Ok((Turn::Steady, generation));
        }
        if !member.holds.is_empty() {
            let given_up = std::mem::take(&mut member.holds);
            group.call();
            return Ok((Turn::Revoked(given_up), generation));
        }
        let settled = |member: &MemberState| member.holds.is_empty() || member.told == number;
        if group.under_way > 0 || !group.members.values().all(settled) {
            return Ok((Turn::Steady, generation));
        }
        let share = group.share(self.id);
        if let Some(member) = group.members.get_mut(&self.id) {
            member.told = number;
            member.holds.clone_from(&share);
        }
        let turn = if share.is_empty() { Turn::Steady } else { Turn::Assigned(share) };
        Ok((turn, generation))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(group) = self.state.lock().groups.get_mut(&self.group)
            && group.members.remove(&self.id).is_some()
        {
            group.reassign();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(group) = self.state.lock().groups.get_mut(&self.group) {
            group.under_way = group.under_way.saturating_sub(1);
            if group.under_way == 0 {
                group.call();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_assigned_anything_while_a_step_is_under_way() {
        let coordinator = Coordinator::default();
        let topic: Arc<str> = "events.raw".into();
        let of = TopicPartition::new(topic.clone(), 0);
        let first = coordinator.join("g", vec![(topic.clone(), 1)], "first").unwrap();
        let (turn, generation) = first.turn().unwrap();
        assert_eq!(turn, Turn::Assigned(vec![of.clone()]));
        let step = coordinator.admit(&generation, [&of].into_iter()).unwrap();
        drop(first);
        let second = coordinator.join("g", vec![(topic, 1)], "second").unwrap();
        assert_eq!(second.turn().unwrap().0, Turn::Steady, "the step may still move the position");
        drop(step);
        assert_eq!(second.turn().unwrap().0, Turn::Assigned(vec![of]));
    }
}
