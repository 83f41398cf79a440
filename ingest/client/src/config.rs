//! What can be set, with defaults and limits.

use crate::event::Event;
use crate::ports::Compression;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How hard the client tries to deliver an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Fire and forget: held in memory until the server has it. Gone if the process dies.
    #[default]
    Memory,
    /// At least once: written to the store on this machine, and kept there until the server has it, over restarts.
    /// Without a store, or while it can't be written, as `Memory`.
    Stored,
}

/// What a full queue drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// What is held longest: the newest events tell most about what is going on.
    #[default]
    Oldest,
    /// What comes.
    Newest,
}

/// When what was written to the store is forced onto the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the operating system likes. A killed process loses nothing, a power cut may lose the last seconds.
    Never,
    /// At most so much later.
    Within(Duration),
    /// After each write, which takes all events that came in the meantime.
    Always,
}

/// A function that sees every event before it is taken.
#[derive(Clone)]
pub struct Hook(pub(crate) Arc<dyn Fn(&mut Event) -> bool + Send + std::marker::Sync>);

impl Hook {
    /// `false` keeps the event back: it is lost as `hook`.
    pub fn new(hook: impl Fn(&mut Event) -> bool + Send + std::marker::Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// Settings of a client. Fields may be set at will; [`Client::start`](crate::Client::start) checks them against
/// the limits that each one states.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where killfeed is: `https://events.example.com`, without a path.
    pub url: String,
    /// API key with scope `ingest`, sent as a bearer token; `None` where none is configured.
    pub key: Option<String>,
    /// `source` of every event: a URI reference that names the game and its part, `/my-game/client`.
    pub source: String,
    /// Events in a request. 1 to 10,000.
    pub batch_events: usize,
    /// NDJSON in a request, in bytes. 1,000 to 8,000,000. A single event may be larger.
    pub batch_bytes: usize,
    /// How long an event waits for others. 10 ms to 10 min.
    pub batch_time: Duration,
    /// One event, as its line in the request, in bytes. 256 to 1,000,000.
    pub event_bytes: usize,
    /// Events in memory, those under way included. 1 to 1,000,000. With a store, an eighth of this and of `queue_bytes`
    /// is kept for events on their way there.
    pub queue_events: usize,
    /// Memory of those events, about, in bytes. 10,000 to 1 GiB.
    pub queue_bytes: usize,
    /// What is dropped when memory or the store is full.
    pub on_full: OnFull,
    /// The first wait after a failure; doubles with each. 1 ms to 1 min.
    pub backoff_first: Duration,
    /// The longest wait. `backoff_first` to 1 h.
    pub backoff_cap: Duration,
    /// Failures in a row that open the circuit: then only probes of one event go. 1 or more.
    pub circuit_failures: u32,
    /// A request is given up after this. 10 ms to 5 min. Ingest answers within 10 s.
    pub request_timeout: Duration,
    /// How bodies are packed.
    pub compression: Compression,
    /// How hard to try, by type.
    pub delivery: BTreeMap<String, Delivery>,
    /// The same for all other types.
    pub delivery_default: Delivery,
    /// A directory for the store, of this client alone; made if it isn't there. `None`: no store.
    pub store: Option<PathBuf>,
    /// The store's files, in bytes. 262,144 to 16 GiB.
    pub store_bytes: u64,
    /// How long an event may wait before it is written to the store; it saves writes. 0 to 1 s.
    pub store_time: Duration,
    /// When the store is forced onto the disk.
    pub store_sync: Sync,
    /// Whether the player has agreed to telemetry. Without it nothing is kept and nothing is sent.
    pub consent: bool,
    /// How often the configuration of the server is asked for again. 1 min or more.
    pub config_time: Duration,
    /// Sees every event before it is taken, on the thread that sends it; may change it, and says whether it goes.
    pub before_send: Option<Hook>,
    /// How long after the first untold loss a report is sent. `None`: never. 1 s or more.
    pub loss_report: Option<Duration>,
}

impl Config {
    /// Defaults, for this server and this `source`.
    pub fn new(url: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: None,
            source: source.into(),
            batch_events: 500,
            batch_bytes: 475_000,
            batch_time: Duration::from_secs(8),
            event_bytes: 32_768,
            queue_events: 10_000,
            queue_bytes: 4 << 20,
            on_full: OnFull::Oldest,
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(60),
            circuit_failures: 5,
            request_timeout: Duration::from_secs(15),
            compression: Compression::Zstd,
            delivery: BTreeMap::new(),
            delivery_default: Delivery::Memory,
            store: None,
            store_bytes: 16 << 20,
            store_time: Duration::from_millis(20),
            store_sync: Sync::Within(Duration::from_secs(1)),
            consent: true,
            config_time: Duration::from_secs(3600),
            before_send: None,
            loss_report: Some(Duration::from_secs(60)),
        }
    }

    /// How hard to try with events of this type.
    pub(crate) fn delivery_of(&self, event_type: &str) -> Delivery {
        if self.delivery.is_empty() {
            return self.delivery_default;
        }
        self.delivery.get(event_type).copied().unwrap_or(self.delivery_default)
    }

    /// The first setting that is out of its limits.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let ms = Duration::from_millis;
        let (minute, hour) = (ms(60_000), ms(3_600_000));
        let url = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        if url.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            return Err(Invalid {
                setting: "url",
                value: self.url.clone(),
                limit: "http:// or https:// and a host".into(),
            });
        }
        if self.source.is_empty() || self.source.len() > 2048 {
            let value = format!("{} bytes", self.source.len());
            return Err(Invalid { setting: "source", value, limit: "1 to 2048 bytes".into() });
        }
        Invalid::unless("batch_events", self.batch_events, 1, 10_000)?;
        Invalid::unless("batch_bytes", self.batch_bytes, 1_000, 8_000_000)?;
        Invalid::unless("batch_time", self.batch_time, ms(10), minute * 10)?;
        Invalid::unless("event_bytes", self.event_bytes, 256, 1_000_000)?;
        Invalid::unless("queue_events", self.queue_events, 1, 1_000_000)?;
        Invalid::unless("queue_bytes", self.queue_bytes, 10_000, 1 << 30)?;
        Invalid::unless("backoff_first", self.backoff_first, ms(1), minute)?;
        Invalid::unless("backoff_cap", self.backoff_cap, self.backoff_first, hour)?;
        Invalid::unless("circuit_failures", self.circuit_failures, 1, u32::MAX)?;
        Invalid::unless("request_timeout", self.request_timeout, ms(10), minute * 5)?;
        Invalid::unless("store_bytes", self.store_bytes, 262_144, 16 << 30)?;
        Invalid::unless("store_time", self.store_time, Duration::ZERO, ms(1000))?;
        Invalid::unless("config_time", self.config_time, minute, Duration::MAX)?;
        if let Some(time) = self.loss_report {
            Invalid::unless("loss_report", time, ms(1000), Duration::MAX)?;
        }
        Ok(())
    }
}

/// A setting is out of its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, allowed is {limit}")]
pub struct Invalid {
    /// Its name.
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub limit: String,
}

impl Invalid {
    /// Whether `value` is at least `least` and at most `most`.
    ///
    /// # Errors
    /// If it isn't.
    pub fn unless<T: PartialOrd + std::fmt::Debug>(
        setting: &'static str,
        value: T,
        least: T,
        most: T,
    ) -> Result<(), Self> {
        if (&least..=&most).contains(&&value) {
            return Ok(());
        }
        Err(Self { setting, value: format!("{value:?}"), limit: format!("{least:?} to {most:?}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_its_limits_is_named() {
        let config = || Config::new("http://127.0.0.1:8080", "/game");
        assert_eq!(config().check(), Ok(()));
        for (change, message) in [
            ((|c| c.batch_events = 0) as fn(&mut Config), "batch_events is 0, allowed is 1 to 10000"),
            (|c| c.event_bytes = 2_000_000, "event_bytes is 2000000, allowed is 256 to 1000000"),
            (|c| c.backoff_cap = Duration::ZERO, "backoff_cap is 0ns, allowed is 1s to 3600s"),
            (|c| c.url = "ftp://x".into(), "url is ftp://x, allowed is http:// or https:// and a host"),
            (|c| c.source = String::new(), "source is 0 bytes, allowed is 1 to 2048 bytes"),
        ] {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().to_string(), message);
        }
    }
}
