//! Records that the log's owner deleted before a group had read them: finding them, and going on without
//! them once an operator has said so.

use super::{Append, Error, Log, Offset, Poll, ReadLimit, Result, Step};
use crate::streams::TopicPartition;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a command waits for the partitions of a group. Those of a member that died are free after its
/// session, 10 s on Kafka.
const ASSIGNED_LIMIT: Duration = Duration::from_secs(30);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// A range of a partition that its reader will never see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Of which partition.
    pub of: TopicPartition,
    /// The reader's position.
    pub from: Offset,
    /// The first offset that is kept.
    pub to: Offset,
}

impl Loss {
    /// What a reader at `position` has missed, if anything.
    ///
    /// # Errors
    /// What the log says when it is asked for the bounds.
    pub async fn at(log: &dyn Log, of: &TopicPartition, position: Offset) -> Result<Option<Self>> {
        let to = log.ends(of).await?.start;
        Ok((position < to).then(|| Self { of: of.clone(), from: position, to }))
    }

    /// What an error tells of, if it is that records were deleted unread.
    pub fn of_error(error: &Error) -> Option<Self> {
        match error {
            Error::OutOfRange { from, position, ends } if *position < ends.start => {
                Some(Self { of: from.clone(), from: *position, to: ends.start })
            }
            _ => None,
        }
    }

    /// Records that were lost, at most: they can't be counted any more.
    pub const fn records_max(&self) -> u64 {
        (self.to - self.from).unsigned_abs()
    }
}

/// Moves a group past losses, each in a step of its own with what is to be appended for it. No other member
/// of the group may be at work: it would hold the partitions.
///
/// # Errors
/// [`Error::Unavailable`] if the partitions are not to be had; whatever a commit says.
pub async fn accept(log: &dyn Log, group: &str, topics: &[Arc<str>], losses: Vec<(Loss, Vec<Append>)>) -> Result<()> {
    let Some((first, _)) = losses.first() else { return Ok(()) };
    let name = format!("killfeed-accept-{group}-{}", crate::Stream::name_of(&first.of.topic));
    let mut transactor = log.transactor(&name).await?;
    let mut member = log.join(group, topics, &name).await?;
    let deadline = Instant::now() + ASSIGNED_LIMIT;
    let mut held = BTreeSet::new();
    while !losses.iter().all(|(loss, _)| held.contains(&loss.of)) {
        match member.poll(ReadLimit::default(), POLL).await? {
            Poll::Assigned(partitions) => held = partitions.into_iter().collect(),
            Poll::Revoked(_) => held.clear(),
            Poll::Batches(_) | Poll::Idle => {}
        }
        if Instant::now() >= deadline {
            let of = &losses.iter().find(|(loss, _)| !held.contains(&loss.of)).unwrap_or(&losses[0]).0.of;
            return Err(Error::Unavailable(format!(
                "{of} is held by another member of group {group}: stop all of them, and try again"
            )));
        }
    }
    for (loss, appends) in losses {
        let step = Step { appends, positions: vec![(loss.of, loss.to)], generation: member.generation() };
        transactor.commit(step).await?;
    }
    Ok(())
}
