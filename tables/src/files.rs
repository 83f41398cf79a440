//! Rows to Parquet files of a table, with the statistics that Delta keeps beside them, and back.
//!
//! A file holds rows of one date; the date itself stands in its path and in the table's log, not in
//! the file. Files are Zstandard, level 1. One without a column that the table got later reads as if
//! the column were null in it.

use crate::create::{DATE, STATISTICS};
use crate::{Error, Result, upload};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StructArray, new_null_array};
use arrow::compute::{cast, filter_record_batch, max, min};
use arrow::datatypes::{
    DataType, Date32Type, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, SecondsFormat};
use deltalake::kernel::{Add, Remove};
use object_store::path::Path;
use object_store::{DynObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long the put of one file may take.
const PUT_LIMIT: Duration = Duration::from_secs(300);
/// Rows of a row group: the unit that a reader decodes at once.
const ROW_GROUP_ROWS: usize = 256 * 1024;
/// Rows that reading hands out at once.
const READ_ROWS: usize = 16 * 1024;

/// Splits rows by their date, in order of date.
///
/// # Errors
/// If the rows have no column `date`.
pub fn by_date(batch: &RecordBatch) -> Result<Vec<(NaiveDate, RecordBatch)>> {
    let dates = dates_of(batch)?;
    let distinct: BTreeSet<i32> = dates.iter().flatten().collect();
    if distinct.len() == 1
        && let Some(&only) = distinct.first()
    {
        return Ok(vec![(date(only)?, batch.clone())]);
    }
    let mut parts = Vec::with_capacity(distinct.len());
    for day in distinct {
        let mask = dates.iter().map(|found| Some(found == Some(day))).collect();
        parts.push((date(day)?, filter_record_batch(batch, &mask)?));
    }
    Ok(parts)
}

fn dates_of(batch: &RecordBatch) -> Result<&Date32Array> {
    let dates = batch.column_by_name(DATE).and_then(|column| column.as_primitive_opt::<Date32Type>());
    dates.ok_or_else(|| schema_error("rows have no column date of type date32".into()))
}

fn date(days: i32) -> Result<NaiveDate> {
    Date32Type::to_naive_date_opt(days).ok_or_else(|| schema_error(format!("date of {days} days is out of range")))
}

fn schema_error(detail: String) -> Error {
    Error::Arrow(arrow::error::ArrowError::SchemaError(detail))
}

/// A Parquet file under construction, in memory: rows of one date.
pub struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    columns: Vec<usize>,
    statistics: Statistics,
    date: NaiveDate,
}

/// A finished Parquet file, not yet put anywhere.
#[derive(Debug)]
pub struct Encoded {
    bytes: Bytes,
    statistics: Value,
    date: NaiveDate,
    /// Rows in it.
    pub rows: usize,
}

impl Encoder {
    /// A file for rows of these columns, all of this date.
    ///
    /// # Errors
    /// If a column has a type that Parquet lacks.
    pub fn new(schema: &Schema, date: NaiveDate) -> Result<Self> {
        let columns: Vec<usize> = (0..schema.fields().len()).filter(|i| schema.field(*i).name() != DATE).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::new(schema.project(&columns)?), options)?;
        Ok(Self { writer, columns, statistics: Statistics::default(), date })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// If they don't have the file's columns.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.statistics.add(batch);
        Ok(self.writer.write(&batch.project(&self.columns)?)?)
    }

    /// Bytes that the file has by now, what is still being encoded included.
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// The whole file.
    ///
    /// # Errors
    /// If its end can't be encoded.
    pub fn finish(self) -> Result<Encoded> {
        let bytes = self.writer.into_inner()?.into();
        Ok(Encoded { bytes, rows: self.statistics.rows, statistics: self.statistics.json(), date: self.date })
    }
}

/// Encodes rows of one date. Takes the processor for a while: call it where that is allowed.
///
/// # Errors
/// If a column has a type that Parquet lacks.
pub fn encode(date: NaiveDate, batch: &RecordBatch) -> Result<Encoded> {
    let mut encoder = Encoder::new(batch.schema_ref(), date)?;
    encoder.write(batch)?;
    encoder.finish()
}

/// Puts a file beside the table's others, under a name of its own. It belongs to the table once the
/// answer is committed. `data_change` is false for rows that the table had before.
///
/// # Errors
/// If the store fails.
pub async fn put(table: &DynObjectStore, file: Encoded, data_change: bool) -> Result<Add> {
    let date = file.date.format("%Y-%m-%d").to_string();
    let path = format!("{DATE}={date}/part-{}.zstd.parquet", uuid::Uuid::new_v4().simple());
    debug_assert!(is_own(&path), "{path}");
    let size = i64::try_from(file.bytes.len()).unwrap_or(i64::MAX);
    let place = Path::from(path.as_str());
    match tokio::time::timeout(PUT_LIMIT, upload::put(table, &place, file.bytes)).await {
        Ok(done) => done?,
        Err(_) => return Err(Error::TimedOut { what: format!("the put of {path}"), limit_s: PUT_LIMIT.as_secs() }),
    }
    Ok(Add {
        path,
        partition_values: HashMap::from([(DATE.to_owned(), Some(date))]),
        size,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change,
        stats: Some(file.statistics.to_string()),
        ..empty_add()
    })
}

/// Whether a file, by its path below its table, is called as [`put`] calls files.
pub fn is_own(path: &str) -> bool {
    let name = |path: &str| {
        let (date, file) = path.strip_prefix(DATE)?.strip_prefix('=')?.split_once('/')?;
        let id = file.strip_prefix("part-")?.strip_suffix(".zstd.parquet")?;
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_id && date.parse::<NaiveDate>().is_ok()).then_some(())
    };
    name(path).is_some()
}

fn empty_add() -> Add {
    Add {
        path: String::new(),
        partition_values: HashMap::new(),
        size: 0,
        modification_time: 0,
        data_change: true,
        stats: None,
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// The action that takes a file out of the table.
pub fn removal(of: &LiveFile, data_change: bool) -> Remove {
    let date = of.date.format("%Y-%m-%d").to_string();
    Remove {
        path: of.path.clone(),
        data_change,
        deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::from([(DATE.to_owned(), Some(date))])),
        size: Some(of.size),
        ..Remove::default()
    }
}

/// A file that is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// Below the table.
    pub path: String,
    /// Its date.
    pub date: NaiveDate,
    /// In bytes.
    pub size: i64,
}

/// The files of a table at its version, oldest date first.
///
/// # Errors
/// If a file has no date, or carries a deletion vector, which killfeed never writes: rewriting it
/// would bring deleted rows back.
pub fn live(table: &deltalake::DeltaTable) -> Result<Vec<LiveFile>> {
    let mut files = Vec::new();
    for view in table.snapshot()?.log_data().iter() {
        let corrupt = |detail: &str| Error::Corrupt {
            table: table.table_url().to_string(),
            detail: format!("file {} {detail}", view.path()),
        };
        if view.deletion_vector_descriptor().is_some() {
            return Err(corrupt("carries a deletion vector, which killfeed can't rewrite"));
        }
        let date = view.partition_values_map().remove(DATE).flatten();
        let date = date.and_then(|date| date.parse().ok()).ok_or_else(|| corrupt("has no date"))?;
        files.push(LiveFile { path: view.path().into_owned(), date, size: view.size() });
    }
    files.sort_by(|a, b| (a.date, &a.path).cmp(&(b.date, &b.path)));
    Ok(files)
}

/// When the newest row of a table was received, in µs, by its files' statistics; `None` if it is empty.
///
/// # Errors
/// If the table is not loaded.
pub fn newest_us(table: &deltalake::DeltaTable) -> Result<Option<i64>> {
    let newest = |view: deltalake::kernel::LogicalFileView| {
        let greatest = view.max_values()?.to_array(1).ok()?;
        let received = greatest.as_struct_opt()?.column_by_name("received_at")?.clone();
        let received = received.as_primitive_opt::<TimestampMicrosecondType>()?;
        received.is_valid(0).then(|| received.value(0))
    };
    Ok(table.snapshot()?.log_data().iter().filter_map(newest).max())
}

/// Fetches a file; iterate over the answer for its rows, in order, brought into `schema`: columns
/// that it lacks are null, integers become floats where the table has floats by now. Decoding takes
/// the processor for a while: iterate where that is allowed.
///
/// # Errors
/// If the file can't be read.
pub async fn read(table: &DynObjectStore, file: &LiveFile, schema: SchemaRef) -> Result<Reader> {
    let path = Path::parse(&file.path).map_err(object_store::Error::from)?;
    let bytes = table.get(&path).await?.bytes().await?;
    let rows = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(READ_ROWS).build()?;
    Ok(Reader { rows, schema, day: Date32Type::from_naive_date(file.date) })
}

/// The rows of a file.
pub struct Reader {
    rows: ParquetRecordBatchReader,
    schema: SchemaRef,
    day: i32,
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        Some(batch.map_err(Error::from).and_then(|batch| adapt(&batch, &self.schema, self.day)))
    }
}

fn adapt(batch: &RecordBatch, schema: &SchemaRef, day: i32) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |field: &Arc<Field>| -> Result<ArrayRef> {
        if field.name() == DATE {
            return Ok(Arc::new(Date32Array::from_value(day, rows)));
        }
        match batch.column_by_name(field.name()) {
            Some(column) => fit(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Brings an array into a type that differs by added fields or widened numbers.
fn fit(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let parts = array.as_struct();
            let fit_part = |field: &Arc<Field>| match parts.column_by_name(field.name()) {
                Some(part) => fit(part, field.data_type()),
                None => Ok(new_null_array(field.data_type(), parts.len())),
            };
            let columns = fields.iter().map(fit_part).collect::<Result<Vec<_>>>()?;
            let fitted =
                StructArray::try_new_with_length(fields.clone(), columns, parts.nulls().cloned(), parts.len())?;
            Ok(Arc::new(fitted))
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = fit(list.values(), item.data_type())?;
            let fitted =
                arrow::array::ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(fitted))
        }
        _ => Ok(cast(array, to)?),
    }
}

/// Rows, nulls, least and greatest value of a few columns.
#[derive(Debug, Default)]
struct Statistics {
    rows: usize,
    columns: BTreeMap<&'static str, Column>,
}

#[derive(Debug, Default)]
struct Column {
    nulls: usize,
    range: Option<(i64, i64)>,
    is_time: bool,
}

impl Statistics {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for name in STATISTICS.split(',') {
            let Some(array) = batch.column_by_name(name) else { continue };
            let column = self.columns.entry(name).or_default();
            column.nulls += array.null_count();
            column.is_time = matches!(array.data_type(), DataType::Timestamp(..));
            let found = match array.data_type() {
                DataType::Int32 => {
                    let values = array.as_primitive::<Int32Type>();
                    min(values).zip(max(values)).map(|(low, high)| (low.into(), high.into()))
                }
                DataType::Int64 => min(array.as_primitive::<Int64Type>()).zip(max(array.as_primitive::<Int64Type>())),
                DataType::Timestamp(..) => {
                    let values = array.as_primitive_opt::<TimestampMicrosecondType>();
                    values.and_then(|values| min(values).zip(max(values)))
                }
                _ => None,
            };
            column.range = match (column.range, found) {
                (Some((low, high)), Some((least, greatest))) => Some((low.min(least), high.max(greatest))),
                (range, found) => range.or(found),
            };
        }
    }

    /// As Delta has them, with times in RFC 3339.
    fn json(&self) -> Value {
        let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (name, column) in &self.columns {
            nulls.insert((*name).to_owned(), column.nulls.into());
            let Some((least, greatest)) = column.range else { continue };
            let value = |value: i64| if column.is_time { time(value) } else { Some(value.into()) };
            if let (Some(least), Some(greatest)) = (value(least), value(greatest)) {
                low.insert((*name).to_owned(), least);
                high.insert((*name).to_owned(), greatest);
            }
        }
        json!({"numRecords": self.rows, "minValues": low, "maxValues": high, "nullCount": nulls})
    }
}

fn time(us: i64) -> Option<Value> {
    Some(DateTime::from_timestamp_micros(us)?.to_rfc3339_opts(SecondsFormat::Micros, true).into())
}
