//! The disk queue: events that outlive the process.
//!
//! Events are numbered by an index that only grows. They stand in segment files, each named after its first index, and
//! are only ever appended. The cursor says which of them are done with, and which may have been sent. A segment whose
//! events are all done with is removed, from the oldest on. Nothing is ever rewritten in place but the cursor's two
//! slots; so a kill at any instant leaves a torn end at most, which the checksums tell.

mod ahead;
mod cursor;
mod files;
mod record;
mod session;
#[cfg(test)]
pub(crate) mod tests;

pub use files::{Directory, Files};
pub use record::Record;

use ahead::Ahead;
use cursor::Cursor;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// Opens every segment.
const MAGIC: &[u8; 8] = b"KFQUEUE1";
/// Ends a segment's name.
const SUFFIX: &str = ".kfq";
/// Segments that a full store has, about: removing the oldest loses one part in so many.
const SEGMENTS: u64 = 16;
/// Written at once, in bytes, unless a single event is larger.
pub(crate) const WRITE: u64 = 64 << 10;

/// Why events could not be appended. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The store's own limit is reached.
    #[error("the store is full")]
    Full,
    /// The disk doesn't take them.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Names it towards the queue.
    pub index: u64,
    /// Whether an earlier run of the program stored it.
    pub earlier: bool,
    /// When it may have been sent first by an earlier run that had no answer, in microseconds by the local wall clock.
    pub sent_us: Option<i64>,
    /// The event.
    pub record: Record,
}

#[derive(Debug)]
struct Segment {
    name: String,
    /// Index of its first event.
    first: u64,
    /// Index after its last.
    end: u64,
    /// Up to where it is sound, in bytes.
    bytes: u64,
    /// What it takes on the disk: more, if its end is torn.
    on_disk: u64,
    /// Nothing more is appended.
    sealed: bool,
}

/// A queue of events on disk. Not shared: one thread has it.
pub struct DiskQueue {
    files: Box<dyn Files>,
    limit: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    cursor: Cursor,
    /// Index that the next event gets.
    next: u64,
    /// Index at which this run began.
    began: u64,
    /// The next event to be read: index, first index of the segment it is in, and the bytes from there on.
    reading: u64,
    reading_segment: Option<u64>,
    ahead: Ahead,
    /// What an earlier run had sent: below this index, at this time.
    in_doubt: (u64, i64),
    /// Events not done with.
    held: u64,
    damaged: u64,
    /// Files that may not be on the disk yet, those of earlier runs among them: a killed process forces nothing down.
    unsynced: BTreeSet<String>,
}

impl DiskQueue {
    /// Opens what is there, with this bound in bytes.
    ///
    /// # Errors
    /// What reading and making files says. Damage is no error: it is counted, see [`Self::take_damaged`].
    pub fn open(mut files: Box<dyn Files>, limit: u64) -> io::Result<Self> {
        let cursor = Cursor::open(&mut *files)?;
        let mut names = files.list()?;
        names.retain(|(name, _)| name.ends_with(SUFFIX));
        names.sort();
        let mut segments = VecDeque::new();
        for (name, on_disk) in names {
            let Some(first) = name.strip_suffix(SUFFIX).and_then(|first| first.parse().ok()) else { continue };
            let (end, bytes) = scan(&mut *files, &name, first, on_disk)?;
            segments.push_back(Segment { name, first, end, bytes, on_disk, sealed: true });
        }
        let last = segments.back().map_or(0, |segment| segment.end);
        let next =
            last.max(cursor.done_below).max(cursor.sent_below).max(cursor.done.last().map_or(0, |index| index + 1));
        let names = segments.iter().map(|segment: &Segment| segment.name.clone());
        let unsynced = names.chain([cursor::NAME.to_owned()]).collect();
        let in_doubt = (cursor.sent_below, cursor.sent_us);
        let mut queue = Self {
            files,
            limit,
            segment_bytes: (limit / SEGMENTS).clamp(WRITE, 4 << 20),
            segments,
            cursor,
            next,
            began: next,
            reading: 0,
            reading_segment: None,
            ahead: Ahead::default(),
            in_doubt,
            held: 0,
            damaged: 0,
            unsynced,
        };
        queue.count();
        queue.cursor.reserve(&mut *queue.files)?;
        queue.remove_done();
        queue.reading = queue.cursor.done_below;
        Ok(queue)
    }

    /// Counts what is held, and what is missing between the segments, which is done with from now on.
    fn count(&mut self) {
        let Cursor { done_below, done, .. } = &mut self.cursor;
        let mut expected = *done_below;
        let ends = self.segments.iter().map(|segment| (segment.first, segment.end));
        for (first, end) in ends.chain([(self.next, self.next)]) {
            self.damaged += (expected..first).filter(|index| done.insert(*index)).count() as u64;
            self.held += (first.max(*done_below)..end).filter(|index| !done.contains(index)).count() as u64;
            expected = expected.max(end);
        }
    }

    /// Appends events, all or none.
    ///
    /// # Errors
    /// See [`AppendError`]; the queue goes on as if it had not been called.
    pub fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        let mut bytes = Vec::new();
        for (index, record) in (self.next..).zip(records) {
            if !record.write(index, &mut bytes) {
                return Err(AppendError::Full);
            }
        }
        let more = bytes.len() as u64;
        let fits = self.segments.back().is_some_and(|last| !last.sealed && last.bytes + more <= self.segment_bytes);
        let head = if fits { 0 } else { MAGIC.len() as u64 };
        if self.bytes() + more + head > self.limit {
            return Err(AppendError::Full);
        }
        if !fits {
            self.begin_segment()?;
        }
        let Some(last) = self.segments.back_mut() else { return Err(AppendError::Full) };
        if let Err(error) = self.files.write(&last.name, last.bytes, &bytes) {
            // Some of it may be there. If it can't be cut off, nothing may follow it.
            last.sealed = self.files.truncate(&last.name, last.bytes).is_err();
            last.on_disk = if last.sealed { last.bytes + more } else { last.bytes };
            return Err(error.into());
        }
        last.bytes += more;
        last.on_disk = last.bytes;
        last.end += records.len() as u64;
        self.next = last.end;
        self.held += records.len() as u64;
        if !self.unsynced.contains(&last.name) {
            self.unsynced.insert(last.name.clone());
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), AppendError> {
        // What stands in the last one is forced down with it, for nobody asks for it again.
        self.sync()?;
        if let Some(last) = self.segments.back_mut() {
            last.sealed = true;
        }
        let name = format!("{:020}{SUFFIX}", self.next);
        if let Err(error) = self.files.write(&name, 0, MAGIC) {
            let _ = self.files.remove(&name);
            return Err(error.into());
        }
        // An empty one of the same name is left where a run began and took nothing.
        self.segments.retain(|segment| segment.name != name);
        self.files.truncate(&name, MAGIC.len() as u64)?;
        let bytes = MAGIC.len() as u64;
        let (first, end) = (self.next, self.next);
        self.segments.push_back(Segment { name, first, end, bytes, on_disk: bytes, sealed: false });
        Ok(())
    }

    /// The order of the next event that [`Self::read`] gives, if this run stored it; 0 if an earlier one did.
    ///
    /// # Errors
    /// What reading says.
    pub fn peek_order(&mut self) -> io::Result<Option<u64>> {
        let Some(length) = self.seek()? else { return Ok(None) };
        let order = if self.reading < self.began { None } else { record::order(self.ahead.get(record::HEAD, length)) };
        Ok(Some(order.unwrap_or(0)))
    }

    /// The next event that is not done with and was not read since the queue was opened.
    ///
    /// # Errors
    /// What reading says. An event that can't be read for damage is passed over, and counted.
    pub fn read(&mut self) -> io::Result<Option<Stored>> {
        loop {
            let Some(length) = self.seek()? else { return Ok(None) };
            let index = self.reading;
            let record = record::read(self.ahead.get(record::HEAD, length));
            self.advance(length);
            let Some(record) = record else {
                self.lose(index);
                continue;
            };
            let sent_us = (index < self.in_doubt.0).then_some(self.in_doubt.1);
            return Ok(Some(Stored { index, earlier: index < self.began, sent_us, record }));
        }
    }

    /// Goes to the next event not done with, and sees that all of it is read ahead: the length of its payload.
    fn seek(&mut self) -> io::Result<Option<usize>> {
        loop {
            let Some(segment) = self.segments.iter().find(|segment| segment.end > self.reading) else {
                return Ok(None);
            };
            if self.reading_segment != Some(segment.first) {
                self.reading_segment = Some(segment.first);
                self.reading = segment.first;
                self.ahead = Ahead::at(MAGIC.len() as u64);
            }
            let Some(length) = self.ahead.record(&mut *self.files, &segment.name, segment.bytes, self.reading)? else {
                // Beyond this nobody can say where the next one begins.
                let end = segment.end;
                (self.reading..end).for_each(|index| self.lose(index));
                self.reading = end;
                continue;
            };
            if self.reading >= self.cursor.done_below && !self.cursor.done.contains(&self.reading) {
                return Ok(Some(length));
            }
            self.advance(length);
        }
    }

    fn advance(&mut self, length: usize) {
        self.reading += 1;
        self.ahead.advance(record::HEAD + length);
    }

    /// Goes to the first event from this index on.
    fn go_to(&mut self, index: u64) {
        self.reading = index;
        self.reading_segment = None;
    }

    fn lose(&mut self, index: u64) {
        if index >= self.cursor.done_below && self.cursor.done.insert(index) {
            self.damaged += 1;
            self.held = self.held.saturating_sub(1);
        }
    }

    /// An event is done with: delivered, or given up. What is on disk follows with [`Self::commit`].
    pub fn done(&mut self, index: u64) {
        if index >= self.cursor.done_below && self.cursor.done.insert(index) {
            self.held = self.held.saturating_sub(1);
        }
    }

    /// Says which events may be with the server without an answer: all below this index that are not done with, the
    /// first sent at this time; 0 for none. Must be on disk, by [`Self::commit`], before they are sent.
    pub fn set_sent(&mut self, below: u64, first_us: i64) {
        let (earlier_below, earlier_us) = self.in_doubt;
        (self.cursor.sent_below, self.cursor.sent_us) = match (self.reading < earlier_below, below > 0) {
            // What an earlier run left in doubt and nobody has read stays so.
            (true, true) => (below.max(earlier_below), first_us.min(earlier_us)),
            (true, false) => self.in_doubt,
            (false, _) => (below, first_us),
        };
    }

    /// Whether something is not written down that [`Self::commit`] would write.
    pub fn is_behind(&self) -> bool {
        self.cursor.done.contains(&self.cursor.done_below) || self.cursor.sent_below > self.cursor.done_below
    }

    /// Writes how far things are, and removes segments that are done with.
    ///
    /// # Errors
    /// What writing says. In memory everything stands; on disk it does after the next commit that succeeds.
    pub fn commit(&mut self) -> io::Result<()> {
        loop {
            while self.cursor.done.remove(&self.cursor.done_below) {
                self.cursor.done_below += 1;
            }
            if !self.remove_done() {
                break;
            }
        }
        self.unsynced.insert(cursor::NAME.to_owned());
        self.cursor.write(&mut *self.files)
    }

    /// Removes the oldest segments while they are done with: whether there was one.
    fn remove_done(&mut self) -> bool {
        let before = self.segments.len();
        while let Some(first) = self.segments.front() {
            let over = first.sealed && first.end <= self.cursor.done_below;
            if !over || self.files.remove(&first.name).is_err() {
                break;
            }
            self.unsynced.remove(&first.name);
            self.segments.pop_front();
        }
        // No event stands before the first segment.
        let first = self.segments.front().map_or(self.next, |segment| segment.first);
        self.cursor.done_below = self.cursor.done_below.max(first);
        let below = self.cursor.done_below;
        self.cursor.done.retain(|index| *index >= below);
        self.segments.len() < before
    }

    /// Removes the oldest segment, to make room: the index before which nothing is left, and how many events of each
    /// type that nobody has read are gone with it. What was read is in the reader's hands.
    ///
    /// # Errors
    /// What removing says.
    pub fn drop_oldest(&mut self) -> io::Result<(u64, BTreeMap<String, u64>)> {
        let mut dropped = BTreeMap::new();
        let Some(end) = self.segments.front().map(|segment| segment.end) else { return Ok((0, dropped)) };
        while self.reading < end {
            match self.read()? {
                Some(stored) if stored.index < end => *dropped.entry(stored.record.event_type).or_insert(0) += 1,
                Some(_) => self.go_to(end),
                None => break,
            }
        }
        for index in self.cursor.done_below..end {
            self.done(index);
        }
        if let Some(first) = self.segments.front_mut() {
            first.sealed = true;
        }
        self.commit()?;
        Ok((end, dropped))
    }

    /// Removes everything: how many events were held.
    ///
    /// # Errors
    /// What removing says.
    pub fn purge(&mut self) -> io::Result<u64> {
        let held = std::mem::take(&mut self.held);
        self.cursor.done.clear();
        self.cursor.done_below = self.next;
        for segment in &mut self.segments {
            segment.sealed = true;
        }
        self.go_to(self.next);
        self.commit()?;
        self.sync()?;
        Ok(held)
    }

    /// Forces everything onto the disk.
    ///
    /// # Errors
    /// What the operating system says. What was written before may then be lost by a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        // Events first: a cursor that is ahead of them would count as damage what was only late.
        while let Some(name) =
            self.unsynced.iter().find(|name| *name != cursor::NAME).or(self.unsynced.first()).cloned()
        {
            self.files.sync(&name)?;
            self.unsynced.remove(&name);
        }
        Ok(())
    }

    /// Whether something is not forced onto the disk yet.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The index of the event that was appended last in this run.
    pub fn last_index(&self) -> Option<u64> {
        (self.next > self.began).then(|| self.next - 1)
    }

    /// Events not done with.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// What all segments take on the disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.on_disk).sum()
    }

    /// How many events turned out damaged since this was last asked.
    pub fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }
}

/// Reads a segment through: the index after its last sound event, and where that ends.
fn scan(files: &mut dyn Files, name: &str, first: u64, bytes: u64) -> io::Result<(u64, u64)> {
    if files.read(name, 0, MAGIC.len())? != MAGIC {
        return Ok((first, 0));
    }
    let (mut index, mut ahead) = (first, Ahead::at(MAGIC.len() as u64));
    while let Some(length) = ahead.record(files, name, bytes, index)? {
        ahead.advance(record::HEAD + length);
        index += 1;
    }
    Ok((index, ahead.offset()))
}
