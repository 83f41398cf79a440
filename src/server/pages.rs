//! The dashboard's source: what its pages ask, answered by the query engine.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use dashboard::{Ask, Bounds, Cell, Column, ColumnInfo, Input, Kind, Limits, Param, Source, Table, TableInfo};
use edge::{Principal, Problem};
use events::log::Record;
use events::schema::SharedRegistry;
use futures::{StreamExt as _, stream};
use queries::audit::Books;
use queries::format::{Encoder, Format};
use queries::page::Page;
use queries::{Answer, Engine, Error, Parameters, Question, Viewer, catalogue, reports, view};
use serde_json::Value;

/// Formats to download, with their file's ending and what stands on the button.
const FORMATS: [(Format, &str, &str); 7] = [
    (Format::Csv, "csv", "CSV"),
    (Format::Json, "json", "JSON"),
    (Format::Ndjson, "ndjson", "NDJSON"),
    (Format::Arrow, "arrow", "Arrow"),
    (Format::Parquet, "parquet", "Parquet"),
    (Format::Markdown, "md", "Markdown"),
    (Format::Html, "html", "HTML"),
];

/// What the pages of this process are answered from.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) engine: Engine,
    pub(crate) books: Books,
    pub(crate) registry: SharedRegistry,
}

impl Pages {
    async fn answer(&self, question: Question) -> Result<Answer, Problem> {
        self.engine.ask(question).await.map_err(|error| error.to_problem())
    }
}

#[async_trait]
impl Source for Pages {
    fn limits(&self) -> Limits {
        let config = self.engine.config();
        Limits { sql_bytes: config.sql_bytes_max, rows: config.rows_max, time: config.time_limit }
    }

    fn reports(&self) -> Vec<dashboard::Report> {
        reports::all().values().map(report).collect()
    }

    fn check(&self, report: &str, parameter: &str, value: &str) -> Result<(), String> {
        let report = reports::find(report).map_err(|error| error.to_string())?;
        let bound = report.bind(&[(parameter.to_owned(), value.to_owned())]);
        bound.map(drop).map_err(|error| error.to_string())
    }

    async fn report(
        &self,
        name: &str,
        given: &[(String, String)],
        viewer: &Principal,
        rows: usize,
    ) -> Result<Table, Problem> {
        let problem = |error: Error| error.to_problem();
        let report = reports::find(name).map_err(problem)?;
        let (question, _) = report.asked(given, &Viewer::of(viewer)).map_err(problem)?;
        let has_freshness = question.is_report;
        let (mut table, batches) = first(self.answer(question).await?, rows).await.map_err(problem)?;
        table.chart = report.chart.as_ref().and_then(|drawing| drawing.chart(&report.title, &batches));
        if has_freshness {
            // The same on each row: a page says it once.
            table.columns.pop();
            table.freshness_s = table.rows.iter_mut().filter_map(Vec::pop).last().and_then(|cell| cell.number());
        }
        Ok(table)
    }

    async fn query(
        &self,
        sql: &str,
        texts: &[(&str, &str)],
        viewer: &Principal,
        rows: usize,
    ) -> Result<Table, Problem> {
        let question = Question::new(sql, view::texts(texts), &Viewer::of(viewer));
        let first = first(self.answer(question).await?, rows).await;
        first.map(|(table, _)| table).map_err(|error| error.to_problem())
    }

    fn formats(&self) -> Vec<dashboard::Format> {
        FORMATS.map(|(_, name, label)| dashboard::Format { name, label }).into()
    }

    async fn download(&self, ask: &Ask, format: &str, viewer: &Principal) -> Result<Response, Problem> {
        let known = FORMATS.iter().find(|(_, name, _)| *name == format);
        let (format, ..) = known.ok_or_else(|| Problem::not_found(format!("no format {format:?}")))?;
        let problem = |error: Error| error.to_problem();
        let viewer = Viewer::of(viewer);
        let (question, page) = match ask {
            Ask::Sql(sql) => (Question::new(sql, Parameters::new(), &viewer), Page::default()),
            Ask::Report(name, given) => {
                reports::find(name).and_then(|report| report.asked(given, &viewer)).map_err(problem)?
            }
        };
        let answer = self.answer(question).await?;
        let encoder = Encoder::of_page(*format, answer.schema(), page).map_err(problem)?;
        let body = Body::from_stream(encoded(answer, encoder));
        Ok(([("content-type", format.content_type())], body).into_response())
    }

    async fn catalogue(&self) -> Result<Vec<TableInfo>, Problem> {
        let registry = self.registry.current();
        let tables = view::described(&self.engine).await.map_err(|error| error.to_problem())?;
        let column = |table: &str, column: &catalogue::Column| ColumnInfo {
            name: column.column.clone(),
            kind: column.data_type.clone(),
            meaning: view::meaning(&registry, table, column),
            note: column.note.clone(),
        };
        let table = |(table, bytes): (catalogue::Table, Option<u64>)| TableInfo {
            rows: table.rows,
            bytes,
            columns: table.columns.iter().map(|described| column(&table.table, described)).collect(),
            name: table.table,
            newest: table.newest,
        };
        Ok(tables.into_iter().map(table).collect())
    }

    async fn books(&self) -> Result<dashboard::Books, Problem> {
        let audit = queries::audit(&self.engine, &self.books).await.map_err(|error| error.to_problem())?;
        let sums = audit.sums;
        Ok(dashboard::Books {
            acknowledged: sums.acknowledged,
            accepted: sums.accepted,
            delivered: sums.delivered,
            duplicates: sums.duplicates,
            conflicts: sums.conflicts,
            dead: sums.dead,
            in_flight: sums.in_flight,
            expired: sums.expired,
            balanced: audit.balanced,
        })
    }

    fn event(&self, record: &Record, viewer: &Principal) -> Value {
        view::event(&self.registry.current(), record, &Viewer::of(viewer))
    }
}

/// An answer as it is written, part by part.
fn encoded(answer: Answer, encoder: Encoder) -> impl stream::Stream<Item = Result<Vec<u8>, Error>> {
    let parts = stream::unfold(Some((answer, encoder)), async |state| {
        let (mut answer, mut encoder) = state?;
        match answer.next().await {
            Some(Ok(batch)) => match encoder.rows(&batch) {
                Ok(bytes) => Some((Ok(bytes), Some((answer, encoder)))),
                Err(error) => Some((Err(error), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((encoder.finish(), None)),
        }
    });
    // Nothing to send is no end of the answer, and no part of it.
    parts.filter(|part| std::future::ready(!matches!(part, Ok(bytes) if bytes.is_empty())))
}

fn bounds(param: &reports::Param) -> Bounds {
    let digits = |bound: Option<reports::Bound>| bound.map(|bound| bound.to_string());
    Bounds { min: digits(param.min), max: digits(param.max) }
}

fn report(report: &reports::Report) -> dashboard::Report {
    let param = |param: &reports::Param| Param {
        name: param.name.clone(),
        label: param.label.clone(),
        default: param.default.clone(),
        input: match param.kind {
            reports::Kind::Text => Input::Text,
            reports::Kind::Int => Input::Whole(bounds(param)),
            reports::Kind::Float => Input::Number(bounds(param)),
            reports::Kind::Bool => Input::Choice(vec!["true".into(), "false".into()]),
            reports::Kind::Date => Input::Date,
            reports::Kind::Time => Input::Text,
            reports::Kind::OneOf => Input::Choice(param.choices.clone()),
        },
    };
    dashboard::Report {
        name: report.name.clone(),
        title: report.title.clone(),
        question: report.question.clone(),
        params: report.params.iter().map(param).collect(),
    }
}

/// The first rows of an answer, as cells and as they are.
async fn first(mut answer: Answer, rows: usize) -> Result<(Table, Vec<RecordBatch>), Error> {
    let fields = answer.schema().fields().clone();
    let columns = fields.iter().map(|field| Column { name: field.name().clone(), kind: kind(field.data_type()) });
    let mut table = Table { columns: columns.collect(), ..Table::default() };
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        let room = rows - table.rows.len();
        table.more = batch.num_rows() > room;
        let batch = batch.slice(0, room.min(batch.num_rows()));
        cells(&batch, &mut table.rows)?;
        batches.push(batch);
        if table.more {
            break;
        }
    }
    table.warnings = answer.warnings().to_vec();
    Ok((table, batches))
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Timestamp(..) => Kind::Time,
        data_type if data_type.is_numeric() => Kind::Number,
        _ => Kind::Text,
    }
}

/// Adds a batch's rows.
fn cells(batch: &RecordBatch, rows: &mut Vec<Vec<Cell>>) -> Result<(), Error> {
    let internal = |error: arrow::error::ArrowError| Error::Internal(error.to_string());
    let texts = view::cells(batch)?;
    let mut columns = Vec::new();
    let is_lines = |column: usize| match batch.column(column).data_type() {
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_string(),
        _ => false,
    };
    for (raw, shown) in batch.columns().iter().zip(texts.columns()) {
        columns.push(match raw.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                cast(raw, &DataType::LargeBinary).map_err(internal)?
            }
            _ => cast(shown, &DataType::LargeUtf8).map_err(internal)?,
        });
    }
    for row in 0..batch.num_rows() {
        let cell = |(place, column): (usize, &arrow::array::ArrayRef)| match column.data_type() {
            _ if column.is_null(row) => Cell::Null,
            DataType::LargeBinary => Cell::Bytes(column.as_binary::<i64>().value(row).to_vec()),
            _ => text(column.as_string::<i64>().value(row), is_lines(place)),
        };
        rows.push(columns.iter().enumerate().map(cell).collect());
    }
    Ok(())
}

/// A text, or the list of texts that it is the JSON of.
fn text(text: &str, is_lines: bool) -> Cell {
    let lines = is_lines.then(|| serde_json::from_str::<Vec<Option<String>>>(text).ok()).flatten();
    match lines {
        Some(lines) => Cell::Lines(lines.into_iter().flatten().collect()),
        None => Cell::Text(text.to_owned()),
    }
}
