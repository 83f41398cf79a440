//! Reports: questions that were asked before, each a `.sql` file with a header that says what it
//! answers and what it may be asked with.
//!
//! ```text
//! -- title: First blood rate by champion
//! -- question: Which champion draws first blood most often?
//! -- param city text '' City in English; empty for all
//! SELECT ... WHERE ($city = '' OR geo_city = $city)
//! ```
//!
//! Parameters are bound as placeholders, never written into the text.

use crate::{Error, Parameters, Result, near};
use datafusion::common::ScalarValue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Names and texts of the files under `reports/`.
static FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/reports.rs"));

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name: the file's.
    pub name: String,
    /// In a few words.
    pub title: String,
    /// The question that it answers.
    pub question: String,
    /// What it may be asked with.
    pub params: Vec<Param>,
    /// One SELECT.
    #[serde(skip)]
    pub sql: String,
}

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
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "text" => Self::Text,
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "date" => Self::Date,
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
        }
    }

    /// The value of this text.
    fn value(self, text: &str) -> Option<ScalarValue> {
        Some(match self {
            Self::Text => ScalarValue::Utf8(Some(text.to_owned())),
            Self::Int => ScalarValue::Int64(Some(text.parse().ok()?)),
            Self::Float => ScalarValue::Float64(Some(text.parse::<f64>().ok().filter(|value| value.is_finite())?)),
            Self::Bool => ScalarValue::Boolean(Some(text.parse().ok()?)),
            Self::Date => {
                let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?;
                ScalarValue::Date32(Some(i32::try_from(date.signed_duration_since(epoch).num_days()).ok()?))
            }
        })
    }
}

/// All reports, by name.
pub fn all() -> &'static BTreeMap<String, Report> {
    static ALL: LazyLock<BTreeMap<String, Report>> = LazyLock::new(|| {
        let parsed = FILES.iter().filter_map(|(name, text)| match Report::parse(name, text) {
            Ok(report) => Some(((*name).to_owned(), report)),
            Err(error) => {
                tracing::error!(report = name, error, "report left out");
                None
            }
        });
        parsed.collect()
    });
    &ALL
}

/// The report of this name.
///
/// # Errors
/// [`Error::NoReport`].
pub fn find(name: &str) -> Result<&'static Report> {
    all().get(name).ok_or_else(|| Error::NoReport(name.to_owned()))
}

impl Report {
    /// Reads a report's file.
    ///
    /// # Errors
    /// Says what is wrong with the header.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut report = Self {
            name: name.to_owned(),
            title: String::new(),
            question: String::new(),
            params: Vec::new(),
            sql: String::new(),
        };
        for line in text.lines() {
            let Some(comment) = line.strip_prefix("--").map(str::trim) else { continue };
            if let Some(title) = comment.strip_prefix("title:") {
                report.title = title.trim().to_owned();
            } else if let Some(question) = comment.strip_prefix("question:") {
                report.question = question.trim().to_owned();
            } else if let Some(param) = comment.strip_prefix("param ") {
                report.params.push(Param::parse(param.trim())?);
            }
        }
        report.sql = text.trim().trim_end_matches(';').to_owned();
        if report.title.is_empty() || report.question.is_empty() {
            return Err("the header needs a title and a question".into());
        }
        Ok(report)
    }

    /// The values of its placeholders: what was given, else the defaults.
    ///
    /// # Errors
    /// Names a parameter that it doesn't have, or a value of the wrong type.
    pub fn bind(&self, given: &[(String, String)]) -> Result<Parameters> {
        for (place, (name, _)) in given.iter().enumerate() {
            if !self.params.iter().any(|param| param.name == *name) {
                let names: Vec<String> = self.params.iter().map(|param| param.name.clone()).collect();
                let known =
                    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
                let near = near::clause(name, &names);
                return Err(Error::Refused(format!("report {:?} has no parameter {name:?}{near}; {known}", self.name)));
            }
            if given[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Refused(format!("parameter {name:?} is given twice")));
            }
        }
        let bound = self.params.iter().map(|param| {
            let text =
                given.iter().find(|(name, _)| *name == param.name).map_or(param.default.as_str(), |(_, text)| text);
            let value = param.kind.value(text).ok_or_else(|| {
                Error::Refused(format!("parameter {:?} must be {}, not {text:?}", param.name, param.kind.expected()))
            })?;
            Ok((param.name.clone(), value))
        });
        bound.collect()
    }
}

impl Param {
    /// `name type default label`, the default quoted with `'` if it is empty or has spaces.
    fn parse(line: &str) -> Result<Self, String> {
        let wrong = || format!("a parameter is `name type default label`, not {line:?}");
        let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
        let (kind, rest) = rest.trim_start().split_once(' ').ok_or_else(wrong)?;
        let kind = Kind::parse(kind).ok_or_else(|| format!("parameter {name} has the unknown type {kind:?}"))?;
        let rest = rest.trim_start();
        let (default, label) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or_else(wrong)?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        if kind.value(default).is_none() {
            return Err(format!("the default of parameter {name} must be {}, not {default:?}", kind.expected()));
        }
        Ok(Self { name: name.to_owned(), kind, default: default.to_owned(), label: label.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- title: T\n-- question: Q?\n-- param city text '' City; empty for all\n-- param n int 1 At least\n-- param since date 2026-01-01 From\nSELECT $city, $n, $since;\n";

    #[test]
    fn each_report_has_a_sound_header() {
        for (name, text) in FILES {
            Report::parse(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(all().len(), FILES.len());
    }

    #[test]
    fn a_header_says_what_to_ask_with() {
        let report = Report::parse("r", TEXT).unwrap();
        assert_eq!((report.title.as_str(), report.question.as_str()), ("T", "Q?"));
        let params: Vec<_> =
            report.params.iter().map(|p| (p.name.as_str(), p.kind, p.default.as_str(), p.label.as_str())).collect();
        let expected = [
            ("city", Kind::Text, "", "City; empty for all"),
            ("n", Kind::Int, "1", "At least"),
            ("since", Kind::Date, "2026-01-01", "From"),
        ];
        assert_eq!(params, expected);
        for (text, error) in [
            ("SELECT 1", "title"),
            ("-- title: T\n-- question: Q\n-- param n number 1 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n int x y\nSELECT 1", "whole number"),
            ("-- title: T\n-- question: Q\n-- param n\nSELECT 1", "name type default label"),
        ] {
            assert!(Report::parse("r", text).unwrap_err().contains(error), "{text}");
        }
    }

    #[test]
    fn parameters_are_checked_by_name_and_type() {
        let report = Report::parse("r", TEXT).unwrap();
        let bound = report.bind(&[("n".into(), "5".into())]).unwrap();
        assert_eq!(bound[1], ("n".into(), ScalarValue::Int64(Some(5))));
        assert_eq!(bound[2], ("since".into(), ScalarValue::Date32(Some(20_454))));
        for (given, error) in [
            (vec![("town", "x")], "has no parameter \"town\""),
            (vec![("n", "1.5")], "must be a whole number, not \"1.5\""),
            (vec![("since", "yesterday")], "must be a date as YYYY-MM-DD"),
            (vec![("n", "1"), ("n", "2")], "given twice"),
        ] {
            let given: Vec<(String, String)> = given.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
            assert!(report.bind(&given).unwrap_err().to_string().contains(error), "{given:?}");
        }
    }
}
