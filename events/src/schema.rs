//! Schemas: what a studio says of an event type, as JSON Schema 2020-12 files with an `x-killfeed`
//! object beside the standard keywords.
//!
//! A schema decides what needs no look inside the payload (stream, keys, window, durability), and
//! tells the decoder which columns the payload's fields become. A type without a schema is
//! discovered: its columns come from its events, and its version is 0.
//!
//! | module | to learn |
//! |---|---|
//! | [`declared`] | what `x-killfeed` may say, and which pairs of keys are refused |
//! | [`directory`] | how files are read, and read again when they change |
//! | [`compat`] | what one version may change of the one before |

pub mod compat;
pub mod declared;
pub mod directory;

pub use directory::{Directory, Problem};

use crate::log::Durability;
use crate::streams::Stream;
use std::sync::Arc;
use std::time::Duration;

/// The dedupe window of a type that declares none.
pub const DEDUPE_WINDOW_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// The version of a type that was discovered.
pub const DISCOVERED: i32 = 0;

/// What to do with an event whose payload doesn't fit its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Keep the row; what doesn't fit goes to `extra`, counted.
    #[default]
    Lenient,
    /// The event is a dead letter.
    Strict,
}

/// One version of the schema of one event type.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The event type, for example `lol.champion_kill`.
    pub event_type: Arc<str>,
    /// 1 or more.
    pub version: i32,
    /// Where events of this type go.
    pub stream: Stream,
    /// Attributes that make two events of this type the same; `None` for source, id and partition key.
    pub dedupe_key: Option<Vec<String>>,
    /// For how long that holds, on append time.
    pub dedupe_window: Duration,
    /// Attributes that choose the partition; `None` for the default of [`crate::keys`].
    pub partition_by: Option<Vec<String>>,
    /// Payload fields (dotted paths) and `playerid`, hidden from keys without scope `personal`.
    pub personal: Vec<String>,
    /// Lenient or strict.
    pub mode: Mode,
    /// What an append of this type waits for.
    pub durability: Durability,
    /// Columns that identify a row of `<table>_latest`; empty for none.
    pub key: Vec<String>,
    /// The whole file.
    pub document: Arc<serde_json::Value>,
}

/// What a registry knows about an event's type and `dataschema`.
#[derive(Debug, Clone)]
pub enum Resolved {
    /// This schema applies.
    Known(Arc<Schema>),
    /// The type has no schema: discovery, where it is on.
    Discovered,
    /// `dataschema` names this version of a known type, and there is none.
    UnknownVersion(i32),
}

/// All schemas that a role knows, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    types: std::collections::BTreeMap<Arc<str>, std::collections::BTreeMap<i32, Arc<Schema>>>,
}

impl Registry {
    /// With these schemas.
    pub fn of(schemas: impl IntoIterator<Item = Schema>) -> Self {
        let mut registry = Self::default();
        for schema in schemas {
            let versions = registry.types.entry(schema.event_type.clone()).or_default();
            versions.insert(schema.version, Arc::new(schema));
        }
        registry
    }

    /// Every schema of a directory of `<type>/<version>.json` files, and what is wrong with the
    /// rest; see [`Directory`].
    pub fn load(dir: &std::path::Path) -> (Self, Vec<Problem>) {
        let mut directory = Directory::new(dir);
        directory.reload()
    }

    /// The newest version of a type's schema.
    pub fn newest(&self, event_type: &str) -> Option<&Arc<Schema>> {
        self.types.get(event_type)?.values().next_back()
    }

    /// One version of a type's schema.
    pub fn version(&self, event_type: &str, version: i32) -> Option<&Arc<Schema>> {
        self.types.get(event_type)?.get(&version)
    }

    /// The schema of an event: a `dataschema` that ends in `/<type>/<version>` names the version,
    /// any other or none means the newest.
    pub fn resolve(&self, event_type: &str, dataschema: Option<&str>) -> Resolved {
        let Some(versions) = self.types.get(event_type) else { return Resolved::Discovered };
        let named = dataschema.and_then(|uri| {
            let (head, version) = uri.rsplit_once('/')?;
            let (_, named_type) = head.rsplit_once('/')?;
            (named_type == event_type).then(|| version.parse().ok()).flatten()
        });
        match named {
            Some(version) => versions
                .get(&version)
                .map_or(Resolved::UnknownVersion(version), |schema| Resolved::Known(schema.clone())),
            None => self.newest(event_type).map_or(Resolved::Discovered, |schema| Resolved::Known(schema.clone())),
        }
    }

    /// The versions of one type's schema, in order.
    pub fn versions(&self, event_type: &str) -> Vec<Arc<Schema>> {
        self.types.get(event_type).map(|versions| versions.values().cloned().collect()).unwrap_or_default()
    }

    /// Every version of every type, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.types.values().flat_map(|versions| versions.values())
    }

    /// The longest dedupe window of any type, the default included.
    pub fn dedupe_window_max(&self) -> Duration {
        self.iter().map(|schema| schema.dedupe_window).max().unwrap_or_default().max(DEDUPE_WINDOW_DEFAULT)
    }
}

/// The registry that a role works with; whoever reloads it, all see the new one from their next batch on.
#[derive(Debug, Clone, Default)]
pub struct SharedRegistry(Arc<parking_lot::RwLock<Arc<Registry>>>);

impl SharedRegistry {
    /// Starts with `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(parking_lot::RwLock::new(Arc::new(registry))))
    }

    /// The registry as of now.
    pub fn current(&self) -> Arc<Registry> {
        self.0.read().clone()
    }

    /// Puts another in its place.
    pub fn replace(&self, registry: Registry) {
        *self.0.write() = Arc::new(registry);
    }
}
