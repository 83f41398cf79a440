//! The table `killfeed_ledger`: every entry of the ledger topics, which it outlives.

use crate::Result;
use crate::batch::{dates, field, timestamp, timestamps};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use events::ledger::{Count, Entry};
use events::log::{Offset, Record};
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    use DataType::{Date32, Int32, Int64, Utf8};
    Arc::new(Schema::new(vec![
        field("id", Utf8),
        field("time", timestamp()),
        field("stage", Utf8),
        field("stream", Utf8),
        field("incarnation", Utf8),
        field("partition", Int32),
        field("topic", Utf8),
        field("from_offset", Int64),
        field("to_offset", Int64),
        field("instance", Utf8),
        field("entry", Utf8),
        field("_incarnation", Utf8),
        field("_partition", Int32),
        field("_offset", Int64),
        field("date", Date32),
    ]))
});

/// Its columns, in order. `entry` is the whole entry as JSON, as [`Entry::from_payload`] reads it; the
/// columns before it are copies to filter by (`stage`: ingest, process, sink, removal, expired;
/// offsets where the entry has a range). `_incarnation _partition _offset` say where the record
/// stood in the ledger topic.
pub fn schema() -> &'static SchemaRef {
    &SCHEMA
}

/// The range that an entry covers, with its topic where the entry names one.
pub fn range(count: &Count) -> (Option<&str>, Option<(Offset, Offset)>) {
    match count {
        Count::Ingest { .. } | Count::Removal { .. } => (None, None),
        Count::Process { from, to, .. } => (None, Some((*from, *to))),
        Count::Sink { topic, from, to, .. } | Count::Expired { topic, from, to, .. } => (Some(topic), Some((*from, *to))),
    }
}

const fn stage(count: &Count) -> &'static str {
    match count {
        Count::Ingest { .. } => "ingest",
        Count::Process { .. } => "process",
        Count::Sink { .. } => "sink",
        Count::Removal { .. } => "removal",
        Count::Expired { .. } => "expired",
    }
}

/// A record of a ledger topic that is no entry: somebody else wrote it, or it is of a newer killfeed.
#[derive(Debug, thiserror::Error)]
#[error("record {offset} of the ledger, partition {partition}, is no entry: {detail}")]
pub struct NotAnEntry {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: Offset,
    /// What is wrong with it.
    pub detail: String,
}

/// Reads an entry off its record.
///
/// # Errors
/// If the record is no entry.
pub fn entry(partition: i32, record: &Record) -> Result<Entry, NotAnEntry> {
    Entry::from_payload(record.payload.as_deref().unwrap_or_default()).map_err(|error| NotAnEntry {
        partition,
        offset: record.offset,
        detail: error.to_string(),
    })
}

/// One record of a ledger topic: the topic's incarnation, the partition, the record, and its entry.
pub type Row<'a> = (&'a str, i32, &'a Record, &'a Entry);

/// The rows of these entries, in order; the date is that of the entry's time.
///
/// # Errors
/// Never: the columns are made to fit.
pub fn batch(rows: &[Row<'_>]) -> Result<RecordBatch> {
    fn text<'a, 'b: 'a>(rows: &'a [Row<'b>], of: impl Fn(&Row<'b>) -> Option<&'b str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    let offsets = |of: fn((Offset, Offset)) -> Offset| -> ArrayRef {
        Arc::new(rows.iter().map(|(.., entry)| range(&entry.count).1.map(of)).collect::<Int64Array>())
    };
    let whole = |record: &Record| String::from_utf8_lossy(record.payload.as_deref().unwrap_or_default()).into_owned();
    let columns: Vec<ArrayRef> = vec![
        text(rows, |(.., entry)| Some(&entry.id)),
        timestamps(rows.iter().map(|(.., entry)| Some(entry.time_us))),
        text(rows, |(.., entry)| Some(stage(&entry.count))),
        text(rows, |(.., entry)| Some(&entry.stream)),
        text(rows, |(.., entry)| Some(&entry.incarnation)),
        Arc::new(rows.iter().map(|(.., entry)| Some(entry.partition)).collect::<Int32Array>()),
        text(rows, |(.., entry)| range(&entry.count).0),
        offsets(|(from, _)| from),
        offsets(|(_, to)| to),
        text(rows, |(.., entry)| Some(&entry.instance)),
        Arc::new(rows.iter().map(|(_, _, record, _)| Some(whole(record))).collect::<StringArray>()),
        text(rows, |(incarnation, ..)| Some(*incarnation)),
        Arc::new(rows.iter().map(|(_, partition, ..)| Some(*partition)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|(_, _, record, _)| Some(record.offset)).collect::<Int64Array>()),
        dates(rows.iter().map(|(.., entry)| entry.time_us)),
    ];
    Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
}
