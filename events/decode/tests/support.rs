//! Records to decode, and rows read back as JSON values.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Float64Type, Int64Type};
use bytes::Bytes;
use decode::tree::{Field, Kind};
use decode::{Decoded, Decoder, Discovery, Row, TableSchema};
use events::Headers;
use events::log::Record;
use serde_json::{Map, Value};

/// A record of type `t` with this payload, as JSON.
pub(crate) fn record(payload: &str) -> Record {
    record_with(&[("content-type", "application/json")], Some(payload.as_bytes()))
}

/// A record of type `t` with these headers besides.
pub(crate) fn record_with(headers: &[(&str, &str)], payload: Option<&[u8]>) -> Record {
    let base = [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "/s"),
        ("ce_type", "t"),
        ("ce_receivedat", "2026-11-21T10:00:00.000001Z"),
        ("kf_raw_offset", "7"),
    ];
    Record {
        offset: 5,
        time_ms: 1_000,
        key: Bytes::new(),
        headers: Headers::of(base.into_iter().chain(headers.iter().copied())),
        payload: payload.map(Bytes::copy_from_slice),
    }
}

pub(crate) fn decode(table: &TableSchema, discovery: Discovery, records: &[Record]) -> Decoded {
    let rows: Vec<Row<'_>> =
        records.iter().map(|record| Row { record, partition: 3, incarnation: "quiet-otter" }).collect();
    Decoder::new(table.clone(), discovery).decode(&rows).unwrap()
}

/// A table whose columns were discovered from these payloads.
pub(crate) fn discovered(payloads: &[&str]) -> TableSchema {
    let records: Vec<Record> = payloads.iter().map(|payload| record(payload)).collect();
    let table = TableSchema::new("t", None, &[]).unwrap();
    decode(&table, Discovery::On, &records).extended.unwrap_or(table)
}

/// `extra` of a row.
pub(crate) fn extra(batch: &RecordBatch, row: usize) -> Option<String> {
    text(batch, "extra", row)
}

/// A text column's value.
pub(crate) fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(column).unwrap().as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// What the payload columns of a row hold, under the original names; nulls are left out.
pub(crate) fn payload(table: &TableSchema, batch: &RecordBatch, row: usize) -> Value {
    let array = StructArray::from(batch.clone());
    object(table.fields(), &array, row)
}

fn object(fields: &[Field], array: &StructArray, row: usize) -> Value {
    let members = fields.iter().filter_map(|field| {
        let column = array.column_by_name(&field.column)?;
        column.is_valid(row).then(|| (field.name.to_string(), value(&field.kind, column, row)))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

fn value(kind: &Kind, array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match kind {
        Kind::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        Kind::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        Kind::Boolean => array.as_boolean().value(row).into(),
        Kind::Utf8 => array.as_string::<i32>().value(row).into(),
        Kind::Json => serde_json::from_str(array.as_string::<i32>().value(row)).unwrap(),
        Kind::Struct(fields) => object(fields, array.as_struct(), row),
        Kind::List(item) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|index| value(item, &items, index)).collect()
        }
        Kind::Foreign(_) => Value::Null,
    }
}
