//! A column widened from int64 to float64: every file rewritten, and the values that had to wait in
//! `extra` brought back, in one commit. Rows, transactions and counts stay as they are.
//!
//! A sink that wrote under the old columns loses the race for its commit, sees the new ones and
//! decodes again. Files that were added while we worked are rewritten before the next try.

use crate::Error;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Schema, SchemaRef};
use decode::tree::{NAME_KEY, WIDEN_KEY};
use deltalake::kernel::{Action, Add};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::files::{self, Encoder, LiveFile};
use tables::{DeltaTable, Outcome, Store};

/// What a schema change did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The table.
    pub table: String,
    /// Columns that are float64 now, dotted where nested.
    pub columns: Vec<String>,
    /// Files rewritten.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Values brought back from `extra`.
    pub restored: u64,
}

/// A path to a column: at each level its name in the table and in the payload.
type Path = Vec<(String, String)>;

/// Widens the columns of a type's table that bear the mark of a sink which met a fraction there. No
/// such column: nothing is done.
///
/// # Errors
/// If there is no such table, it belongs to another type, or it can't be read or written.
pub async fn apply(store: &Store, event_type: &str) -> Result<Applied, Error> {
    let name = decode::table_name(event_type).map_err(|error| Error::Refused(error.to_string()))?;
    let mut done: BTreeMap<String, (LiveFile, Option<Add>, u64, u64)> = BTreeMap::new();
    let mut under: Option<SchemaRef> = None;
    loop {
        let opened = store.open_table(&name).await?;
        let Some((table, mut head)) = opened else { return Err(Error::Refused(format!("there is no table {name}"))) };
        if head.event_type() != Some(event_type) {
            let owner = head.event_type().unwrap_or("killfeed itself");
            return Err(Error::Refused(format!("table {name} belongs to {owner}, not to type {event_type}")));
        }
        let (fields, paths) = widened(head.schema().fields(), &Vec::new());
        let mut applied =
            Applied { table: name.clone(), columns: paths.iter().map(dotted).collect(), ..Applied::default() };
        if paths.is_empty() {
            return Ok(applied);
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        if under.as_ref().is_some_and(|under| *under != schema) {
            done.clear();
        }
        under = Some(schema.clone());
        let live = files::live(&table)?;
        for file in &live {
            if !done.contains_key(&file.path) {
                let (add, rows, restored) = rewrite(&table, file, &schema, &paths).await?;
                done.insert(file.path.clone(), (file.clone(), add, rows, restored));
            }
        }
        done.retain(|path, _| live.iter().any(|file| file.path == *path));
        let mut actions = vec![head.with_schema(&schema)?];
        for (file, add, rows, restored) in done.values() {
            actions.push(Action::Remove(files::removal(file, false)));
            actions.extend(add.clone().map(Action::Add));
            applied.files += 1;
            applied.rows += rows;
            applied.restored += restored;
        }
        if let Outcome::Stands(version) = head.commit("CHANGE COLUMN", actions).await? {
            tracing::info!(table = name, version, columns = ?applied.columns, "widened columns");
            return Ok(applied);
        }
    }
}

fn dotted(path: &Path) -> String {
    path.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>().join(".")
}

/// The fields with marked int64 columns as float64, and the paths of these.
fn widened(fields: &Fields, above: &Path) -> (Fields, Vec<Path>) {
    let mut paths = Vec::new();
    let mut new = Vec::with_capacity(fields.len());
    for field in fields {
        let original = field.metadata().get(NAME_KEY).unwrap_or(field.name());
        let mut path = above.clone();
        path.push((field.name().clone(), original.clone()));
        new.push(match field.data_type() {
            DataType::Int64 if field.metadata().contains_key(WIDEN_KEY) => {
                paths.push(path);
                let mut metadata = field.metadata().clone();
                metadata.remove(WIDEN_KEY);
                Arc::new(Field::new(field.name(), DataType::Float64, true).with_metadata(metadata))
            }
            DataType::Struct(inner) => {
                let (inner, below) = widened(inner, &path);
                paths.extend(below);
                Arc::new(field.as_ref().clone().with_data_type(DataType::Struct(inner)))
            }
            _ => field.clone(),
        });
    }
    (new.into(), paths)
}

async fn rewrite(
    table: &DeltaTable,
    file: &LiveFile,
    schema: &SchemaRef,
    paths: &[Path],
) -> Result<(Option<Add>, u64, u64), Error> {
    let store = table.object_store();
    let rows = files::read(store.as_ref(), file, schema.clone()).await?;
    let (schema, paths, date) = (schema.clone(), paths.to_vec(), file.date);
    let work = move || -> Result<_, Error> {
        let (mut encoder, mut restored) = (Encoder::new(&schema, date)?, 0);
        for batch in rows {
            encoder.write(&restore(&batch?, &paths, &mut restored)?)?;
        }
        Ok((encoder.finish()?, restored))
    };
    let (encoded, restored) = tokio::task::spawn_blocking(work).await??;
    let rows = encoded.rows as u64;
    let add = if rows > 0 { Some(files::put(store.as_ref(), encoded, false).await?) } else { None };
    Ok((add, rows, restored))
}

/// Brings values back from `extra` to their columns.
fn restore(batch: &RecordBatch, paths: &[Path], restored: &mut u64) -> Result<RecordBatch, Error> {
    let Some((at, _)) = batch.schema_ref().column_with_name("extra") else { return Ok(batch.clone()) };
    let extra = arrow::compute::cast(batch.column(at), &DataType::Utf8)?;
    let extra = extra.as_string::<i32>();
    if extra.null_count() == extra.len() {
        return Ok(batch.clone());
    }
    let mut values: Vec<Vec<Option<f64>>> = vec![vec![None; batch.num_rows()]; paths.len()];
    let mut texts: Vec<Option<String>> = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let text = extra.is_valid(row).then(|| extra.value(row));
        texts.push(text.map(|text| {
            let Ok(mut object) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
            let mut found = false;
            for (path, values) in paths.iter().zip(&mut values) {
                values[row] = take(&mut object, path);
                found |= values[row].is_some();
            }
            if found { object.to_string() } else { text.to_owned() }
        }));
    }
    *restored += values.iter().flatten().flatten().count() as u64;
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(texts.into_iter().map(|text| text.filter(|text| text != "{}")).collect::<StringArray>());
    for (path, values) in paths.iter().zip(&values) {
        let Some(((name, _), below)) = path.split_first() else { continue };
        let Some((at, _)) = batch.schema_ref().column_with_name(name) else { continue };
        columns[at] = filled(&columns[at], below, values)?;
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Takes the number at `path` out of `object`, and objects that are empty without it.
fn take(object: &mut Value, path: &[(String, String)]) -> Option<f64> {
    let ((_, name), below) = path.split_first()?;
    let members = object.as_object_mut()?;
    let member = members.get_mut(name)?;
    if below.is_empty() {
        let value = member.as_f64()?;
        members.remove(name);
        return Some(value);
    }
    let value = take(member, below)?;
    if member.as_object().is_some_and(serde_json::Map::is_empty) {
        members.remove(name);
    }
    Some(value)
}

/// The column with its nulls filled where there is a value.
fn filled(column: &ArrayRef, below: &[(String, String)], values: &[Option<f64>]) -> Result<ArrayRef, Error> {
    let Some(((name, _), rest)) = below.split_first() else {
        let present = column.as_primitive_opt::<Float64Type>();
        let wrong = || Error::Refused(format!("a column to be filled is {}, not float64", column.data_type()));
        let present = present.ok_or_else(wrong)?;
        return Ok(Arc::new(present.iter().zip(values).map(|(old, new)| old.or(*new)).collect::<Float64Array>()));
    };
    let Some(parts) = column.as_struct_opt() else { return Ok(column.clone()) };
    let mut columns = parts.columns().to_vec();
    if let Some(at) = parts.fields().iter().position(|field| field.name() == name) {
        columns[at] = filled(&columns[at], rest, values)?;
    }
    Ok(Arc::new(StructArray::try_new(parts.fields().clone(), columns, parts.nulls().cloned())?))
}
