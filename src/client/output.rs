//! Rows of an answer, in the format asked for.

use super::http::Client;
use super::style;
use crate::cli::Format;
use crate::exit::Failure;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use reqwest::{RequestBuilder, Response};
use std::fs::File;
use std::io::{IsTerminal as _, Write};

/// Header of an answer with what its reader should know: one warning each.
const WARNING: &str = "killfeed-warning";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Where answers go.
pub(crate) struct Out {
    to: Box<dyn Write + Send>,
    is_terminal: bool,
    has_colours: bool,
    /// Columns of the terminal.
    width: Option<u16>,
    /// Whether it holds an answer.
    is_used: bool,
}

impl Out {
    /// To whoever reads standard output.
    pub(crate) fn stdout() -> Self {
        let stdout = std::io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            has_colours: anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never,
            to: Box::new(stdout),
            width: style::terminal_width(),
            is_used: false,
        }
    }

    /// To a file.
    pub(crate) fn file(file: File) -> Self {
        let to = Box::new(std::io::BufWriter::new(file));
        Self { to, is_terminal: false, has_colours: false, width: None, is_used: false }
    }

    /// How wide the terminal is now, if it is one.
    fn width(&mut self) -> Option<u16> {
        if self.is_terminal {
            self.width = style::terminal_width();
        }
        self.width
    }

    fn styled(&mut self, text: &str) -> std::io::Result<()> {
        if self.has_colours {
            self.to.write_all(text.as_bytes())
        } else {
            write!(self.to, "{}", anstream::adapter::strip_str(text))
        }
    }
}

/// How rows are shown to people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The format.
    pub(crate) format: Format,
    /// Of a table: whether each row stands in lines of its own.
    pub(crate) expanded: Expanded,
    /// Of a table: what is read of an answer, since all of it stands in memory.
    pub(crate) most: Option<Most>,
}

/// Whether each row of a table stands in lines of its own, one a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// It does.
    On,
    /// It doesn't.
    Off,
    /// It does if it is wider than the terminal.
    Auto,
}

/// What is read of an answer at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// Rows.
    pub(crate) rows: usize,
    /// Bytes on the wire. The batch that passes them is still taken.
    pub(crate) bytes: usize,
}

/// Sends a request for rows, and prints them.
pub(crate) async fn print_rows(client: &Client, request: RequestBuilder, format: Format) -> Result<(), Failure> {
    let look = Look { format, expanded: Expanded::Off, most: None };
    write_rows(client, request, look, &mut Out::stdout()).await
}

/// Sends a request for rows, and writes them.
pub(crate) async fn write_rows(
    client: &Client,
    request: RequestBuilder,
    look: Look,
    out: &mut Out,
) -> Result<(), Failure> {
    let accept = match look.format {
        Format::Table => ARROW,
        Format::Csv => "text/csv",
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Markdown => "text/markdown",
        Format::Html => "text/html",
    };
    let is_text = look.format != Format::Parquet;
    if !is_text && out.is_terminal {
        return Err(Failure::usage("Parquet is no text: send it to a file, as in `--format parquet >FILE`"));
    }
    if !is_text && out.is_used {
        return Err(Failure::usage("a Parquet file holds one answer, and there is one already"));
    }
    let response = client.send(request.header("accept", accept)).await?;
    warn(&response)?;
    out.is_used = true;
    match look.format {
        Format::Table => table(client, response, look, out).await?,
        _ => copy(client, response, is_text, out).await?,
    }
    out.to.flush()?;
    Ok(())
}

fn warn(response: &Response) -> Result<(), Failure> {
    for warning in response.headers().get_all(WARNING) {
        let text = String::from_utf8_lossy(warning.as_bytes());
        writeln!(anstream::stderr(), "{} {text}", style::paint(style::BAD, "warning:"))?;
    }
    Ok(())
}

/// Passes the answer through as it comes; ends text with a newline.
async fn copy(client: &Client, response: Response, is_text: bool, out: &mut Out) -> Result<(), Failure> {
    let mut last = b'\n';
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(|error| client.unreachable(&error))? {
        if out.is_terminal {
            out.to.write_all(&harmless(&chunk, last))?;
        } else {
            out.to.write_all(&chunk)?;
        }
        last = chunk.last().copied().unwrap_or(last);
    }
    if is_text && last != b'\n' {
        out.to.write_all(b"\n")?;
    }
    Ok(())
}

/// UTF-8 for a terminal: what players wrote must not command it. `before` is the byte in front.
fn harmless(text: &[u8], mut before: u8) -> Vec<u8> {
    let tame = |byte: u8| {
        let tamed = match byte {
            b'\n' | b'\t' => byte,
            0..=0x1f | 0x7f => b'?',
            // U+0080 to U+009F are commands, too: U+00A0 is a blank.
            0x80..=0x9f if before == 0xc2 => 0xa0,
            _ => byte,
        };
        before = byte;
        tamed
    };
    text.iter().copied().map(tame).collect()
}

async fn table(client: &Client, response: Response, look: Look, out: &mut Out) -> Result<(), Failure> {
    let Answered { head, numeric, rows, is_whole } = read(client, response, look.most).await?;
    let count = rows.len();
    let width = out.width();
    let is_expanded = match (look.expanded, width) {
        (Expanded::On, _) => true,
        (Expanded::Auto, Some(width)) => style::natural_width(&head, &rows) > usize::from(width),
        _ => false,
    };
    if is_expanded {
        out.styled(&expanded(&head, &rows))?;
    } else {
        out.styled(&style::aligned(&head, &numeric, rows, width))?;
    }
    // Before what goes to stderr, on a terminal that shows both.
    out.to.flush()?;
    let noun = if count == 1 { "row" } else { "rows" };
    let mut note = format!("{count} {noun}");
    if !is_whole {
        note = format!("the first {note} only; after \\format csv all are passed on, after \\o FILE to a file");
    }
    writeln!(anstream::stderr(), "{}", style::paint(style::FAINT, &note))?;
    Ok(())
}

/// Rows as text, with their heading.
struct Answered {
    head: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
    is_whole: bool,
}

/// Reads an answer up to `most` of it; the server stops a query whose answer nobody reads on.
async fn read(client: &Client, response: Response, most: Option<Most>) -> Result<Answered, Failure> {
    let broken = |error: ArrowError| Failure::usage(format!("the answer is broken: {error}"));
    let mut decoder = StreamDecoder::new();
    let (mut rows, mut bytes, mut is_whole) = (Vec::new(), 0, true);
    let mut chunks = response.bytes_stream();
    while is_whole && let Some(chunk) = chunks.try_next().await.map_err(|error| client.unreachable(&error))? {
        bytes += chunk.len();
        let mut chunk = Buffer::from(chunk);
        while let Some(batch) = decoder.decode(&mut chunk).map_err(broken)? {
            append_rows(&batch, &mut rows).map_err(broken)?;
            if let Some(most) = most
                && (rows.len() > most.rows || bytes > most.bytes)
            {
                rows.truncate(most.rows);
                is_whole = false;
                break;
            }
        }
    }
    if is_whole {
        decoder.finish().map_err(broken)?;
    }
    let schema = decoder.schema().ok_or_else(|| Failure::usage("the answer is broken: it has no columns"))?;
    let head = schema.fields().iter().map(|field| field.name().clone()).collect();
    let numeric = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    Ok(Answered { head, numeric, rows, is_whole })
}

fn append_rows(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), ArrowError> {
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

/// Each row in lines of its own: a rule with its number, then a column a line.
fn expanded(head: &[String], rows: &[Vec<String>]) -> String {
    let widest = head.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let rule = format!("-[ row {} ]{:-<widest$}", style::thousands(number as u64 + 1), "");
        text.push_str(&style::paint(style::HEADING, &rule));
        text.push('\n');
        for (name, cell) in head.iter().zip(row) {
            text.push_str(format!("{name:widest$}  {cell}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expanded_row_has_a_line_for_each_column() {
        let head = ["id", "größe"].map(str::to_owned);
        let rows = [["a", "1"], ["bb", ""]].map(|row| row.map(str::to_owned).to_vec());
        let text = anstream::adapter::strip_str(&expanded(&head, &rows)).to_string();
        assert_eq!(text, "-[ row 1 ]-----\nid     a\ngröße  1\n-[ row 2 ]-----\nid     bb\ngröße\n");
        assert_eq!(expanded(&head, &[]), "");
    }

    #[test]
    fn text_does_not_command_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2J\r\u{7f}\tö\n".as_bytes(), b'\n'), "a?[2J??\tö\n".as_bytes());
        assert_eq!(harmless("\u{9b}x—".as_bytes(), b'\n'), "\u{a0}x—".as_bytes());
        // Its two bytes may come in two pieces.
        assert_eq!(harmless(&[0x9b], 0xc2), [0xa0]);
    }

    #[test]
    fn width_is_that_of_the_widest_cells() {
        let head = ["id", "text"].map(str::to_owned);
        let rows = [vec!["1".to_owned(), "gg wp".to_owned()]];
        assert_eq!(style::natural_width(&head, &rows), 2 + 2 + 5);
        assert_eq!(style::natural_width(&head, &[]), 2 + 2 + 4);
    }
}
