//! What runs a report: handed in, since this crate knows neither tables nor SQL.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// How an output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A header and one line a row.
    #[default]
    Csv,
    /// One array of row objects.
    Json,
    /// One row object a line.
    Ndjson,
    /// Parquet.
    Parquet,
    /// A table in Markdown.
    Markdown,
    /// A page with charts, in one file.
    Html,
    /// Aligned text.
    Table,
}

impl Format {
    /// The end of its files' names.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Table => "txt",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Table => "text/plain",
        }
    }
}

/// A report to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub report: String,
    /// What it is asked with.
    pub params: Vec<(String, String)>,
    /// How the output is to be written.
    pub format: Format,
}

/// What a report gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The whole output in the format asked for.
    pub bytes: Bytes,
    /// Rows in it, without a header.
    pub rows: u64,
}

/// Runs reports.
#[async_trait]
pub trait Runner: Debug + Send + Sync + 'static {
    /// Runs one to its end. May be called again for the same tick, and given up in between.
    ///
    /// # Errors
    /// Why there is no output, in one line; it is tried again a few times.
    async fn run(&self, request: &Request) -> Result<Output, String>;
}
