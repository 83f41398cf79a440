//! What the pages show, and who is asked for it.
//!
//! The dashboard knows neither SQL engine nor tables: a [`Source`] answers in the types of this
//! module, so that pages are tested without a server.

use async_trait::async_trait;
use axum::response::Response;
use edge::{Principal, Problem};
use events::log::Record;
use serde_json::Value;
use std::time::Duration;

/// An answer as rows of cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Its columns, in order. Names may repeat.
    pub columns: Vec<Column>,
    /// Its rows; each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Whether the answer had more rows than were asked for.
    pub more: bool,
    /// What to know about the values, a sentence each.
    pub warnings: Vec<String>,
    /// How it is drawn, if it is a report's that says so.
    pub chart: Option<charts::Chart>,
    /// How long ago the newest event was received that it could know of, in seconds; reports only.
    pub freshness_s: Option<f64>,
}

impl Table {
    /// The place of the column of this name.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its cells are set.
    pub kind: Kind,
}

/// How the cells of a column are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the left, as it is.
    Text,
    /// To the right, in groups of three digits.
    Number,
    /// RFC 3339 in UTC, with a blank for the T.
    Time,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// The value as text; numbers in decimal, times in RFC 3339.
    Text(String),
    /// A list of texts: a transcript, evidence.
    Lines(Vec<String>),
    /// Bytes that may be no text.
    Bytes(Vec<u8>),
}

impl Cell {
    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Lines(_) | Self::Bytes(_) => None,
        }
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        self.text()?.parse().ok()
    }
}

/// A report that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name, as in its address.
    pub name: String,
    /// In a few words.
    pub title: String,
    /// The question that it answers.
    pub question: String,
    /// What it may be asked with.
    pub params: Vec<Param>,
}

/// A parameter of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, as in the address.
    pub name: String,
    /// What it means.
    pub label: String,
    /// What it is when it isn't given.
    pub default: String,
    /// What is typed in.
    pub input: Input,
}

/// What is typed in for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Any text.
    Text,
    /// A whole number, between these bounds.
    Whole(Bounds),
    /// A number, between these bounds.
    Number(Bounds),
    /// A date.
    Date,
    /// One of these.
    Choice(Vec<String>),
}

/// The least and the most that a number may be, in digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The least, if there is one.
    pub min: Option<String>,
    /// The most, if there is one.
    pub max: Option<String>,
}

/// What is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A report with its parameters.
    Report(String, Vec<(String, String)>),
    /// A statement.
    Sql(String),
}

/// A format for downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Its word in the address, and the file's ending.
    pub name: &'static str,
    /// On its button.
    pub label: &'static str,
}

/// A table of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Rows in its newest version, where counted.
    pub rows: Option<u64>,
    /// Bytes of its files, where known.
    pub bytes: Option<u64>,
    /// When its newest event was received, RFC 3339.
    pub newest: Option<String>,
    /// Its columns.
    pub columns: Vec<ColumnInfo>,
}

/// A column of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name in SQL.
    pub name: String,
    /// Its type in SQL's words.
    pub kind: String,
    /// What it means, where the schema says so.
    pub meaning: Option<String>,
    /// What to know about its values, where there is something.
    pub note: Option<String>,
}

/// The books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Answered by ingest as accepted.
    pub acknowledged: u64,
    /// Read from raw by processors.
    pub accepted: u64,
    /// Rows of event tables.
    pub delivered: u64,
    /// Dropped as having come before, with the same data.
    pub duplicates: u64,
    /// Come before, with other data.
    pub conflicts: u64,
    /// Other dead letters.
    pub dead: u64,
    /// On their way.
    pub in_flight: u64,
    /// Deleted by the log's owner before they were read.
    pub expired: u64,
    /// Whether there is no problem.
    pub balanced: bool,
}

/// What a statement may take, for the page that states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of a statement, in bytes.
    pub sql_bytes: usize,
    /// Rows of an answer.
    pub rows: usize,
    /// Time of an answer.
    pub time: Duration,
}

/// Who answers what the pages ask. Errors are shown as they are: they must be fit for whoever asks.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What a statement may take.
    fn limits(&self) -> Limits;

    /// All reports, in the order in which they are listed.
    fn reports(&self) -> Vec<Report>;

    /// Whether a parameter takes this value; the error says what it takes.
    fn check(&self, report: &str, parameter: &str, value: &str) -> Result<(), String>;

    /// Runs a report; no more than `rows` of its rows are answered.
    async fn report(
        &self,
        name: &str,
        given: &[(String, String)],
        viewer: &Principal,
        rows: usize,
    ) -> Result<Table, Problem>;

    /// Runs a statement, with texts for its placeholders (`$name`); no more than `rows` of its rows are answered.
    async fn query(&self, sql: &str, texts: &[(&str, &str)], viewer: &Principal, rows: usize)
    -> Result<Table, Problem>;

    /// The formats that [`Self::download`] knows.
    fn formats(&self) -> Vec<Format>;

    /// A whole answer in one of [`Self::formats`], with its content type.
    async fn download(&self, ask: &Ask, format: &str, viewer: &Principal) -> Result<Response, Problem>;

    /// Every table.
    async fn catalogue(&self) -> Result<Vec<TableInfo>, Problem>;

    /// The books. Costs much: ask rarely.
    async fn books(&self) -> Result<Books, Problem>;

    /// A record of a clean topic as the event that it is (`{"type", "id", ..., "data"}`), with what is personal
    /// taken out for those who may not see it.
    fn event(&self, record: &Record, viewer: &Principal) -> Value;
}
