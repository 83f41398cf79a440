//! The catalogue: which tables there are, their columns, how many rows, and how new.

use crate::answer::Notes;
use crate::snapshots::Snapshot;
use crate::{Engine, Error, Result, latest};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::col;
use serde::Serialize;
use std::sync::Arc;

/// The catalogue as a table of its own, with the columns `table`, `rows` and `newest`.
pub const TABLE: &str = "killfeed_tables";

/// A table as the catalogue shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub table: String,
    /// Rows in its newest version, and in the log's tail. Those of a `<table>_latest` aren't counted: it would
    /// take a look at the whole table, and tell how many players there are where players are the key.
    pub rows: Option<u64>,
    /// `received_at` of its newest row, RFC 3339; `None` if it is empty or has no such column. Of a
    /// `<table>_latest`, that of its table.
    pub newest: Option<String>,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    #[serde(skip)]
    newest_us: Option<i64>,
}

/// A column as the catalogue shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name in SQL.
    pub column: String,
    /// Its type, in SQL's words.
    #[serde(rename = "type")]
    pub data_type: String,
    /// The payload field that it comes from, where the name differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to know about its values, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All tables, by name.
///
/// # Errors
/// If a table can't be read.
pub async fn tables(engine: &Engine) -> Result<Vec<Table>> {
    Ok(noted(engine).await?.0)
}

async fn noted(engine: &Engine) -> Result<(Vec<Table>, Notes)> {
    let context = engine.session();
    let mut tables = Vec::new();
    let views = engine.all_views(&context).await?;
    for snapshot in views.tables.values() {
        if let Some(made_of) = latest::table_of(&snapshot.name) {
            // The name of the table sorts before.
            let newest_us =
                tables.iter().find(|table: &&Table| table.table == made_of).and_then(|table| table.newest_us);
            tables.push(Table::of(snapshot, None, newest_us));
            continue;
        }
        let (engine, snapshot) = (engine.clone(), snapshot.clone());
        let runtime = engine.runtime()?.clone();
        let task = runtime.spawn(async move { describe(&engine, &snapshot).await });
        tables.push(task.await.map_err(|error| Error::Internal(error.to_string()))??);
    }
    let mut notes = Notes::default();
    notes.take(views);
    notes.received(tables.iter().filter_map(|table| table.newest_us).max());
    Ok((tables, notes))
}

async fn describe(engine: &Engine, snapshot: &Snapshot) -> Result<Table> {
    let failed = |error| engine.failed(&error);
    let context = engine.session();
    let frame = context.read_table(snapshot.whole()).map_err(failed)?;
    let newest = ["received_at", "time"].into_iter().find(|name| snapshot.schema().column_with_name(name).is_some());
    let rows = frame.clone().count().await.map_err(failed)? as u64;
    let mut newest_us = None;
    if let Some(column) = newest {
        let batches = frame.aggregate(Vec::new(), vec![max(col(column))]).map_err(failed)?;
        for batch in batches.collect().await.map_err(failed)? {
            let micros = batch.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>();
            newest_us = micros.and_then(|micros| micros.iter().next().flatten());
        }
    }
    Ok(Table::of(snapshot, Some(rows), newest_us))
}

impl Table {
    fn of(snapshot: &Snapshot, rows: Option<u64>, newest_us: Option<i64>) -> Self {
        let newest = newest_us.and_then(crate::present::micros);
        Self { table: snapshot.name.clone(), rows, newest, columns: columns(snapshot), newest_us }
    }
}

fn columns(snapshot: &Snapshot) -> Vec<Column> {
    let schema = snapshot.schema();
    let columns = schema.fields().iter().map(|field| {
        let original = field.metadata().get(decode::NAME_KEY).filter(|original| *original != field.name());
        let widen = field.metadata().get(decode::WIDEN_KEY);
        Column {
            column: field.name().clone(),
            data_type: type_name(field.data_type()),
            field: original.cloned(),
            note: match widen {
                Some(_) => {
                    Some("some values don't fit this type and stand in extra; `killfeed schema apply` widens it".into())
                }
                None => snapshot.key.contains(field.name()).then(|| "key: of each one, the newest row".into()),
            },
        }
    });
    columns.collect()
}

/// A type in SQL's words.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", type_name(item.data_type())),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
            format!("struct({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// [`TABLE`], and the answer to `SHOW TABLES`.
pub(crate) async fn tables_batch(engine: &Engine) -> Result<(RecordBatch, Notes)> {
    let (tables, notes) = noted(engine).await?;
    let names: StringArray = tables.iter().map(|table| Some(table.table.as_str())).collect();
    let rows: Int64Array = tables.iter().map(|table| i64::try_from(table.rows?).ok()).collect();
    let newest: TimestampMicrosecondArray = tables.iter().map(|table| table.newest_us).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("table", Arc::new(names)), ("rows", Arc::new(rows)), ("newest", Arc::new(newest.with_timezone("UTC")))];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
    Ok((batch.map_err(|error| Error::Internal(error.to_string()))?, notes))
}

/// `DESCRIBE table`.
pub(crate) fn columns_batch(snapshot: &Snapshot) -> Result<RecordBatch> {
    let described = columns(snapshot);
    let names: StringArray = described.iter().map(|column| Some(column.column.as_str())).collect();
    let types: StringArray = described.iter().map(|column| Some(column.data_type.as_str())).collect();
    let notes: StringArray = described.iter().map(|column| column.note.as_deref()).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("column", Arc::new(names)), ("type", Arc::new(types)), ("note", Arc::new(notes))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::Internal(error.to_string()))
}
