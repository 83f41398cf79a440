//! Which schema an event goes by, or why it can't go on.
//!
//! The answer depends on the registry and on two headers (`type` and `dataschema`), so it is
//! remembered for each pair of them, until the registry changes.

use events::dead::Reason;
use events::headers::CE_PREFIX;
use events::schema::{DEDUPE_WINDOW_DEFAULT, DISCOVERED, Registry, Resolved, SharedRegistry};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Pairs of type and `dataschema` remembered; past it all are forgotten at the next batch.
const REMEMBERED_MAX: usize = 10_000;

/// What is known of a type at a version.
#[derive(Debug)]
pub struct Route {
    /// The version to stamp as decimal text, or why the event is a dead letter.
    pub verdict: Result<String, (Reason, String)>,
    /// For how long a key is claimed, ms.
    pub window_ms: u64,
    /// Header names of the declared dedupe key; `None` for source, id and partition key.
    pub dedupe_key: Option<Vec<String>>,
}

/// Finds routes.
#[derive(Debug)]
pub struct Router {
    shared: SharedRegistry,
    registry: Arc<Registry>,
    discovery: bool,
    places: HashMap<Box<[u8]>, usize>,
    routes: Vec<Route>,
    key: Vec<u8>,
}

impl Router {
    /// By this registry.
    pub fn new(shared: SharedRegistry, discovery: bool) -> Self {
        let registry = shared.current();
        Self { shared, registry, discovery, places: HashMap::new(), routes: Vec::new(), key: Vec::new() }
    }

    /// Takes up a registry that changed since. To be called once a batch: places stay valid within one.
    pub fn follow(&mut self) {
        let current = self.shared.current();
        if !Arc::ptr_eq(&current, &self.registry) || self.routes.len() > REMEMBERED_MAX {
            self.registry = current;
            self.places.clear();
            self.routes.clear();
        }
    }

    /// The place of the route for these two headers; see [`Self::route`].
    #[inline]
    pub fn place(&mut self, event_type: &[u8], dataschema: Option<&[u8]>) -> usize {
        self.key.clear();
        self.key.extend_from_slice(event_type);
        if let Some(dataschema) = dataschema {
            self.key.push(0);
            self.key.extend_from_slice(dataschema);
        }
        match self.places.get(self.key.as_slice()) {
            Some(place) => *place,
            None => self.remember(event_type, dataschema),
        }
    }

    /// The route at a place.
    #[inline]
    pub fn route(&self, place: usize) -> &Route {
        &self.routes[place]
    }

    #[cold]
    fn remember(&mut self, event_type: &[u8], dataschema: Option<&[u8]>) -> usize {
        let event_type = String::from_utf8_lossy(event_type);
        let dataschema = dataschema.map(String::from_utf8_lossy);
        let route = self.find(&event_type, dataschema.as_deref());
        let place = self.routes.len();
        self.routes.push(route);
        self.places.insert(self.key.as_slice().into(), place);
        place
    }

    fn find(&self, event_type: &str, dataschema: Option<&str>) -> Route {
        let (known, verdict) = match self.registry.resolve(event_type, dataschema) {
            Resolved::Known(schema) => {
                let version = schema.version.to_string();
                (Some(schema), Ok(version))
            }
            Resolved::Discovered if self.discovery => (None, Ok(DISCOVERED.to_string())),
            Resolved::Discovered => {
                let detail = format!("type {event_type:?} has no schema, and discovery is off");
                (None, Err((Reason::UnknownType, detail)))
            }
            Resolved::UnknownVersion(version) => {
                let detail = format!("type {event_type:?} has no schema of version {version}, which dataschema names");
                let newest = self.registry.newest(event_type).cloned();
                (newest, Err((Reason::UnknownSchemaVersion, detail)))
            }
        };
        let window = known.as_ref().map_or(DEDUPE_WINDOW_DEFAULT, |schema| schema.dedupe_window);
        let dedupe_key = known.and_then(|schema| schema.dedupe_key.clone());
        Route {
            verdict,
            window_ms: millis(window),
            dedupe_key: dedupe_key.map(|key| key.iter().map(|attribute| format!("{CE_PREFIX}{attribute}")).collect()),
        }
    }
}

/// A window in ms; rounded up, for a promise is never shortened.
fn millis(window: Duration) -> u64 {
    u64::try_from(window.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs() / 4)
}
