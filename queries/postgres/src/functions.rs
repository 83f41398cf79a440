//! PostgreSQL's own functions that tools call at their start and the catalogue library doesn't bring.

use crate::settings;
use datafusion::arrow::array::{Array as _, ArrayRef, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Adds them to the session of one statement.
pub(crate) fn add(context: &SessionContext) {
    let version = format!("PostgreSQL {}, as killfeed {} speaks it", settings::VERSION, env!("CARGO_PKG_VERSION"));
    let text = |value: Option<&str>| ScalarValue::Utf8(value.map(str::to_owned));
    let truth = |value| ScalarValue::Boolean(Some(value));
    // (name, numbers of arguments, what it always answers): there are no indexes, views, descriptions, standbys or
    // temporary schemas, and sizes stand in killfeed_tables only.
    let fixed = [
        ("version", 0..=0, text(Some(&version))),
        ("pg_get_indexdef", 1..=3, text(None)),
        ("pg_get_viewdef", 1..=2, text(None)),
        ("pg_get_serial_sequence", 2..=2, text(None)),
        ("obj_description", 1..=2, text(None)),
        ("shobj_description", 2..=2, text(None)),
        ("col_description", 2..=2, text(None)),
        ("pg_is_in_recovery", 0..=0, truth(false)),
        ("pg_is_other_temp_schema", 1..=1, truth(false)),
        ("pg_type_is_visible", 1..=1, truth(true)),
        ("pg_function_is_visible", 1..=1, truth(true)),
        ("pg_get_function_result", 1..=1, text(None)),
        ("pg_get_function_arguments", 1..=1, text(None)),
        ("pg_table_size", 1..=1, ScalarValue::Int64(None)),
        ("pg_size_pretty", 1..=1, text(None)),
        ("pg_has_role", 2..=3, truth(true)),
    ];
    for (name, arguments, value) in fixed {
        let signature = one_of(arguments);
        context.register_udf(ScalarUDF::new_from_impl(Function { name, signature, does: Does::Say(value) }));
    }
    let rights = [
        "has_any_column_privilege",
        "has_column_privilege",
        "has_database_privilege",
        "has_schema_privilege",
        "has_table_privilege",
    ];
    for name in rights {
        context.register_udf(ScalarUDF::new_from_impl(Function { name, signature: one_of(2..=4), does: Does::Allow }));
    }
    let of_settings = Function { name: "current_setting", signature: one_of(1..=2), does: Does::Setting };
    context.register_udf(ScalarUDF::new_from_impl(of_settings));
    let format = Signature::one_of(vec![TypeSignature::VariadicAny], Volatility::Immutable);
    context.register_udf(ScalarUDF::new_from_impl(Function { name: "format", signature: format, does: Does::Format }));
}

/// As many arguments, of any types.
fn one_of(arguments: std::ops::RangeInclusive<usize>) -> Signature {
    let count = |count| if count == 0 { TypeSignature::Nullary } else { TypeSignature::Any(count) };
    Signature::one_of(arguments.map(count).collect(), Volatility::Stable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
    does: Does,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Does {
    /// Says this, whatever it is asked.
    Say(ScalarValue),
    /// Says whether something is allowed: reading is.
    Allow,
    /// Gives the value of a setting.
    Setting,
    /// Fills a text with values.
    Format,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.does {
            Does::Say(value) => value.data_type(),
            Does::Allow => DataType::Boolean,
            Does::Setting | Does::Format => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let texts = || -> Result<Vec<ArrayRef>> {
            let arrays = arguments.args.iter().map(|value| value.to_array(rows));
            arrays.map(|array| Ok(cast(&array?, &DataType::Utf8)?)).collect()
        };
        match &self.does {
            Does::Say(value) => Ok(ColumnarValue::Scalar(value.clone())),
            Does::Allow => {
                let wanted = arguments.args.last().map(|wanted| wanted.to_array(1)).transpose()?;
                let wanted =
                    wanted.map(|wanted| Ok::<_, datafusion::error::DataFusionError>(cast(&wanted, &DataType::Utf8)?));
                let wanted = wanted.transpose()?;
                let wanted = wanted.as_ref().map(|wanted| as_string_array(wanted)).transpose()?;
                let wanted = wanted.filter(|wanted| wanted.is_valid(0)).map_or("", |wanted| wanted.value(0));
                Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(may(wanted)))))
            }
            Does::Setting => {
                let texts = texts()?;
                let names = texts.first().ok_or_else(|| exec_datafusion_err!("current_setting needs a name"))?;
                let names = as_string_array(names)?;
                let is_lenient = texts.len() > 1;
                let values = names.iter().map(|name| match name.map(|name| (name, settings::value(name))) {
                    None => Ok(None),
                    Some((name, None)) if !is_lenient => exec_err!("there is no setting {name:?}"),
                    Some((_, value)) => Ok(value),
                });
                Ok(ColumnarValue::Array(Arc::new(values.collect::<Result<StringArray>>()?)))
            }
            Does::Format => {
                let texts = texts()?;
                let texts = texts.iter().map(as_string_array_of).collect::<Result<Vec<_>>>()?;
                let mut filled = StringBuilder::new();
                for row in 0..rows {
                    let values: Vec<_> = texts.iter().map(|text| text.is_valid(row).then(|| text.value(row))).collect();
                    let Some((pattern, values)) = values.split_first() else { continue };
                    filled.append_option(pattern.map(|pattern| fill(pattern, values)).transpose()?);
                }
                Ok(ColumnarValue::Array(Arc::new(filled.finish())))
            }
        }
    }
}

fn as_string_array_of(array: &ArrayRef) -> Result<&StringArray> {
    as_string_array(array)
}

/// Whether one of these rights is there for everybody: nobody writes.
fn may(wanted: &str) -> bool {
    let reads = ["select", "usage", "connect", "execute"];
    wanted.split(',').any(|right| reads.contains(&right.trim().to_ascii_lowercase().as_str()))
}

/// `%s` is a value, `%I` a name, `%L` a literal, `%%` the sign itself.
fn fill(pattern: &str, values: &[Option<&str>]) -> Result<String> {
    let (mut filled, mut values) = (String::with_capacity(pattern.len()), values.iter());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            filled.push(letter);
            continue;
        }
        let kind = letters.next();
        if kind == Some('%') {
            filled.push('%');
            continue;
        }
        let Some(value) = values.next() else { return exec_err!("too few arguments for format") };
        match (kind, value) {
            (Some('s'), value) => filled.push_str(value.unwrap_or_default()),
            (Some('I'), Some(value)) if is_plain(value) => filled.push_str(value),
            (Some('I'), Some(value)) => filled.push_str(&format!("\"{}\"", value.replace('"', "\"\""))),
            (Some('L'), Some(value)) => filled.push_str(&format!("'{}'", value.replace('\'', "''"))),
            (Some('L'), None) => filled.push_str("NULL"),
            (Some('I'), None) => return exec_err!("null values cannot be formatted as an SQL identifier"),
            _ => return exec_err!("format takes %s, %I, %L and %%"),
        }
    }
    Ok(filled)
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let start = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    start && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_filled() {
        let values = [Some("public"), Some("Odd\"name"), Some("it's"), None];
        assert_eq!(fill("%I.%I = %L, %L %%", &values).unwrap(), "public.\"Odd\"\"name\" = 'it''s', NULL %");
        assert_eq!(fill("<%s>", &[None]).unwrap(), "<>");
        assert!(fill("%s%s", &[None]).is_err() && fill("%d", &[None]).is_err() && fill("%I", &[None]).is_err());
    }

    #[test]
    fn reading_is_allowed_and_nothing_else() {
        assert!(may("SELECT") && may("usage, create") && may("CONNECT"));
        assert!(!may("INSERT") && !may("update, delete") && !may("") && !may("selected"));
    }
}
