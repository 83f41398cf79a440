//! One flush: the records of some partitions to their tables, then the step that moves the
//! positions. Nothing else moves them.

use crate::append::{Appended, Source, append};
use crate::route::{Found, Kind, Part, Place, route};
use crate::{Config, Error, entries};
use decode::Row;
use events::Clock;
use events::log::{Generation, Log, Record, Step, Transactor};
use events::schema::{Registry, SharedRegistry};
use events::streams::{SINK_GROUP, TopicPartition};
use futures::stream::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tables::{Head, Store};
use tokio::time::Instant;
use tracing::Instrument as _;

/// Everything that a flush stands on.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) incarnation: Arc<str>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) parts: Vec<Part>,
    pub(crate) heads: Arc<Mutex<HashMap<String, Head>>>,
}

impl Context {
    pub(crate) fn record(&self, place: Place) -> &Record {
        &self.parts[place.part].records[place.index]
    }

    pub(crate) fn row(&self, place: Place) -> Row<'_> {
        let part = &self.parts[place.part];
        Row { record: &part.records[place.index], partition: part.partition, incarnation: &self.incarnation }
    }

    /// Places of all records of one kind of topic.
    fn places(&self, kind: Kind) -> Vec<Place> {
        let parts = self.parts.iter().enumerate().filter(|(_, part)| part.kind == kind);
        parts.flat_map(|(part, of)| (0..of.records.len()).map(move |index| Place { part, index })).collect()
    }
}

/// Rows by part and table: what the ledger says of the flush.
pub(crate) type Counts = BTreeMap<usize, BTreeMap<String, u64>>;

/// Brings every record of the context to its table.
///
/// # Errors
/// If trying again would not help.
pub(crate) async fn deliver(context: Arc<Context>, registry: &SharedRegistry) -> Result<Counts, Error> {
    let started = Instant::now();
    let (context, mut routed) = routed(context, registry).await?;
    let mut jobs: Vec<(String, Source)> =
        std::mem::take(&mut routed.tables).into_iter().map(|(table, types)| (table, Source::Events(types))).collect();
    let entries = context.places(Kind::Ledger);
    if !entries.is_empty() {
        jobs.push((tables::LEDGER.to_owned(), Source::Ledger(entries)));
    }
    let mut counts = Counts::new();
    let mut found = routed.dead;
    let appends = futures::stream::iter(jobs.into_iter().map(|(table, source)| {
        let context = context.clone();
        let span = traces::span!("write table", "client", db.collection.name = %table);
        let work = async move { append(&context, &table, &source).await.map(|appended| (table, appended)) };
        work.instrument(span)
    }));
    let mut appends = appends.buffer_unordered(context.config.tables_at_once.max(1));
    while let Some((table, appended)) = appends.try_next().await? {
        count(&mut counts, &table, &appended);
        found.extend(appended.found);
    }
    let letters = letters(&context, found);
    if !letters.is_empty() {
        let appended = append(&context, tables::DEAD_LETTERS, &Source::Letters(letters)).await?;
        count(&mut counts, tables::DEAD_LETTERS, &appended);
    }
    metrics::histogram!("killfeed_sink_flush_seconds").record(started.elapsed().as_secs_f64());
    Ok(counts)
}

/// Routes under the newest registry, waiting for a schema version that it doesn't have yet.
async fn routed(
    mut context: Arc<Context>,
    registry: &SharedRegistry,
) -> Result<(Arc<Context>, crate::route::Routed), Error> {
    let mut tries = 0;
    loop {
        match route(&context.parts, &context.registry) {
            Ok(routed) => {
                if tries > 0 {
                    context.config.health.set(None);
                }
                return Ok((context, routed));
            }
            Err(error) if error.is_retryable() => {
                backoff(&context.config, &mut tries, &error.to_string()).await;
                let old = context.as_ref();
                context = Arc::new(Context {
                    config: old.config.clone(),
                    store: old.store.clone(),
                    clock: old.clock.clone(),
                    incarnation: old.incarnation.clone(),
                    registry: registry.current(),
                    parts: old.parts.clone(),
                    heads: old.heads.clone(),
                });
            }
            Err(error) => return Err(error),
        }
    }
}

fn count(counts: &mut Counts, table: &str, appended: &Appended) {
    for (part, rows) in &appended.rows {
        counts.entry(*part).or_default().insert(table.to_owned(), *rows);
    }
}

/// Dead letters of the dead topics, and those that this flush found, in order.
fn letters(context: &Context, found: Vec<Found>) -> Vec<(Place, Option<(events::dead::Reason, String)>)> {
    let mut letters: Vec<_> = context.places(Kind::Dead).into_iter().map(|place| (place, None)).collect();
    for found in found {
        metrics::counter!("killfeed_sink_dead_letters_total", "reason" => found.reason.as_str()).increment(1);
        letters.push((found.place, Some((found.reason, found.detail))));
    }
    letters.sort_by_key(|(place, _)| *place);
    letters
}

/// The transactor of a worker; opened when it is needed, dropped when it is spent.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Box<dyn Transactor>>>>;

/// Moves the positions past the flush and writes what it counted, in one step.
///
/// # Errors
/// `Fenced` if the partitions went to somebody else; what the log says, if trying again would not help.
pub(crate) async fn settle(
    context: &Context,
    log: &Arc<dyn Log>,
    slot: &Slot,
    generation: &Generation,
    counts: &Counts,
) -> Result<(), Error> {
    let positions: Vec<(TopicPartition, i64)> =
        context.parts.iter().map(|part| (TopicPartition::new(part.topic.clone(), part.partition), part.to)).collect();
    let step = Step { appends: entries::of_flush(context, counts)?, positions, generation: generation.clone() };
    let mut slot = slot.lock().await;
    let mut tries = 0;
    loop {
        let transactor = match &mut *slot {
            Some(transactor) => transactor,
            empty => empty.insert(log.transactor(&transactional_id(&context.config)).await?),
        };
        let error = match transactor.commit(step.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !matches!(error, events::log::Error::Unavailable(_) | events::log::Error::Full(_)) {
            *slot = None;
        }
        if !error.is_retryable() {
            return Err(error.into());
        }
        backoff(&context.config, &mut tries, &format!("position: {error}")).await;
        if matches!(error, events::log::Error::InDoubt(_)) && stands(context, log).await? {
            context.config.health.set(None);
            return Ok(());
        }
    }
}

/// Of one stream's sink in one process: who opens an id puts out whoever had it.
fn transactional_id(config: &Config) -> String {
    format!("{SINK_GROUP}-{}-{}", config.stream, config.instance)
}

/// Whether a step of unknown fate stands: all its positions moved, or none.
async fn stands(context: &Context, log: &Arc<dyn Log>) -> Result<bool, Error> {
    let mut moved = 0;
    for part in &context.parts {
        let of = TopicPartition::new(part.topic.clone(), part.partition);
        let committed = committed(context, log, &of).await?;
        if committed == Some(part.to) {
            moved += 1;
        } else if committed.is_some_and(|committed| committed != part.from) {
            let detail = format!("position of {of} moved to {committed:?} by somebody else");
            return Err(events::log::Error::Fenced(detail).into());
        }
    }
    Ok(moved == context.parts.len())
}

async fn committed(context: &Context, log: &Arc<dyn Log>, of: &TopicPartition) -> Result<Option<i64>, Error> {
    let mut tries = 0;
    loop {
        match log.committed(SINK_GROUP, of).await {
            Err(error) if error.is_retryable() => {
                backoff(&context.config, &mut tries, &format!("position: {error}")).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Waits before the next try, longer each time, and says why, in the sink's health too.
pub(crate) async fn backoff(config: &Config, tries: &mut u32, trouble: &str) {
    config.health.set(Some(trouble.to_owned()));
    pause(tries, trouble, config.retry_max).await;
}

/// The same for those who have no health to report.
pub(crate) async fn wait(tries: &mut u32, trouble: &str) {
    pause(tries, trouble, Duration::from_secs(15)).await;
}

async fn pause(tries: &mut u32, trouble: &str, most: Duration) {
    let wait = Duration::from_millis(50).saturating_mul(1 << (*tries).min(16)).min(most);
    *tries = tries.saturating_add(1);
    tracing::warn!(tries = *tries, wait_ms = wait.as_millis(), trouble, "trying again");
    metrics::counter!("killfeed_sink_retries_total").increment(1);
    tokio::time::sleep(wait).await;
}
