//! What must become of each record of raw, worked out plainly: one map of claims per partition, with
//! names instead of hashes, and nothing that could be lost.

use events::dead::Reason;
use events::headers;
use events::log::memory::MemoryLog;
use events::log::{Offset, Record};
use events::schema::{DEDUPE_WINDOW_DEFAULT, Registry, Schema};
use events::streams::{Stream, TopicPartition};
use serde_json::json;
use std::collections::HashMap;

/// A type with a window of a few seconds, under the usual key.
pub(crate) const SHOT: &str = "sim.shot";
/// A type that happens once a game.
pub(crate) const MATCH_END: &str = "sim.match_end";
/// A strict type: what breaks its schema is a dead letter that the sink finds.
pub(crate) const SCORE: &str = "sim.score";
/// A type without a schema.
pub(crate) const CHAT: &str = "sim.chat";

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Clean,
    Duplicate,
    Dead(Reason),
}

/// The schemas of the simulated games.
///
/// # Panics
/// If they break a rule of ours, which no seed changes.
pub(crate) fn registry() -> Registry {
    let open = json!({"type": "object"});
    let with = |declared: serde_json::Value, document: &serde_json::Value| {
        let mut document = document.clone();
        document["x-killfeed"] = declared;
        document
    };
    let strict = json!({"type": "object", "properties": {"points": {"type": "integer"}}, "required": ["points"]});
    let documents = [
        (SHOT, with(json!({"dedupe": {"window": "3s"}}), &open)),
        (MATCH_END, with(json!({"dedupe": {"key": ["gameid"], "window": "40s"}, "partition_by": "gameid"}), &open)),
        (SCORE, with(json!({"mode": "strict", "dedupe": {"window": "1h"}}), &strict)),
    ];
    let schemas = documents.map(|(event_type, document)| -> Schema {
        match events::schema::declared::read(event_type, 1, document) {
            Ok(schema) => schema,
            Err(faults) => panic!("schema of {event_type}: {faults:?}"),
        }
    });
    Registry::of(schemas)
}

fn window_ms(event_type: &str) -> i64 {
    match event_type {
        SHOT => 3_000,
        MATCH_END => 40_000,
        SCORE => 3_600_000,
        _ => i64::try_from(DEDUPE_WINDOW_DEFAULT.as_millis()).unwrap_or(i64::MAX),
    }
}

/// Whether a clean record becomes a row; else a dead letter that the sink finds.
pub(crate) fn is_row(record: &Record) -> bool {
    let event_type = record.headers.get_str(headers::TYPE).unwrap_or_default();
    event_type != SCORE || record.payload.as_deref().is_some_and(|payload| !payload.starts_with(b"{\"points\":\""))
}

/// The table that a type's rows go to.
pub(crate) fn table_of(event_type: &str) -> String {
    event_type.replace('.', "_")
}

/// What must become of each record of a partition of raw, in order.
pub(crate) fn fates(log: &MemoryLog, stream: &Stream, partition: i32) -> Vec<(Record, Fate)> {
    let mut claims: HashMap<Vec<String>, (Vec<u8>, i64)> = HashMap::new();
    let mut judged = Vec::new();
    for record in log.records(&TopicPartition::new(stream.raw(), partition)) {
        let fate = judge(&record, &mut claims);
        judged.push((record, fate));
    }
    judged
}

fn judge(record: &Record, claims: &mut HashMap<Vec<String>, (Vec<u8>, i64)>) -> Fate {
    let text = |name: &str| record.headers.get_str(name).unwrap_or_default().to_owned();
    let (event_type, id) = (text(headers::TYPE), text(headers::ID));
    if id.is_empty() {
        return Fate::Dead(Reason::EnvelopeInvalid);
    }
    let key = if event_type == MATCH_END {
        vec![event_type.clone(), text(headers::GAMEID)]
    } else {
        let partition_key = String::from_utf8_lossy(&record.key).into_owned();
        vec![event_type.clone(), text(headers::SOURCE), id, partition_key]
    };
    let payload = record.payload.as_deref().unwrap_or_default().to_vec();
    match claims.get(&key) {
        Some((held, until_ms)) if *until_ms > record.time_ms => {
            return if *held == payload { Fate::Duplicate } else { Fate::Dead(Reason::Conflict) };
        }
        _ => {}
    }
    claims.insert(key, (payload, record.time_ms + window_ms(&event_type)));
    if text(headers::DATASCHEMA).ends_with("/9") {
        return Fate::Dead(Reason::UnknownSchemaVersion);
    }
    Fate::Clean
}

/// The raw offset that a record of clean or dead came from.
pub(crate) fn raw_offset(record: &Record) -> Option<Offset> {
    record.headers.get_str(headers::RAW_OFFSET)?.parse().ok()
}
