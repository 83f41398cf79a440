//! Parameters: what a report may be asked with, checked by type before any SQL sees them.

use datafusion::common::ScalarValue;
use serde::Serialize;

/// A parameter of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Param {
    /// Its name, `$name` in the SQL.
    pub name: String,
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What it is when it isn't given.
    pub default: String,
    /// What it means.
    pub label: String,
    /// Of one that takes a word of a list: the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// `YYYY-MM-DD`.
    Date,
    /// A point in time, in RFC 3339 with its offset from UTC.
    Time,
    /// A word of [`Param::choices`].
    OneOf,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "text" => Self::Text,
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "date" => Self::Date,
            "time" => Self::Time,
            _ => return None,
        })
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "true or false",
            Self::Date => "a date as YYYY-MM-DD",
            Self::Time => "a time as 2026-01-31T18:00:00Z",
            Self::OneOf => "one of its choices",
        }
    }

    /// The value of this text.
    fn value(self, text: &str) -> Option<ScalarValue> {
        Some(match self {
            Self::Text | Self::OneOf => ScalarValue::Utf8(Some(text.to_owned())),
            Self::Int => ScalarValue::Int64(Some(text.parse().ok()?)),
            Self::Float => ScalarValue::Float64(Some(text.parse::<f64>().ok().filter(|value| value.is_finite())?)),
            Self::Bool => ScalarValue::Boolean(Some(text.parse().ok()?)),
            Self::Date => {
                let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?;
                ScalarValue::Date32(Some(i32::try_from(date.signed_duration_since(epoch).num_days()).ok()?))
            }
            Self::Time => {
                let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
                ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))
            }
        })
    }
}

impl Param {
    /// Its value for this text.
    ///
    /// # Errors
    /// Says what it takes, if this isn't it.
    pub(crate) fn value(&self, text: &str) -> Result<ScalarValue, String> {
        let is_known = self.kind != Kind::OneOf || self.choices.iter().any(|choice| choice == text);
        self.kind.value(text).filter(|_| is_known).ok_or_else(|| {
            let expected = match self.kind {
                Kind::OneOf => format!("one of {}", self.choices.join(", ")),
                kind => kind.expected().to_owned(),
            };
            format!("parameter {:?} must be {expected}, not {text:?}", self.name)
        })
    }

    /// `name type default label`, the default quoted with `'` if it is empty or has spaces.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let wrong = || format!("a parameter is `name type default label`, not {line:?}");
        let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
        let (kind, rest) = rest.trim_start().split_once(' ').ok_or_else(wrong)?;
        let (kind, choices) = type_of(kind).ok_or_else(|| format!("parameter {name} has the unknown type {kind:?}"))?;
        let rest = rest.trim_start();
        let (default, label) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or_else(wrong)?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let (label, default) = (label.trim().to_owned(), default.to_owned());
        let param = Self { name: name.to_owned(), kind, default, label, choices };
        param.value(&param.default).map_err(|error| format!("its default: {error}"))?;
        // HTTP has it for the answer's format.
        if param.name == "format" {
            Err("a parameter can't be named format, which is reserved".into())
        } else {
            Ok(param)
        }
    }
}

/// A type's word, and its list: `one-of(score,share)`.
fn type_of(word: &str) -> Option<(Kind, Vec<String>)> {
    let Some(list) = word.strip_prefix("one-of(").and_then(|rest| rest.strip_suffix(')')) else {
        return Some((Kind::parse(word)?, Vec::new()));
    };
    let choices: Vec<String> = list.split(',').map(str::to_owned).collect();
    choices.iter().all(|choice| !choice.is_empty()).then_some((Kind::OneOf, choices))
}
