//! What a processor can be told.

use events::log::ReadLimit;
use events::streams::Stream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is left of a client's address once it has been looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressPolicy {
    /// Nothing.
    #[default]
    Drop,
    /// Its network, in `ce_clientaddress`: the first 24 bits of an IPv4 address, 48 of an IPv6
    /// one, the rest zero. In clean records and dead letters alike.
    Truncate,
}

/// How long `.state` keeps its records. Whoever lengthens it, all clones see it.
#[derive(Debug, Clone)]
pub struct StateRetention(Arc<AtomicU64>);

impl StateRetention {
    /// As of now, to the millisecond.
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// From now on it is at least this. The log must have been told before.
    pub fn lengthen(&self, to: Duration) {
        self.0.fetch_max(millis(to), Ordering::SeqCst);
    }
}

impl From<Duration> for StateRetention {
    fn from(retention: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(millis(retention))))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Options of [`crate::run`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream whose raw topic is read.
    pub stream: Stream,
    /// Names this process in ledger entries and errors, and makes its transactional ids: the same
    /// name after a restart fences what is left of the process before, so no two running processes
    /// may share it.
    pub instance: String,
    /// Members of the group in this process, each with partitions of its own and busy on one core
    /// at most.
    pub workers: usize,
    /// MaxMind databases (City, Country, Enterprise, ISP, ASN, Connection-Type, or one that has
    /// several of these in one). A file may be absent, and may come or change later.
    pub geoip: Vec<PathBuf>,
    /// How often these files are looked at.
    pub geoip_check_interval: Duration,
    /// Addresses whose look-up is remembered, per worker.
    pub geoip_cached_addresses_max: usize,
    /// What is left of a client's address.
    pub address: AddressPolicy,
    /// Whether a type without schema passes, as version 0; else it is a dead letter.
    pub discovery: bool,
    /// How long a step waits for more records before it is made of fewer than
    /// [`Self::linger_records`].
    pub linger: Duration,
    /// Records from which on a step doesn't wait.
    pub linger_records: usize,
    /// Records and bytes of one step at most.
    pub step_max: ReadLimit,
    /// Memory for fingerprints in bytes, of all workers together; past it the oldest go to disk.
    pub dedupe_memory_bytes_max: usize,
    /// A directory of this process's own for fingerprints past that limit. It is a cache: emptied
    /// at start, rebuilt from the log.
    pub scratch_dir: PathBuf,
    /// How long `.state` keeps its records. [`crate::run`] refuses to start if it is less than twice
    /// the longest dedupe window of any schema; whoever brings a longer window later lengthens it first.
    pub state_retention: StateRetention,
    /// The longest pause between two tries while the log is unavailable.
    pub backoff_max: Duration,
}

impl Config {
    /// The defaults, for `stream`, with `instance` and a scratch directory of its own.
    pub fn new(stream: Stream, instance: impl Into<String>, scratch_dir: impl Into<PathBuf>) -> Self {
        Self {
            stream,
            instance: instance.into(),
            workers: 1,
            geoip: Vec::new(),
            geoip_check_interval: Duration::from_secs(5),
            geoip_cached_addresses_max: 131_072,
            address: AddressPolicy::default(),
            discovery: true,
            linger: Duration::from_millis(5),
            linger_records: 2_048,
            step_max: ReadLimit { records: 16_384, bytes: 16 << 20 },
            dedupe_memory_bytes_max: 1 << 30,
            scratch_dir: scratch_dir.into(),
            state_retention: Duration::from_secs(7 * 24 * 60 * 60).into(),
            backoff_max: Duration::from_secs(5),
        }
    }
}
