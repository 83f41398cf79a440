//! int64 columns as float64, with the values that waited in `extra`: what `killfeed schema apply`
//! does to each file of a table.
//!
//! `extra` is an overlay, so it is decoded like a payload, against the widened columns alone; what it
//! yields is laid over the cast columns, and what it leaves over is the new `extra`.

use crate::decoder::compose;
use crate::payload::{PayloadColumns, as_float64};
use crate::scan::{Cursor, Number};
use crate::table::TableSchema;
use crate::tree::{Field, Kind, arrow_fields, element};
use crate::{Error, columns};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListArray, RecordBatch, StringBuilder, StructArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Rewrites rows of the table `from` as rows of `to`, which is [`TableSchema::widened`] of it. Rows,
/// their order and all other columns stay as they are.
///
/// # Errors
/// If a widened column holds an integer that is no double ([`Error::Inexact`]), or the batch doesn't
/// have the columns of `from`.
pub fn widen_batch(batch: &RecordBatch, from: &TableSchema, to: &TableSchema) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    match attempt(batch, from, to, true)? {
        Some(widened) => Ok(widened),
        // A row whose `extra` holds something for a column that has its value, which is a name that
        // the payload had twice: find it by halves; it keeps its `extra`.
        None if rows > 1 => {
            let (first, second) = (batch.slice(0, rows / 2), batch.slice(rows / 2, rows - rows / 2));
            let halves = [widen_batch(&first, from, to)?, widen_batch(&second, from, to)?];
            Ok(concat_batches(to.arrow(), &halves)?)
        }
        None => attempt(batch, from, to, false)?.ok_or_else(|| broken("a cast alone can't disagree with anything")),
    }
}

fn broken(what: &str) -> Error {
    Error::Arrow(ArrowError::InvalidArgumentError(what.to_owned()))
}

/// `None` if the overlay disagrees with the columns.
fn attempt(batch: &RecordBatch, from: &TableSchema, to: &TableSchema, lay: bool) -> Result<Option<RecordBatch>, Error> {
    let place = columns::envelope().len() - 1;
    let extra = batch.column_by_name("extra").ok_or_else(|| broken("the batch has no column extra"))?;
    let extra = cast(extra, &DataType::Utf8)?;
    let pruned = widened_fields(from.fields(), to.fields());
    let (over, rest) = if lay { overlay(extra.as_string::<i32>(), &pruned)? } else { (Vec::new(), extra) };
    let mut arrays = Vec::with_capacity(to.arrow().fields().len());
    for (at, field) in columns::envelope().iter().enumerate() {
        let column = batch.column_by_name(field.name()).ok_or_else(|| broken(field.name()))?;
        arrays.push(if at == place { rest.clone() } else { column.clone() });
    }
    for (old, new) in from.fields().iter().zip(to.fields()) {
        let column = batch.column_by_name(&old.column).ok_or_else(|| broken(&old.column))?;
        let over = pruned.iter().position(|field| field.name == old.name).and_then(|at| over.get(at));
        match merged(&old.kind, &new.kind, column, over)? {
            Some(array) => arrays.push(array),
            None => return Ok(None),
        }
    }
    Ok(Some(RecordBatch::try_new(to.arrow().clone(), arrays)?))
}

/// The fields that differ, as they are to be, and nothing beside them.
fn widened_fields(from: &[Field], to: &[Field]) -> Vec<Field> {
    let pairs = from.iter().zip(to);
    pairs.filter_map(|(old, new)| Some(Field { kind: widened_kind(&old.kind, &new.kind)?, ..new.clone() })).collect()
}

fn widened_kind(from: &Kind, to: &Kind) -> Option<Kind> {
    match (from, to) {
        (Kind::Struct(old), Kind::Struct(new)) => {
            let fields = widened_fields(old, new);
            (!fields.is_empty()).then_some(Kind::Struct(fields))
        }
        (Kind::List(old), Kind::List(new)) => Some(Kind::List(Box::new(widened_kind(old, new)?))),
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// What `extra` yields for the widened fields, and what it leaves over.
fn overlay(extra: &arrow::array::StringArray, fields: &[Field]) -> Result<(Vec<ArrayRef>, ArrayRef), Error> {
    let mut columns = PayloadColumns::new(fields, extra.len(), false);
    let mut rest = StringBuilder::new();
    let mut text = Vec::new();
    for row in extra {
        let Some(parts) = row.and_then(Parts::of) else {
            columns.push_empty();
            rest.append_option(row);
            continue;
        };
        let taken = columns.push(parts.payload.as_bytes(), None);
        text.clear();
        let (over, shadowed) = columns.overlays();
        compose(&mut text, over, parts.data.map(str::as_bytes).or(shadowed), parts.attributes.map(str::as_bytes));
        match std::str::from_utf8(&text) {
            _ if taken.is_err() => return Err(broken("a part of extra is no JSON")),
            Ok("") => rest.append_null(),
            Ok(text) => rest.append_value(text),
            Err(_) => return Err(broken("extra is no UTF-8")),
        }
    }
    Ok((columns.finish()?.columns, Arc::new(rest.finish())))
}

/// `extra` taken apart into what belongs to an object payload, and what doesn't.
struct Parts<'a> {
    payload: String,
    /// A payload that is no object.
    data: Option<&'a str>,
    attributes: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(extra: &'a str) -> Option<Self> {
        let (mut members, mut data, mut attributes) = (Vec::new(), None, None);
        let mut cursor = Cursor::new(extra);
        cursor
            .object(0, |cursor, key| {
                let start = cursor.at;
                cursor.skip(1)?;
                let value = &extra[start..cursor.at];
                match &extra[key.start..key.end] {
                    "attributes" => attributes = Some(value),
                    "data" if value.starts_with('{') => members.push(&value[1..value.len() - 1]),
                    "data" => data = Some(value),
                    _ => members.push(&extra[key.start - 1..cursor.at]),
                }
                Ok(())
            })
            .ok()?;
        Some(Self { payload: format!("{{{}}}", members.join(",")), data, attributes })
    }
}

/// One column, cast where it is to be wider, with the overlay's values where it has none itself.
fn merged(from: &Kind, to: &Kind, column: &ArrayRef, over: Option<&ArrayRef>) -> Result<Option<ArrayRef>, Error> {
    match (from, to) {
        (Kind::Int64, Kind::Float64) => {
            let is_inexact = |value: &i64| as_float64(Number::Integer(*value)).is_none();
            if let Some(value) = column.as_primitive::<Int64Type>().iter().flatten().find(is_inexact) {
                return Err(Error::Inexact { value });
            }
            let column = cast(column, &DataType::Float64)?;
            let Some(over) = over else { return Ok(Some(column)) };
            let (column, over) = (column.as_primitive::<Float64Type>(), over.as_primitive::<Float64Type>());
            if (0..column.len()).any(|row| column.is_valid(row) && over.is_valid(row)) {
                return Ok(None);
            }
            let values = column.iter().zip(over).map(|(value, over)| value.or(over));
            Ok(Some(Arc::new(values.collect::<Float64Array>())))
        }
        (Kind::Struct(old), Kind::Struct(new)) if old != new => {
            let column = column.as_struct();
            let over = over.map(|over| over.as_struct());
            if over.is_some_and(|over| (0..over.len()).any(|row| over.is_valid(row) && column.is_null(row))) {
                return Ok(None);
            }
            let mut arrays = Vec::with_capacity(new.len());
            for (old, new) in old.iter().zip(new) {
                let below = column.column_by_name(&old.column).ok_or_else(|| broken(&old.column))?;
                let over = over.and_then(|over| over.column_by_name(&new.column));
                match merged(&old.kind, &new.kind, below, over)? {
                    Some(array) => arrays.push(array),
                    None => return Ok(None),
                }
            }
            Ok(Some(Arc::new(StructArray::try_new(arrow_fields(new), arrays, column.nulls().cloned())?)))
        }
        (Kind::List(old), Kind::List(new)) if old != new => {
            let column = column.as_list::<i32>();
            let over = match over.map(|over| aligned(column, over.as_list::<i32>())) {
                None => None,
                Some(Some(items)) => Some(items?),
                Some(None) => return Ok(None),
            };
            let items = merged(old, new, column.values(), over.as_ref())?;
            let list =
                |items| ListArray::try_new(element(new), column.offsets().clone(), items, column.nulls().cloned());
            Ok(match items {
                Some(items) => Some(Arc::new(list(items)?)),
                None => None,
            })
        }
        _ => Ok(Some(column.clone())),
    }
}

/// The overlay's items beside those of the column; `None` if it has items where the column has none.
fn aligned(column: &ListArray, over: &ListArray) -> Option<Result<ArrayRef, ArrowError>> {
    let mut places: Vec<Option<u32>> = vec![None; column.values().len()];
    for row in 0..column.len() {
        let (start, length) = (column.value_offsets()[row], column.value_length(row));
        let (over_start, over_length) = (over.value_offsets()[row], over.value_length(row));
        if over_length > length || (over.is_valid(row) && column.is_null(row)) {
            return None;
        }
        for item in 0..over_length {
            *places.get_mut(usize::try_from(start + item).ok()?)? = u32::try_from(over_start + item).ok();
        }
    }
    Some(take(over.values(), &UInt32Array::from(places), None))
}
