//! How a report's answer is drawn: the line `chart:` of its header.
//!
//! ```text
//! -- chart: KIND x=COLUMN[,COLUMN...] y=COLUMN[,COLUMN...] [by=COLUMN] [unit=percent]
//! ```
//!
//! KIND is `bar`, `line`, `stacked` or `share` (see [`charts::Kind`]). `x` names the rows (several columns
//! with a dot between) or places them in time, each `y` is a series. With `by`, there is one `y`, and each value of that column is a series of its own.
//! A test holds the columns against what the SQL gives.

use crate::present::{Shape, present};
use charts::{Chart, Series, Unit};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use std::collections::HashMap;

/// What is drawn of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drawing {
    /// `bar`, `line`, `stacked`, `share`.
    #[serde(serialize_with = "kind_name")]
    pub kind: charts::Kind,
    /// The columns that name a row, or the one that places it in time.
    pub x: Vec<String>,
    /// The columns of figures.
    pub y: Vec<String>,
    /// The column whose values are the series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether figures are shares of one, to be written as percent.
    pub percent: bool,
}

fn kind_name<S: serde::Serializer>(kind: &charts::Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

impl Drawing {
    /// Reads what follows `chart:`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let list = |columns: &str| columns.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut words = text.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let kinds = || charts::Kind::ALL.map(charts::Kind::name).join(", ");
        let kind = charts::Kind::named(kind).ok_or_else(|| format!("a chart is one of {}, not {kind:?}", kinds()))?;
        let mut drawing = Self { kind, x: Vec::new(), y: Vec::new(), by: None, percent: false };
        for word in words {
            match word.split_once('=') {
                Some(("x", columns)) => drawing.x = list(columns),
                Some(("y", columns)) => drawing.y = list(columns),
                Some(("by", column)) => drawing.by = Some(column.to_owned()),
                Some(("unit", "percent")) => drawing.percent = true,
                _ => return Err(format!("a chart has x=, y=, by= and unit=percent, not {word:?}")),
            }
        }
        let named = |columns: &[String]| !columns.is_empty() && !columns.iter().any(String::is_empty);
        if !named(&drawing.x) || !named(&drawing.y) {
            return Err("a chart needs x=COLUMN and y=COLUMN".into());
        }
        if drawing.by.is_some() && drawing.y.len() > 1 {
            return Err("a chart with by= has one y".into());
        }
        Ok(drawing)
    }

    /// Whether an answer with these columns can be drawn.
    ///
    /// # Errors
    /// Names a column that is missing, or is no number where one is needed.
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        for name in self.x.iter().chain(&self.by).chain(&self.y) {
            schema.field_with_name(name).map_err(|_| format!("the answer has no column {name:?} to draw"))?;
        }
        for name in &self.y {
            let field = schema.field_with_name(name).map_err(|error| error.to_string())?;
            if !field.data_type().is_numeric() {
                return Err(format!("column {name:?} is no number: {}", field.data_type()));
            }
        }
        Ok(())
    }

    /// The chart of these rows; `None` if they lack a column.
    pub fn chart(&self, title: &str, batches: &[RecordBatch]) -> Option<Chart> {
        let unit = if self.percent { Unit::Percent } else { Unit::Number };
        let columns = self.x.iter().map(|name| texts(batches, name)).collect::<Option<Vec<_>>>()?;
        let label = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" · ");
        let labels: Vec<String> = (0..columns.first()?.len()).map(label).collect();
        let chart = Chart { kind: self.kind, title: title.to_owned(), unit, ..Chart::default() };
        let Some(by) = &self.by else {
            let series = self.y.iter().map(|name| Some(Series { name: name.clone(), values: figures(batches, name)? }));
            return Some(Chart { labels, series: series.collect::<Option<_>>()?, ..chart });
        };
        let (names, values) = (texts(batches, by)?, figures(batches, self.y.first()?)?);
        let (labels, series) = spread(labels, names, &values);
        Some(Chart { labels, series, ..chart })
    }
}

/// Rows of label, series and value as one series for each name, those with the most first. A pair
/// that has no row counts as 0: reports count, and leave out what didn't happen.
fn spread(labels: Vec<String>, names: Vec<String>, values: &[f64]) -> (Vec<String>, Vec<Series>) {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept = Vec::new();
    let rows: Vec<usize> = labels
        .into_iter()
        .map(|label| {
            *places.entry(label.clone()).or_insert_with(|| {
                kept.push(label);
                kept.len() - 1
            })
        })
        .collect();
    let mut series: Vec<Series> = Vec::new();
    let mut found: HashMap<String, usize> = HashMap::new();
    for ((name, row), value) in names.into_iter().zip(rows).zip(values) {
        let place = *found.entry(name.clone()).or_insert_with(|| {
            series.push(Series { name, values: vec![0.0; kept.len()] });
            series.len() - 1
        });
        series[place].values[row] += value;
    }
    let sum = |series: &Series| series.values.iter().filter(|value| value.is_finite()).sum::<f64>();
    series.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    (kept, series)
}

fn texts(batches: &[RecordBatch], name: &str) -> Option<Vec<String>> {
    let options = FormatOptions::default();
    let mut texts = Vec::new();
    for batch in batches {
        let batch = present(batch, Shape::Cells).ok()?;
        let column = ArrayFormatter::try_new(batch.column_by_name(name)?.as_ref(), &options).ok()?;
        texts.extend((0..batch.num_rows()).map(|row| column.value(row).to_string()));
    }
    Some(texts)
}

fn figures(batches: &[RecordBatch], name: &str) -> Option<Vec<f64>> {
    let of = |batch: &RecordBatch| -> Result<Vec<f64>, ArrowError> {
        let missing = || ArrowError::SchemaError(name.to_owned());
        let column = cast(batch.column_by_name(name).ok_or_else(missing)?, &DataType::Float64)?;
        let column = column.as_primitive::<Float64Type>();
        Ok((0..column.len()).map(|row| if column.is_null(row) { f64::NAN } else { column.value(row) }).collect())
    };
    batches.iter().map(|batch| of(batch).ok()).collect::<Option<Vec<_>>>().map(|parts| parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_line_is_checked() {
        let drawing = Drawing::parse(" line x=day y=a,b unit=percent").unwrap();
        assert_eq!((drawing.kind, drawing.x.join(" "), drawing.y.len()), (charts::Kind::Line, "day".into(), 2));
        assert_eq!(Drawing::parse("bar x=a,b y=c").unwrap().x, ["a", "b"]);
        assert!(drawing.percent && drawing.by.is_none());
        for (text, error) in [
            ("", "a chart is one of bar, line, stacked, share, not \"\""),
            ("bar x=a, y=b", "needs x=COLUMN and y=COLUMN"),
            ("bar x=a", "needs x=COLUMN and y=COLUMN"),
            ("bar x=a y=b,", "needs x=COLUMN and y=COLUMN"),
            ("bar x=a y=b z=c", "not \"z=c\""),
            ("bar x=a y=b unit=miles", "not \"unit=miles\""),
            ("bar x=a y=b,c by=d", "one y"),
        ] {
            assert!(Drawing::parse(text).unwrap_err().contains(error), "{text}");
        }
    }

    #[test]
    fn a_long_table_is_spread_into_series() {
        let text = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (labels, series) = spread(text("d1 d1 d2 d3"), text("a b b b"), &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(labels, ["d1", "d2", "d3"]);
        assert_eq!(series[0], Series { name: "b".into(), values: vec![2.0, 3.0, 4.0] });
        assert_eq!(series[1], Series { name: "a".into(), values: vec![1.0, 0.0, 0.0] });
    }
}
