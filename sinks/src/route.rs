//! Which table a record goes to. It depends on the record and on what stands in the store, so that
//! a second attempt decides as the first one did.

use crate::Error;
use events::dead::Reason;
use events::headers;
use events::log::{Offset, Record};
use events::schema::{DISCOVERED, Registry};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events for their tables.
    Clean,
    /// Dead letters.
    Dead,
    /// Entries of the ledger.
    Ledger,
}

/// The records of one partition that a flush carries.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// What the topic carries.
    pub(crate) kind: Kind,
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The partition.
    pub(crate) partition: i32,
    /// The application id under which tables remember it.
    pub(crate) app_id: Arc<str>,
    /// The position before the flush.
    pub(crate) from: Offset,
    /// The position after it.
    pub(crate) to: Offset,
    /// What was read, in order.
    pub(crate) records: Arc<Vec<Record>>,
}

/// A record of a flush: which part, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) part: usize,
    pub(crate) index: usize,
}

/// A record that can't become a row, and why.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Records of clean partitions by event type, each with its table's name.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// By table, then by type: more than one type only where they want the same name.
    pub(crate) tables: BTreeMap<String, BTreeMap<String, Vec<Place>>>,
    /// Those whose type has no table.
    pub(crate) dead: Vec<Found>,
}

/// Sorts the records of `parts` by table.
///
/// # Errors
/// If a record follows a schema version that `registry` lacks.
pub(crate) fn route(parts: &[Part], registry: &Registry) -> Result<Routed, Error> {
    let mut types: HashMap<&str, Vec<Place>> = HashMap::new();
    let mut checked: HashSet<(&str, &str)> = HashSet::new();
    for (part, of) in parts.iter().enumerate().filter(|(_, of)| of.kind == Kind::Clean) {
        for (index, record) in of.records.iter().enumerate() {
            let event_type = record.headers.get_str(headers::TYPE).unwrap_or_default();
            let version = record.headers.get_str(headers::SCHEMA_VERSION).unwrap_or_default();
            if checked.insert((event_type, version)) {
                check_version(registry, event_type, version, of)?;
            }
            types.entry(event_type).or_default().push(Place { part, index });
        }
    }
    let mut routed = Routed::default();
    for (event_type, places) in types {
        match decode::table_name(event_type) {
            Ok(table) => {
                routed.tables.entry(table).or_default().insert(event_type.to_owned(), places);
            }
            Err(error) => {
                let reason = match error {
                    decode::NameError::Reserved { .. } | decode::NameError::TooLong { .. } => Reason::TableNameTaken,
                    decode::NameError::Empty => Reason::EnvelopeInvalid,
                };
                let detail = error.to_string();
                routed.dead.extend(places.into_iter().map(|place| Found { place, reason, detail: detail.clone() }));
            }
        }
    }
    Ok(routed)
}

fn check_version(registry: &Registry, event_type: &str, version: &str, of: &Part) -> Result<(), Error> {
    match version.parse() {
        Err(_) | Ok(DISCOVERED) => Ok(()),
        Ok(version) if registry.version(event_type, version).is_some() => Ok(()),
        Ok(version) => {
            Err(Error::SchemaMissing { event_type: event_type.to_owned(), version, topic: of.topic.to_string() })
        }
    }
}
