//! Where to cut each partition: positions in the order that makes the cut safe, and what the ledger
//! and the removals say of each side of it.

use super::Books;
use super::entries::{self, Entries, Ledger, Removed};
use crate::{Engine, Result};
use events::headers::RAW_OFFSET;
use events::log::Offset;
use events::streams::{PROCESSOR_GROUP, SINK_GROUP};
use events::{Stream, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// One partition of one incarnation of a stream. Each of its generations has an incarnation of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) stream: String,
    pub(crate) partition: i32,
    pub(crate) incarnation: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {} (incarnation {})", self.stream, self.partition, self.incarnation)
    }
}

/// How far a partition's readers are; `None` where a reader has never committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positioned {
    pub(crate) clean: Option<Offset>,
    pub(crate) dead: Option<Offset>,
    pub(crate) ledger: Option<Offset>,
    pub(crate) raw: Option<Offset>,
    /// The least raw offset of a record that sinks have not committed yet.
    pub(crate) unsunk: Option<Offset>,
    /// What the names of its topics begin with: the stream, and the generation from the second on.
    pub(crate) topics: String,
}

impl Positioned {
    /// Everything from raw offsets below it has been read and has arrived.
    pub(crate) fn arrived(&self) -> Offset {
        self.raw.unwrap_or(0).min(self.unsunk.unwrap_or(Offset::MAX))
    }
}

pub(crate) type Positions = BTreeMap<Key, Positioned>;

/// What is known of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) key: Key,
    /// `None` for an incarnation whose topics are gone.
    pub(crate) positions: Option<Positioned>,
    pub(crate) entries: Entries,
    /// Everything from raw offsets below it has arrived.
    pub(crate) cut: Offset,
    /// Everything below these positions of `.clean` and `.dead` is in the tables.
    pub(crate) clean: Offset,
    pub(crate) dead: Offset,
    /// Removals that happened.
    pub(crate) removed: Vec<Removed>,
    /// Records of raw that no processor has read, counted only as far as it matters.
    pub(crate) unread: u64,
    /// What the tables hold of it.
    pub(crate) counted: Counted,
}

/// What the tables hold of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Rows of event tables from raw offsets below the cut.
    pub(crate) delivered: u64,
    /// Rows of `dead_letters` from raw offsets below the cut, by reason.
    pub(crate) dead: BTreeMap<String, u64>,
    /// Distinct raw offsets below the cut.
    pub(crate) distinct: u64,
    /// Rows by table that lie below the sinks' positions.
    pub(crate) sunk: BTreeMap<String, u64>,
    /// Raw offsets below the cut that were found again: how many, and the first ones, with the table
    /// that had the second row.
    pub(crate) doubled: u64,
    pub(crate) examples: Vec<(String, Offset)>,
}

impl Account {
    /// Steps whose counts apply below the cut.
    pub(crate) fn settled(&self) -> impl Iterator<Item = &entries::Processed> {
        self.entries.processed.iter().filter(|step| step.to <= self.cut)
    }
}

/// Positions of all partitions of the streams as they stand, sinks before processors.
pub(crate) async fn positions(books: &Books) -> Result<Positions> {
    let log = books.log.as_ref();
    let mut positions = Positions::new();
    let mut streams: Vec<(Stream, Key)> = Vec::new();
    for info in books.streams.current() {
        for partition in 0..info.partitions {
            let incarnation = info.incarnation.to_string();
            streams.push((info.stream.clone(), Key { stream: info.stream.name().to_owned(), partition, incarnation }));
        }
    }
    for (stream, key) in &streams {
        let at = |topic| TopicPartition::new(topic, key.partition);
        let positioned = Positioned {
            clean: log.committed(SINK_GROUP, &at(stream.clean())).await?,
            dead: log.committed(SINK_GROUP, &at(stream.dead())).await?,
            ledger: log.committed(SINK_GROUP, &at(stream.ledger())).await?,
            raw: None,
            unsunk: None,
            topics: stream.to_string(),
        };
        positions.insert(key.clone(), positioned);
    }
    for (stream, key) in &streams {
        let at = |topic| TopicPartition::new(topic, key.partition);
        let Some(positioned) = positions.get_mut(key) else { continue };
        positioned.raw = log.committed(PROCESSOR_GROUP, &at(stream.raw())).await?;
        for (topic, position) in [(stream.clean(), positioned.clean), (stream.dead(), positioned.dead)] {
            let mut first: Option<Offset> = None;
            entries::each(log, &at(topic), position, |record| {
                first = record.headers.get_str(RAW_OFFSET).and_then(|offset| offset.parse().ok());
                first.is_none()
            })
            .await?;
            positioned.unsunk = positioned.unsunk.into_iter().chain(first).min();
        }
    }
    Ok(positions)
}

/// An account for each partition that the log or the ledger knows.
pub(crate) async fn accounts(positions: Positions, ledger: Ledger, engine: &Engine) -> Result<Vec<Account>> {
    let mut partitions = ledger.partitions;
    let keys: BTreeSet<Key> = positions.keys().chain(partitions.keys()).cloned().collect();
    let mut done = BTreeMap::new();
    let mut accounts = Vec::new();
    for key in keys {
        let mut entries = partitions.remove(&key).unwrap_or_default();
        let positions = positions.get(&key).cloned();
        if let Some(positions) = &positions {
            // Steps that were taken since the positions were read are for another time.
            let raw = positions.raw.unwrap_or(0);
            entries.processed.retain(|step| step.to <= raw);
        }
        let mut removed = Vec::new();
        for removal in &entries.removed {
            if happened(engine, removal, &mut done).await? {
                removed.push(removal.clone());
            }
        }
        accounts.push(account(key, positions, entries, removed));
    }
    Ok(accounts)
}

fn account(key: Key, positions: Option<Positioned>, entries: Entries, removed: Vec<Removed>) -> Account {
    let end_of = |topic: &str| {
        let of_topic = entries.sunk.iter().filter(|flush| flush.topic.ends_with(topic));
        of_topic.map(|flush| flush.to).max().unwrap_or(0)
    };
    let (bound, clean, dead) = match &positions {
        Some(positions) => (positions.arrived(), positions.clean.unwrap_or(0), positions.dead.unwrap_or(0)),
        None => (Offset::MAX, end_of(".clean"), end_of(".dead")),
    };
    let ends = entries.processed.iter().map(|step| step.to);
    let cut = ends.filter(|to| *to <= bound).max().unwrap_or(0);
    Account { key, positions, entries, cut, clean, dead, removed, unread: 0, counted: Counted::default() }
}

/// Whether the table holds the transaction of the removal.
async fn happened(engine: &Engine, removed: &Removed, done: &mut BTreeMap<(String, String), bool>) -> Result<bool> {
    let key = (removed.table.clone(), removed.removal.clone());
    if let Some(known) = done.get(&key) {
        return Ok(*known);
    }
    let happened = match engine.store().load(&removed.table).await? {
        Some(table) => tables::txn(&table, &tables::removal_app_id(&removed.removal)).await?.is_some(),
        None => false,
    };
    done.insert(key, happened);
    Ok(happened)
}

/// Counts records of raw past the processors' position, where ingest acknowledged more than
/// processors have read.
pub(crate) async fn count_unread(books: &Books, accounts: &mut [Account]) -> Result<()> {
    for account in accounts {
        let Some(positions) = &account.positions else { continue };
        let accepted: u64 = account.entries.processed.iter().map(|step| step.accepted).sum();
        let missing = account.entries.acknowledged.saturating_sub(accepted);
        if missing == 0 {
            continue;
        }
        let of = TopicPartition::new(format!("{}.raw", positions.topics), account.key.partition);
        let mut unread = 0;
        entries::each(books.log.as_ref(), &of, positions.raw, |record| {
            unread += u64::from(!record.is_end());
            unread < missing
        })
        .await?;
        account.unread = unread;
    }
    Ok(())
}
