//! Values as people and JSON see them: times in RFC 3339 with Z, bytes in base64, whatever the
//! nesting. Numbers are left to the writers, which print them exactly: integers digit by digit,
//! floats in the fewest digits that read back as the same float.

use chrono::{DateTime, SecondsFormat};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, LargeListArray, ListArray, RecordBatch, StringArray, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use std::sync::Arc;

/// How far values are turned into text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As Arrow has it, but for types that older readers lack (views, dictionaries).
    Plain,
    /// Times and bytes are text.
    Json,
    /// Times, bytes, structs and lists are text: what fits in a cell.
    Cells,
    /// The same, but a list of texts stays one: lines.
    Lines,
}

/// Whether values are lists of texts: a transcript, evidence.
pub(crate) fn is_lines(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(item) | DataType::LargeList(item) if item.data_type().is_string())
}

/// µs since the epoch as RFC 3339, with as many digits of the second as it needs (0, 3, 6).
pub(crate) fn micros(micros: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A batch in this shape.
pub(crate) fn present(batch: &RecordBatch, shape: Shape) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| top(column, shape)).collect::<Result<Vec<_>, _>>()?;
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(presented_schema(batch.schema_ref(), &columns), columns, &options)
}

/// The schema that batches of `schema` have in this shape.
pub(crate) fn schema(schema: &SchemaRef, shape: Shape) -> Result<SchemaRef, ArrowError> {
    Ok(present(&RecordBatch::new_empty(schema.clone()), shape)?.schema())
}

fn presented_schema(schema: &Schema, columns: &[ArrayRef]) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns);
    let fields: Vec<Field> =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

fn top(array: &ArrayRef, shape: Shape) -> Result<ArrayRef, ArrowError> {
    let array = value(array, shape)?;
    let is_nested = array.data_type().is_nested();
    match shape {
        Shape::Lines if is_lines(array.data_type()) => Ok(array),
        Shape::Cells | Shape::Lines if is_nested => json_text(&array),
        _ => Ok(array),
    }
}

fn value(array: &ArrayRef, shape: Shape) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, inner) => value(&cast(array, inner)?, shape),
        DataType::Utf8View => cast(array, &DataType::Utf8),
        DataType::BinaryView => value(&cast(array, &DataType::Binary)?, shape),
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let columns = structs.columns().iter().map(|column| value(column, shape)).collect::<Result<Vec<_>, _>>()?;
            let fields: Vec<FieldRef> =
                fields.iter().zip(&columns).map(|(field, column)| retyped(field, column)).collect();
            Ok(Arc::new(StructArray::try_new(fields.into(), columns, structs.nulls().cloned())?))
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = value(list.values(), shape)?;
            let item = retyped(item, &values);
            Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        DataType::LargeList(item) => {
            let list = array.as_list::<i64>();
            let values = value(list.values(), shape)?;
            let item = retyped(item, &values);
            Ok(Arc::new(LargeListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        DataType::Timestamp(..) if shape != Shape::Plain => times(array),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) if shape != Shape::Plain => {
            let bytes = cast(array, &DataType::Binary)?;
            let bytes = bytes.as_any().downcast_ref::<BinaryArray>();
            let texts = bytes.into_iter().flatten().map(|bytes| bytes.map(base64));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }
        _ => Ok(array.clone()),
    }
}

fn retyped(field: &FieldRef, column: &ArrayRef) -> FieldRef {
    Arc::new(Field::new(field.name(), column.data_type().clone(), true))
}

/// A time without a zone counts as UTC, as every time in killfeed's tables.
fn times(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = if matches!(array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
        let nanos = array.as_primitive::<TimestampNanosecondType>();
        let text = |nanos: i64| DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true);
        nanos.iter().map(|nanos| nanos.map(text)).collect()
    } else {
        let array = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        array.as_primitive::<TimestampMicrosecondType>().iter().map(|time| time.and_then(micros)).collect()
    };
    Ok(Arc::new(texts))
}

/// Each value as JSON text.
fn json_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field: FieldRef = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        texts.push(if array.is_null(row) {
            None
        } else {
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            Some(String::from_utf8(text).map_err(|error| ArrowError::JsonError(error.to_string()))?)
        });
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// RFC 4648, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let of = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 0x3f).unwrap_or(0);
            text.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn times_have_the_digits_they_need_and_a_z() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_500, "1970-01-01T00:00:00.001500Z"),
            (1_000_000_000_000_000, "2001-09-09T01:46:40Z"),
            (1_000_000_000_250_000, "2001-09-09T01:46:40.250Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(micros(time).as_deref(), Some(text));
        }
    }
}
