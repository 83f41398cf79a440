//! Rows of an answer, in the format asked for.

use super::http::Client;
use super::style;
use crate::cli::Format;
use crate::exit::Failure;
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use reqwest::{RequestBuilder, Response};
use std::io::{IsTerminal as _, Write as _};

/// Header of an answer with what its reader should know: one warning each.
const WARNING: &str = "killfeed-warning";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Sends a request for rows, and prints them.
pub(crate) async fn print_rows(client: &Client, request: RequestBuilder, format: Format) -> Result<(), Failure> {
    let accept = match format {
        Format::Table => ARROW,
        Format::Csv => "text/csv",
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Markdown => "text/markdown",
        Format::Html => "text/html",
    };
    if format == Format::Parquet && std::io::stdout().is_terminal() {
        return Err(Failure::usage("Parquet is no text: send it to a file, as in `--format parquet >FILE`"));
    }
    let response = client.send(request.header("accept", accept)).await?;
    warn(&response)?;
    match format {
        Format::Table => {
            let body = response.bytes().await.map_err(|error| client.unreachable(&error))?;
            print_table(&body)
        }
        _ => copy(client, response, format != Format::Parquet).await,
    }
}

fn warn(response: &Response) -> Result<(), Failure> {
    for warning in response.headers().get_all(WARNING) {
        let text = String::from_utf8_lossy(warning.as_bytes());
        writeln!(anstream::stderr(), "{} {text}", style::paint(style::BAD, "warning:"))?;
    }
    Ok(())
}

/// Passes the answer through as it comes; ends text with a newline.
async fn copy(client: &Client, response: Response, is_text: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut last = b'\n';
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(|error| client.unreachable(&error))? {
        out.write_all(&chunk)?;
        last = chunk.last().copied().unwrap_or(last);
    }
    if is_text && last != b'\n' {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

fn print_table(body: &[u8]) -> Result<(), Failure> {
    let broken = |error: arrow::error::ArrowError| Failure::usage(format!("the answer is broken: {error}"));
    let reader = StreamReader::try_new(body, None).map_err(broken)?;
    let schema = reader.schema();
    let mut rows = Vec::new();
    for batch in reader {
        append_rows(&batch.map_err(broken)?, &mut rows).map_err(broken)?;
    }
    let head: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let numeric: Vec<bool> = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    let count = rows.len();
    style::table(&head, &numeric, rows)?;
    let rows = if count == 1 { "row" } else { "rows" };
    writeln!(anstream::stderr(), "{}", style::paint(style::FAINT, &format!("{count} {rows}")))?;
    Ok(())
}

fn append_rows(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), arrow::error::ArrowError> {
    let options = FormatOptions::default().with_null("");
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let mut cells = Vec::with_capacity(columns.len());
        for column in &columns {
            let text = column.value(row).try_to_string()?;
            cells.push(text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect());
        }
        rows.push(cells);
    }
    Ok(())
}
