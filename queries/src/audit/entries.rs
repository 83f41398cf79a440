//! The ledger as a whole: the table `killfeed_ledger`, whose column `detail` holds each entry as it
//! was written, and what sinks have not carried there yet. What the topics still hold of it is held
//! against the table.

use super::Books;
use super::bits::Bits;
use super::cut::{Key, Positioned, Positions};
use crate::{Engine, Result};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use events::TopicPartition;
use events::dead::Reason;
use events::ledger::{Count, Entry};
use events::log::{Log, Offset, ReadLimit, Record};
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use tables::LEDGER;

/// Entries of one partition from which on neighbours are merged.
const MERGE_FROM: usize = 16_384;
/// Raw offsets that a merged step may span: what a sentence about missing rows names at the most.
const MERGED_OFFSETS_MAX: Offset = 1 << 16;

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

/// All entries of one partition of one incarnation. Where there are many, neighbours that apply whole
/// stand as one: memory grows with the offsets' span by [`MERGED_OFFSETS_MAX`], not with the steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    pub(crate) acknowledged: u64,
    pub(crate) processed: Vec<Processed>,
    pub(crate) sunk: Vec<Sunk>,
    pub(crate) removed: Vec<Removed>,
    pub(crate) expired: Vec<Expired>,
    /// Entries from which on it is worth a look what can be merged.
    pub(crate) merge_at: usize,
}

impl Entries {
    fn take(&mut self, count: Count, bounds: Bounds) {
        match count {
            Count::Ingest { acknowledged, .. } => self.acknowledged += acknowledged,
            Count::Process { from, to, accepted, clean, duplicates, dead, .. } => {
                self.processed.push(Processed { from, to, accepted, clean, duplicates, dead, found: 0 });
            }
            Count::Sink { topic, from, to, rows, .. } => self.sunk.push(Sunk { topic, from, to, rows }),
            Count::Removal { removal, table, rows, .. } => self.removed.push(Removed { removal, table, rows }),
            Count::Expired { topic, from, to, records } => self.take_expired(Expired { topic, from, to, records }),
        }
        if self.processed.len() + self.sunk.len() >= self.merge_at.max(MERGE_FROM) {
            self.merge(bounds);
            self.merge_at = 2 * (self.processed.len() + self.sunk.len());
        }
    }

    /// What a role found deleted when it stopped may have become more until an operator accepted it: of
    /// entries that begin at one place the longest counts.
    fn take_expired(&mut self, found: Expired) {
        let mut known = self.expired.iter_mut();
        match known.find(|known| known.topic == found.topic && known.from == found.from) {
            Some(known) if known.to < found.to => *known = found,
            Some(_) => {}
            None => self.expired.push(found),
        }
    }

    /// Makes one of neighbours whose counts apply whole. Gaps and overlaps stay as they are.
    fn merge(&mut self, bounds: Bounds) {
        self.sort();
        self.processed.dedup_by(|next, step| {
            let joins = step.to == next.from && next.to <= bounds.raw && next.to - step.from <= MERGED_OFFSETS_MAX;
            if joins {
                step.to = next.to;
                step.accepted += next.accepted;
                step.clean += next.clean;
                step.duplicates += next.duplicates;
                add(&mut step.dead, std::mem::take(&mut next.dead));
            }
            joins
        });
        self.sunk.dedup_by(|next, flush| {
            let bound = if flush.topic.ends_with(".dead") { bounds.dead } else { bounds.clean };
            let joins = flush.topic == next.topic && flush.to == next.from && next.to <= bound;
            if joins {
                flush.to = next.to;
                add(&mut flush.rows, std::mem::take(&mut next.rows));
            }
            joins
        });
    }

    fn sort(&mut self) {
        self.processed.sort_by_key(|step| (step.from, step.to));
        self.sunk.sort_by(|a, b| (&a.topic, a.from, a.to).cmp(&(&b.topic, b.from, b.to)));
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *sums.entry(key).or_default() += count;
    }
}

/// Below these positions the counts of entries apply whole, wherever the cut will be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    raw: Offset,
    clean: Offset,
    dead: Offset,
}

impl Bounds {
    /// Of an incarnation whose topics are gone: all of it.
    const WHOLE: Self = Self { raw: Offset::MAX, clean: Offset::MAX, dead: Offset::MAX };

    fn of(positions: Option<&Positioned>) -> Self {
        positions.map_or(Self::WHOLE, |positions| Self {
            raw: positions.arrived(),
            clean: positions.clean.unwrap_or(0),
            dead: positions.dead.unwrap_or(0),
        })
    }
}

/// The whole ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) partitions: BTreeMap<Key, Entries>,
    /// What is wrong with the ledger itself, a sentence each.
    pub(crate) problems: Vec<String>,
    /// Ids of entries that may have been appended twice: those that no transaction carries.
    seen: HashSet<u128>,
}

impl Ledger {
    /// Takes an entry in, once.
    fn add(&mut self, entry: Entry, positions: &Positions) {
        let in_a_step = matches!(entry.count, Count::Process { .. } | Count::Sink { .. });
        if !in_a_step && !self.seen.insert(short(&entry.id)) {
            return;
        }
        let key = Key { stream: entry.stream, partition: entry.partition, incarnation: entry.incarnation };
        let bounds = Bounds::of(positions.get(&key));
        self.partitions.entry(key).or_default().take(entry.count, bounds);
    }

    /// Puts removals to the stream whose rows they took: those of an incarnation that is gone are
    /// written by whoever keeps the tables, who may not know whose it was.
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
            entries.expired.into_iter().for_each(|expired| united.take_expired(expired));
            united.sort();
        }
    }
}

/// An id in 16 bytes: most are hexadecimal, the others are hashed.
fn short(id: &str) -> u128 {
    u128::from_str_radix(id, 16).unwrap_or_else(|_| {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, id).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        (half(0) << 64) | half(1)
    })
}

/// Which offsets of the ledger topics the table holds, by incarnation and partition.
#[derive(Debug, Default)]
struct Carried {
    offsets: HashMap<(String, i32), Bits>,
    /// Ids of entries that stand at or past the sinks' position: the topic tells of them, too.
    late: HashSet<u128>,
    /// The first row that stands twice, and how many do.
    doubled: Option<(String, u64)>,
}

impl Carried {
    /// Takes note of an offset; false if it was there before.
    fn hold(&mut self, place: (String, i32), offset: Offset) -> bool {
        let named = || format!("offset {offset} of partition {}, incarnation {},", place.1, place.0);
        if self.offsets.get(&place).is_some_and(|held| held.contains(offset)) {
            self.doubled.get_or_insert_with(|| (named(), 0)).1 += 1;
            return false;
        }
        self.offsets.entry(place).or_default().insert(offset)
    }
}

/// Reads the table, then the topics. From the sinks' positions on, which `positions` said before, the
/// topics' entries count; below them each must stand in the table.
pub(crate) async fn read(engine: &Engine, books: &Books, positions: &Positions) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let carried = read_table(engine, positions, &mut ledger).await?;
    for (key, partition) in positions.iter() {
        let topic = TopicPartition::new(format!("{}.ledger", partition.topics), key.partition);
        let offsets = carried.offsets.get(&(key.incarnation.clone(), key.partition));
        let position = partition.ledger.unwrap_or(0);
        let mut missing: Option<(Offset, u64)> = None;
        each(books.log.as_ref(), &topic, None, |record| {
            if record.offset < position {
                if !offsets.is_some_and(|offsets| offsets.contains(record.offset)) {
                    missing.get_or_insert((record.offset, 0)).1 += 1;
                }
                return true;
            }
            match Entry::from_payload(record.payload.as_deref().unwrap_or_default()) {
                Ok(entry) if carried.late.contains(&short(&entry.id)) => {}
                Ok(entry) => ledger.add(entry, positions),
                Err(error) => ledger.problems.push(format!("record {} of {topic} is no entry: {error}", record.offset)),
            }
            true
        })
        .await?;
        if let Some((first, rows)) = missing {
            ledger.problems.push(format!(
                "{key}: {rows} entries are missing in table {LEDGER}: offset {first} of {topic} is the first"
            ));
        }
    }
    ledger.unite(positions);
    Ok(ledger)
}

async fn read_table(engine: &Engine, positions: &Positions, ledger: &mut Ledger) -> Result<Carried> {
    let mut carried = Carried::default();
    let context = engine.session();
    let Some(snapshot) = engine.snapshot(LEDGER, &context).await? else { return Ok(carried) };
    let failed = |error| engine.failed(&error);
    let columns = ["detail", "_incarnation", "_partition", "_offset"];
    let frame = context.read_table(snapshot.whole()).and_then(|frame| frame.select_columns(&columns));
    let mut batches = frame.map_err(failed)?.execute_stream().await.map_err(failed)?;
    let reached = |(incarnation, partition): &(String, i32)| {
        let known = positions.iter().find(|(key, _)| key.incarnation == *incarnation && key.partition == *partition);
        known.map_or(Offset::MAX, |(_, positioned)| positioned.ledger.unwrap_or(0))
    };
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failed)?;
        let column = |place: usize, to: &DataType| cast(batch.column(place), to).map_err(|error| failed(error.into()));
        let (details, incarnations) = (column(0, &DataType::Utf8)?, column(1, &DataType::Utf8)?);
        let (partitions, offsets) = (column(2, &DataType::Int32)?, column(3, &DataType::Int64)?);
        let (partitions, offsets) = (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let entry = match Entry::from_payload(details.as_string::<i32>().value(row).as_bytes()) {
                Ok(entry) => entry,
                Err(error) => {
                    ledger.problems.push(format!("table {LEDGER} has a row that is no entry: {error}"));
                    continue;
                }
            };
            let place = (incarnations.as_string::<i32>().value(row).to_owned(), partitions.value(row));
            let offset = offsets.value(row);
            if offset >= reached(&place) {
                carried.late.insert(short(&entry.id));
            }
            if carried.hold(place, offset) {
                ledger.add(entry, positions);
            }
        }
    }
    if let Some((first, rows)) = &carried.doubled {
        ledger.problems.push(format!("{rows} entries stand twice in table {LEDGER}: {first} is the first"));
    }
    Ok(carried)
}

/// Hands each readable record from `position` on to `take`, until it says `false`. What was deleted unread
/// isn't there to be counted: the `expired` entry speaks for it.
pub(crate) async fn each(
    log: &dyn Log,
    of: &TopicPartition,
    position: Option<Offset>,
    mut take: impl FnMut(&Record) -> bool + Send,
) -> Result<()> {
    let start = log.ends(of).await?.start;
    let mut position = position.unwrap_or(start).max(start);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: i64) -> Count {
        let dead = [(Reason::Conflict, 1)].into();
        Count::Process {
            from: number * 10,
            to: number * 10 + 10,
            accepted: 9,
            clean: 7,
            duplicates: 1,
            dead,
            redriven: 0,
        }
    }

    #[test]
    fn of_losses_that_begin_at_one_place_the_longest_counts() {
        let mut entries = Entries::default();
        for (topic, from, to) in
            [("e.raw", 5, 9), ("e.raw", 5, 12), ("e.raw", 5, 9), ("e.clean", 5, 7), ("e.raw", 20, 21)]
        {
            let records = u64::try_from(to - from).unwrap();
            entries.take(Count::Expired { topic: topic.into(), from, to, records }, Bounds::WHOLE);
        }
        let records: Vec<u64> = entries.expired.iter().map(|expired| expired.records).collect();
        assert_eq!(records, [7, 2, 1]);
    }

    #[test]
    fn many_entries_are_few_in_memory_and_say_the_same() {
        const STEPS: i64 = 200_000;
        let bounds = Bounds { raw: STEPS * 10 - 15, clean: STEPS, dead: 0 };
        let mut entries = Entries::default();
        // Not in order: neither is what a scan gives.
        for number in (0..STEPS).map(|number| (number * 7_919) % STEPS).filter(|number| *number != 77_777) {
            entries.take(step(number), bounds);
            let sink = Count::Sink {
                topic: "events.clean".into(),
                from: number,
                to: number + 1,
                records: 1,
                rows: [("chat".to_owned(), 1)].into(),
            };
            entries.take(sink, bounds);
            assert!(entries.processed.len() + entries.sunk.len() < 2 * 200_000 / 2, "it grows with the entries");
        }
        entries.merge(bounds);
        assert!(entries.processed.len() < 100, "{}", entries.processed.len());
        assert_eq!(entries.sunk.len(), 2, "a gap stays a gap");
        let sum = |of: fn(&Processed) -> u64| entries.processed.iter().map(of).sum::<u64>();
        let steps = STEPS.unsigned_abs() - 1;
        assert_eq!((sum(|step| step.accepted), sum(|step| step.duplicates)), (9 * steps, steps));
        assert_eq!(sum(Processed::rows), 8 * steps);
        let gaps: Vec<_> = entries.processed.windows(2).filter(|two| two[0].to != two[1].from).collect();
        assert_eq!((gaps.len(), gaps[0][0].to, gaps[0][1].from), (1, 777_770, 777_780));
        let last = entries.processed.last().unwrap();
        assert_eq!(last.to - last.from, 10, "what may lie past the cut stays apart");
    }
}
