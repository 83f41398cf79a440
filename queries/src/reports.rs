//! Reports: questions that were asked before, each a `.sql` file with a header that says what it
//! answers and what it may be asked with.
//!
//! ```text
//! -- title: First blood rate by champion
//! -- question: Which champion draws first blood most often?
//! -- param city text '' City in English; empty for all
//! -- chart: bar x=champion y=rate unit=percent
//! SELECT ... WHERE ($city = '' OR geo_city = $city)
//! ```
//!
//! Parameters are bound as placeholders, never written into the text. [`Drawing`] says what `chart:` takes.

mod drawing;
mod param;

pub use drawing::Drawing;
pub use param::{Bound, Kind, Param};

use crate::engine::FRESHNESS;
use crate::page::Page;
use crate::{Error, Parameters, Question, Result, Viewer, near};
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
    /// How its answer is drawn, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<Drawing>,
    /// One SELECT.
    #[serde(skip)]
    pub sql: String,
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
            chart: None,
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
            } else if let Some(chart) = comment.strip_prefix("chart:") {
                report.chart = Some(Drawing::parse(chart)?);
            }
        }
        report.sql = text.trim().trim_end_matches(';').to_owned();
        if report.title.is_empty() || report.question.is_empty() {
            return Err("the header needs a title and a question".into());
        }
        Ok(report)
    }

    /// What a parameter is, given or not, as text.
    pub fn text<'a>(&self, param: &'a Param, given: &'a [(String, String)]) -> &'a str {
        given.iter().find(|(name, _)| *name == param.name).map_or(param.default.as_str(), |(_, text)| text)
    }

    /// The values of its placeholders: what was given, else the defaults.
    ///
    /// # Errors
    /// Names all parameters that it doesn't have, that are given twice, or whose value isn't one that they take.
    pub fn bind(&self, given: &[(String, String)]) -> Result<Parameters> {
        let faults = self.faults(given);
        if !faults.is_empty() {
            return Err(Error::Refused(faults.join("; ")));
        }
        let bound = self.params.iter().map(|param| {
            let value = param.value(self.text(param, given));
            value.map(|value| (param.name.clone(), value)).map_err(Error::Refused)
        });
        bound.collect()
    }

    /// All that is wrong with what is given, each in one line.
    pub fn faults(&self, given: &[(String, String)]) -> Vec<String> {
        let names: Vec<String> = self.params.iter().map(|param| param.name.clone()).collect();
        let fault = |(place, (name, text)): (usize, &(String, String))| {
            let Some(param) = self.params.iter().find(|param| param.name == *name) else {
                let known =
                    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
                let near = near::clause(name, &names);
                return Some(format!("report {:?} has no parameter {name:?}{near}; {known}", self.name));
            };
            if given[..place].iter().any(|(earlier, _)| earlier == name) {
                return Some(format!("parameter {name:?} is given twice"));
            }
            param.value(text).err()
        };
        given.iter().enumerate().filter_map(fault).collect()
    }

    /// The question that it asks with these parameters, and the page that its answer may become.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn asked(&self, given: &[(String, String)], viewer: &Viewer) -> Result<(Question, Page)> {
        // The report on freshness has the ages themselves.
        let is_report = self.name != FRESHNESS;
        let question = Question { is_report, ..Question::new(&self.sql, self.bind(given)?, viewer) };
        let made = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Ok((question, Page::of(self, given, made)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::ScalarValue;

    const TEXT: &str = "-- title: T\n-- question: Q?\n-- param city text '' City; empty for all\n-- param n int 1 At least\n-- param since date 2026-01-01 From\n-- param at time 2026-01-01T00:00:00Z At\n-- param by one-of(x,y) x By\n-- param most int(0..9) 5 Most\n-- param share float(0.5..) 1 Share\n-- chart: bar x=a y=b\nSELECT $city, $n, $since, $at, $by;\n";

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
            ("at", Kind::Time, "2026-01-01T00:00:00Z", "At"),
            ("by", Kind::OneOf, "x", "By"),
            ("most", Kind::Int, "5", "Most"),
            ("share", Kind::Float, "1", "Share"),
        ];
        assert_eq!(params, expected);
        let bounds: Vec<_> = report.params.iter().map(|param| (param.min, param.max)).skip(4).collect();
        let expected = [(None, None), (Some(Bound::Int(0)), Some(Bound::Int(9))), (Some(Bound::Float(0.5)), None)];
        assert_eq!(bounds, expected);
        let listed = serde_json::to_value(&report.params[5..]).unwrap();
        assert_eq!((&listed[0]["max"], &listed[1]["min"], listed[1].get("max")), (&9.into(), &0.5.into(), None));
        for (text, error) in [
            ("SELECT 1", "title"),
            ("-- title: T\n-- question: Q\n-- param n number 1 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n int x y\nSELECT 1", "whole number"),
            ("-- title: T\n-- question: Q\n-- param n\nSELECT 1", "name type default label"),
            ("-- title: T\n-- question: Q\n-- param n one-of(a,b) c x\nSELECT 1", "one of a, b, not \"c\""),
            ("-- title: T\n-- question: Q\n-- param n one-of() '' x\nSELECT 1", "unknown type"),
            (
                "-- title: T\n-- question: Q\n-- param n int(1..) 0 x\nSELECT 1",
                "a whole number of 1 or more, not \"0\"",
            ),
            ("-- title: T\n-- question: Q\n-- param n int(2..1) 2 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n int(0.5..) 2 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n int(..) 2 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n int(1) 2 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param n text(1..2) 1 x\nSELECT 1", "unknown type"),
            ("-- title: T\n-- question: Q\n-- param format text '' x\nSELECT 1", "reserved"),
            ("-- title: T\n-- question: Q\n-- chart: pie x=a y=b\nSELECT 1", "bar, line, stacked, share"),
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
            (vec![("at", "2026-01-01")], "must be a time as 2026-01-31T18:00:00Z"),
            (vec![("by", "z")], "parameter \"by\" must be one of x, y, not \"z\""),
            (vec![("n", "1"), ("n", "2")], "given twice"),
            (vec![("most", "-1")], "parameter \"most\" must be a whole number from 0 to 9, not \"-1\""),
            (vec![("most", "10")], "from 0 to 9, not \"10\""),
            (vec![("share", "0.4")], "parameter \"share\" must be a number of 0.5 or more, not \"0.4\""),
            (vec![("share", "NaN")], "of 0.5 or more, not \"NaN\""),
            // All of it at once.
            (vec![("n", "x"), ("most", "-1")], "not \"x\"; parameter \"most\" must be"),
        ] {
            let given: Vec<(String, String)> = given.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
            assert!(report.bind(&given).unwrap_err().to_string().contains(error), "{given:?}");
        }
        for most in ["0", "9"] {
            assert!(report.bind(&[("most".into(), most.into())]).is_ok(), "{most}");
        }
    }

    /// What has no bound takes nonsense.
    #[test]
    fn each_number_of_a_report_has_bounds() {
        let params = all().values().flat_map(|report| report.params.iter().map(move |param| (&report.name, param)));
        for (report, param) in params.filter(|(_, param)| matches!(param.kind, Kind::Int | Kind::Float)) {
            assert!(param.min.is_some(), "{report} {}", param.name);
        }
    }
}
