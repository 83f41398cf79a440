//! What a sink may be told.

use crate::Health;
use events::Stream;
use std::time::Duration;

/// Options of a sink.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream whose events it delivers.
    pub stream: Stream,
    /// Names this process in the ledger, in leases and in the log; unique.
    pub instance: String,
    /// An event is in its table at the latest so long after the sink read it.
    pub flush_interval: Duration,
    /// A flush begins when so many records wait.
    pub flush_rows: usize,
    /// A flush begins when so many bytes wait. Memory holds at most twice that, and what decoding it
    /// takes: one flush at work, and one being gathered.
    pub flush_bytes: usize,
    /// Tables written at once.
    pub tables_at_once: usize,
    /// Whether fields that have no column get one.
    pub discovery: bool,
    /// The longest pause between tries while the store or the log is down.
    pub retry_max: Duration,
    /// How long a stop may wait for the last flush.
    pub drain: Duration,
    /// Where the sink says how it is.
    pub health: Health,
}

impl Config {
    /// The defaults for a stream, for a process of this name.
    pub fn new(stream: Stream, instance: impl Into<String>) -> Self {
        Self {
            health: Health::new(stream.clone()),
            stream,
            instance: instance.into(),
            flush_interval: Duration::from_secs(5),
            flush_rows: 500_000,
            flush_bytes: 64 << 20,
            tables_at_once: 4,
            discovery: true,
            retry_max: Duration::from_secs(15),
            drain: Duration::from_secs(20),
        }
    }
}
