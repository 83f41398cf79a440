//! Counting rows in the tables themselves, one scan per table.
//!
//! Each raw offset is a bit, so that a row too many and a row too few never make up for each other,
//! whichever tables they are in. The bits of all partitions stay below a limit: if raw offsets span
//! more than that, the tables are read in several passes, each over a window of offsets, of which
//! files outside are skipped by their statistics.

use super::bits::{Bits, CHUNK_BYTES, CHUNK_OFFSETS};
use super::cut::Account;
use crate::snapshots::Snapshot;
use crate::{Engine, Error, Result};
use datafusion::arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::prelude::{SessionContext, col, lit};
use events::log::Offset;
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap};
use tables::{DEAD_LETTERS, LEDGER};

/// Bytes that the bits of one pass may take.
const BITS_BYTES_MAX: u64 = 256 << 20;
/// Doubled offsets that are named.
const EXAMPLES_MAX: usize = 3;

/// Counts into the accounts; the answer is what belongs to none of them.
pub(crate) async fn count(engine: &Engine, accounts: &mut [Account]) -> Result<Vec<String>> {
    count_within(engine, accounts, BITS_BYTES_MAX).await
}

pub(super) async fn count_within(engine: &Engine, accounts: &mut [Account], bytes_max: u64) -> Result<Vec<String>> {
    let context = engine.session();
    let mut snapshots = Vec::new();
    for name in engine.store().table_names().await? {
        if name != LEDGER && !name.starts_with("killfeed_") && !name.ends_with("_latest") {
            snapshots.extend(engine.snapshot(&name, &context).await?);
        }
    }
    let mut problems = Vec::new();
    let mut strays = BTreeMap::new();
    for (from, to) in windows(accounts, bytes_max) {
        let mut pass = Pass::new(accounts, from, to);
        for snapshot in &snapshots {
            match Columns::of(snapshot) {
                Ok(columns) => pass.scan(engine, &context, snapshot, &columns).await?,
                Err(problem) if from == 0 => problems.push(problem),
                Err(_) => {}
            }
        }
        pass.settle(&mut strays);
    }
    let strays = strays.into_iter().map(|((table, place), rows)| match place {
        Some((incarnation, partition)) => format!(
            "table {table}: {rows} rows are of incarnation {incarnation}, partition {partition}, of which there is no ledger entry"
        ),
        None => format!("table {table}: {rows} rows lack _incarnation, _partition, _offset or _raw_offset"),
    });
    problems.extend(strays);
    Ok(problems)
}

/// Windows of raw offsets, each small enough; the last one is open.
fn windows(accounts: &[Account], bytes_max: u64) -> Vec<(Offset, Offset)> {
    let end = accounts.iter().map(|account| account.cut).max().unwrap_or(0);
    let partitions = u64::try_from(accounts.len().max(1)).unwrap_or(1);
    let chunks = (bytes_max / CHUNK_BYTES / partitions).max(1);
    let width = Offset::try_from(chunks.saturating_mul(CHUNK_OFFSETS)).unwrap_or(Offset::MAX);
    let mut windows = Vec::new();
    let mut from: Offset = 0;
    while from.saturating_add(width) < end {
        windows.push((from, from + width));
        from += width;
    }
    windows.push((from, Offset::MAX));
    windows
}

/// The columns to read.
struct Columns(Vec<&'static str>);

impl Columns {
    fn of(snapshot: &Snapshot) -> Result<Self, String> {
        let mut columns = vec!["_incarnation", "_partition", "_offset", "_raw_offset"];
        if snapshot.name == DEAD_LETTERS {
            columns.extend(["_topic", "reason"]);
        }
        let schema = snapshot.schema();
        match columns.iter().find(|column| schema.column_with_name(column).is_none()) {
            Some(missing) => {
                Err(format!("table {}: has no column {missing}, so its rows can't be counted", snapshot.name))
            }
            None => Ok(Self(columns)),
        }
    }
}

/// Incarnation and partition of rows, if they say so.
type Place = Option<(String, i32)>;
/// Rows that belong to no account, by table and place.
type Strays = BTreeMap<(String, Place), u64>;

/// One pass over all tables.
struct Pass<'a> {
    accounts: &'a mut [Account],
    by_place: HashMap<(String, i32), usize>,
    bits: Vec<Bits>,
    strays: Strays,
    from: Offset,
    to: Offset,
}

impl<'a> Pass<'a> {
    fn new(accounts: &'a mut [Account], from: Offset, to: Offset) -> Self {
        let places = accounts.iter().map(|account| (account.key.incarnation.clone(), account.key.partition));
        let by_place = places.zip(0..).collect();
        let bits = accounts.iter().map(|_| Bits::default()).collect();
        Self { accounts, by_place, bits, strays: Strays::new(), from, to }
    }

    async fn scan(
        &mut self,
        engine: &Engine,
        context: &SessionContext,
        snapshot: &Snapshot,
        columns: &Columns,
    ) -> Result<()> {
        let failed = |error| engine.failed(&error);
        let mut frame = context.read_table(snapshot.whole()).map_err(failed)?;
        let raw = || col("_raw_offset");
        if self.from > 0 {
            frame = frame.filter(raw().gt_eq(lit(self.from))).map_err(failed)?;
        }
        if self.to < Offset::MAX {
            // Rows without an offset are counted in the first pass.
            let within = raw().lt(lit(self.to));
            let within = if self.from == 0 { within.or(raw().is_null()) } else { within };
            frame = frame.filter(within).map_err(failed)?;
        }
        let frame = frame.select_columns(&columns.0).map_err(failed)?;
        let mut batches = frame.execute_stream().await.map_err(failed)?;
        while let Some(batch) = batches.next().await {
            let read = Read::of(&batch.map_err(failed)?);
            let read = read.map_err(|error| Error::Internal(format!("table {}: {error}", snapshot.name)))?;
            self.take(&snapshot.name, &read);
        }
        Ok(())
    }

    fn take(&mut self, table: &str, read: &Read) {
        let mut place = (String::new(), -1);
        let mut known: Option<usize> = None;
        for row in 0..read.raw.len() {
            let Some((incarnation, partition, offset, raw)) = read.row(row) else {
                *self.strays.entry((table.to_owned(), None)).or_default() += 1;
                continue;
            };
            if place.1 != partition || place.0 != incarnation {
                place = (incarnation.to_owned(), partition);
                known = self.by_place.get(&place).copied();
            }
            let Some(index) = known else {
                *self.strays.entry((table.to_owned(), Some(place.clone()))).or_default() += 1;
                continue;
            };
            let Account { counted, cut, clean, dead, .. } = &mut self.accounts[index];
            let bound = if read.topic(row).is_some_and(|topic| topic.ends_with(".dead")) { *dead } else { *clean };
            if offset < bound {
                bump(&mut counted.sunk, table);
            }
            if raw >= *cut {
                continue;
            }
            match read.reason(row) {
                Some(reason) => bump(&mut counted.dead, reason),
                None => counted.delivered += 1,
            }
            if !self.bits[index].insert(raw) {
                counted.doubled += 1;
                if counted.examples.len() < EXAMPLES_MAX {
                    counted.examples.push((table.to_owned(), raw));
                }
            }
        }
    }

    /// Adds this pass' bits to the accounts.
    fn settle(self, strays: &mut Strays) {
        for (account, bits) in self.accounts.iter_mut().zip(&self.bits) {
            account.counted.distinct += bits.len();
            for step in &mut account.entries.processed {
                if step.to <= account.cut {
                    step.found += bits.count(step.from.max(self.from), step.to.min(self.to));
                }
            }
        }
        for (place, rows) in self.strays {
            *strays.entry(place).or_default() += rows;
        }
    }
}

fn bump(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// The columns of a batch.
struct Read {
    incarnation: StringArray,
    partition: datafusion::arrow::array::Int32Array,
    offset: Int64Array,
    raw: Int64Array,
    topic: Option<StringArray>,
    reason: Option<StringArray>,
}

impl Read {
    fn of(batch: &RecordBatch) -> Result<Self, datafusion::arrow::error::ArrowError> {
        let text =
            |place: usize| cast(batch.column(place), &DataType::Utf8).map(|array| array.as_string::<i32>().clone());
        let long = |place: usize| {
            cast(batch.column(place), &DataType::Int64).map(|array| array.as_primitive::<Int64Type>().clone())
        };
        let is_dead = batch.num_columns() > 4;
        Ok(Self {
            incarnation: text(0)?,
            partition: cast(batch.column(1), &DataType::Int32)?.as_primitive::<Int32Type>().clone(),
            offset: long(2)?,
            raw: long(3)?,
            topic: is_dead.then(|| text(4)).transpose()?,
            reason: is_dead.then(|| text(5)).transpose()?,
        })
    }

    fn row(&self, row: usize) -> Option<(&str, i32, Offset, Offset)> {
        let is_whole = self.incarnation.is_valid(row)
            && self.partition.is_valid(row)
            && self.offset.is_valid(row)
            && self.raw.is_valid(row)
            && self.raw.value(row) >= 0;
        is_whole.then(|| {
            (self.incarnation.value(row), self.partition.value(row), self.offset.value(row), self.raw.value(row))
        })
    }

    fn topic(&self, row: usize) -> Option<&str> {
        self.topic.as_ref().map(|topics| topics.value(row))
    }

    fn reason(&self, row: usize) -> Option<&str> {
        self.reason.as_ref().map(|reasons| reasons.value(row))
    }
}
