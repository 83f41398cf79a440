//! What must hold at the end of a run, when all is well and everything has arrived.

use crate::fleet::lake;
use crate::ingest::Ingest;
use crate::model::{self, Fate};
use crate::store::Bucket;
use crate::world::World;
use events::SharedStreams;
use events::dead::Reason;
use events::headers;
use events::ledger::{Count, Entry};
use events::log::memory::MemoryLog;
use events::log::{Log, Offset, Record, StreamInfo};
use events::schema::SharedRegistry;
use events::streams::{PROCESSOR_GROUP, SINK_GROUP, TopicPartition};
use queries::Engine;
use queries::audit::Books;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ACKNOWLEDGED: &str = "\"acknowledged is durable\"";
const ONCE: &str = "\"each record of raw ends as one thing, the one that the model says, in order\"";
const TILES: &str = "\"entries of the ledger tile, up to the position\"";
const COUNTS: &str = "\"the ledger counts what was there\"";
/// The law of the audit.
pub(crate) const AUDIT: &str = "\"the books balance\"";

/// What is left of a run.
pub(crate) struct Scene {
    pub(crate) log: MemoryLog,
    pub(crate) info: StreamInfo,
    pub(crate) bucket: Arc<Bucket>,
}

impl Scene {
    fn records(&self, topic: &Arc<str>, partition: i32) -> Vec<Record> {
        self.log.records(&TopicPartition::new(topic.clone(), partition))
    }
}

/// Holds everything against the model.
pub(crate) async fn check(world: &World, scene: &Scene, ingest: &Ingest) {
    if let Some(detail) = acknowledged(scene, ingest) {
        return world.breaks(ACKNOWLEDGED, detail);
    }
    for partition in 0..scene.info.partitions {
        let fates = model::fates(&scene.log, &scene.info.stream, partition);
        if let Some(detail) = once(scene, partition, &fates) {
            return world.breaks(ONCE, detail);
        }
        let entries = entries(scene, partition);
        let processed = steps(&entries);
        let position = position(scene, PROCESSOR_GROUP, &scene.info.stream.raw(), partition).await;
        let of = format!("processor, partition {partition}");
        if let Some(detail) = tile(&of, processed.iter().map(|(range, _)| *range), position) {
            return world.breaks(TILES, detail);
        }
        if let Some(detail) = processed.iter().find_map(|(range, step)| step.differs(*range, &fates)) {
            return world.breaks(COUNTS, format!("partition {partition}: {detail}"));
        }
        for topic in [scene.info.stream.clean(), scene.info.stream.dead()] {
            let flushes = flushes(&entries, &topic);
            let position = self::position(scene, SINK_GROUP, &topic, partition).await;
            if let Some(detail) = tile(&format!("sink, {topic}/{partition}"), flushes.iter().map(|f| f.range), position)
            {
                return world.breaks(TILES, detail);
            }
            let records = scene.records(&topic, partition);
            if let Some(detail) = flushes.iter().find_map(|flush| flush.differs(scene, &topic, &records)) {
                return world.breaks(COUNTS, format!("{topic}/{partition}: {detail}"));
            }
        }
    }
}

/// Every event that was acknowledged stands where it was said to.
fn acknowledged(scene: &Scene, ingest: &Ingest) -> Option<String> {
    let mut raw: BTreeMap<TopicPartition, BTreeMap<Offset, String>> = BTreeMap::new();
    for partition in 0..scene.info.partitions {
        let of = TopicPartition::new(scene.info.stream.raw(), partition);
        let id = |record: &Record| record.headers.get_str(headers::ID).unwrap_or_default().to_owned();
        let records = scene.log.records(&of);
        raw.insert(of, records.iter().map(|record| (record.offset, id(record))).collect());
    }
    for (of, first, ids) in &ingest.acknowledged {
        for (offset, id) in (*first..).zip(ids) {
            if raw.get(of).and_then(|records| records.get(&offset)) != Some(id) {
                return Some(format!("event {id} was acknowledged at offset {offset} of {of}, and is not there"));
            }
        }
    }
    None
}

/// Clean and dead hold what the model says, each once and in the order of raw.
fn once(scene: &Scene, partition: i32, fates: &[(Record, Fate)]) -> Option<String> {
    let stream = &scene.info.stream;
    let wanted = fates.iter().filter(|(_, fate)| *fate == Fate::Clean).map(|(record, _)| record.offset);
    let wanted: Vec<(Offset, Option<Reason>)> = wanted.map(|offset| (offset, None)).collect();
    let clean = scene.records(&stream.clean(), partition);
    let found: Vec<_> = clean.iter().map(|record| (model::raw_offset(record).unwrap_or(-1), None)).collect();
    if let Some(detail) = difference("clean", partition, &wanted, &found) {
        return Some(detail);
    }
    let dead = |(record, fate): &(Record, Fate)| match fate {
        Fate::Dead(reason) => Some((record.offset, Some(*reason))),
        _ => None,
    };
    let wanted: Vec<_> = fates.iter().filter_map(dead).collect();
    let reason = |record: &Record| record.headers.get_str(headers::DEAD_REASON).and_then(Reason::parse);
    let letters = scene.records(&stream.dead(), partition);
    let found: Vec<_> =
        letters.iter().map(|record| (model::raw_offset(record).unwrap_or(-1), reason(record))).collect();
    difference("dead", partition, &wanted, &found)
}

fn difference(
    topic: &str,
    partition: i32,
    wanted: &[(Offset, Option<Reason>)],
    found: &[(Offset, Option<Reason>)],
) -> Option<String> {
    let place = (0..wanted.len().max(found.len())).find(|place| wanted.get(*place) != found.get(*place))?;
    let named = |of: &[(Offset, Option<Reason>)]| match of.get(place) {
        Some((offset, None)) => format!("raw offset {offset}"),
        Some((offset, Some(reason))) => format!("raw offset {offset} ({reason})"),
        None => "nothing more".to_owned(),
    };
    let twice = found.get(place).is_some_and(|this| found[..place].contains(this));
    let twice = if twice { ", which stands there before" } else { "" };
    Some(format!("record {place} of {topic}/{partition} is {}{twice}; the model says {}", named(found), named(wanted)))
}

fn entries(scene: &Scene, partition: i32) -> Vec<Entry> {
    let records = scene.records(&scene.info.stream.ledger(), partition);
    records.iter().filter_map(|record| Entry::from_payload(record.payload.as_deref()?).ok()).collect()
}

async fn position(scene: &Scene, group: &str, topic: &Arc<str>, partition: i32) -> Offset {
    let of = TopicPartition::new(topic.clone(), partition);
    scene.log.committed(group, &of).await.ok().flatten().unwrap_or(0)
}

/// What a processor counted in one step.
struct Step {
    accepted: u64,
    clean: u64,
    duplicates: u64,
    dead: BTreeMap<Reason, u64>,
}

fn steps(entries: &[Entry]) -> Vec<((Offset, Offset), Step)> {
    let mut steps = Vec::new();
    for entry in entries {
        if let Count::Process { from, to, accepted, clean, duplicates, ref dead, .. } = entry.count {
            steps.push(((from, to), Step { accepted, clean, duplicates, dead: dead.clone() }));
        }
    }
    steps.sort_by_key(|(range, _)| *range);
    steps
}

impl Step {
    fn differs(&self, (from, to): (Offset, Offset), fates: &[(Record, Fate)]) -> Option<String> {
        let within = fates.iter().filter(|(record, _)| record.offset >= from && record.offset < to);
        let (mut accepted, mut clean, mut duplicates, mut dead) = (0, 0, 0, BTreeMap::new());
        for (_, fate) in within {
            accepted += 1;
            match fate {
                Fate::Clean => clean += 1,
                Fate::Duplicate => duplicates += 1,
                Fate::Dead(reason) => *dead.entry(*reason).or_default() += 1,
            }
        }
        let said = (self.accepted, self.clean, self.duplicates, &self.dead);
        let are = (accepted, clean, duplicates, &dead);
        (said != are).then(|| format!("raw [{from}, {to}) was counted as {said:?}, the model says {are:?}"))
    }
}

/// What a sink counted of one range.
struct Flush {
    range: (Offset, Offset),
    records: u64,
    rows: BTreeMap<String, u64>,
}

fn flushes(entries: &[Entry], of: &Arc<str>) -> Vec<Flush> {
    let flush = |entry: &Entry| match &entry.count {
        Count::Sink { topic, from, to, records, rows } if *topic == **of => {
            Some(Flush { range: (*from, *to), records: *records, rows: rows.clone() })
        }
        _ => None,
    };
    let mut flushes: Vec<Flush> = entries.iter().filter_map(flush).collect();
    flushes.sort_by_key(|flush| flush.range);
    flushes
}

impl Flush {
    fn differs(&self, scene: &Scene, topic: &Arc<str>, records: &[Record]) -> Option<String> {
        let (from, to) = self.range;
        let shadow = scene.bucket.shadow.lock();
        let (mut count, mut rows) = (0, BTreeMap::new());
        for record in records.iter().filter(|record| record.offset >= from && record.offset < to) {
            count += 1;
            let of = TopicPartition::new(topic.clone(), 0);
            *rows.entry(shadow.table_for(&of, record)).or_default() += 1;
        }
        let differs = self.records != count || self.rows != rows;
        differs.then(|| {
            format!(
                "[{from}, {to}) was counted as {} records {:?}; there are {count} {rows:?}",
                self.records, self.rows
            )
        })
    }
}

/// Ranges begin at 0, each where the one before ended, up to the position.
fn tile(whose: &str, ranges: impl Iterator<Item = (Offset, Offset)>, position: Offset) -> Option<String> {
    let mut at = 0;
    let mut seen = BTreeSet::new();
    for (from, to) in ranges {
        if from != at || to < from || !seen.insert((from, to)) {
            return Some(format!("{whose}: an entry of [{from}, {to}) follows one that ends at {at}"));
        }
        at = to;
    }
    (at != position).then(|| format!("{whose}: entries end at {at}, the position is {position}"))
}

/// Holds the audit: what it finds wrong, if anything.
pub(crate) fn audit(scene: &Scene) -> Option<String> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Some(format!("no runtime for the audit: {error}")),
    };
    let config = queries::Config { threads: 1, ..queries::Config::default() };
    let store = lake(scene.bucket.objects.clone());
    let books = Books { log: Arc::new(scene.log.clone()), streams: SharedStreams::new(vec![scene.info.clone()]) };
    let registry = SharedRegistry::new(model::registry());
    let engine = match Engine::new(store, registry, config) {
        Ok(engine) => engine,
        Err(error) => return Some(error.to_string()),
    };
    match runtime.block_on(queries::audit(&engine, &books)) {
        Ok(audit) if audit.balanced => None,
        Ok(audit) => Some(audit.problems.join("; ")),
        Err(error) => Some(error.to_string()),
    }
}
