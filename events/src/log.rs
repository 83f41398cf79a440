//! The log: an ordered, durable, partitioned record of what happened. One trait, several
//! implementations, one conformance suite (`conformance`) that each of them passes.
//!
//! # Laws
//!
//! **Append.** If an append with [`Durability::All`] returns, the records are as durable as the
//! implementation can make them: fsynced by the embedded log, on all in-sync replicas with Kafka.
//! The records of one call for one partition stand in the order given; what one process appends stands
//! next to each other. An append that failed with [`Error::InDoubt`] may or may not stand, and with
//! Kafka it may stand in part, or twice after an outage; with any other error it doesn't stand.
//!
//! **Offsets** of a partition strictly increase in append order and are never given twice, not even
//! after the tail was lost. Gaps are allowed (Kafka's transaction markers take offsets, a crash may
//! burn some) and nobody may count on density: a difference of offsets is no count.
//!
//! ```text
//!  start                 position          last stable        end
//!    │                      │                   │              │
//!    ▼                      ▼                   ▼              ▼
//!    0   1   2   ·   4   5   6   7   8   ·  ·  11  12  13      14
//!    └── deleted by ──┘      └─ readable ───────┘└─ open  ─────┘
//!        retention              committed           transactions
//! ```
//!
//! **Position** is the offset that a reader will read next. **Last stable offset** is the exclusive
//! bound of what a reader may see: everything below it is decided. Readers see committed records
//! only. A read at a position below `start` or above `end` fails with [`Error::OutOfRange`]; no
//! reader is ever moved to another position than the one it asked for.
//!
//! **Transactions.** A [`Step`] appends records to several partitions and moves a group's positions,
//! all or nothing. Opening a [`Transactor`] with an id in use fences the older one: from then on
//! each of its commits fails with [`Error::Fenced`]. So does a step that carries the
//! [`Generation`] of a group that has moved on: at the latest when the member was told so.
//!
//! **Groups.** Each partition of a group's topics belongs to one member. Partition p of every topic
//! that the group reads goes to the same member. A member reads topics of one stream, and those of one
//! stream read the same. Members of one group may read other streams: who comes or goes with one is
//! nothing to the other. When members come or go, the generation grows; a member learns of it by [`Poll::Revoked`] and [`Poll::Assigned`], and what it had in work for a
//! revoked partition it drops. Nothing is read for an assigned partition until [`Member::seek`] says
//! from where.
//!
//! **Time.** A record's time is its append time in ms, given by the log; within a partition it never
//! goes back (with Kafka: as far as the clocks of its nodes agree).
//!
//! **Retention** deletes by age, whole records from the start on, but never what a group that has
//! positions there has not read, nor what is younger than the topic's retention. At a size limit what
//! every group has read goes first, however young; with only unread data left, appends fail with
//! [`Error::Full`]: room is never made by dropping the unread. Steps and positions are still let in,
//! since they are how the unread gets read. Kafka's retention is its own, by age alone: what it deleted
//! unread is found as [`Error::OutOfRange`].
//!
//! **Generations.** A stream grows by a new generation with topics of its own ([`Log::grow`]). From then on
//! appends to the old raw topic fail with [`Error::Ended`], whoever makes them; each of its partitions ends
//! with an end marker ([`NewRecord::end`]), and the positions past these are told by [`StreamInfo::ended`].
//! All else of the old generation goes on.

pub mod checks;
pub mod conformance;
pub mod embedded;
mod generations;
mod groups;
mod losses;
mod member;
pub mod memory;

pub use generations::{generations, newest};
pub use losses::{Loss, accept};

use crate::headers::Headers;
use crate::streams::{Stream, TopicPartition};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one record's key, headers and payload together, at most: Kafka's default, too.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// An offset or a position: 0 or more.
pub type Offset = i64;
/// Stands for an offset that nobody learned, see [`Appended`].
pub const NO_OFFSET: Offset = -1;

/// A record as it is handed to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// The partition key, for whoever compacts or re-splits; the partition is chosen by the caller.
    pub key: Bytes,
    /// Attributes, see [`crate::headers`].
    pub headers: Headers,
    /// The payload, untouched; `None` for an event without data.
    pub payload: Option<Bytes>,
}

impl NewRecord {
    /// Bytes of key, headers and payload together.
    pub fn len(&self) -> usize {
        self.key.len() + self.headers.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Whether it carries nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The marker that ends a partition of a generation's raw topic. It is no event: nobody counts it.
    pub fn end() -> Self {
        Self { payload: Some(Bytes::from_static(END)), ..Self::default() }
    }
}

/// The payload of end markers. Kafka's limit for an ended topic leaves room for it, and for no event.
const END: &[u8] = b"killfeed-end";

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Append time, ms since the epoch.
    pub time_ms: i64,
    /// As handed in.
    pub key: Bytes,
    /// As handed in.
    pub headers: Headers,
    /// As handed in.
    pub payload: Option<Bytes>,
}

impl Record {
    /// Bytes of key, headers and payload together.
    pub fn len(&self) -> usize {
        self.key.len() + self.headers.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Whether it carries nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is an end marker, see [`NewRecord::end`]. A marker may be followed by zeros.
    pub fn is_end(&self) -> bool {
        let marks = |payload: &Bytes| payload.starts_with(END) && payload[END.len()..].iter().all(|byte| *byte == 0);
        self.key.is_empty() && self.headers.is_empty() && self.payload.as_ref().is_some_and(marks)
    }
}

/// Records for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub to: TopicPartition,
    /// In order.
    pub records: Vec<NewRecord>,
}

/// Where an append landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; [`NO_OFFSET`] where [`Durability::None`] leaves nobody to learn it.
    pub first: Offset,
    /// Offset of its last record; the same.
    pub last: Offset,
    /// Append time of its last record, ms since the epoch; 0 where the offsets are unknown.
    pub time_ms: i64,
}

/// What an append waits for. Only `All` is called acknowledged. Appends of different durabilities keep no
/// order among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: handed over, fate unknown. Embedded: in the writer's queue.
    None,
    /// One node has it in memory. Embedded: written, not fsynced.
    Leader,
    /// Every in-sync replica has it. Embedded: fsynced.
    #[default]
    All,
}

impl Durability {
    /// The word for it in schemas and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leader => "leader",
            Self::All => "all",
        }
    }
}

/// How much one read or poll may return; at least one record is returned if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records at most.
    pub records: usize,
    /// Bytes of keys, headers and payloads at most (the last record may pass it).
    pub bytes: usize,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self { records: 16_384, bytes: 8 << 20 }
    }
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Of which partition.
    pub from: TopicPartition,
    /// The position that was read from.
    pub position: Offset,
    /// In offset order; empty if nothing is readable yet.
    pub records: Vec<Record>,
    /// The position to read next: past the last record, and past gaps known to hold nothing. Equal
    /// to `position` only if nothing was readable.
    pub next: Offset,
}

/// The bounds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The first offset that is kept.
    pub start: Offset,
    /// Exclusive bound of what readers see.
    pub last_stable: Offset,
    /// The offset that the next record would get, or a smaller one than that.
    pub end: Offset,
}

/// A moment in a group's life: who spoke, and since which membership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member: Arc<str>,
    /// Grows with each change of membership.
    pub number: i64,
}

/// One atomic step: records out, positions forward.
#[derive(Debug, Clone)]
pub struct Step {
    /// Records to append.
    pub appends: Vec<Append>,
    /// Positions that the group moves to.
    pub positions: Vec<(TopicPartition, Offset)>,
    /// The group, as the member saw it when it polled what this step is made of.
    pub generation: Generation,
}

/// What a member finds when it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// These partitions are its own from now on. Seek each before the next poll.
    Assigned(Vec<TopicPartition>),
    /// These are its own no longer; drop what is in work for them.
    Revoked(Vec<TopicPartition>),
    /// Records of partitions that it owns, each from its position on. A batch without records says
    /// that the position moved past a gap: commit `next` all the same.
    Batches(Vec<Batch>),
    /// Nothing within the wait.
    Idle,
}

/// How a stream is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub stream: Stream,
    /// Partitions of each of its topics.
    pub partitions: i32,
    /// How long `.raw .clean .dead .ledger` are kept.
    pub retention: Duration,
    /// How long `.state` is kept: at least twice the longest dedupe window. Where retention may take what
    /// nobody has read, `.ledger` too, since the ledger must explain what is missing.
    pub state_retention: Duration,
}

/// A stream as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: Stream,
    /// Partitions of each of its topics.
    pub partitions: i32,
    /// The random name given when the topics were made: tells a recreated stream from the old one.
    pub incarnation: Arc<str>,
    /// How long `.raw .clean .dead .ledger` are kept.
    pub retention: Duration,
    /// Where each partition of raw ends: past its end marker. `None` for the newest generation.
    pub ended: Option<Arc<[Offset]>>,
}

/// What went wrong, by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was written; try again later.
    #[error("log unavailable: {0}")]
    Unavailable(String),
    /// Nothing was written: a size limit is reached with data that a group has not read, or the
    /// disk is full. Try again when there is room.
    #[error("log full: {0}")]
    Full(String),
    /// It may or may not have been written; a resend is deduplicated.
    #[error("fate unknown: {0}")]
    InDoubt(String),
    /// Nothing was written: this generation of the stream has ended. Look for the next one, and try there.
    #[error("ended: {0}")]
    Ended(String),
    /// Somebody else owns the partition or the transactional id by now: drop the work, join anew.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The position is not in the log: it was deleted unread, or the log ends below what is known
    /// to have stood there. Stop, and let an operator decide.
    #[error("position {position} of {from} is out of range: the log holds [{start}, {end}){}", what_to_do(*position, *ends), start = ends.start, end = ends.end)]
    OutOfRange {
        /// The partition.
        from: TopicPartition,
        /// The position asked for.
        position: Offset,
        /// What the log holds.
        ends: Ends,
    },
    /// The request itself is wrong, and stays so: unknown topic, record too large.
    #[error("{0}")]
    Refused(String),
    /// What is stored can't be read. Stop, and let an operator decide.
    #[error("log corrupt: {0}")]
    Corrupt(String),
}

/// What an operator can do about a position that is out of range.
const fn what_to_do(position: Offset, ends: Ends) -> &'static str {
    if position < ends.start {
        "; what lies before was deleted unread: `killfeed topics accept-loss` goes on without it"
    } else {
        "; the log lost what had been there"
    }
}

impl Error {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::InDoubt(_))
    }
}

/// A result of the log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The log. Its laws stand at the head of this module.
#[async_trait]
pub trait Log: Send + Sync + std::fmt::Debug + 'static {
    /// Makes the stream's topics, or finds them. A stream that exists with another number of
    /// partitions is refused, with both numbers in the error. `retention` holds as it was last asked
    /// for; `state_retention` only grows, since claims may lean on the longer one.
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo>;

    /// The stream of this name, if it was made.
    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>>;

    /// Makes `spec.stream` as the next generation of a stream, and ends the generation before it, in this
    /// order for everybody who looks: what is ended takes no more, then both are told of. To be called
    /// again after any error or crash: what was done stays, and a generation that is there already is
    /// found.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no generation before it, if that has more partitions, or if the new
    /// one was made with another number.
    async fn grow(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        Err(Error::Refused(format!("this log has no generations, so {} can't be made", spec.stream)))
    }

    /// Appends, each partition's records together; answers one by one in the order given. The
    /// appends of one call may stand or fail apart. An empty list of records is refused.
    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>>;

    /// Reads committed records from `position` on, without waiting.
    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch>;

    /// The bounds of a partition.
    async fn ends(&self, of: &TopicPartition) -> Result<Ends>;

    /// The first offset whose record was appended at `time_ms` or later, or a smaller one with no record
    /// between; `end` if there is none.
    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset>;

    /// The position that the group has committed for a partition; `None` if never.
    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>>;

    /// Joins a group that reads `topics`, all of one stream. `instance` names this member in errors and metrics.
    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>>;

    /// Opens the transactor of this id, and fences whoever held it.
    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>>;

    /// Why appends fail at the moment, as far as the log knows without trying: from an append that
    /// failed for want of storage until one works, or would. For readiness, so that clients are
    /// sent elsewhere; whoever has something to append tries all the same.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// A member of a group. Dropping it leaves the group.
#[async_trait]
pub trait Member: Send {
    /// What there is to do, waiting for it at most `wait`. One partition's records are handed out
    /// again only after a [`Self::seek`]: each poll goes on where the last one ended. A poll that is
    /// dropped before its end loses nothing: the next one tells what it would have told.
    async fn poll(&mut self, limit: ReadLimit, wait: Duration) -> Result<Poll>;

    /// The generation that the last poll was made in.
    fn generation(&self) -> Generation;

    /// Goes on from `position` in a partition that is assigned.
    fn seek(&mut self, of: &TopicPartition, position: Offset) -> Result<()>;

    /// Hands out nothing of these partitions until [`Self::resume`].
    fn pause(&mut self, of: &[TopicPartition]);

    /// Undoes [`Self::pause`].
    fn resume(&mut self, of: &[TopicPartition]);

    /// Commits positions on their own, outside any step.
    async fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<()>;
}

/// Commits steps under an id that fences its predecessors.
#[async_trait]
pub trait Transactor: Send {
    /// Commits one step whole, as durable as [`Durability::All`]. After [`Error::InDoubt`] or
    /// [`Error::Fenced`] the transactor is spent: open a new one, and read the committed positions
    /// to learn what became of the step.
    async fn commit(&mut self, step: Step) -> Result<()>;
}

/// How often an end is looked at that open transactions hold back.
const DECIDED_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until all that a partition held at the call can be read: nothing before its end of then is part of
/// a transaction that is still open. Gives that end, and the bounds as they are by now.
///
/// # Errors
/// What the log says when it is asked for the bounds.
pub async fn decided(log: &dyn Log, of: &TopicPartition) -> Result<(Offset, Ends)> {
    let mut ends = log.ends(of).await?;
    let end = ends.end;
    while ends.last_stable < end {
        tracing::debug!(%of, last_stable = ends.last_stable, end, "waiting for open transactions");
        tokio::time::sleep(DECIDED_INTERVAL).await;
        ends = log.ends(of).await?;
    }
    Ok((end, ends))
}
