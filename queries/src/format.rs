//! Answers as bytes: JSON, NDJSON, CSV, Arrow IPC, Parquet; or for people: a table, Markdown, a page of HTML.

use crate::page::Page;
use crate::present::{Shape, present, schema};
use crate::{Error, Result, markdown};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited, Writer, WriterBuilder};
use datafusion::arrow::util::pretty::pretty_format_batches;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Rows that a table or a page for people may have; it is made as a whole, since each row widens the columns,
/// and the chart stands above them.
const TABLE_ROWS_MAX: usize = 10_000;
/// Rows that Parquet gathers before it writes them.
const ROW_GROUP_ROWS: usize = 65_536;

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
    /// A Parquet file, compressed with zstd.
    Parquet,
    /// A table in GitHub's Markdown.
    Markdown,
    /// One HTML file, with the chart where there is one.
    Html,
}

impl Format {
    /// All of them, the default first.
    pub const ALL: [Self; 8] =
        [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow, Self::Table, Self::Parquet, Self::Markdown, Self::Html];

    /// Its name, as `?format=` and `--format` have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Table => "table",
            Self::Parquet => "parquet",
            Self::Markdown => "markdown",
            Self::Html => "html",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Its media type with what belongs to it, as an answer has it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Table => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8; variant=GFM",
            Self::Html => "text/html; charset=utf-8",
            other => other.media_type(),
        }
    }

    /// Its media type, as asked for and answered.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Table => "text/plain",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
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
            Self::Arrow | Self::Parquet => Shape::Plain,
            Self::Json | Self::Ndjson => Shape::Json,
            Self::Csv | Self::Table | Self::Markdown => Shape::Cells,
            Self::Html => Shape::Lines,
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
    Csv {
        has_header: bool,
    },
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Table(Vec<RecordBatch>, usize),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    /// What stands in front of the first row, until that comes.
    Markdown(Option<String>),
    Html(Box<Page>, Vec<RecordBatch>, usize),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?})", self.shape)
    }
}

fn failed(error: ArrowError) -> Error {
    Error::Internal(format!("the answer can't be written: {error}"))
}

/// Parquet lacks some types that a query may give (intervals, for one): the asker can cast them.
fn unfit(error: ParquetError) -> Error {
    Error::Refused(format!("the answer can't be written as Parquet: {error}"))
}

/// Keeps rows for what is made as a whole.
fn keep(batches: &mut Vec<RecordBatch>, rows: &mut usize, batch: RecordBatch) -> Result<Vec<u8>> {
    *rows += batch.num_rows();
    if *rows > TABLE_ROWS_MAX {
        let detail = format!(
            "a table or page has at most {TABLE_ROWS_MAX} rows; ask for csv, ndjson, json, markdown or parquet"
        );
        return Err(Error::Refused(detail));
    }
    batches.push(batch);
    Ok(Vec::new())
}

impl Encoder {
    /// For an answer with these columns.
    ///
    /// # Errors
    /// As [`Self::of_page`].
    pub fn new(format: Format, columns: &SchemaRef) -> Result<Self> {
        Self::of_page(format, columns, Page::default())
    }

    /// The same, with what Markdown and HTML put around it.
    ///
    /// # Errors
    /// If a column has a type that the format can't hold.
    pub fn of_page(format: Format, columns: &SchemaRef, page: Page) -> Result<Self> {
        let shape = format.shape();
        let schema = schema(columns, shape).map_err(failed)?;
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        let writer = match format {
            Format::Json => Sink::Json(Box::new(json().build(Vec::new()))),
            Format::Ndjson => Sink::Ndjson(Box::new(json().build(Vec::new()))),
            Format::Csv => Sink::Csv { has_header: false },
            Format::Arrow => Sink::Arrow(Box::new(StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?)),
            Format::Table => Sink::Table(Vec::new(), 0),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(unfit)?))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(unfit)?;
                Sink::Parquet(Box::new(writer))
            }
            Format::Markdown => Sink::Markdown(Some(markdown::head(&page, &schema))),
            Format::Html => Sink::Html(Box::new(page), Vec::new(), 0),
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
            Sink::Table(batches, rows) | Sink::Html(_, batches, rows) => keep(batches, rows, batch),
            Sink::Parquet(writer) => {
                writer.write(&batch).map_err(unfit)?;
                // Row groups that are done; the writer counts by itself how far it is in the file.
                writer.sync().map_err(|error| Error::Internal(error.to_string()))?;
                Ok(std::mem::take(writer.inner_mut()))
            }
            Sink::Markdown(head) => {
                let rows = markdown::rows(&batch).map_err(failed)?;
                Ok((head.take().unwrap_or_default() + &rows).into_bytes())
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
            Sink::Parquet(writer) => writer.into_inner().map_err(unfit),
            Sink::Markdown(head) => Ok(head.unwrap_or_default().into_bytes()),
            Sink::Html(page, mut batches, _) => {
                if batches.is_empty() {
                    batches.push(RecordBatch::new_empty(self.schema));
                }
                Ok(page.html(&batches).map_err(failed)?.into_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_formats_are_one_to_one() {
        for format in Format::ALL {
            assert_eq!(Format::named(format.name()), Some(format));
            assert!(format.content_type().starts_with(format.media_type()));
        }
        assert_eq!(Format::named("JSON"), None);
    }

    #[test]
    fn parquet_comes_in_pieces_that_make_a_whole_file() {
        use datafusion::arrow::array::Int64Array;
        use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
        let of = |from: i64| {
            let values = Int64Array::from_iter_values(from..from + 50_000);
            RecordBatch::try_from_iter([("n", std::sync::Arc::new(values) as _)]).unwrap()
        };
        let mut encoder = Encoder::new(Format::Parquet, &of(0).schema()).unwrap();
        let mut file = Vec::new();
        let mut early = 0;
        for part in 0..4 {
            file.extend(encoder.rows(&of(part * 50_000)).unwrap());
            early = file.len();
        }
        assert!(early > 100_000, "only {early} bytes before the end");
        file.extend(encoder.finish().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
        let mut next = 0;
        for batch in reader {
            let batch = batch.unwrap();
            let values = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            for value in values.values() {
                assert_eq!(*value, next);
                next += 1;
            }
        }
        assert_eq!(next, 200_000);
        let empty = Encoder::new(Format::Parquet, &of(0).schema()).unwrap().finish().unwrap();
        assert_eq!(
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(empty)).unwrap().schema().fields().len(),
            1
        );
    }

    #[test]
    fn the_accept_header_chooses() {
        for (accept, format) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("text/csv"), Some(Format::Csv)),
            (Some("text/turtle, application/x-ndjson;q=0.5, text/csv;q=0.4"), Some(Format::Ndjson)),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some(Format::Html)),
            (Some("text/markdown"), Some(Format::Markdown)),
            (Some("application/vnd.apache.parquet"), Some(Format::Parquet)),
            (Some("application/vnd.apache.arrow.stream"), Some(Format::Arrow)),
            (Some("text/plain; charset=utf-8"), Some(Format::Table)),
            (Some("application/json;q=0"), None),
            (Some("image/png"), None),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }
}
