//! What is held of one event type (or of one topic of dead letters or of the ledger): records in the
//! order in which they were read, and the rows that were made of them.
//!
//! Rows are made when somebody asks, and kept for who asks next: a table that nobody asks for costs no
//! decoding. They are made under the columns of the pinned snapshot. When a table got columns since, or a
//! schema came, or a record brings a field that has no column yet, all of them are made anew, in one go,
//! as the sink will do it when it flushes.

use crate::{Error, Result};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use decode::letters::{DeadLetter, dead_letter_rows, ledger_rows};
use decode::{BATCH_BYTES_MAX, Decoder, Discovery, Row, TableSchema};
use events::dead::Reason;
use events::log::{Offset, Record};
use events::schema::Registry;
use events::{Clock, headers};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Records of one batch of rows, at most.
const SEGMENT_ROWS: usize = 8_192;
/// Bytes of records that are decoded at once to learn of new columns: as the decoder's limit, with a margin.
const LEARN_BYTES: usize = BATCH_BYTES_MAX / 2;

/// How records become rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Those of an event type's table.
    Events(Arc<str>),
    /// Dead letters, of this topic.
    Letters(Arc<str>),
    /// Entries of the ledger.
    Ledger,
}

/// What rows are made under. Others are made anew.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// The columns that the table has; `None` if there is no table yet.
    pub(super) existing: Option<SchemaRef>,
    /// The schemas as of now.
    pub(super) registry: Arc<Registry>,
    /// Whether fields without a column get one.
    pub(super) discovery: Discovery,
}

impl Base {
    fn is_same(&self, other: &Self) -> bool {
        self.existing == other.existing && Arc::ptr_eq(&self.registry, &other.registry)
    }
}

/// A record that gives no row but a dead letter.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) place: Placed,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// A record, and its partition.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) partition: i32,
    pub(super) record: Record,
}

impl Placed {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.record.len() + size_of::<Self>()
    }
}

/// The part of a topic that is asked for: by partition, from the one offset on and below the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) from: &'a [Offset],
    pub(super) to: &'a [Offset],
}

impl Span<'_> {
    fn has(&self, partition: i32, offset: Offset) -> bool {
        let Ok(at) = usize::try_from(partition) else { return false };
        self.from.get(at).is_some_and(|from| *from <= offset) && self.to.get(at).is_some_and(|to| offset < *to)
    }
}

/// Bytes held by all tails of a process.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) records: AtomicUsize,
    pub(super) rows: AtomicUsize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    form: Form,
    /// The table; `None` for a type that can't have one.
    pub(super) table: Result<String, (Reason, String)>,
    incarnation: Arc<str>,
    /// Read, and not looked at yet: whoever decodes keeps no reader waiting.
    incoming: Mutex<Vec<Placed>>,
    rows: Mutex<Rows>,
    bytes: Arc<Bytes>,
    /// When the newest event that was read was received, in µs.
    newest_us: AtomicI64,
}

#[derive(Debug, Default)]
struct Rows {
    records: VecDeque<Placed>,
    made: Option<Made>,
}

/// Rows of the first `covered` records.
#[derive(Debug)]
struct Made {
    base: Base,
    schema: Option<TableSchema>,
    segments: VecDeque<Segment>,
    covered: usize,
}

#[derive(Debug)]
struct Segment {
    batch: RecordBatch,
    records: usize,
    refused: Vec<Refused>,
    bytes: usize,
}

/// Rows for one query.
#[derive(Debug)]
pub(super) struct Found {
    /// The columns, in order; `None` if there is no row.
    pub(super) schema: Option<SchemaRef>,
    pub(super) batches: Vec<RecordBatch>,
}

impl Held {
    pub(super) fn new(form: Form, incarnation: Arc<str>, bytes: Arc<Bytes>) -> Self {
        let table = match &form {
            Form::Letters(_) => Ok(tables::DEAD_LETTERS.to_owned()),
            Form::Ledger => Ok(tables::LEDGER.to_owned()),
            Form::Events(event_type) => decode::table_name(event_type).map_err(|error| {
                let reason = match error {
                    decode::NameError::Reserved { .. } | decode::NameError::TooLong { .. } => Reason::TableNameTaken,
                    decode::NameError::Empty => Reason::EnvelopeInvalid,
                };
                (reason, error.to_string())
            }),
        };
        let (incoming, rows, newest_us) = (Mutex::default(), Mutex::default(), AtomicI64::new(i64::MIN));
        Self { form, table, incarnation, incoming, rows, bytes, newest_us }
    }

    /// The event type, if it holds one's.
    pub(super) fn event_type(&self) -> Option<&Arc<str>> {
        match &self.form {
            Form::Events(event_type) => Some(event_type),
            _ => None,
        }
    }

    /// Takes records that were read.
    pub(super) fn push(&self, placed: Vec<Placed>) {
        let Some(last) = placed.last() else { return };
        let received = last.record.headers.get_str(headers::RECEIVEDAT).and_then(events::envelope::time::parse);
        let received = received.unwrap_or_else(|| last.record.time_ms.saturating_mul(1_000));
        self.newest_us.fetch_max(received, Ordering::SeqCst);
        self.bytes.records.fetch_add(placed.iter().map(Placed::bytes).sum(), Ordering::SeqCst);
        self.incoming.lock().extend(placed);
    }

    /// Seconds since the newest event that was read was received.
    #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
    pub(super) fn age_s(&self, clock: &dyn Clock) -> Option<f64> {
        let newest = self.newest_us.load(Ordering::SeqCst);
        (newest > i64::MIN).then(|| clock.now_us().saturating_sub(newest).max(0) as f64 / 1e6)
    }

    pub(super) fn newest_us(&self) -> Option<i64> {
        Some(self.newest_us.load(Ordering::SeqCst)).filter(|newest| *newest > i64::MIN)
    }

    /// Records held, and the append time of the oldest one in ms; nothing while somebody decodes.
    pub(super) fn measure(&self) -> Option<(usize, Option<i64>)> {
        let rows = self.rows.try_lock()?;
        let incoming = self.incoming.lock();
        let oldest = rows.records.front().or(incoming.first()).map(|placed| placed.record.time_ms);
        Some((rows.records.len() + incoming.len(), oldest))
    }

    /// Lets go of what lies below these offsets, by partition; answers how many records went. Does nothing
    /// while somebody decodes: there will be another time.
    pub(super) fn trim(&self, below: &[Offset]) -> usize {
        let Some(mut rows) = self.rows.try_lock() else { return 0 };
        rows.records.extend(self.incoming.lock().drain(..));
        let is_gone = |placed: &Placed| {
            let at = usize::try_from(placed.partition).ok().and_then(|at| below.get(at));
            at.is_some_and(|below| placed.record.offset < *below)
        };
        let (mut count, mut bytes) = (0, 0);
        let Rows { records, made } = &mut *rows;
        // Rows go a batch at a time, with the records that they were made of.
        while let Some(first) = made.as_ref().and_then(|made| made.segments.front()) {
            if !records.iter().take(first.records).all(is_gone) {
                break;
            }
            let Some(made) = made else { break };
            let Some(gone) = made.segments.pop_front() else { break };
            made.covered -= gone.records;
            self.bytes.rows.fetch_sub(gone.bytes, Ordering::SeqCst);
            count += gone.records;
            bytes += records.drain(..gone.records).map(|placed| placed.bytes()).sum::<usize>();
        }
        if made.as_ref().is_none_or(|made| made.segments.is_empty()) {
            while records.front().is_some_and(is_gone) {
                bytes += records.pop_front().map_or(0, |placed| placed.bytes());
                count += 1;
            }
            // A partition that stands still keeps what is its own, and nothing else.
            let before = records.len();
            if count == 0 && records.iter().any(is_gone) {
                records.retain(|placed| {
                    let gone = is_gone(placed);
                    bytes += if gone { placed.bytes() } else { 0 };
                    !gone
                });
            }
            count += before - records.len();
        }
        self.bytes.records.fetch_sub(bytes, Ordering::SeqCst);
        count
    }

    /// Forgets the rows, which can be made again.
    pub(super) fn forget_rows(&self) {
        if let Some(mut rows) = self.rows.try_lock() {
            self.drop_made(&mut rows);
        }
    }

    fn drop_made(&self, rows: &mut Rows) {
        if let Some(made) = rows.made.take() {
            let bytes = made.segments.iter().map(|segment| segment.bytes).sum();
            self.bytes.rows.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    /// The first record within the span, by partition and offset.
    pub(super) fn first_in(&self, span: Span<'_>) -> Option<(i32, Offset)> {
        let mut rows = self.rows.lock();
        rows.records.extend(self.incoming.lock().drain(..));
        let places = rows.records.iter().map(|placed| (placed.partition, placed.record.offset));
        places.filter(|(partition, offset)| span.has(*partition, *offset)).min()
    }

    /// The records within the span, all of them.
    pub(super) fn records_in(&self, span: Span<'_>) -> Vec<Placed> {
        let mut rows = self.rows.lock();
        rows.records.extend(self.incoming.lock().drain(..));
        rows.records.iter().filter(|placed| span.has(placed.partition, placed.record.offset)).cloned().collect()
    }

    /// The rows within the span.
    pub(super) fn rows_in(&self, base: &Base, span: Span<'_>) -> Result<Found> {
        let mut rows = self.rows.lock();
        let made = self.make(&mut rows, base)?;
        let mut batches = Vec::new();
        for segment in &made.segments {
            batches.extend(within(&segment.batch, span)?);
        }
        let schema = match &made.schema {
            Some(schema) => Some(schema.arrow().clone()),
            None => made.segments.front().map(|segment| segment.batch.schema()),
        };
        Ok(Found { schema: schema.filter(|_| !batches.is_empty()), batches })
    }

    /// Records within the span that are dead letters by what the decoder says.
    pub(super) fn refused_in(&self, base: &Base, span: Span<'_>) -> Result<Vec<Refused>> {
        let mut rows = self.rows.lock();
        let made = self.make(&mut rows, base)?;
        let refused = made.segments.iter().flat_map(|segment| &segment.refused);
        Ok(refused.filter(|refused| span.has(refused.place.partition, refused.place.record.offset)).cloned().collect())
    }

    /// Makes rows of all that is held.
    fn make<'a>(&self, rows: &'a mut Rows, base: &Base) -> Result<&'a Made> {
        rows.records.extend(self.incoming.lock().drain(..));
        if rows.made.as_ref().is_some_and(|made| !made.base.is_same(base)) {
            self.drop_made(rows);
        }
        let Rows { records, made } = rows;
        let mut current = match made.take() {
            Some(made) => made,
            None => Made { base: base.clone(), schema: None, segments: VecDeque::new(), covered: 0 },
        };
        let ended = self.extend(&mut current, records.make_contiguous());
        if ended.is_err() {
            let bytes = current.segments.iter().map(|segment| segment.bytes).sum();
            self.bytes.rows.fetch_sub(bytes, Ordering::SeqCst);
            return ended.and(Err(Error::Internal("rows were not made".into())));
        }
        Ok(made.insert(current))
    }

    fn extend(&self, made: &mut Made, records: &[Placed]) -> Result<()> {
        if made.schema.is_none()
            && let Form::Events(event_type) = &self.form
        {
            made.schema = Some(plain(event_type, &made.base)?);
        }
        while made.covered < records.len() {
            let piece = &records[made.covered..records.len().min(made.covered + SEGMENT_ROWS)];
            match self.decode(made, piece)? {
                Some(segment) => {
                    made.covered += segment.records;
                    self.bytes.rows.fetch_add(segment.bytes, Ordering::SeqCst);
                    made.segments.push_back(segment);
                    self.merge(&mut made.segments)?;
                }
                None => {
                    let bytes = made.segments.drain(..).map(|segment| segment.bytes).sum();
                    self.bytes.rows.fetch_sub(bytes, Ordering::SeqCst);
                    made.covered = 0;
                    self.learn(made, records)?;
                }
            }
        }
        Ok(())
    }

    /// Rows of a piece; `None` if they want columns or marks that aren't there yet.
    fn decode(&self, made: &Made, piece: &[Placed]) -> Result<Option<Segment>> {
        let mut refused = Vec::new();
        let batch = match (&self.form, &made.schema) {
            (Form::Events(_), Some(schema)) => {
                let rows: Vec<Row<'_>> = piece.iter().map(|placed| self.row(placed)).collect();
                let decoded = Decoder::new(schema.clone(), made.base.discovery).decode(&rows).map_err(internal)?;
                if decoded.extended.is_some() || schema.marked(&decoded.widenings).is_some() {
                    return Ok(None);
                }
                refused.extend(decoded.rejects.into_iter().map(|reject| Refused {
                    place: piece[reject.index].clone(),
                    reason: reject.reason,
                    detail: reject.detail,
                }));
                decoded.batch
            }
            (Form::Letters(topic), _) => letters(topic, &self.incarnation, piece.iter().map(|placed| (placed, None)))?,
            _ => {
                let rows: Vec<Row<'_>> = piece.iter().map(|placed| self.row(placed)).collect();
                ledger_rows(&rows).map_err(internal)?
            }
        };
        let bytes = batch.get_array_memory_size();
        Ok(Some(Segment { batch, records: piece.len(), refused, bytes }))
    }

    fn row<'a>(&'a self, placed: &'a Placed) -> Row<'a> {
        Row { record: &placed.record, partition: placed.partition, incarnation: &self.incarnation }
    }

    /// Finds the columns and marks that all records together want, as a flush of them would. What is more
    /// than can be decoded at once brings its own in pieces.
    fn learn(&self, made: &mut Made, records: &[Placed]) -> Result<()> {
        let Form::Events(event_type) = &self.form else { return Ok(()) };
        let rows: Vec<Row<'_>> = records.iter().map(|placed| self.row(placed)).collect();
        let mut schema = plain(event_type, &made.base)?;
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take_while(|row| {
                bytes += row.record.len();
                bytes <= LEARN_BYTES
            });
            let (piece, after) = rest.split_at(count.count().max(1));
            loop {
                let decoded = Decoder::new(schema.clone(), made.base.discovery).decode(piece).map_err(internal)?;
                match decoded.extended.or_else(|| schema.marked(&decoded.widenings)) {
                    Some(further) => schema = further,
                    None => break,
                }
            }
            rest = after;
        }
        made.schema = Some(schema);
        Ok(())
    }

    /// Small batches become one, so that many small questions leave few of them.
    fn merge(&self, segments: &mut VecDeque<Segment>) -> Result<()> {
        while let [.., before, last] = segments.make_contiguous() {
            if before.records + last.records > SEGMENT_ROWS || before.records > last.records.saturating_mul(2) {
                return Ok(());
            }
            let batch = concat_batches(&before.batch.schema(), [&before.batch, &last.batch]).map_err(internal)?;
            let refused = before.refused.drain(..).chain(last.refused.drain(..)).collect();
            let (records, bytes) = (before.records + last.records, batch.get_array_memory_size());
            self.bytes.rows.fetch_add(bytes, Ordering::SeqCst);
            self.bytes.rows.fetch_sub(before.bytes + last.bytes, Ordering::SeqCst);
            segments.truncate(segments.len() - 2);
            segments.push_back(Segment { batch, records, refused, bytes });
        }
        Ok(())
    }
}

/// The columns that the table has, and those that schemas declare.
fn plain(event_type: &str, base: &Base) -> Result<TableSchema> {
    let versions = base.registry.versions(event_type);
    TableSchema::new(event_type, base.existing.as_deref(), &versions).map_err(internal)
}

/// Rows of `dead_letters` for records of `topic`, each with what was found, if it was found here.
pub(super) fn letters<'a>(
    topic: &str,
    incarnation: &str,
    found: impl Iterator<Item = (&'a Placed, Option<(Reason, &'a str)>)>,
) -> Result<RecordBatch> {
    let letters = found.map(|(placed, found)| DeadLetter {
        record: &placed.record,
        topic,
        partition: placed.partition,
        incarnation,
        found,
    });
    dead_letter_rows(&letters.collect::<Vec<_>>()).map_err(internal)
}

/// The rows of a batch within the span; `None` if there are none.
fn within(batch: &RecordBatch, span: Span<'_>) -> Result<Option<RecordBatch>> {
    let missing = || Error::Internal("rows of the log have no place".into());
    let partitions = batch.column_by_name("_partition").ok_or_else(missing)?.as_primitive::<Int32Type>();
    let offsets = batch.column_by_name("_offset").ok_or_else(missing)?.as_primitive::<Int64Type>();
    let mask: BooleanArray = partitions
        .values()
        .iter()
        .zip(offsets.values())
        .map(|(partition, offset)| Some(span.has(*partition, *offset)))
        .collect();
    Ok(match mask.true_count() {
        0 => None,
        all if all == mask.len() => Some(batch.clone()),
        _ => Some(filter_record_batch(batch, &mask).map_err(internal)?),
    })
}

pub(super) fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the log's tail: {error}"))
}
