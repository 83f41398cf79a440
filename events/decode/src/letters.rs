//! Rows of the tables that are no event type's: `dead_letters` and `killfeed_ledger`.

use crate::builders::{Texts, Values};
use crate::columns;
use crate::decoder::write_string;
use crate::envelope::{dates, integers, small_integers, text, timestamps};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use events::dead::Reason;
use events::envelope::time;
use events::ledger::{Count, Entry};
use events::log::Record;
use events::{Headers, headers};

/// A record that became a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The record: of a dead topic, or of a clean one if the sink found it.
    pub record: &'a Record,
    /// The topic that it was read from.
    pub topic: &'a str,
    /// The partition that it was read from.
    pub partition: i32,
    /// The incarnation of its stream.
    pub incarnation: &'a str,
    /// The sink's own finding; a record of a dead topic brings its own in its headers.
    pub found: Option<(Reason, &'a str)>,
}

/// The rows of `dead_letters` for these records, in order.
///
/// # Errors
/// Never for batches within [`crate::BATCH_BYTES_MAX`]; Arrow checks its arrays once more.
pub fn dead_letter_rows(letters: &[DeadLetter<'_>]) -> Result<RecordBatch, ArrowError> {
    let rows = letters.len();
    let texts = || Texts::new(rows);
    let (mut reason, mut detail, mut stage) = (texts(), texts(), texts());
    let (mut topic, mut incarnation) = (texts(), texts());
    let mut attributes =
        [headers::ID, headers::SOURCE, headers::TYPE, headers::GAMEID, headers::PLAYERID].map(|name| (name, texts()));
    let (mut all_headers, mut payload) = (texts(), texts());
    let (mut partition, mut date) = (Values::new(rows), Values::new(rows));
    let (mut offset, mut raw_offset) = (Values::new(rows), Values::new(rows));
    let (mut event_time, mut received_at) = (Values::new(rows), Values::new(rows));
    let mut json = Vec::new();
    for letter in letters {
        let record = letter.record;
        let get = |name: &str| record.headers.get_str(name);
        match letter.found {
            Some((found, why)) => {
                reason.push(found.as_str().as_bytes());
                detail.push(why.as_bytes());
                stage.push(b"sink");
            }
            None => {
                reason.push_option(get(headers::DEAD_REASON).map(str::as_bytes));
                detail.push_option(get(headers::DEAD_DETAIL).map(str::as_bytes));
                stage.push_option(get(headers::DEAD_STAGE).map(str::as_bytes));
            }
        }
        topic.push(letter.topic.as_bytes());
        incarnation.push(letter.incarnation.as_bytes());
        partition.push(letter.partition);
        offset.push(record.offset);
        raw_offset.push_option(get(headers::RAW_OFFSET).and_then(|offset| offset.parse().ok()));
        for (name, column) in &mut attributes {
            match record.headers.get(name) {
                Some(value) => column.push(text(value).as_bytes()),
                None => column.push_null(),
            }
        }
        event_time.push_option(get(headers::TIME).and_then(time::parse));
        let received = get(headers::RECEIVEDAT).and_then(time::parse);
        let received = received.unwrap_or_else(|| record.time_ms.saturating_mul(1_000));
        received_at.push(received);
        date.push(columns::date_of(received));
        json.clear();
        write_headers(&mut json, &record.headers);
        all_headers.push(&json);
        payload.push_option(record.payload.as_deref());
    }
    let [id, source, event_type, game, player] = attributes.map(|(_, column)| column.finish());
    let arrays = vec![
        reason.finish()?,
        detail.finish()?,
        stage.finish()?,
        topic.finish()?,
        incarnation.finish()?,
        small_integers(partition)?,
        integers(offset)?,
        integers(raw_offset)?,
        id?,
        source?,
        event_type?,
        timestamps(event_time)?,
        timestamps(received_at)?,
        game?,
        player?,
        all_headers.finish()?,
        payload.finish_binary()?,
        dates(date)?,
    ];
    RecordBatch::try_new(columns::dead_letters(), arrays)
}

/// All headers but the client's address, as a JSON object.
fn write_headers(out: &mut Vec<u8>, headers: &Headers) {
    out.push(b'{');
    for (name, value) in headers.iter() {
        if name == headers::CLIENTADDRESS.as_bytes() {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        write_string(out, &text(name));
        out.push(b':');
        write_string(out, &text(value));
    }
    out.push(b'}');
}

/// A record of a ledger topic, and where it stood.
pub type LedgerRecord<'a> = crate::Row<'a>;

/// The rows of `killfeed_ledger` for these records, in order. A record that is no entry gives a row
/// with its text and nothing else, so that it can be found.
///
/// # Errors
/// Never for batches within [`crate::BATCH_BYTES_MAX`]; Arrow checks its arrays once more.
pub fn ledger_rows(records: &[LedgerRecord<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut texts: [Texts; 8] = std::array::from_fn(|_| Texts::new(records.len()));
    let mut numbers: [Values<i64>; 13] = std::array::from_fn(|_| Values::new(records.len()));
    let mut small: [Values<i32>; 3] = std::array::from_fn(|_| Values::new(records.len()));
    for row in records {
        let payload = row.record.payload.as_deref().unwrap_or_default();
        let entry = Entry::from_payload(payload).ok();
        let figures = entry.as_ref().map(|entry| figures(&entry.count)).unwrap_or_default();
        let written = entry.as_ref().map(|entry| [&entry.id, &entry.instance, &entry.stream, &entry.incarnation]);
        let [id, instance, stream, subject] =
            written.map_or([None; 4], |texts| texts.map(|text| Some(text.as_bytes())));
        let values =
            [id, instance, figures.stage.map(str::as_bytes), stream, subject, figures.topic.map(str::as_bytes)];
        for (column, value) in texts.iter_mut().zip(values) {
            column.push_option(value);
        }
        texts[6].push(text(payload).as_bytes());
        texts[7].push(row.incarnation.as_bytes());
        numbers[0].push_option(entry.as_ref().map(|entry| entry.time_us));
        for (column, value) in numbers[1..].iter_mut().zip(figures.counts) {
            column.push_option(value);
        }
        numbers[12].push(row.record.offset);
        small[0].push_option(entry.as_ref().map(|entry| entry.partition));
        small[1].push(row.partition);
        small[2].push(columns::date_of(row.record.time_ms.saturating_mul(1_000)));
    }
    let [id, instance, stage, stream, subject, topic, detail, incarnation] = texts;
    let [written_at, counts @ .., offset] = numbers;
    let [subject_partition, partition, date] = small;
    let mut arrays = vec![
        id.finish()?,
        timestamps(written_at)?,
        instance.finish()?,
        stage.finish()?,
        stream.finish()?,
        subject.finish()?,
        small_integers(subject_partition)?,
        topic.finish()?,
    ];
    for count in counts {
        arrays.push(integers(count)?);
    }
    arrays.extend([
        detail.finish()?,
        incarnation.finish()?,
        small_integers(partition)?,
        integers(offset)?,
        dates(date)?,
    ]);
    RecordBatch::try_new(columns::ledger(), arrays)
}

/// What an entry says, by column.
#[derive(Default)]
struct Figures<'a> {
    stage: Option<&'static str>,
    topic: Option<&'a str>,
    /// from, to, accepted, clean, duplicates, conflicts, dead, redriven, acknowledged, unacknowledged, records.
    counts: [Option<i64>; 11],
}

fn figures(count: &Count) -> Figures<'_> {
    let of = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    let none = None;
    match count {
        Count::Ingest { acknowledged, unacknowledged } => Figures {
            stage: Some("ingest"),
            topic: None,
            counts: [none, none, none, none, none, none, none, none, of(*acknowledged), of(*unacknowledged), none],
        },
        Count::Process { from, to, accepted, clean, duplicates, dead, redriven } => {
            let conflicts = dead.get(&Reason::Conflict).copied().unwrap_or_default();
            let others = dead.values().sum::<u64>() - conflicts;
            Figures {
                stage: Some("process"),
                topic: None,
                counts: [
                    Some(*from),
                    Some(*to),
                    of(*accepted),
                    of(*clean),
                    of(*duplicates),
                    of(conflicts),
                    of(others),
                    of(*redriven),
                    none,
                    none,
                    none,
                ],
            }
        }
        Count::Sink { topic, from, to, records, .. } => Figures {
            stage: Some("sink"),
            topic: Some(topic),
            counts: [Some(*from), Some(*to), none, none, none, none, none, none, none, none, of(*records)],
        },
        Count::Removal { rows, .. } => Figures {
            stage: Some("removal"),
            topic: None,
            counts: [none, none, none, none, none, none, none, none, none, none, of(rows.values().sum())],
        },
        Count::Expired { topic, from, to, records } => Figures {
            stage: Some("expired"),
            topic: Some(topic),
            counts: [Some(*from), Some(*to), none, none, none, none, none, none, none, none, of(*records)],
        },
    }
}
