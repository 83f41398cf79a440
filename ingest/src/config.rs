//! What can be set, with defaults.

use crate::cors::Origin;
use edge::ClientAddress;
use events::limits;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of the role.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names this process in the ledger.
    pub instance: String,
    /// How long one request may take, from its head to its answer.
    pub deadline: Duration,
    /// A body as it comes over the wire, in bytes.
    pub body_bytes_max: usize,
    /// A body after decompression, in bytes.
    pub body_decompressed_bytes_max: usize,
    /// Events in one request.
    pub batch_events_max: usize,
    /// One event: headers and payload together, in bytes.
    pub event_bytes_max: usize,
    /// Bodies of all requests in work, in bytes; past it requests are answered 503. Each counts
    /// twice: what the log holds of it comes on top.
    pub memory_bytes_max: usize,
    /// What `Retry-After` says on a 503.
    pub retry_after: Duration,
    /// How often the counts of acknowledged events go to the ledger.
    pub ledger_interval: Duration,
    /// How long a drain waits for requests in work, and then again for the ledger.
    pub drain_limit: Duration,
    /// Whose word counts for where a request came from.
    pub client_address: ClientAddress,
    /// Whether clients are asked to send at all. Told by `GET /v1/config`; what comes all the same is taken.
    pub clients_enabled: bool,
    /// Sampling that clients are asked for: of this type, one event in so many. Told by
    /// `GET /v1/config`; ingest itself drops nothing.
    pub sampling: BTreeMap<String, u32>,
    /// Origins whose web pages may send, besides pages of our own.
    pub cors_origins: Vec<Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: "ingest".into(),
            deadline: Duration::from_secs(10),
            body_bytes_max: limits::BODY_BYTES_MAX,
            body_decompressed_bytes_max: limits::BODY_DECOMPRESSED_BYTES_MAX,
            batch_events_max: limits::BATCH_EVENTS_MAX,
            event_bytes_max: limits::EVENT_BYTES_MAX,
            memory_bytes_max: 256 << 20,
            retry_after: Duration::from_secs(1),
            ledger_interval: Duration::from_secs(1),
            drain_limit: Duration::from_secs(10),
            client_address: ClientAddress::default(),
            clients_enabled: true,
            sampling: BTreeMap::new(),
            cors_origins: Vec::new(),
        }
    }
}
