//! Parameters: what a report may be asked with, checked by type before any SQL sees them.

use datafusion::common::ScalarValue;
use serde::Serialize;
use std::fmt;

/// A parameter of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Of a number: the least that it may be, if there is a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Bound>,
    /// Of a number: the most that it may be, if there is a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Bound>,
}

/// A bound of a number, of the parameter's own type.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of a whole number.
    Int(i64),
    /// Of a number.
    Float(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

impl Bound {
    /// A value as the bounds of its type are written; `None` of what has no bounds.
    fn of(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Int64(number) => number.map(Self::Int),
            ScalarValue::Float64(number) => number.map(Self::Float),
            _ => None,
        }
    }
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
        let value = self.kind.value(text).filter(|value| is_known && self.is_within(value));
        value.ok_or_else(|| format!("parameter {:?} must be {}, not {text:?}", self.name, self.expected()))
    }

    fn is_within(&self, value: &ScalarValue) -> bool {
        let Some(value) = Bound::of(value) else { return true };
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// What it takes, in words.
    fn expected(&self) -> String {
        let expected = self.kind.expected();
        match (self.min, self.max) {
            _ if self.kind == Kind::OneOf => format!("one of {}", self.choices.join(", ")),
            (Some(min), Some(max)) => format!("{expected} from {min} to {max}"),
            (Some(min), None) => format!("{expected} of {min} or more"),
            (None, Some(max)) => format!("{expected} of {max} or less"),
            (None, None) => expected.to_owned(),
        }
    }

    /// `name type default label`, the default quoted with `'` if it is empty or has spaces.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let wrong = || format!("a parameter is `name type default label`, not {line:?}");
        let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
        let (kind, rest) = rest.trim_start().split_once(' ').ok_or_else(wrong)?;
        let takes = Takes::parse(kind).ok_or_else(|| format!("parameter {name} has the unknown type {kind:?}"))?;
        let rest = rest.trim_start();
        let (default, label) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or_else(wrong)?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let (label, default) = (label.trim().to_owned(), default.to_owned());
        let Takes { kind, choices, min, max } = takes;
        let param = Self { name: name.to_owned(), kind, default, label, choices, min, max };
        param.value(&param.default).map_err(|error| format!("its default: {error}"))?;
        // HTTP has it for the answer's format.
        if param.name == "format" {
            Err("a parameter can't be named format, which is reserved".into())
        } else {
            Ok(param)
        }
    }
}

/// What the type of a header says.
struct Takes {
    kind: Kind,
    choices: Vec<String>,
    min: Option<Bound>,
    max: Option<Bound>,
}

impl Takes {
    /// A type's word, with its list or its bounds: `one-of(score,share)`, `int(1..)`, `float(0..1)`.
    fn parse(word: &str) -> Option<Self> {
        let Some((word, inner)) = word.split_once('(') else {
            return Some(Self { kind: Kind::parse(word)?, choices: Vec::new(), min: None, max: None });
        };
        let inner = inner.strip_suffix(')')?;
        if word == "one-of" {
            let choices: Vec<String> = inner.split(',').map(str::to_owned).collect();
            let is_whole = choices.iter().all(|choice| !choice.is_empty());
            return is_whole.then_some(Self { kind: Kind::OneOf, choices, min: None, max: None });
        }
        let kind = Kind::parse(word)?;
        // The outer option: whether it can be read at all.
        let bound = |text: &str| match text {
            "" => Some(None),
            text => Bound::of(&kind.value(text)?).map(Some),
        };
        let (min, max) = inner.split_once("..")?;
        let (min, max) = (bound(min)?, bound(max)?);
        let has_room = min.zip(max).is_none_or(|(min, max)| min <= max);
        let is_bounded = min.is_some() || max.is_some();
        (is_bounded && has_room).then_some(Self { kind, choices: Vec::new(), min, max })
    }
}
