//! One query's place in the log: positions before its snapshots, ends after them, and the rows between.

use super::Fresh;
use super::held::{Base, Held, Placed, Span, letters};
use super::topic::{Carries, Pin, Topic};
use crate::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use events::dead::Reason;
use events::log::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tables::Txns;

/// What a snapshot says of its table, for those who put the tail to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Whether there is a table.
    pub(crate) exists: bool,
    /// The event type whose table it is; `None` for killfeed's own, for others', and if there is none.
    pub(crate) owner: Option<String>,
    /// Its columns, if there is one.
    pub(crate) existing: Option<SchemaRef>,
    /// Up to which offsets it holds what.
    pub(crate) txns: Txns,
}

/// Step 1: positions are read, and nothing above them is let go.
#[derive(Debug)]
pub(crate) struct Pinned {
    fresh: Fresh,
    pins: Vec<Pin>,
    trouble: Option<String>,
}

/// Step 3: where the tail ends for all tables of the query.
#[derive(Debug)]
pub(crate) struct Cut {
    fresh: Fresh,
    ends: Vec<(Pin, Vec<Offset>)>,
    /// The time in µs up to which answers are complete, if they are not complete up to now.
    pub(crate) fresh_to_us: Option<i64>,
    /// Why not.
    pub(crate) trouble: Option<String>,
}

/// The rows that a table's snapshot lacks.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Each with columns of its own.
    pub(crate) batches: Vec<RecordBatch>,
    /// Columns of all of them.
    pub(crate) schemas: Vec<SchemaRef>,
}

/// Which topics a query asks of.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    events: bool,
    letters: bool,
    ledger: bool,
}

impl Wanted {
    fn of<'a>(tables: impl Iterator<Item = &'a str>) -> Self {
        let mut wanted = Self::default();
        for table in tables {
            match table {
                // Sinks find dead letters among events, too.
                tables::DEAD_LETTERS => (wanted.letters, wanted.events) = (true, true),
                tables::LEDGER => wanted.ledger = true,
                _ => wanted.events = true,
            }
        }
        wanted
    }

    const fn has(self, carries: Carries) -> bool {
        match carries {
            Carries::Events => self.events,
            Carries::Letters => self.letters,
            Carries::Ledger => self.ledger,
        }
    }
}

impl Fresh {
    /// Reads the sinks' positions: to be called before the first snapshot is pinned.
    pub(crate) async fn pin<'a>(&self, tables: impl Iterator<Item = &'a str>) -> Pinned {
        let wanted = Wanted::of(tables);
        let opened = tokio::time::timeout(self.0.config.wait_max, self.topics()).await;
        let known = || self.0.topics.lock().values().cloned().collect::<Vec<_>>();
        let (topics, trouble) = match opened {
            Ok(Ok(topics)) => (topics, None),
            Ok(Err(error)) => (known(), Some(error.to_string())),
            Err(_) => (known(), Some("the log doesn't answer".to_owned())),
        };
        let pins = topics.into_iter().filter(|topic| wanted.has(topic.carries)).map(|topic| topic.pin());
        Pinned { fresh: self.clone(), pins: pins.collect(), trouble }
    }
}

impl Pinned {
    /// Takes the ends, and waits until all below them is read: to be called after the last snapshot was
    /// pinned. What can't be read in time is left out, and the cut says so.
    pub(crate) async fn cut(self) -> Cut {
        let Self { fresh, pins, mut trouble } = self;
        let started = tokio::time::Instant::now();
        let deadline = started + fresh.0.config.wait_max;
        let mut fresh_to_ms: Option<i64> = trouble.as_ref().map(|_| 0);
        let reading = pins.iter().map(|pin| {
            let topic = &*pin.topic;
            futures::future::join_all(topic.partitions().map(|partition| reach(&fresh, topic, partition, deadline)))
        });
        let goals = futures::future::join_all(reading).await;
        let mut ends = Vec::with_capacity(pins.len());
        for (pin, goals) in pins.into_iter().zip(goals) {
            let mut of_topic = Vec::with_capacity(goals.len());
            for (partition, goal) in pin.topic.partitions().zip(goals) {
                let reached = pin.topic.reach(partition);
                if let Ok(goal) = &goal
                    && reached.next >= *goal
                {
                    of_topic.push(*goal);
                    continue;
                }
                of_topic.push(reached.next);
                fresh_to_ms = Some(fresh_to_ms.unwrap_or(i64::MAX).min(reached.complete_ms));
                trouble = trouble.or(reached.trouble).or(goal.err());
            }
            ends.push((pin, of_topic));
        }
        metrics::histogram!("killfeed_fresh_wait_seconds").record(started.elapsed().as_secs_f64());
        if fresh_to_ms.is_some() {
            metrics::counter!("killfeed_fresh_incomplete_total").increment(1);
        }
        Cut { fresh, ends, fresh_to_us: fresh_to_ms.map(|ms| ms.saturating_mul(1_000)), trouble }
    }
}

/// Reads a partition up to its last stable offset; answers that, or why it isn't known.
async fn reach(fresh: &Fresh, topic: &Topic, partition: i32, deadline: tokio::time::Instant) -> Result<Offset, String> {
    let (log, config) = (&*fresh.0.log, &fresh.0.config);
    let of = topic.partition(partition);
    let goal = match tokio::time::timeout_at(deadline, log.ends(&of)).await {
        Ok(Ok(ends)) => ends.last_stable,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the log doesn't answer".to_owned()),
    };
    // What goes wrong here shows in how far it came.
    let read = tokio::time::timeout_at(deadline, topic.read_on(log, partition, Some(goal), config)).await;
    if let Ok(Err(error)) = read {
        tracing::debug!(%error, %of, "a query could not read on");
    }
    Ok(goal)
}

impl Cut {
    /// Tables that the tail has rows for, whether they are there or not.
    pub(crate) fn event_tables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (pin, ends) in self.ends.iter().filter(|(pin, _)| pin.topic.carries == Carries::Events) {
            let span = Span { from: &pin.floors, to: ends };
            let held = pin.topic.held().into_iter().filter(|held| held.first_in(span).is_some());
            names.extend(held.filter_map(|held| held.table.clone().ok()));
        }
        names
    }

    /// Records of a type whose newest was received when, as far as this process saw them.
    pub(crate) fn newest_us(&self, name: &str) -> Option<i64> {
        let held = self.ends.iter().flat_map(|(pin, _)| pin.topic.held());
        held.filter(|held| held.table.as_deref() == Ok(name)).filter_map(|held| held.newest_us()).max()
    }

    /// The rows that the snapshot of the table `name` lacks; `None` if there are none. `others` tells what is
    /// known of the tables of [`Self::event_tables`]; only dead letters ask for it.
    pub(crate) fn tail(&self, name: &str, known: &Known, others: &BTreeMap<String, Known>) -> Result<Option<Tail>> {
        let mut tail = Tail { batches: Vec::new(), schemas: Vec::new() };
        match name {
            tables::DEAD_LETTERS => {
                self.plain(Carries::Letters, known, &mut tail)?;
                self.found(known, others, &mut tail)?;
            }
            tables::LEDGER => self.plain(Carries::Ledger, known, &mut tail)?,
            _ => self.events(name, known, &mut tail)?,
        }
        self.fresh.relieve();
        Ok((!tail.batches.is_empty()).then_some(tail))
    }

    /// Topics of one kind, each with the offsets from which a table lacks it.
    fn topics<'a>(
        &'a self,
        carries: Carries,
        txns: &'a Txns,
    ) -> impl Iterator<Item = (&'a Arc<Topic>, Vec<Offset>, &'a [Offset])> {
        let of_kind = self.ends.iter().filter(move |(pin, _)| pin.topic.carries == carries);
        of_kind.map(move |(pin, ends)| {
            let topic = &pin.topic;
            let from = topic.partitions().zip(pin.floors.iter()).map(|(partition, floor)| {
                let app_id = tables::app_id(&topic.info.incarnation, &topic.name, partition);
                txns.get(&app_id).map_or(*floor, |txn| txn.max(*floor))
            });
            (topic, from.collect(), ends.as_slice())
        })
    }

    fn base(&self, known: &Known) -> Base {
        let (registry, discovery) = (self.fresh.0.registry.current(), self.fresh.discovery());
        Base { existing: known.existing.clone(), registry, discovery }
    }

    fn plain(&self, carries: Carries, known: &Known, tail: &mut Tail) -> Result<()> {
        let base = self.base(known);
        for (topic, from, to) in self.topics(carries, &known.txns) {
            for held in topic.held() {
                tail.add(&held, &base, Span { from: &from, to })?;
            }
        }
        Ok(())
    }

    fn events(&self, name: &str, known: &Known, tail: &mut Tail) -> Result<()> {
        let base = self.base(known);
        let owner = self.owner(name, known);
        for (topic, from, to) in self.topics(Carries::Events, &known.txns) {
            let of_owner = |held: &Arc<Held>| held.event_type().map(|kind| &**kind) == owner.as_deref();
            for held in topic.held().into_iter().filter(|held| held.table.as_deref() == Ok(name)).filter(of_owner) {
                tail.add(&held, &base, Span { from: &from, to })?;
            }
        }
        Ok(())
    }

    /// The type whose table it is, or will be; `None` for killfeed's own and for others'.
    pub(crate) fn owner(&self, name: &str, known: &Known) -> Option<String> {
        if known.exists { known.owner.clone() } else { self.first_type(name, known) }
    }

    /// The type that will own a table that isn't there yet: that of the first record, as the sink has it.
    fn first_type(&self, name: &str, known: &Known) -> Option<String> {
        let mut first: Option<((i32, Offset), String)> = None;
        for (topic, from, to) in self.topics(Carries::Events, &known.txns) {
            for held in topic.held().into_iter().filter(|held| held.table.as_deref() == Ok(name)) {
                let place = held.first_in(Span { from: &from, to }).zip(held.event_type());
                if let Some((place, kind)) = place
                    && first.as_ref().is_none_or(|(earlier, _)| place < *earlier)
                {
                    first = Some((place, kind.to_string()));
                }
            }
        }
        first.map(|(_, kind)| kind)
    }

    /// Dead letters that the sink will find among the events.
    fn found(&self, letters_known: &Known, others: &BTreeMap<String, Known>, tail: &mut Tail) -> Result<()> {
        for (topic, from, to) in self.topics(Carries::Events, &letters_known.txns) {
            let span = Span { from: &from, to };
            for held in topic.held() {
                let found = self.found_in(&held, span, others)?;
                if !found.is_empty() {
                    let views = found.iter().map(|(placed, reason, detail)| (placed, Some((*reason, detail.as_str()))));
                    tail.push(letters(&topic.name, &topic.info.incarnation, views)?);
                }
            }
        }
        Ok(())
    }

    fn found_in(
        &self,
        held: &Held,
        span: Span<'_>,
        others: &BTreeMap<String, Known>,
    ) -> Result<Vec<(Placed, Reason, String)>> {
        let all = |reason: Reason, detail: String| {
            held.records_in(span).into_iter().map(|placed| (placed, reason, detail.clone())).collect()
        };
        let event_type = held.event_type().map(|kind| &**kind).unwrap_or_default();
        let table = match &held.table {
            Ok(table) => table,
            Err((reason, detail)) => return Ok(all(*reason, detail.clone())),
        };
        let none = Known::default();
        let known = others.get(table).unwrap_or(&none);
        match self.owner(table, known) {
            Some(owner) if owner != event_type => Ok(all(
                Reason::TableNameTaken,
                format!("type {event_type} maps to table {table}, which belongs to type {owner}"),
            )),
            None if known.exists => Ok(all(
                Reason::TableNameTaken,
                format!("type {event_type} maps to table {table}, which killfeed didn't make"),
            )),
            _ => {
                let refused = held.refused_in(&self.base(known), span)?;
                Ok(refused.into_iter().map(|refused| (refused.place, refused.reason, refused.detail)).collect())
            }
        }
    }
}

impl Tail {
    fn add(&mut self, held: &Held, base: &Base, span: Span<'_>) -> Result<()> {
        let found = held.rows_in(base, span)?;
        self.schemas.extend(found.schema);
        self.batches.extend(found.batches);
        Ok(())
    }

    fn push(&mut self, batch: RecordBatch) {
        self.schemas.push(batch.schema());
        self.batches.push(batch);
    }
}
