//! The commit loop of one table: rows of a flush to files, and the files into the table, once.
//!
//! Each round decides anew from the table's head: rows below the table's transaction are there
//! already and are cut off; columns that are lacking are added first, by a commit of their own; who
//! lost a race looks again. After an error nobody knows whether the commit stands: the next round's
//! head does.

use crate::Error;
use crate::flush::{Context, backoff};
use crate::route::{Found, Place};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Fields, Schema, TimestampMicrosecondType};
use decode::letters::{DeadLetter, dead_letter_rows, ledger_rows};
use decode::{Decoder, Discovery, Row, TableSchema};
use deltalake::kernel::{Action, Add, Transaction};
use events::dead::Reason;
use events::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tables::files::{self, Encoded};
use tables::{Definition, Head, Outcome};
use tokio::time::Instant;

/// What goes to one table.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Events, by type; more than one only where types want the same name.
    Events(BTreeMap<String, Vec<Place>>),
    /// Dead letters, each with what the sink found, if it was the sink.
    Letters(Vec<(Place, Option<(Reason, String)>)>),
    /// Entries of the ledger.
    Ledger(Vec<Place>),
}

/// What an append came to.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// Records that gave no row.
    pub(crate) found: Vec<Found>,
    /// Rows of this flush that the table now holds, by part.
    pub(crate) rows: BTreeMap<usize, u64>,
}

/// Files older than this are written anew before they are committed: vacuum may have taken them
/// for left-overs, where a process slept between the two.
const FILES_FRESH: Duration = Duration::from_secs(600);

/// Files that are put and not committed yet.
struct Written {
    adds: Vec<Add>,
    /// The transactions by which their rows were chosen.
    below: Vec<Option<i64>>,
    at: Instant,
}

/// Rows, each with where it came from.
struct Rows {
    batch: RecordBatch,
    places: Vec<Place>,
    found: Vec<Found>,
    /// Columns that the table lacks, or marks on them.
    wanted: Option<Schema>,
    extra_values: u64,
}

/// Appends, for as long as it takes.
///
/// # Errors
/// If trying again would not help.
pub(crate) async fn append(context: &Arc<Context>, table: &str, source: &Source) -> Result<Appended, Error> {
    let mut tries = 0;
    loop {
        match attempt(context, table, source).await {
            Ok(appended) => {
                if tries > 0 {
                    context.config.health.set(None);
                }
                return Ok(appended);
            }
            Err(error) if error.is_retryable() => {
                context.heads.lock().remove(table);
                backoff(&context.config, &mut tries, &format!("table {table}: {error}")).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn attempt(context: &Arc<Context>, table: &str, source: &Source) -> Result<Appended, Error> {
    let cached = context.heads.lock().remove(table);
    let found = match cached {
        Some(head) => Some(head),
        None => context.store.head(table).await?,
    };
    let mut head = match found {
        Some(head) => {
            if !matches!(source, Source::Events(_)) {
                head.check_owner()?;
            }
            head
        }
        None => match create(context, table, source).await? {
            Ok(head) => head,
            Err(appended) => return Ok(appended),
        },
    };
    let appended = rounds(context, &mut head, source).await?;
    context.heads.lock().insert(table.to_owned(), head);
    Ok(appended)
}

/// Makes the table; the inner error is the answer if it may not be made.
async fn create(context: &Arc<Context>, table: &str, source: &Source) -> Result<Result<Head, Appended>, Error> {
    let (schema, event_type) = match source {
        Source::Letters(_) => (decode::columns::dead_letters(), None),
        Source::Ledger(_) => (decode::columns::ledger(), None),
        Source::Events(types) => {
            let first = types.iter().min_by_key(|(_, places)| places.first().copied());
            let Some((event_type, _)) = first else { return Ok(Err(Appended::default())) };
            let is_discovered = context.registry.newest(event_type).is_none();
            if is_discovered && context.store.table_names().await?.len() >= limits::TABLES_MAX {
                let detail =
                    format!("type {event_type} would need table {table}, and there are {} already", limits::TABLES_MAX);
                let all = types.values().flatten();
                let found =
                    all.map(|place| Found { place: *place, reason: Reason::UnknownType, detail: detail.clone() });
                return Ok(Err(Appended { found: found.collect(), rows: BTreeMap::new() }));
            }
            let rows = rows_of_events(context, event_type, &types[event_type], None)?;
            let schema = rows.wanted.map_or_else(|| rows.batch.schema(), Arc::new);
            (schema, Some(event_type.clone()))
        }
    };
    Ok(Ok(context.store.create(table, &Definition { schema, event_type }).await?))
}

async fn rounds(context: &Arc<Context>, head: &mut Head, source: &Source) -> Result<Appended, Error> {
    loop {
        let rows = decode(context, head, source).await?;
        if let Some(schema) = &rows.wanted {
            let columns = head.with_schema(schema)?;
            match head.commit("ADD COLUMNS", vec![columns]).await? {
                Outcome::Stands(version) => tracing::info!(table = head.name(), version, "added columns"),
                Outcome::Lost(_) => metrics::counter!("killfeed_sink_schema_races_total").increment(1),
            }
            continue;
        }
        if commit(context, head, &rows).await? {
            let mut counted = BTreeMap::new();
            for place in &rows.places {
                *counted.entry(place.part).or_default() += 1;
            }
            metrics::counter!("killfeed_sink_extra_values_total").increment(rows.extra_values);
            return Ok(Appended { found: rows.found, rows: counted });
        }
    }
}

/// Commits rows under columns that the head has; false if the columns changed meanwhile.
async fn commit(context: &Arc<Context>, head: &mut Head, rows: &Rows) -> Result<bool, Error> {
    let parts: BTreeSet<usize> = rows.places.iter().map(|place| place.part).collect();
    let mut written: Option<Written> = None;
    loop {
        let below: Vec<Option<i64>> = parts.iter().map(|part| head.txn(&context.parts[*part].app_id)).collect();
        let open: Vec<usize> = parts
            .iter()
            .zip(&below)
            .filter(|(part, txn)| txn.is_none_or(|txn| txn < context.parts[**part].to))
            .map(|(part, _)| *part)
            .collect();
        if open.is_empty() {
            return Ok(true);
        }
        let files = match written.take() {
            Some(written) if written.below == below && written.at.elapsed() < FILES_FRESH => written,
            _ => {
                let at = Instant::now();
                Written { adds: write(context, head, rows).await?, below, at }
            }
        };
        let adds = &files.adds;
        if adds.is_empty() {
            return Ok(true);
        }
        let mut actions: Vec<Action> = adds.iter().cloned().map(Action::Add).collect();
        let now_ms = context.clock.now_ms();
        actions.extend(open.iter().map(|part| {
            let part = &context.parts[*part];
            Action::Txn(Transaction::new_with_last_update(&part.app_id, part.to, Some(now_ms)))
        }));
        match head.commit("WRITE", actions).await? {
            Outcome::Stands(_) => {
                observe(context, rows, adds);
                return Ok(true);
            }
            Outcome::Lost(changes) if changes.metadata || changes.unknown => return Ok(false),
            Outcome::Lost(_) => written = Some(files),
        }
    }
}

/// Writes the rows that the table lacks, one file per date.
async fn write(context: &Arc<Context>, head: &Head, rows: &Rows) -> Result<Vec<Add>, Error> {
    let below = |place: &Place| {
        let part = &context.parts[place.part];
        head.txn(&part.app_id).is_none_or(|txn| part.records[place.index].offset >= txn)
    };
    let lacking: BooleanArray = rows.places.iter().map(|place| Some(below(place))).collect();
    let batch = if lacking.true_count() == rows.places.len() {
        rows.batch.clone()
    } else {
        filter_record_batch(&rows.batch, &lacking)?
    };
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let encode = move || -> tables::Result<Vec<Encoded>> {
        files::by_date(&batch)?.into_iter().map(|(date, batch)| files::encode(date, &batch)).collect()
    };
    let encoded = tokio::task::spawn_blocking(encode).await??;
    let store = head.object_store();
    let puts = encoded.into_iter().map(|file| files::put(store.as_ref(), file, true));
    Ok(futures::future::try_join_all(puts).await?)
}

/// Rows of a commit whose latency is told.
const LATENCY_SAMPLES: usize = 128;

fn observe(context: &Context, rows: &Rows, adds: &[Add]) {
    let bytes: i64 = adds.iter().map(|add| add.size).sum();
    metrics::counter!("killfeed_sink_rows_total").increment(rows.places.len() as u64);
    metrics::counter!("killfeed_sink_written_bytes_total").increment(u64::try_from(bytes).unwrap_or_default());
    let received = rows.batch.column_by_name("received_at");
    let Some(received) = received.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()) else {
        return;
    };
    let now = context.clock.now_us();
    let latency = metrics::histogram!("killfeed_sink_latency_seconds", "stream" => context.config.health.stream());
    // All rows of a small commit, and of a large one as many, evenly spaced: a look at each would cost as much as
    // some columns do.
    let stride = received.len().div_ceil(LATENCY_SAMPLES).max(1);
    for time in received.values().iter().step_by(stride) {
        #[expect(clippy::cast_precision_loss, reason = "a latency, for a histogram")]
        latency.record(now.saturating_sub(*time) as f64 / 1e6);
    }
}

async fn decode(context: &Arc<Context>, head: &Head, source: &Source) -> Result<Rows, Error> {
    let started = Instant::now();
    let (context, head, source) = (context.clone(), head.clone(), source.clone());
    let work = move || -> Result<Rows, Error> {
        match &source {
            Source::Events(types) => {
                if !head.is_own() {
                    return Ok(foreign(&head, types));
                }
                let owner = head.event_type().unwrap_or_default();
                let none = Vec::new();
                let own = types.get(owner).unwrap_or(&none);
                let mut rows = rows_of_events(&context, owner, own, Some(&head))?;
                for (event_type, places) in types.iter().filter(|(event_type, _)| *event_type != owner) {
                    let detail =
                        format!("type {event_type} maps to table {}, which belongs to type {owner}", head.name());
                    let taken =
                        |place: &Place| Found { place: *place, reason: Reason::TableNameTaken, detail: detail.clone() };
                    rows.found.extend(places.iter().map(taken));
                }
                Ok(rows)
            }
            Source::Letters(letters) => {
                let view = letters.iter().map(|(place, found)| DeadLetter {
                    record: context.record(*place),
                    topic: &context.parts[place.part].topic,
                    partition: context.parts[place.part].partition,
                    incarnation: &context.incarnation,
                    found: found.as_ref().map(|(reason, detail)| (*reason, detail.as_str())),
                });
                let batch = dead_letter_rows(&view.collect::<Vec<_>>())?;
                Ok(Rows::plain(batch, letters.iter().map(|(place, _)| *place).collect()))
            }
            Source::Ledger(places) => {
                let rows: Vec<Row<'_>> = places.iter().map(|place| context.row(*place)).collect();
                Ok(Rows::plain(ledger_rows(&rows)?, places.clone()))
            }
        }
    };
    let rows = tokio::task::spawn_blocking(work).await??;
    metrics::histogram!("killfeed_sink_decode_seconds").record(started.elapsed().as_secs_f64());
    Ok(rows)
}

impl Rows {
    fn plain(batch: RecordBatch, places: Vec<Place>) -> Self {
        Self { batch, places, found: Vec::new(), wanted: None, extra_values: 0 }
    }
}

/// Nothing goes to a table that somebody else made, and none of its columns is touched.
fn foreign(head: &Head, types: &BTreeMap<String, Vec<Place>>) -> Rows {
    let mut rows = Rows::plain(RecordBatch::new_empty(head.schema().clone()), Vec::new());
    for (event_type, places) in types {
        let detail = format!("type {event_type} maps to table {}, which killfeed didn't make", head.name());
        let taken = |place: &Place| Found { place: *place, reason: Reason::TableNameTaken, detail: detail.clone() };
        rows.found.extend(places.iter().map(taken));
    }
    rows
}

fn rows_of_events(context: &Context, event_type: &str, places: &[Place], head: Option<&Head>) -> Result<Rows, Error> {
    let versions: Vec<_> =
        context.registry.iter().filter(|schema| schema.event_type.as_ref() == event_type).cloned().collect();
    let existing = head.map(|head| head.schema().as_ref());
    let schema =
        TableSchema::new(event_type, existing, &versions).map_err(|error| Error::Refused(error.to_string()))?;
    let discovery = if context.config.discovery { Discovery::On } else { Discovery::Off };
    let rows: Vec<Row<'_>> = places.iter().map(|place| context.row(*place)).collect();
    let decoded = Decoder::new(schema.clone(), discovery).decode(&rows)?;
    let target = decoded.extended.as_ref().unwrap_or(&schema);
    let lacks = existing.is_none_or(|existing| target.adds_to(existing));
    let mut wanted = lacks.then(|| with_marks_of(existing, target.arrow()));
    if let Some(existing) = existing {
        let mut marked = wanted.clone().unwrap_or_else(|| existing.clone());
        if mark(&mut marked, &decoded.widenings) {
            wanted = Some(marked);
        }
    }
    let mut found = Vec::with_capacity(decoded.rejects.len());
    let mut kept = places.to_vec();
    for reject in decoded.rejects.into_iter().rev() {
        let place = kept.remove(reject.index);
        found.push(Found { place, reason: reject.reason, detail: reject.detail });
    }
    Ok(Rows { batch: decoded.batch, places: kept, found, wanted, extra_values: decoded.extra_values })
}

/// The new columns, with whatever metadata the table's own columns carry.
fn with_marks_of(existing: Option<&Schema>, new: &Schema) -> Schema {
    let none = Fields::empty();
    Schema::new(carry(existing.map_or(&none, Schema::fields), new.fields()))
}

fn carry(old: &Fields, new: &Fields) -> Fields {
    let carried = |field: &Arc<Field>| {
        let Some((_, known)) = old.find(field.name()) else { return field.clone() };
        let mut metadata = known.metadata().clone();
        metadata.extend(field.metadata().clone());
        let data_type = match (known.data_type(), field.data_type()) {
            (arrow::datatypes::DataType::Struct(old), arrow::datatypes::DataType::Struct(new)) => {
                arrow::datatypes::DataType::Struct(carry(old, new))
            }
            (_, data_type) => data_type.clone(),
        };
        Arc::new(field.as_ref().clone().with_data_type(data_type).with_metadata(metadata))
    };
    new.iter().map(carried).collect()
}

/// Marks columns that should be widened; false if all bear the mark.
fn mark(schema: &mut Schema, paths: &BTreeSet<Vec<String>>) -> bool {
    let mut changed = false;
    for path in paths {
        if let Some(fields) = marked(&schema.fields, path) {
            schema.fields = fields;
            changed = true;
        }
    }
    changed
}

fn marked(fields: &Fields, path: &[String]) -> Option<Fields> {
    use arrow::datatypes::DataType;
    let (name, rest) = path.split_first()?;
    let original =
        |field: &Field| field.metadata().get(decode::tree::NAME_KEY).map_or(field.name() == name, |n| n == name);
    let at = fields.iter().position(|field| original(field))?;
    let field = fields[at].as_ref();
    let new = if rest.is_empty() {
        let mut metadata = field.metadata().clone();
        if metadata.insert(decode::tree::WIDEN_KEY.to_owned(), "float64".to_owned()).is_some() {
            return None;
        }
        field.clone().with_metadata(metadata)
    } else {
        let DataType::Struct(inner) = field.data_type() else { return None };
        field.clone().with_data_type(DataType::Struct(marked(inner, rest)?))
    };
    let mut all: Vec<Arc<Field>> = fields.iter().cloned().collect();
    all[at] = Arc::new(new);
    Some(all.into())
}
