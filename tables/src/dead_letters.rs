//! The table `dead_letters`: what could not become a row, whole, with the reason.

use crate::Result;
use crate::batch::{dates, field, parse_time, timestamp, timestamps};
use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use events::dead::Reason;
use events::headers;
use events::log::Record;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    use DataType::{Binary, Date32, Int32, Int64, Utf8};
    Arc::new(Schema::new(vec![
        field("reason", Utf8),
        field("detail", Utf8),
        field("stage", Utf8),
        field("_topic", Utf8),
        field("_incarnation", Utf8),
        field("_partition", Int32),
        field("_offset", Int64),
        field("_raw_offset", Int64),
        field("id", Utf8),
        field("source", Utf8),
        field("type", Utf8),
        field("time", timestamp()),
        field("received_at", timestamp()),
        field("game_id", Utf8),
        field("player_id", Utf8),
        field("headers", Utf8),
        field("payload", Binary),
        field("date", Date32),
    ]))
});

/// Its columns, in order. `headers` is a JSON object of every header but killfeed's own; `payload`
/// are the bytes that the client sent.
pub fn schema() -> &'static SchemaRef {
    &SCHEMA
}

/// One dead letter.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// The stream's incarnation.
    pub incarnation: &'a str,
    /// The topic that the record stands in: `<stream>.dead`, or `<stream>.clean` if a sink found it.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record.
    pub record: &'a Record,
    /// Why, and one sentence of detail, where a sink found it; else the record's headers say so.
    pub found: Option<(Reason, &'a str)>,
}

impl Letter<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.record.headers.get_str(name)
    }

    fn reason(&self) -> Option<&str> {
        self.found.map_or_else(|| self.header(headers::DEAD_REASON), |(reason, _)| Some(reason.as_str()))
    }

    fn detail(&self) -> Option<&str> {
        self.found.map_or_else(|| self.header(headers::DEAD_DETAIL), |(_, detail)| Some(detail))
    }

    fn stage(&self) -> Option<&str> {
        if self.found.is_some() { Some("sink") } else { self.header(headers::DEAD_STAGE) }
    }

    fn received(&self) -> Option<i64> {
        self.header(headers::RECEIVEDAT).and_then(parse_time)
    }

    fn headers(&self) -> String {
        let shown = |name: &[u8]| !name.starts_with(b"kf_") && name != headers::CLIENTADDRESS.as_bytes();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let object: serde_json::Map<String, serde_json::Value> = self
            .record
            .headers
            .iter()
            .filter(|(name, _)| shown(name))
            .map(|(name, value)| (text(name), text(value).into()))
            .collect();
        serde_json::Value::Object(object).to_string()
    }
}

/// The rows of these dead letters, in order. The date is the day received, else the day of the append.
///
/// # Errors
/// Never: the columns are made to fit.
pub fn batch(letters: &[Letter<'_>]) -> Result<RecordBatch> {
    fn text<'a>(letters: &'a [Letter<'a>], of: impl Fn(&'a Letter<'a>) -> Option<&'a str>) -> ArrayRef {
        Arc::new(letters.iter().map(of).collect::<StringArray>())
    }
    let header = |name: &'static str| text(letters, move |letter| letter.header(name));
    let raw_offset = |letter: &Letter<'_>| letter.header(headers::RAW_OFFSET)?.parse().ok();
    let columns: Vec<ArrayRef> = vec![
        text(letters, Letter::reason),
        text(letters, Letter::detail),
        text(letters, Letter::stage),
        text(letters, |letter| Some(letter.topic)),
        text(letters, |letter| Some(letter.incarnation)),
        Arc::new(letters.iter().map(|letter| Some(letter.partition)).collect::<Int32Array>()),
        Arc::new(letters.iter().map(|letter| Some(letter.record.offset)).collect::<Int64Array>()),
        Arc::new(letters.iter().map(raw_offset).collect::<Int64Array>()),
        header(headers::ID),
        header(headers::SOURCE),
        header(headers::TYPE),
        timestamps(letters.iter().map(|letter| letter.header(headers::TIME).and_then(parse_time))),
        timestamps(letters.iter().map(Letter::received)),
        header(headers::GAMEID),
        header(headers::PLAYERID),
        Arc::new(letters.iter().map(|letter| Some(letter.headers())).collect::<StringArray>()),
        Arc::new(letters.iter().map(|letter| letter.record.payload.as_deref()).collect::<BinaryArray>()),
        dates(letters.iter().map(|letter| letter.received().unwrap_or(letter.record.time_ms * 1_000))),
    ];
    Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
}
