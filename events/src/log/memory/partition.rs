//! One partition of the memory log: records in offset order, with holes where readers see nothing.

use super::super::{Append, Appended, Batch, Ends, Error, Offset, ReadLimit, Record, Result};
use crate::streams::TopicPartition;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) records: VecDeque<Record>,
    start: Offset,
    next: Offset,
    /// Time of the newest record: none is older than the one before it.
    time_ms: i64,
    /// A transaction of somebody else: where it began, and the touches until it aborts.
    open: Option<(Offset, u32)>,
    /// Everything below is durable; a crash cuts here.
    durable: Offset,
}

impl Partition {
    pub(super) fn ends(&self) -> Ends {
        let last_stable = self.open.map_or(self.next, |(from, _)| from);
        Ends { start: self.start, last_stable, end: self.next }
    }

    /// Takes offsets that no reader will see a record at.
    pub(super) fn burn(&mut self, offsets: i64) {
        self.next += offsets;
    }

    /// Opens somebody's transaction, unless one is open.
    pub(super) fn open(&mut self, offsets: i64, touches: u32) {
        if self.open.is_none() {
            self.open = Some((self.next, touches));
            self.next += offsets;
        }
    }

    /// One touch: an open transaction comes nearer to its end. True if it has just ended.
    pub(super) fn touch(&mut self) -> bool {
        match &mut self.open {
            Some((_, left)) if *left > 1 => *left -= 1,
            Some(_) => {
                self.open = None;
                return true;
            }
            None => {}
        }
        false
    }

    pub(super) fn append(&mut self, append: Append, now_ms: i64) -> Appended {
        self.time_ms = self.time_ms.max(now_ms);
        let (first, time_ms) = (self.next, self.time_ms);
        for record in append.records {
            let (key, headers, payload) = (record.key, record.headers, record.payload);
            self.records.push_back(Record { offset: self.next, time_ms, key, headers, payload });
            self.next += 1;
        }
        Appended { first, last: self.next - 1, time_ms }
    }

    pub(super) fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        let ends = self.ends();
        if position < ends.start || position > ends.end {
            return Err(Error::OutOfRange { from: from.clone(), position, ends });
        }
        let mut batch = Batch { from: from.clone(), position, records: Vec::new(), next: position };
        let first = self.records.partition_point(|record| record.offset < position);
        let mut bytes = 0;
        for record in self.records.range(first..).take_while(|record| record.offset < ends.last_stable) {
            if !batch.records.is_empty() && (batch.records.len() >= limit.records || bytes >= limit.bytes) {
                return Ok(batch);
            }
            bytes += record.len();
            batch.next = record.offset + 1;
            batch.records.push(record.clone());
        }
        batch.next = batch.next.max(ends.last_stable);
        Ok(batch)
    }

    pub(super) fn offset_at(&self, time_ms: i64) -> Offset {
        let found = self.records.partition_point(|record| record.time_ms < time_ms);
        self.records.get(found).map_or(self.next, |record| record.offset)
    }

    pub(super) fn make_durable(&mut self) {
        self.durable = self.next;
    }

    /// Loses what isn't durable. Its offsets stay burned.
    pub(super) fn crash(&mut self) {
        self.records.truncate(self.records.partition_point(|record| record.offset < self.durable));
        self.open = None;
        self.durable = self.next;
    }

    /// Deletes what is older than `cutoff_ms` and below `bound`; answers how many records went.
    pub(super) fn expire(&mut self, cutoff_ms: i64, bound: Offset) -> usize {
        let old = self.records.partition_point(|record| record.time_ms < cutoff_ms && record.offset < bound);
        if old > 0 {
            let start = self.records.get(old).map_or(self.ends().last_stable, |record| record.offset);
            self.records.drain(..old);
            self.start = start.min(bound).max(self.start);
        }
        old
    }

    pub(super) fn delete_below(&mut self, position: Offset) {
        self.records.drain(..self.records.partition_point(|record| record.offset < position));
        self.start = self.start.max(position).min(self.next);
    }

    /// Cuts the log at `position`, and forgets that there was more.
    pub(super) fn truncate(&mut self, position: Offset) {
        self.records.truncate(self.records.partition_point(|record| record.offset < position));
        self.next = self.next.min(position).max(self.start);
        self.durable = self.durable.min(self.next);
        self.open = None;
    }
}
