//! Answers in pages. The rows of one statement are kept from its first page on, so that all pages are of one moment
//! whatever sinks write meanwhile, and each can be read again. They are kept for a while after the last look at them,
//! within bounds; the statement itself has ended, and holds no place among those that run.

use crate::format::{Encoder, Format};
use crate::running::{Key, Listed, now};
use crate::{Answer, Config, Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// An answer may take this part of the memory for all.
const SHARE: usize = 4;

/// The answers that are kept. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Open(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    idle: Duration,
    answers_max: usize,
    bytes_max: usize,
    kept: Mutex<BTreeMap<Key, Arc<Kept>>>,
    bytes: Mutex<usize>,
}

/// One answer, and how it is cut.
#[derive(Debug)]
pub(crate) struct Kept {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    page_rows: usize,
    /// Of all its pages.
    pub(crate) format: Format,
    /// What is to be said with each page.
    pub(crate) warnings: Vec<String>,
    /// The same: up to when the answer is complete, if not up to now.
    pub(crate) fresh_to_us: Option<i64>,
    since: String,
    sql_bytes: usize,
    read: Mutex<Instant>,
    _room: Room,
}

impl Open {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(Shelf {
            idle: config.pages_idle,
            answers_max: config.pages_answers_max,
            bytes_max: config.pages_bytes_max,
            kept: Mutex::default(),
            bytes: Mutex::default(),
        }))
    }

    /// Whether an asker may have one more, before it is computed.
    ///
    /// # Errors
    /// If not, or if the id is one of theirs.
    pub(crate) fn check(&self, name: &Arc<str>, id: Option<&str>) -> Result<()> {
        let kept = self.0.kept.lock();
        if id.is_some_and(|id| kept.contains_key(&(name.clone(), id.into()))) {
            return Err(Error::Taken(id.unwrap_or_default().to_owned()));
        }
        match kept.keys().filter(|(of, _)| of == name).count() {
            count if count >= self.0.answers_max => Err(Error::Open { answers: count, idle: self.0.idle }),
            _ => Ok(()),
        }
    }

    /// Takes all rows of an answer.
    ///
    /// # Errors
    /// The answer's own, and if there is no room for it.
    pub(crate) async fn take(&self, mut answer: Answer, format: Format, page_rows: usize) -> Result<Kept> {
        let mut room = Room { shelf: self.0.clone(), bytes: 0 };
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = answer.next().await {
            let batch = batch?;
            room.grow(batch.get_array_memory_size())?;
            rows += batch.num_rows();
            batches.push(batch);
        }
        Ok(Kept {
            schema: answer.schema().clone(),
            batches,
            rows,
            page_rows,
            format,
            warnings: answer.warnings().to_vec(),
            fresh_to_us: answer.fresh_to_us(),
            since: now(),
            sql_bytes: answer.sql_bytes(),
            read: Mutex::new(Instant::now()),
            _room: room,
        })
    }

    /// Keeps it until nobody has looked at it for a while.
    ///
    /// # Errors
    /// As [`Self::check`]: others may have come in between.
    pub(crate) fn keep(&self, key: Key, kept: Arc<Kept>) -> Result<()> {
        self.check(&key.0, Some(&key.1))?;
        tokio::spawn(expire(Arc::downgrade(&self.0), key.clone(), Arc::downgrade(&kept)));
        self.0.kept.lock().insert(key, kept);
        metrics::gauge!("killfeed_queries_open_answers").increment(1.0);
        Ok(())
    }

    /// An answer of this asker, which is kept for a while longer.
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Kept>> {
        let kept = self.0.kept.lock().get(key).cloned()?;
        *kept.read.lock() = Instant::now();
        Some(kept)
    }

    /// Lets go of those of this id, of one asker or of any. Says whether there was one.
    pub(crate) fn close(&self, id: &str, only: Option<&str>) -> bool {
        let mut kept = self.0.kept.lock();
        let before = kept.len();
        kept.retain(|(name, of), _| **of != *id || only.is_some_and(|only| **name != *only));
        closed(before - kept.len());
        before > kept.len()
    }

    /// All, or those of one asker.
    pub(crate) fn list(&self, only: Option<&str>) -> Vec<Listed> {
        let kept = self.0.kept.lock();
        let seen = kept.iter().filter(|((name, _), _)| only.is_none_or(|only| **name == *only));
        let listed = seen.map(|((name, id), kept)| Listed {
            id: id.clone(),
            principal: name.clone(),
            state: "open",
            since: kept.since.clone(),
            sql_bytes: kept.sql_bytes,
        });
        listed.collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of answers")]
fn closed(answers: usize) {
    metrics::gauge!("killfeed_queries_open_answers").decrement(answers as f64);
}

/// Waits until nobody has looked at an answer for long enough, and lets go of it.
async fn expire(shelf: Weak<Shelf>, key: Key, kept: Weak<Kept>) {
    loop {
        let (Some(shelf), Some(answer)) = (shelf.upgrade(), kept.upgrade()) else { return };
        let due = *answer.read.lock() + shelf.idle;
        if Instant::now() >= due {
            let mut open = shelf.kept.lock();
            // The id may be another answer's by now.
            if open.get(&key).is_some_and(|open| Arc::ptr_eq(open, &answer)) {
                open.remove(&key);
                closed(1);
                metrics::counter!("killfeed_queries_open_answers_expired_total").increment(1);
            }
            return;
        }
        drop((shelf, answer));
        tokio::time::sleep_until(due).await;
    }
}

impl Kept {
    /// How many pages there are; one at least.
    pub(crate) fn pages(&self) -> usize {
        self.rows.div_ceil(self.page_rows).max(1)
    }

    /// A page, from 1 on, as a document of its own; `None` past the last one.
    ///
    /// # Errors
    /// If a value can't be written.
    pub(crate) fn page(&self, number: usize) -> Result<Option<Vec<u8>>> {
        if number == 0 || number > self.pages() {
            return Ok(None);
        }
        let mut encoder = Encoder::new(self.format, &self.schema)?;
        let (mut skip, mut left) = ((number - 1) * self.page_rows, self.page_rows);
        let mut bytes = Vec::new();
        for batch in &self.batches {
            if left == 0 {
                break;
            }
            let from = skip.min(batch.num_rows());
            skip -= from;
            let count = left.min(batch.num_rows() - from);
            if count > 0 {
                bytes.extend(encoder.rows(&batch.slice(from, count))?);
                left -= count;
            }
        }
        bytes.extend(encoder.finish()?);
        Ok(Some(bytes))
    }
}

/// Memory that an answer takes of what there is for all.
#[derive(Debug)]
struct Room {
    shelf: Arc<Shelf>,
    bytes: usize,
}

impl Room {
    fn grow(&mut self, more: usize) -> Result<()> {
        let limit = self.shelf.bytes_max / SHARE;
        if self.bytes + more > limit {
            return Err(Error::Pages(limit));
        }
        let mut all = self.shelf.bytes.lock();
        if *all + more > self.shelf.bytes_max {
            return Err(Error::NoRoom { limit: self.shelf.bytes_max, idle: self.shelf.idle });
        }
        *all += more;
        self.bytes += more;
        told(*all);
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut all = self.shelf.bytes.lock();
        *all -= self.bytes;
        told(*all);
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn told(bytes: usize) {
    metrics::gauge!("killfeed_queries_open_bytes").set(bytes as f64);
}
