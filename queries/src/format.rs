//! Answers as bytes: JSON, NDJSON, CSV, Arrow IPC, or a table for people.

use crate::present::{Shape, present, schema};
use crate::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited, Writer, WriterBuilder};
use datafusion::arrow::util::pretty::pretty_format_batches;

/// Rows that a table for people may have; it is made as a whole, since each row widens the columns.
const TABLE_ROWS_MAX: usize = 10_000;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One array of row objects.
    Json,
    /// One row object a line.
    Ndjson,
    /// RFC 4180, with a header line; NULL is empty.
    Csv,
    /// Arrow's stream format.
    Arrow,
    /// A table drawn with characters.
    Table,
}

impl Format {
    /// All of them, the default first.
    pub const ALL: [Self; 5] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow, Self::Table];

    /// Its media type, as asked for and answered.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Table => "text/plain",
        }
    }

    /// What an `Accept` header asks for: the one that it likes best, JSON if it likes any; `None` if
    /// it likes none of them.
    pub fn accepted(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Some(Self::Json) };
        let mut best: Option<(f32, Self)> = None;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            let format = match name.as_str() {
                "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Csv),
                "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
                name => Self::ALL.into_iter().find(|format| format.media_type() == name),
            };
            if let Some(format) = format
                && quality > best.map_or(0.0, |(quality, _)| quality)
            {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
    }

    const fn shape(self) -> Shape {
        match self {
            Self::Arrow => Shape::Plain,
            Self::Json | Self::Ndjson => Shape::Json,
            Self::Csv | Self::Table => Shape::Cells,
        }
    }
}

/// Writes one answer, batch by batch.
pub struct Encoder {
    schema: SchemaRef,
    shape: Shape,
    writer: Sink,
}

enum Sink {
    Json(Box<Writer<Vec<u8>, JsonArray>>),
    Ndjson(Box<Writer<Vec<u8>, LineDelimited>>),
    Csv { has_header: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Table(Vec<RecordBatch>, usize),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?})", self.shape)
    }
}

fn failed(error: ArrowError) -> Error {
    Error::Internal(format!("the answer can't be written: {error}"))
}

impl Encoder {
    /// For an answer with these columns.
    ///
    /// # Errors
    /// If a column has a type that the format can't hold.
    pub fn new(format: Format, columns: &SchemaRef) -> Result<Self> {
        let shape = format.shape();
        let schema = schema(columns, shape).map_err(failed)?;
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        let writer = match format {
            Format::Json => Sink::Json(Box::new(json().build(Vec::new()))),
            Format::Ndjson => Sink::Ndjson(Box::new(json().build(Vec::new()))),
            Format::Csv => Sink::Csv { has_header: false },
            Format::Arrow => Sink::Arrow(Box::new(StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?)),
            Format::Table => Sink::Table(Vec::new(), 0),
        };
        Ok(Self { schema, shape, writer })
    }

    /// The bytes of these rows (a table gives all of its bytes at the end).
    ///
    /// # Errors
    /// If a value can't be written, or a table gets too long.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let batch = present(batch, self.shape).map_err(failed)?;
        self.write(batch)
    }

    fn write(&mut self, batch: RecordBatch) -> Result<Vec<u8>> {
        match &mut self.writer {
            Sink::Json(writer) => {
                writer.write(&batch).map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Sink::Ndjson(writer) => {
                writer.write(&batch).map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Sink::Csv { has_header } => {
                let mut writer = csv::WriterBuilder::new().with_header(!*has_header).build(Vec::new());
                writer.write(&batch).map_err(failed)?;
                *has_header = true;
                Ok(writer.into_inner())
            }
            Sink::Arrow(writer) => {
                writer.write(&batch).map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Sink::Table(batches, rows) => {
                *rows += batch.num_rows();
                if *rows > TABLE_ROWS_MAX {
                    let detail = format!("a table has at most {TABLE_ROWS_MAX} rows; ask for csv, ndjson or json");
                    return Err(Error::Refused(detail));
                }
                batches.push(batch);
                Ok(Vec::new())
            }
        }
    }

    /// The bytes after the last row.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn finish(mut self) -> Result<Vec<u8>> {
        if matches!(self.writer, Sink::Csv { has_header: false }) {
            return self.write(RecordBatch::new_empty(self.schema.clone()));
        }
        match self.writer {
            Sink::Json(mut writer) => {
                writer.finish().map_err(failed)?;
                let mut bytes = std::mem::take(writer.get_mut());
                bytes.push(b'\n');
                Ok(bytes)
            }
            Sink::Ndjson(mut writer) => {
                writer.finish().map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Sink::Csv { .. } => Ok(Vec::new()),
            Sink::Arrow(mut writer) => {
                writer.finish().map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Sink::Table(mut batches, _) => {
                if batches.is_empty() {
                    batches.push(RecordBatch::new_empty(self.schema));
                }
                Ok(format!("{}\n", pretty_format_batches(&batches).map_err(failed)?).into_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses() {
        for (accept, format) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("text/csv"), Some(Format::Csv)),
            (Some("text/html, application/x-ndjson;q=0.5, text/csv;q=0.4"), Some(Format::Ndjson)),
            (Some("application/vnd.apache.arrow.stream"), Some(Format::Arrow)),
            (Some("text/plain; charset=utf-8"), Some(Format::Table)),
            (Some("application/json;q=0"), None),
            (Some("image/png"), None),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }
}
