//! The tables as their commits say that they are: every commit is read as it is put, by code that knows
//! Delta's log and nothing of ours, and held against the log at once. The running law is the sinks'
//! invariant: table T holds exactly T's rows of partition p below max(T.txn[p], position[p]).

use crate::model;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use bytes::Bytes;
use events::headers;
use events::log::memory::MemoryLog;
use events::log::{Offset, Record};
use events::streams::{Stream, TopicPartition};
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tables::{DEAD_LETTERS, LEDGER};

/// The law by which rows stand in tables.
pub(crate) const ROWS: &str = "\"each table holds exactly its rows below its transactions\"";
/// The law by which positions move.
pub(crate) const SUNK: &str = "\"what lies below a sink's position is in the tables\"";
/// The law by which rows keep their order.
pub(crate) const ORDER: &str = "\"rows stand in the order of the log\"";
/// The law by which transactions of a table move.
pub(crate) const TXN: &str = "\"a table's transaction never goes back\"";

/// Where the tables lie in the store.
pub(crate) const LAKE: &str = "lake";

/// What broke, and how.
pub(crate) type Wrong = (&'static str, String);

/// A row, by the record that it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) of: TopicPartition,
    pub(crate) offset: Offset,
    pub(crate) raw: Option<Offset>,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    files: BTreeMap<String, Vec<Row>>,
    pub(crate) rows: BTreeMap<(TopicPartition, Offset), Option<Offset>>,
    txns: BTreeMap<String, Offset>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shadow {
    log: MemoryLog,
    stream: Stream,
    incarnation: String,
    files: HashMap<String, Bytes>,
    pub(crate) tables: BTreeMap<String, Table>,
    /// Up to where positions were held against the tables.
    sunk: BTreeMap<TopicPartition, Offset>,
    pub(crate) commits: u64,
}

impl Shadow {
    pub(crate) fn new(log: &MemoryLog, stream: &Stream, incarnation: &str) -> Self {
        Self {
            log: log.clone(),
            stream: stream.clone(),
            incarnation: incarnation.to_owned(),
            files: HashMap::new(),
            tables: BTreeMap::new(),
            sunk: BTreeMap::new(),
            commits: 0,
        }
    }

    /// Takes note of an object that was put.
    pub(crate) fn see(&mut self, location: &Path, bytes: &Bytes) -> Result<(), Wrong> {
        let path = location.as_ref();
        if let Some((table, version)) = path.split_once("/_delta_log/") {
            let table = table.rsplit('/').next().unwrap_or_default().to_owned();
            let is_commit = version.strip_suffix(".json").is_some_and(|number| number.len() == 20);
            return if is_commit { self.commit(&table, bytes) } else { Ok(()) };
        }
        if path.ends_with(".parquet") {
            self.files.insert(path.to_owned(), bytes.clone());
        }
        Ok(())
    }

    fn commit(&mut self, name: &str, bytes: &Bytes) -> Result<(), Wrong> {
        self.commits += 1;
        let actions: Vec<Value> =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let mut table = self.tables.remove(name).unwrap_or_default();
        let result = self.apply(name, &mut table, &actions);
        self.tables.insert(name.to_owned(), table);
        result
    }

    fn apply(&self, name: &str, table: &mut Table, actions: &[Value]) -> Result<(), Wrong> {
        for remove in actions.iter().filter_map(|action| action.get("remove")) {
            let path = remove["path"].as_str().unwrap_or_default();
            for row in table.files.remove(path).unwrap_or_default() {
                table.rows.remove(&(row.of, row.offset));
            }
        }
        for add in actions.iter().filter_map(|action| action.get("add")) {
            let path = add["path"].as_str().unwrap_or_default();
            let Some(bytes) = self.file(name, path) else {
                return Err((ROWS, format!("a commit of {name} adds {path}, which nobody put")));
            };
            let rows = self.rows(name, bytes).map_err(|error| (ROWS, format!("{name}: {path}: {error}")))?;
            if add["dataChange"].as_bool() == Some(true) {
                ascending(name, &rows)?;
            }
            for row in &rows {
                if table.rows.insert((row.of.clone(), row.offset), row.raw).is_some() {
                    return Err((ROWS, format!("{name} holds offset {} of {} twice", row.offset, row.of)));
                }
            }
            table.files.insert(path.to_owned(), rows);
        }
        for txn in actions.iter().filter_map(|action| action.get("txn")) {
            let (app_id, to) = (txn["appId"].as_str().unwrap_or_default(), txn["version"].as_i64().unwrap_or(-1));
            if let Some(before) = table.txns.insert(app_id.to_owned(), to)
                && before > to
            {
                return Err((TXN, format!("{name}: {app_id} goes from {before} back to {to}")));
            }
        }
        self.exact(name, table)
    }

    fn file(&self, table: &str, path: &str) -> Option<&Bytes> {
        self.files.get(&format!("{LAKE}/{table}/{path}"))
    }

    /// Rows below each transaction are all there; past it are none.
    fn exact(&self, name: &str, table: &Table) -> Result<(), Wrong> {
        let mut covered = 0;
        for (app_id, to) in &table.txns {
            let Some(of) = self.partition_of(app_id) else {
                return Err((ROWS, format!("{name} has a transaction of {app_id}, which is no partition of this log")));
            };
            let expected = self.log.records(&of).into_iter().filter(|record| record.offset < *to);
            let expected = expected.filter(|record| self.table_for(&of, record) == name);
            for record in expected {
                covered += 1;
                match table.rows.get(&(of.clone(), record.offset)) {
                    None => {
                        let detail =
                            format!("{name} lacks offset {} of {of}, below its transaction {to}", record.offset);
                        return Err((ROWS, detail));
                    }
                    Some(raw) if *raw != model::raw_offset(&record) => {
                        return Err((
                            ROWS,
                            format!("{name}: the row of offset {} of {of} came from raw {raw:?}", record.offset),
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        if table.rows.len() > covered {
            let stray = table.rows.keys().find(|(of, offset)| {
                let app_id = tables::app_id(&self.incarnation, &of.topic, of.partition);
                table.txns.get(&app_id).is_none_or(|to| offset >= to)
            });
            return Err((
                ROWS,
                format!("{name} holds {} rows, {covered} lie below its transactions: {stray:?}", table.rows.len()),
            ));
        }
        Ok(())
    }

    fn partition_of(&self, app_id: &str) -> Option<TopicPartition> {
        let tail = app_id.strip_prefix("killfeed/")?.strip_prefix(&self.incarnation)?.strip_prefix('/')?;
        let (topic, partition) = tail.rsplit_once('/')?;
        Some(TopicPartition::new(topic, partition.parse().ok()?))
    }

    /// The table that a record belongs to.
    pub(crate) fn table_for(&self, of: &TopicPartition, record: &Record) -> String {
        if of.topic == self.stream.ledger() {
            LEDGER.to_owned()
        } else if of.topic == self.stream.dead() || !model::is_row(record) {
            DEAD_LETTERS.to_owned()
        } else {
            model::table_of(record.headers.get_str(headers::TYPE).unwrap_or_default())
        }
    }

    /// Everything below a position of the sinks' group stands in its table.
    pub(crate) fn reached(&mut self, of: &TopicPartition, position: Offset) -> Result<(), Wrong> {
        let from = self.sunk.insert(of.clone(), position).unwrap_or(0);
        if position < from {
            return Err((SUNK, format!("the sinks' position in {of} goes from {from} back to {position}")));
        }
        if position == from {
            return Ok(());
        }
        for record in self.log.records(of) {
            if record.offset < from || record.offset >= position {
                continue;
            }
            let name = self.table_for(of, &record);
            let there =
                self.tables.get(&name).is_some_and(|table| table.rows.contains_key(&(of.clone(), record.offset)));
            if !there {
                let detail =
                    format!("{name} lacks offset {} of {of}, the sinks' position is {position}", record.offset);
                return Err((SUNK, detail));
            }
        }
        Ok(())
    }

    fn rows(&self, name: &str, bytes: &Bytes) -> Result<Vec<Row>, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| error.to_string())?;
        let wanted = ["_partition", "_offset", "_raw_offset", "_topic"];
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
        let batches = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        for batch in batches {
            let batch = batch.map_err(|error| error.to_string())?;
            self.rows_of(name, &batch, &mut rows).ok_or("columns are missing or of another type")?;
        }
        Ok(rows)
    }

    fn rows_of(&self, name: &str, batch: &RecordBatch, rows: &mut Vec<Row>) -> Option<()> {
        let partitions = batch.column_by_name("_partition")?.as_primitive_opt::<Int32Type>()?;
        let offsets = batch.column_by_name("_offset")?.as_primitive_opt::<Int64Type>()?;
        let raws = batch.column_by_name("_raw_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let topics = match batch.column_by_name("_topic") {
            Some(column) => Some(arrow::compute::cast(column, &DataType::Utf8).ok()?),
            None => None,
        };
        for row in 0..batch.num_rows() {
            let topic = match &topics {
                Some(topics) if name == DEAD_LETTERS => topics.as_string_opt::<i32>()?.value(row).into(),
                _ if name == LEDGER => self.stream.ledger(),
                _ => self.stream.clean(),
            };
            let raw = raws.filter(|raws| raws.is_valid(row)).map(|raws| raws.value(row));
            rows.push(Row { of: TopicPartition::new(topic, partitions.value(row)), offset: offsets.value(row), raw });
        }
        Some(())
    }

    /// Rows of event tables.
    pub(crate) fn event_rows(&self) -> u64 {
        let events = self.tables.iter().filter(|(name, _)| !matches!(name.as_str(), DEAD_LETTERS | LEDGER));
        events.map(|(_, table)| table.rows.len() as u64).sum()
    }
}

/// Rows that a flush appended stand in the order of their partition.
fn ascending(name: &str, rows: &[Row]) -> Result<(), Wrong> {
    let mut last: BTreeMap<&TopicPartition, Offset> = BTreeMap::new();
    for row in rows {
        if let Some(before) = last.insert(&row.of, row.offset)
            && before >= row.offset
        {
            return Err((ORDER, format!("{name}: offset {} of {} stands behind {before}", row.offset, row.of)));
        }
    }
    Ok(())
}
