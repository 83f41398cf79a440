//! The ledger as a whole: the table `killfeed_ledger`, whose column `detail` holds each entry as it
//! was written, and what sinks have not carried there yet.

use super::Books;
use super::cut::{Key, Positions};
use crate::{Engine, Result};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use events::TopicPartition;
use events::dead::Reason;
use events::ledger::{Count, Entry};
use events::log::{Log, Offset, ReadLimit, Record};
use futures::StreamExt;
use std::collections::{BTreeMap, HashSet};
use tables::LEDGER;

/// A step of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processed {
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) accepted: u64,
    pub(crate) clean: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead: BTreeMap<Reason, u64>,
    /// Distinct raw offsets of this range found in tables, counted later.
    pub(crate) found: u64,
}

impl Processed {
    /// Rows that must have come of it, dead letters among them.
    pub(crate) fn rows(&self) -> u64 {
        self.clean + self.dead.values().sum::<u64>()
    }
}

/// A flush of a sink, for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sunk {
    pub(crate) topic: String,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) rows: BTreeMap<String, u64>,
}

/// Rows taken out on purpose, if the table says that it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) removal: String,
    pub(crate) table: String,
    pub(crate) rows: BTreeMap<String, u64>,
}

/// Records that the log's owner deleted unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) topic: String,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) records: u64,
}

/// All entries of one partition of one incarnation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    pub(crate) acknowledged: u64,
    pub(crate) processed: Vec<Processed>,
    pub(crate) sunk: Vec<Sunk>,
    pub(crate) removed: Vec<Removed>,
    pub(crate) expired: Vec<Expired>,
}

/// The whole ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) partitions: BTreeMap<Key, Entries>,
    /// Records and rows that are no entries, a sentence each.
    pub(crate) problems: Vec<String>,
    seen: HashSet<String>,
}

impl Ledger {
    /// Takes an entry in, once.
    pub(crate) fn add(&mut self, entry: Entry) {
        if !self.seen.insert(entry.id) {
            return;
        }
        let key = Key { stream: entry.stream, partition: entry.partition, incarnation: entry.incarnation };
        let entries = self.partitions.entry(key).or_default();
        match entry.count {
            Count::Ingest { acknowledged, .. } => entries.acknowledged += acknowledged,
            Count::Process { from, to, accepted, clean, duplicates, dead, .. } => {
                entries.processed.push(Processed { from, to, accepted, clean, duplicates, dead, found: 0 });
            }
            Count::Sink { topic, from, to, rows, .. } => entries.sunk.push(Sunk { topic, from, to, rows }),
            Count::Removal { removal, table, rows, .. } => entries.removed.push(Removed { removal, table, rows }),
            Count::Expired { topic, from, to, records } => entries.expired.push(Expired { topic, from, to, records }),
        }
    }

    /// Puts removals to the stream whose rows they took: they are written by whoever keeps the tables,
    /// who may serve another stream.
    fn unite(&mut self, positions: &Positions) {
        let mut streams: BTreeMap<String, String> = BTreeMap::new();
        let counting = self.partitions.iter().filter(|(_, entries)| !entries.processed.is_empty()).map(|(key, _)| key);
        for key in counting.chain(positions.keys()) {
            streams.insert(key.incarnation.clone(), key.stream.clone());
        }
        for (key, entries) in std::mem::take(&mut self.partitions) {
            let stream = streams.get(&key.incarnation).cloned().unwrap_or_else(|| key.stream.clone());
            let united = self.partitions.entry(Key { stream, ..key }).or_default();
            united.acknowledged += entries.acknowledged;
            united.processed.extend(entries.processed);
            united.sunk.extend(entries.sunk);
            united.removed.extend(entries.removed);
            united.expired.extend(entries.expired);
        }
    }

    fn sort(&mut self) {
        for entries in self.partitions.values_mut() {
            entries.processed.sort_by_key(|step| (step.from, step.to));
            entries.sunk.sort_by(|a, b| (&a.topic, a.from, a.to).cmp(&(&b.topic, b.from, b.to)));
        }
    }
}

/// Reads the table, then the topics from where the table ends, which `positions` said before.
pub(crate) async fn read(engine: &Engine, books: &Books, positions: &Positions) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let context = engine.session();
    if let Some(snapshot) = engine.snapshot(LEDGER, &context).await? {
        let failed = |error| engine.failed(&error);
        let frame = context.read_table(snapshot.whole()).and_then(|frame| frame.select_columns(&["detail"]));
        let mut batches = frame.map_err(failed)?.execute_stream().await.map_err(failed)?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(failed)?;
            let texts = cast(batch.column(0), &DataType::Utf8).map_err(|error| failed(error.into()))?;
            for text in texts.as_string::<i32>() {
                match Entry::from_payload(text.unwrap_or_default().as_bytes()) {
                    Ok(entry) => ledger.add(entry),
                    Err(error) => ledger.problems.push(format!("table {LEDGER} has a row that is no entry: {error}")),
                }
            }
        }
    }
    for (key, partition) in positions.iter() {
        let topic = TopicPartition::new(format!("{}.ledger", key.stream), key.partition);
        each(books.log.as_ref(), &topic, partition.ledger, |record| {
            let payload = record.payload.as_deref().unwrap_or_default();
            match Entry::from_payload(payload) {
                Ok(entry) => ledger.add(entry),
                Err(error) => ledger.problems.push(format!("record {} of {topic} is no entry: {error}", record.offset)),
            }
            true
        })
        .await?;
    }
    ledger.unite(positions);
    ledger.sort();
    Ok(ledger)
}

/// Hands each readable record from `position` on to `take`, until it says `false`.
pub(crate) async fn each(
    log: &dyn Log,
    of: &TopicPartition,
    position: Option<Offset>,
    mut take: impl FnMut(&Record) -> bool + Send,
) -> Result<()> {
    let mut position = match position {
        Some(position) => position,
        None => log.ends(of).await?.start,
    };
    loop {
        let batch = log.read(of, position, ReadLimit::default()).await?;
        for record in &batch.records {
            if !take(record) {
                return Ok(());
            }
        }
        if batch.next == position {
            return Ok(());
        }
        position = batch.next;
    }
}
