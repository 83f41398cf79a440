//! Numbers for a debug overlay.

use crate::loss::Reason;
use std::collections::BTreeMap;
use std::time::Duration;

/// Counted by the background thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    pub(crate) recovered: u64,
    pub(crate) delivered: u64,
    pub(crate) durable: u64,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) body_bytes: u64,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) circuit_open: bool,
    pub(crate) last_error: Option<String>,
    pub(crate) stored_events: u64,
    pub(crate) store_bytes: u64,
    pub(crate) store_error: Option<String>,
    pub(crate) configured: bool,
    pub(crate) own: u64,
}

/// How things stand. `sent + recovered = delivered + lost + pending` at any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events given to `send`.
    pub sent: u64,
    /// Events that an earlier run left in the store.
    pub recovered: u64,
    /// Events that the server took.
    pub delivered: u64,
    /// Of these, those that it has on every replica: acknowledged, as the server uses the word.
    pub acknowledged: u64,
    /// Events that were not delivered and never will be, by reason; what never happened is missing.
    pub lost: BTreeMap<Reason, u64>,
    /// Events held: in memory, in the store, or under way.
    pub pending: u64,
    /// Of these, those in the store.
    pub stored: u64,
    /// Memory of the events in it, about, in bytes.
    pub memory_bytes: u64,
    /// The store's files, in bytes.
    pub store_bytes: u64,
    /// Requests that ended, one way or other.
    pub requests: u64,
    /// Of these, those after which something had to be sent again.
    pub failures: u64,
    /// Bytes of their bodies as they went over the wire.
    pub body_bytes: u64,
    /// How long the last request took.
    pub round_trip: Option<Duration>,
    /// Whether only probes go, after many failures in a row.
    pub circuit_open: bool,
    /// Whether the server's configuration has been read.
    pub configured: bool,
    /// What went wrong last with a request.
    pub last_error: Option<String>,
    /// What is wrong with the store now.
    pub store_error: Option<String>,
}
