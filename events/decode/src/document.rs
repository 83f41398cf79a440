//! A JSON Schema document (2020-12) to payload columns; the mapping stands in docs/schemas.md.

use crate::tree::{Field, Kind};
use events::limits;
use serde_json::Value;
use std::collections::HashSet;

/// What a document says about columns.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Its properties, before names and limits are settled.
    pub(crate) fields: Vec<Field>,
    /// Paths of objects that may have no other members than those declared; the root is the empty path.
    pub(crate) closed: HashSet<Vec<String>>,
}

/// Reads the columns that a document declares.
pub(crate) fn read(document: &Value) -> Document {
    let mut reader = Reader { document, closed: HashSet::new(), made: 0 };
    let root = reader.resolve(document);
    let fields = if is_type(root, "object") || root.get("type").is_none() {
        reader.properties(root, &mut Vec::new(), 1)
    } else {
        Vec::new()
    };
    Document { fields, closed: reader.closed }
}

struct Reader<'a> {
    document: &'a Value,
    closed: HashSet<Vec<String>>,
    /// Fields made so far: definitions may multiply, and refer to themselves.
    made: usize,
}

impl<'a> Reader<'a> {
    fn properties(&mut self, object: &'a Value, path: &mut Vec<String>, depth: usize) -> Vec<Field> {
        let is_false = |keyword: &str| object.get(keyword) == Some(&Value::Bool(false));
        if is_false("additionalProperties") || is_false("unevaluatedProperties") {
            self.closed.insert(path.clone());
        }
        let Some(properties) = object.get("properties").and_then(Value::as_object) else { return Vec::new() };
        let mut fields = Vec::with_capacity(properties.len());
        for (name, schema) in properties {
            path.push(name.clone());
            if let Some(kind) = self.kind(schema, path, depth) {
                fields.push(Field { name: name.as_str().into(), column: name.as_str().into(), kind, widen: false });
            }
            path.pop();
        }
        fields
    }

    /// The kind of a column for values of this schema; `None` where no value is allowed.
    fn kind(&mut self, schema: &'a Value, path: &mut Vec<String>, depth: usize) -> Option<Kind> {
        if schema == &Value::Bool(false) {
            return None;
        }
        let schema = self.resolve(schema);
        self.made += 1;
        if depth > limits::COLUMN_DEPTH_MAX || self.made > limits::COLUMNS_MAX {
            return Some(Kind::Json);
        }
        if ["allOf", "not", "if", "$ref", "$dynamicRef"].iter().any(|keyword| schema.get(keyword).is_some()) {
            return Some(Kind::Json);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
                let mut others = branches.iter().filter(|branch| !is_type(self.resolve(branch), "null"));
                return match (others.next(), others.next()) {
                    (Some(only), None) => self.kind(only, path, depth),
                    _ => Some(Kind::Json),
                };
            }
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
            _ => return Some(of_values(schema)),
        };
        Some(match types.as_slice() {
            ["integer"] => Kind::Int64,
            ["number"] | ["integer", "number"] | ["number", "integer"] => Kind::Float64,
            ["boolean"] => Kind::Boolean,
            ["string"] => Kind::Utf8,
            ["object"] => {
                let fields = self.properties(schema, path, depth + 1);
                if fields.is_empty() { Kind::Json } else { Kind::Struct(fields) }
            }
            ["array"] => match schema.get("items") {
                Some(items) if schema.get("prefixItems").is_none() => match self.kind(items, path, depth + 1) {
                    Some(item) if holds_no_json(&item) => Kind::List(Box::new(item)),
                    _ => Kind::Json,
                },
                _ => Kind::Json,
            },
            _ => Kind::Json,
        })
    }

    /// Follows local references (`#/$defs/name`); one that can't be followed stays as it is. A chain
    /// longer than the depth of columns is a circle.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..limits::COLUMN_DEPTH_MAX {
            let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            match target.and_then(|pointer| self.document.pointer(pointer)) {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }
}

/// An item's column has no metadata of its own, so a list can't say that its items are JSON text.
fn holds_no_json(item: &Kind) -> bool {
    match item {
        Kind::Json => false,
        Kind::List(item) => holds_no_json(item),
        _ => true,
    }
}

fn is_type(schema: &Value, name: &str) -> bool {
    schema.get("type").is_some_and(|t| t == name)
}

/// Without a type, `enum` and `const` tell it, if their values agree.
fn of_values(schema: &Value) -> Kind {
    let values: Vec<&Value> = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => values.iter().filter(|value| !value.is_null()).collect(),
        (_, Some(value)) => vec![value],
        _ => Vec::new(),
    };
    let all = |fits: fn(&Value) -> bool| !values.is_empty() && values.iter().all(|value| fits(value));
    if all(Value::is_string) {
        Kind::Utf8
    } else if all(Value::is_boolean) {
        Kind::Boolean
    } else if all(Value::is_i64) {
        Kind::Int64
    } else if all(Value::is_number) {
        Kind::Float64
    } else {
        Kind::Json
    }
}
