//! Records to rows: the envelope from headers, the payload by schema, and `extra` for the rest.

use crate::envelope::{Envelope, Fields, Row, text};
use crate::payload::{PayloadColumns, Taken};
use crate::scan::NotJson;
use crate::table::{Rules, TableSchema};
use arrow::array::RecordBatch;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use events::dead::Reason;
use events::log::Record;
use events::schema::Mode;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Bytes of headers and payloads that one batch may decode: text may grow sixfold in `extra`, and
/// the offsets of Arrow's strings have 31 bits.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why a batch was not decoded or widened at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Hand in fewer records.
    #[error("a batch of {bytes} bytes is over the limit of {BATCH_BYTES_MAX}")]
    TooLarge {
        /// Bytes of headers and payloads.
        bytes: usize,
    },
    /// A column can't be widened without changing a value: it stays as it is, and what waits for it
    /// stays in `extra`.
    #[error("integer {value} is no exact float64: its column can't be widened")]
    Inexact {
        /// The first such value.
        value: i64,
    },
    /// Arrow refused its own arrays: a defect.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

/// Whether fields that have no column may get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discovery {
    /// They are reported, and may be added.
    #[default]
    On,
    /// They go to `extra` and stay there.
    Off,
}

/// A record that gave no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Its place among the rows handed in, counted from 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
    /// One sentence that names the field or the byte.
    pub detail: String,
}

/// What a batch came to.
#[derive(Debug)]
pub struct Decoded {
    /// A row for each record but the rejected ones, in order, with all columns of the table.
    pub batch: RecordBatch,
    /// The table with the fields that it lacked. The batch is complete without them: what has no
    /// column is in `extra`. To give them columns, commit this schema's metadata and decode again,
    /// until there is none: fields inside an array may show only once the array has a column.
    pub extended: Option<TableSchema>,
    /// In order of index.
    pub rejects: Vec<Reject>,
    /// Values that went to `extra`.
    pub extra_values: u64,
    /// Paths (original names) of int64 columns that met a value only float64 holds: to be marked,
    /// and widened by `killfeed schema apply`.
    pub widenings: BTreeSet<Vec<String>>,
}

/// Decodes batches of one table.
#[derive(Debug, Clone)]
pub struct Decoder {
    table: TableSchema,
    discovery: Discovery,
}

impl Decoder {
    /// A decoder for the rows of `table`.
    pub fn new(table: TableSchema, discovery: Discovery) -> Self {
        Self { table, discovery }
    }

    /// The table that it decodes for.
    pub fn table(&self) -> &TableSchema {
        &self.table
    }

    /// Decodes records of the table's type. Which version of the schema a record follows stands in
    /// its headers.
    ///
    /// # Errors
    /// If the batch is over [`BATCH_BYTES_MAX`].
    pub fn decode(&self, rows: &[Row<'_>]) -> Result<Decoded, Error> {
        let bytes = rows.iter().map(|row| size(row.record)).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { bytes });
        }
        let mut envelope = Envelope::new(rows.len());
        let mut payload = PayloadColumns::new(self.table.fields(), rows.len(), self.discovery == Discovery::On);
        let mut rejects = Vec::new();
        let mut extra = Vec::new();
        let mut known = (events::schema::DISCOVERED, None);
        for (index, &row) in rows.iter().enumerate() {
            let fields = Fields::of(row.record);
            if known.0 != fields.schema_version {
                known = (fields.schema_version, self.table.rules(fields.schema_version));
            }
            let rules = known.1;
            match take(&mut payload, row.record, &fields, rules) {
                Ok(data) => {
                    extra.clear();
                    write_extra(&mut extra, &mut payload, &fields, data);
                    envelope.push(row, &fields, (!extra.is_empty()).then_some(extra.as_slice()));
                }
                Err((reason, detail)) => rejects.push(Reject { index, reason, detail }),
            }
        }
        let rows = envelope.len();
        let mut columns = envelope.finish()?;
        let finished = payload.finish()?;
        columns.extend(finished.columns);
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.table.arrow().clone(), columns, &options)?;
        Ok(Decoded {
            batch,
            extended: finished.additions.effective(&self.table),
            rejects,
            extra_values: finished.extra_values,
            widenings: finished.widenings,
        })
    }
}

fn size(record: &Record) -> usize {
    record.headers.len() + record.payload.as_ref().map_or(0, bytes::Bytes::len)
}

/// Stands among `extra.attributes` where `extra.data` is base64. No attribute of an event can have a
/// name like it: theirs are of `a-z0-9`.
const ENCODING: &[u8] = b"data_encoding";

/// What of a payload goes to `extra.data` whole.
enum Data<'a> {
    None,
    Json(&'a [u8]),
    Text(&'a str),
    Binary(&'a [u8]),
}

fn take<'a>(
    columns: &mut PayloadColumns,
    record: &'a Record,
    fields: &Fields<'_>,
    rules: Option<&Rules>,
) -> Result<Data<'a>, (Reason, String)> {
    let Some(payload) = &record.payload else {
        columns.push_empty();
        return Ok(Data::None);
    };
    let form = Form::of(fields.content_type);
    if form != Form::Other {
        if let Some(rules) = rules.filter(|rules| rules.mode == Mode::Strict) {
            check(payload, rules)?;
        }
        match columns.push(payload, rules) {
            Ok(Taken::Object | Taken::Null) => return Ok(Data::None),
            Ok(Taken::Other(start, end)) => return Ok(Data::Json(&payload[start..end])),
            Err(error) if form == Form::Json => return Err(not_json(&error)),
            Err(_) => {}
        }
    } else if rules.is_some_and(|rules| rules.mode == Mode::Strict) {
        let content_type = text(fields.content_type.unwrap_or_default());
        return Err((
            Reason::SchemaViolation,
            format!("content type {content_type} is no JSON, which the schema asks for"),
        ));
    }
    columns.push_empty();
    // Text is only what is called so: bytes that happen to be UTF-8 would pass for a JSON string.
    let is_text = is_text(fields.content_type.unwrap_or_default());
    Ok(match std::str::from_utf8(payload) {
        Ok(text) if is_text => Data::Text(text),
        _ => Data::Binary(payload),
    })
}

fn not_json(error: &NotJson) -> (Reason, String) {
    (Reason::PayloadNotJson, format!("payload is no JSON: {error}"))
}

/// The whole of JSON Schema, which only strict types pay for.
fn check(payload: &[u8], rules: &Rules) -> Result<(), (Reason, String)> {
    let text = std::str::from_utf8(payload)
        .map_err(|error| not_json(&NotJson { what: "no UTF-8", at: error.valid_up_to() }))?;
    crate::scan::check(text).map_err(|error| not_json(&error))?;
    let value = serde_json::from_str(text)
        .map_err(|error| (Reason::SchemaViolation, format!("payload can't be checked: {error}")))?;
    match rules.violation(&value) {
        None => Ok(()),
        Some(detail) => Err((Reason::SchemaViolation, detail)),
    }
}

/// What a content type says of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// None is given: JSON, as CloudEvents has it, but nobody promised.
    Unsaid,
    Other,
}

impl Form {
    fn of(content_type: Option<&[u8]>) -> Self {
        let Some(content_type) = content_type.filter(|content_type| !content_type.is_empty()) else {
            return Self::Unsaid;
        };
        let essence = essence(content_type);
        let is_json = essence.eq_ignore_ascii_case(b"application/json")
            || essence.eq_ignore_ascii_case(b"text/json")
            || essence.len() >= 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
        if is_json { Self::Json } else { Self::Other }
    }
}

fn essence(content_type: &[u8]) -> &[u8] {
    content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is_text(content_type: &[u8]) -> bool {
    let essence = essence(content_type).to_ascii_lowercase();
    essence.starts_with(b"text/") || essence.ends_with(b"+xml") || essence == b"application/xml"
}

/// Puts a row's `extra` together; leaves `out` empty if there is nothing to say.
#[inline]
fn write_extra(out: &mut Vec<u8>, columns: &mut PayloadColumns, fields: &Fields<'_>, data: Data<'_>) {
    let (overlay, shadowed) = columns.overlays();
    if overlay.is_none() && shadowed.is_none() && fields.attributes.is_empty() && matches!(data, Data::None) {
        return;
    }
    let is_plain = matches!(data, Data::None | Data::Json(_));
    let is_packed = matches!(data, Data::Binary(_));
    let data: Option<Cow<'_, [u8]>> = match data {
        Data::None => shadowed.map(Cow::Borrowed),
        Data::Json(raw) => Some(Cow::Borrowed(raw)),
        Data::Text(text) => Some(Cow::Owned(string(text))),
        Data::Binary(bytes) => Some(Cow::Owned(string(&BASE64_STANDARD.encode(bytes)))),
    };
    let content_type = fields.content_type.filter(|_| !is_plain).map(|value| (&b"datacontenttype"[..], value));
    let encoding = is_packed.then_some((ENCODING, &b"base64"[..]));
    let attributes = attributes(fields.attributes.iter().copied().chain(content_type).chain(encoding));
    compose(out, overlay, data.as_deref(), attributes.as_deref());
}

fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    out
}

/// As a JSON object; `None` if there are none.
fn attributes<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        out.push(if out.is_empty() { b'{' } else { b',' });
        write_string(&mut out, &text(name));
        out.push(b':');
        write_string(&mut out, &text(value));
    }
    (!out.is_empty()).then(|| {
        out.push(b'}');
        out
    })
}

/// Writes `extra`: the overlay's members, then `data`, then `attributes`; nothing if there are none.
pub(crate) fn compose(out: &mut Vec<u8>, overlay: Option<&[u8]>, data: Option<&[u8]>, attributes: Option<&[u8]>) {
    // An overlay is an object with at least one member: all but its closing brace is the beginning.
    out.extend_from_slice(overlay.map_or(&[][..], |overlay| &overlay[..overlay.len() - 1]));
    for (name, value) in [(&b"\"data\":"[..], data), (b"\"attributes\":", attributes)] {
        if let Some(value) = value {
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
    }
    if !out.is_empty() {
        out.push(b'}');
    }
}

/// As a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    if let Ok(quoted) = serde_json::to_string(text) {
        out.extend_from_slice(quoted.as_bytes());
    }
}
