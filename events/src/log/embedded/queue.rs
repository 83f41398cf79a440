//! What waits for the writer: bounded in bytes, so that a slow disk shows as an error and not as
//! memory.

use super::packed;
use crate::log::groups::Admission;
use crate::log::{Append, Appended, Durability, Error, Offset, Result, StreamInfo, StreamSpec};
use crate::streams::TopicPartition;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Records for one partition, packed by whoever brought them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) to: TopicPartition,
    pub(super) count: u32,
    pub(super) packed: Vec<u8>,
}

impl Piece {
    pub(super) fn of(append: &Append) -> Result<Self> {
        let count = u32::try_from(append.records.len())
            .map_err(|_| Error::Refused(format!("an append to {} holds over {} records", append.to, u32::MAX)))?;
        Ok(Self { to: append.to.clone(), count, packed: packed::pack(&append.records) })
    }
}

/// Positions to move, and the leave to do so.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) group: Arc<str>,
    pub(super) positions: Vec<(TopicPartition, Offset)>,
    pub(super) admission: Admission,
}

/// Records and positions that stand or fall together.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) pieces: Vec<Piece>,
    pub(super) moves: Option<Move>,
    pub(super) durability: Durability,
    pub(super) answer: oneshot::Sender<Result<Vec<Appended>>>,
}

impl Work {
    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.packed.len()).sum::<usize>() + 64
    }
}

/// What the writer does one by one.
#[derive(Debug)]
pub(super) enum Chore {
    Create(StreamSpec, oneshot::Sender<Result<StreamInfo>>),
    Grow(StreamSpec, oneshot::Sender<Result<StreamInfo>>),
    Sweep(oneshot::Sender<Result<u64>>),
    /// Answers once everything before it is decided.
    Pass(oneshot::Sender<()>),
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Group(Vec<Work>),
    Chore(Chore),
    Nothing,
    Closed,
}

#[derive(Debug)]
enum Request {
    Work(Work),
    Chore(Chore),
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    bytes_max: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), ready: Condvar::new(), bytes_max }
    }

    /// Queues work. Steps are let in past the limit: they make room further up, and are few.
    pub(super) fn push(&self, work: Work) -> Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        if work.moves.is_none() && waiting.bytes >= self.bytes_max {
            return Err(Error::Unavailable(format!(
                "{} bytes wait for the disk, over the limit of {}",
                waiting.bytes, self.bytes_max
            )));
        }
        waiting.bytes += work.bytes();
        waiting.requests.push_back(Request::Work(work));
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    pub(super) fn chore(&self, chore: Chore) -> Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        waiting.requests.push_back(Request::Chore(chore));
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Takes what waits: a group of works of about `bytes`, or one chore; waits at most `wait`.
    pub(super) fn take(&self, bytes: usize, wait: Duration) -> Next {
        let mut waiting = self.waiting.lock();
        if waiting.requests.is_empty() {
            if waiting.closed {
                return Next::Closed;
            }
            self.ready.wait_for(&mut waiting, wait);
        }
        let mut group = Vec::new();
        let mut taken = 0;
        while taken < bytes {
            match waiting.requests.pop_front() {
                Some(Request::Work(work)) => {
                    taken += work.bytes();
                    group.push(work);
                }
                Some(Request::Chore(chore)) if group.is_empty() => return Next::Chore(chore),
                Some(chore) => {
                    waiting.requests.push_front(chore);
                    break;
                }
                None => break,
            }
        }
        waiting.bytes = waiting.bytes.saturating_sub(taken);
        if group.is_empty() { Next::Nothing } else { Next::Group(group) }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Whether nothing is let in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// Lets nothing in any more; what waits is still done.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.ready.notify_one();
    }

    /// Closes, and drops what waits: whoever asked learns that nothing will come.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.requests.clear();
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("the log is closed".into())
}
