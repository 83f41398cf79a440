//! Random documents against random tables, beside a slow model of what must come of them.

use crate::support::{decode, extra, payload, record};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use decode::tree::{Field, Kind, arrow_fields};
use decode::{Discovery, TableSchema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NAMES: [&str; 6] = ["a", "b", "kdaRatio", "x y", "ключ", "data"];

fn kinds() -> impl Strategy<Value = Kind> + Clone {
    let leaf = prop_oneof![
        Just(Kind::Int64),
        Just(Kind::Float64),
        Just(Kind::Boolean),
        Just(Kind::Utf8),
        Just(Kind::Foreign(DataType::Int16)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![fields_of(inner.clone()).prop_map(Kind::Struct), inner.prop_map(|item| Kind::List(Box::new(item)))]
    })
}

fn fields_of(kinds: impl Strategy<Value = Kind> + Clone) -> impl Strategy<Value = Vec<Field>> {
    proptest::collection::vec(proptest::option::of(prop_oneof![4 => kinds, 1 => Just(Kind::Json)]), NAMES.len())
        .prop_map(|kinds| {
            let named = NAMES.iter().zip(kinds).enumerate();
            named
                .filter_map(|(place, (name, kind))| {
                    Some(Field { name: (*name).into(), column: format!("c{place}").into(), kind: kind?, widen: false })
                })
                .collect::<Vec<_>>()
        })
        .prop_filter("a struct has columns", |fields| !fields.is_empty())
}

fn values() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        3 => (-3..3i64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (i64::MAX as u64..).prop_map(Value::from),
        3 => (-8..8i32).prop_map(|quarters| json!(f64::from(quarters) / 4.0)),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::from),
        3 => "[ -~äß€😀\u{0}-\u{1f}\"\\\\]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![objects(inner.clone()), proptest::collection::vec(inner, 0..4).prop_map(Value::from),]
    })
}

fn objects(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec(proptest::option::of(values), NAMES.len()).prop_map(|values| {
        let members = NAMES.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Value::Object(members.collect())
    })
}

/// Writes a value with space and escapes that mean nothing, as `style` says.
fn write(value: &Value, style: &mut u64, out: &mut String) {
    let mut turn = || {
        *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *style >> 60
    };
    match value {
        Value::String(text) => {
            out.push('"');
            for c in text.chars() {
                if turn() == 0 {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                } else {
                    let quoted = serde_json::to_string(&c).unwrap();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
            out.push('"');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(if *style & 1 == 0 { "," } else { " ,\n" });
                }
                write(item, style, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(&Value::from(name.as_str()), style, out);
                out.push_str(if *style & 2 == 0 { ":" } else { " :\t" });
                write(member, style, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// What goes to the column, and what is left over.
fn fit(kind: &Kind, value: &Value) -> (Option<Value>, Option<Value>) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let over = || (None, Some(value.clone()));
    match (kind, value) {
        (_, Value::Null) => (None, None),
        (Kind::Json, value) => (Some(value.clone()), None),
        (Kind::Boolean, Value::Bool(_)) | (Kind::Utf8, Value::String(_)) => (Some(value.clone()), None),
        (Kind::Int64, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(_), _) => (Some(value.clone()), None),
            (None, Some(double)) if number.is_f64() && double.fract() == 0.0 && double.abs() <= EXACT => {
                (Some(json!(double as i64)), None)
            }
            _ => over(),
        },
        (Kind::Float64, Value::Number(number)) => match number.as_i64() {
            Some(whole) if (whole as f64) as i128 != i128::from(whole) => over(),
            Some(whole) => (Some(json!(whole as f64)), None),
            None if number.is_u64() => over(),
            None => (Some(value.clone()), None),
        },
        (Kind::Struct(fields), Value::Object(members)) => {
            let (columns, rest) = fit_members(fields, members);
            (Some(columns), (!rest.is_empty()).then_some(Value::Object(rest)))
        }
        (Kind::List(item), Value::Array(items)) => {
            let parts: Vec<_> = items.iter().map(|value| fit(item, value)).collect();
            let length = parts.iter().rposition(|(_, rest)| rest.is_some()).map_or(0, |last| last + 1);
            let (column, rest): (Vec<_>, Vec<_>) =
                parts.into_iter().map(|(c, r)| (c.unwrap_or_default(), r.unwrap_or_default())).unzip();
            (Some(Value::from(column)), (length > 0).then(|| Value::from(rest[..length].to_vec())))
        }
        _ => over(),
    }
}

fn fit_members(fields: &[Field], members: &Map<String, Value>) -> (Value, Map<String, Value>) {
    let (mut columns, mut rest) = (Map::new(), Map::new());
    for (name, value) in members {
        let (column, over) = match fields.iter().find(|field| *field.name == **name) {
            Some(field) => fit(&field.kind, value),
            None => (None, Some(value.clone()).filter(|value| !value.is_null())),
        };
        columns.extend(column.map(|column| (name.clone(), column)));
        rest.extend(over.map(|over| (name.clone(), over)));
    }
    (Value::Object(columns), rest)
}

/// Equal, with numbers compared by value: what goes through `serde_json` again may move by a last digit.
fn alike(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => {
            let (l, r) = (l.as_f64().unwrap(), r.as_f64().unwrap());
            l == r || ((l - r) / l).abs() < 1e-15
        }
        (Value::Array(l), Value::Array(r)) => l.len() == r.len() && l.iter().zip(r).all(|(l, r)| alike(l, r)),
        (Value::Object(l), Value::Object(r)) => {
            l.len() == r.len() && l.iter().all(|(name, l)| r.get(name).is_some_and(|r| alike(l, r)))
        }
        _ => left == right,
    }
}

/// Lays `extra` over the columns: what docs/schemas.md tells a reader to do.
fn overlay(column: Value, extra: Value) -> Value {
    match (column, extra) {
        (column, Value::Null) => column,
        (Value::Object(mut column), Value::Object(extra)) => {
            for (name, over) in extra {
                let under = column.remove(&name).unwrap_or_default();
                column.insert(name, overlay(under, over));
            }
            Value::Object(column)
        }
        (Value::Array(mut column), Value::Array(extra)) => {
            for (index, over) in extra.into_iter().enumerate() {
                column[index] = overlay(column[index].take(), over);
            }
            Value::Array(column)
        }
        (_, extra) => extra,
    }
}

/// `null` as a member says the same as no member.
fn without_null_members(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_null_members(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_null_members).collect(),
        other => other,
    }
}

/// `extra` of an object, with what it holds for shadowed names put back in place.
fn unshadowed(extra: Option<String>) -> Map<String, Value> {
    let Some(extra) = extra else { return Map::new() };
    let mut extra: Map<String, Value> = serde_json::from_str(&extra).unwrap();
    let shadowed = extra.remove("data");
    extra.extend(shadowed.and_then(|data| data.as_object().cloned()).unwrap_or_default());
    extra
}

fn table(fields: &[Field]) -> TableSchema {
    let columns: Vec<ArrowField> = arrow_fields(fields).iter().map(|field| (**field).clone()).collect();
    TableSchema::new("t", Some(&Schema::new(columns)), &[]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn columns_and_extra_are_what_the_model_says(
        fields in fields_of(kinds()),
        documents in proptest::collection::vec(objects(values()), 1..4),
        style in any::<u64>(),
    ) {
        let table = table(&fields);
        let mut style = style;
        let records: Vec<_> = documents
            .iter()
            .map(|document| {
                let mut text = String::new();
                write(document, &mut style, &mut text);
                record(&text)
            })
            .collect();
        let decoded = decode(&table, Discovery::Off, &records);
        prop_assert_eq!(decoded.batch.num_rows(), documents.len());
        prop_assert!(decoded.rejects.is_empty() && decoded.extended.is_none());
        for (row, document) in documents.iter().enumerate() {
            let (columns, rest) = fit_members(&fields, document.as_object().unwrap());
            let found = payload(&table, &decoded.batch, row);
            prop_assert!(alike(&found, &columns), "columns {found} of {document}");
            let over = Value::Object(unshadowed(extra(&decoded.batch, row)));
            prop_assert!(alike(&over, &Value::Object(rest)), "extra {over} of {document}");
            let whole = without_null_members(overlay(found, over));
            prop_assert!(alike(&whole, &without_null_members(document.clone())), "{whole} is not {document}");
        }
    }

    /// Discovery comes to an end, and loses nothing on the way. It may take more than one round:
    /// what stands in an array without a type gets one when another event gives the array a column.
    #[test]
    fn discovery_settles(documents in proptest::collection::vec(objects(values()), 1..4)) {
        let records: Vec<_> = documents.iter().map(|document| record(&document.to_string())).collect();
        let mut table = TableSchema::new("t", None, &[]).unwrap();
        let mut decoded = decode(&table, Discovery::On, &records);
        let mut rounds = 0;
        while let Some(extended) = decoded.extended.take() {
            rounds += 1;
            prop_assert!(rounds < 10);
            table = extended;
            decoded = decode(&table, Discovery::On, &records);
        }
        for (row, document) in documents.iter().enumerate() {
            let over = Value::Object(unshadowed(extra(&decoded.batch, row)));
            let whole = without_null_members(overlay(payload(&table, &decoded.batch, row), over));
            prop_assert!(alike(&whole, &without_null_members(document.clone())), "{whole} is not {document}");
        }
    }

    /// Widening keeps every row's content, moves what fits from `extra` to its column, and leaves
    /// nothing in a widened column's `extra` that the column could hold.
    #[test]
    fn widening_loses_nothing(
        fields in fields_of(kinds()),
        documents in proptest::collection::vec(objects(values()), 1..6),
    ) {
        let records: Vec<_> = documents.iter().map(|document| record(&document.to_string())).collect();
        let from = table(&fields);
        let decoded = decode(&from, Discovery::Off, &records);
        let Some(marked) = from.marked(&decoded.widenings) else { return Ok(()) };
        prop_assert!(marked.marked(&decoded.widenings).is_none(), "marks are set once");
        let to = marked.widened().unwrap();
        let wide = match decode::widen_batch(&decoded.batch, &marked, &to) {
            Err(decode::Error::Inexact { value }) => {
                prop_assert!(value.unsigned_abs() > 1 << 53);
                return Ok(());
            }
            wide => wide.unwrap(),
        };
        let fresh = decode(&to, Discovery::Off, &records);
        for row in 0..documents.len() {
            let columns = [payload(&to, &wide, row), payload(&to, &fresh.batch, row)];
            let overs = [&wide, &fresh.batch].map(|batch| Value::Object(unshadowed(extra(batch, row))));
            prop_assert!(alike(&columns[0], &columns[1]), "{} is not {}", columns[0], columns[1]);
            prop_assert!(alike(&overs[0], &overs[1]), "{} is not {}", overs[0], overs[1]);
        }
    }

    /// Accepts what RFC 8259 accepts and nothing else, as another parser sees it.
    #[test]
    fn json_is_json(document in values(), cut in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..4) {
        let mut text = document.to_string().into_bytes();
        let at = cut.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => text.truncate(at),
            2 => text.insert(at, byte),
            _ => {}
        }
        let expected = std::str::from_utf8(&text)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        let table = TableSchema::new("t", None, &[]).unwrap();
        let json = crate::support::record_with(&[("content-type", "application/json")], Some(&text));
        let decoded = decode(&table, Discovery::On, &[json]);
        prop_assert_eq!(decoded.rejects.is_empty(), expected, "{:?}", String::from_utf8_lossy(&text));
    }
}
