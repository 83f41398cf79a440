//! A schema file from a table: what `killfeed schema show` prints of a discovered type, and what
//! `killfeed schema diff` compares a file with.

use crate::table::TableSchema;
use crate::tree::{Field, Kind};
use serde_json::{Map, Value, json};

/// A JSON Schema document (2020-12) that maps to the columns of this table. A column that is marked
/// as to be widened is proposed as `number`.
pub fn propose(table: &TableSchema) -> Value {
    let mut document = object(table.fields());
    if let Value::Object(members) = &mut document {
        members.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".to_owned(), table.event_type().into());
    }
    document
}

fn object(fields: &[Field]) -> Value {
    let property = |field: &Field| {
        let kind = field.kind.widened().filter(|_| field.widen);
        (field.name.to_string(), schema(kind.as_ref().unwrap_or(&field.kind)))
    };
    json!({"type": "object", "properties": fields.iter().map(property).collect::<Map<_, _>>()})
}

fn schema(kind: &Kind) -> Value {
    match kind {
        Kind::Int64 => json!({"type": "integer"}),
        Kind::Float64 => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Utf8 => json!({"type": "string"}),
        Kind::Json | Kind::Foreign(_) => json!({}),
        Kind::Struct(fields) => object(fields),
        Kind::List(item) => json!({"type": "array", "items": schema(item)}),
    }
}
