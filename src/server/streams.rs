//! The streams that this process serves: those of the options and of the schemas at start, and later
//! any that a schema brings. Each has its topics made before its processor and its sink start, and
//! before ingest takes events for it.

use super::Role;
use super::parts::{Part, bytes};
use crate::options::{AddressKept, Options};
use events::log::{self, Log, StreamInfo, StreamSpec};
use events::schema::{Registry, SharedRegistry};
use events::streams::DEFAULT_STREAM;
use events::{Clock, SharedStreams, Stream};
use ingest::Ingest;
use processors::StateRetention;
use sinks::{FlushSignal, Health};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tables::Store;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// `.state` is kept at least this long; twice the longest dedupe window if that is longer.
const STATE_RETENTION_MIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often it is looked whether a stream has grown.
const GROWTH_INTERVAL: Duration = Duration::from_secs(1);
/// How often topics are held against what is recorded of them.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The same after they differed: a broker that has just started may not know all topics yet.
const CHECK_AGAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often in a row they may differ before this process stops.
const FAULTS_MAX: u32 = 6;

/// What the parts of every stream are made from.
pub(crate) struct Streams {
    pub(crate) role: Role,
    pub(crate) options: Options,
    pub(crate) log: Arc<dyn Log>,
    /// This process' name in ledger entries and transactional ids.
    pub(crate) instance: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: SharedRegistry,
    pub(crate) store: Store,
    /// Those that are served; all who read this see further ones.
    pub(crate) served: SharedStreams,
    /// One request reaches the sinks of all streams.
    pub(crate) flush: FlushSignal,
    pub(crate) stop: CancellationToken,
    /// Where parts go to be run.
    pub(crate) parts: UnboundedSender<Part>,
    /// Set once ingest is up.
    pub(crate) ingest: OnceLock<Ingest>,
    healths: Mutex<Vec<Health>>,
    state_retention: StateRetention,
}

impl Streams {
    /// Serves nothing yet.
    pub(crate) fn new(
        role: Role,
        options: &Options,
        (log, store, instance): (Arc<dyn Log>, Store, &str),
        clock: Arc<dyn Clock>,
        registry: SharedRegistry,
        (parts, stop): (UnboundedSender<Part>, CancellationToken),
    ) -> Self {
        Self {
            role,
            options: options.clone(),
            log,
            instance: instance.into(),
            clock,
            registry,
            store,
            served: SharedStreams::default(),
            flush: FlushSignal::default(),
            stop,
            parts,
            ingest: OnceLock::new(),
            healths: Mutex::default(),
            state_retention: STATE_RETENTION_MIN.into(),
        }
    }

    /// Serves what `registry` asks for: further streams, and state kept for as long as its longest
    /// dedupe window needs. What is served already goes on.
    ///
    /// # Errors
    /// What the log says of a stream that it can't make, or that it forgot what the tables hold of one;
    /// then none is served that wasn't.
    pub(crate) async fn follow(&self, registry: &Registry) -> Result<(), sinks::Error> {
        let served = self.served.current();
        let state_retention = self.state_retention.get().max(state_retention(registry));
        if state_retention > self.state_retention.get() {
            for info in self.newest() {
                self.served.put(self.make(&info.stream, state_retention).await?);
            }
            self.state_retention.lengthen(state_retention);
        }
        let mut further = Vec::new();
        for stream in wanted(&self.options, registry)
            .into_iter()
            .filter(|wanted| !served.iter().any(|info| info.stream.name() == wanted.name()))
        {
            let mut all = log::generations(self.log.as_ref(), &stream).await?;
            let newest = all.pop().map_or(stream, |newest| newest.stream);
            all.push(self.make(&newest, state_retention).await?);
            for info in all {
                self.compare(&info).await?;
                further.push(info);
            }
        }
        for info in further {
            self.start(&info);
            if !served.is_empty() {
                tracing::info!(stream = %info.stream, "serving a further stream, which a schema names");
            }
        }
        Ok(())
    }

    /// Serves generations that came since the last look. Old ones go on: their processors and sinks have to
    /// come to their ends.
    ///
    /// # Errors
    /// What the log says.
    pub(crate) async fn follow_growth(&self) -> Result<(), sinks::Error> {
        for known in self.newest() {
            if self.log.stream(&known.stream.next()).await?.is_none() {
                continue;
            }
            for info in log::generations(self.log.as_ref(), &known.stream).await? {
                if self.served.current().iter().any(|served| served.stream == info.stream) {
                    self.served.put(info);
                    continue;
                }
                self.compare(&info).await?;
                self.start(&info);
                tracing::info!(stream = %info.stream, partitions = info.partitions, "a stream has grown");
            }
        }
        Ok(())
    }

    /// Looks for growth until `stop`, and at once when ingest meets the end of a generation. Ends with an
    /// error if the topics of a stream are no longer those that were recorded.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) -> Result<(), String> {
        let mut checked = Instant::now();
        let mut faults = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.some_ended() => {}
                () = tokio::time::sleep(GROWTH_INTERVAL) => {}
            }
            if let Err(error) = self.follow_growth().await {
                tracing::warn!(%error, "cannot see whether streams have grown; trying again");
            }
            if checked.elapsed() < if faults == 0 { CHECK_INTERVAL } else { CHECK_AGAIN_INTERVAL } {
                continue;
            }
            checked = Instant::now();
            faults = match self.check().await {
                Err(error @ log::Error::Refused(_)) if faults + 1 >= FAULTS_MAX => return Err(error.to_string()),
                Err(log::Error::Refused(_)) => faults + 1,
                _ => 0,
            };
        }
    }

    /// Whether all streams are in the log as they were recorded.
    async fn check(&self) -> log::Result<()> {
        for info in self.served.current() {
            if self.log.stream(&info.stream).await?.is_none() {
                return Err(log::Error::Refused(format!("stream {} is no longer recorded in the log", info.stream)));
            }
        }
        Ok(())
    }

    async fn some_ended(&self) {
        match self.ingest.get() {
            Some(ingest) => ingest.some_ended().await,
            None => std::future::pending().await,
        }
    }

    /// The newest generation of each stream that is served.
    fn newest(&self) -> Vec<StreamInfo> {
        let served = self.served.current();
        let newer = |info: &StreamInfo, other: &StreamInfo| {
            other.stream.name() == info.stream.name() && other.stream.generation() > info.stream.generation()
        };
        served.iter().filter(|info| !served.iter().any(|other| newer(info, other))).cloned().collect()
    }

    /// Holds the log against the tables. Who neither writes nor reads tables goes on without, if the store
    /// is away: events are to be taken while it is, and the sinks compare once more.
    async fn compare(&self, info: &StreamInfo) -> Result<(), sinks::Error> {
        match sinks::check_log(self.log.as_ref(), &self.store, info).await {
            Err(sinks::Error::Tables(error))
                if error.is_retryable() && !self.role.has(Role::Sink) && !self.role.has(Role::Query) =>
            {
                tracing::warn!(%error, "cannot compare the log with the tables; going on without");
                Ok(())
            }
            compared => compared,
        }
    }

    /// What keeps sinks from delivering, if anything does.
    pub(crate) fn sink_trouble(&self) -> Option<String> {
        self.healths.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(Health::trouble)
    }

    async fn make(&self, stream: &Stream, state_retention: Duration) -> log::Result<StreamInfo> {
        self.log.create_stream(&spec(&self.options, stream, state_retention)).await
    }

    /// Starts the parts of a stream whose topics were made.
    fn start(&self, info: &StreamInfo) {
        if self.role.has(Role::Process) {
            self.start_processor(info);
        }
        if self.role.has(Role::Sink) {
            self.start_sink(info);
        }
        self.served.put(info.clone());
        if let Some(ingest) = self.ingest.get() {
            ingest.serve(info.clone());
        }
    }

    fn start_processor(&self, info: &StreamInfo) {
        let scratch = self.options.data_dir.join("scratch").join(info.stream.to_string());
        let config = processors::Config {
            address: match self.options.address_policy {
                AddressKept::Drop => processors::AddressPolicy::Drop,
                AddressKept::Truncate => processors::AddressPolicy::Truncate,
            },
            dedupe_memory_bytes_max: bytes(self.options.dedupe_memory),
            geoip: self.options.geoip.clone(),
            discovery: !self.options.no_discovery,
            state_retention: self.state_retention.clone(),
            ..processors::Config::new(info.stream.clone(), &*self.instance, scratch)
        };
        let (log, registry) = (self.log.clone(), self.registry.clone());
        let run = processors::run(config, log, registry, self.clock.clone(), self.stop.clone());
        self.run(Part::new("processors", run));
    }

    fn start_sink(&self, info: &StreamInfo) {
        let config = sinks::Config {
            flush_interval: self.options.flush_interval,
            discovery: !self.options.no_discovery,
            drain: self.options.drain_timeout,
            ..sinks::Config::new(info.stream.clone(), &*self.instance)
        };
        self.healths.lock().unwrap_or_else(PoisonError::into_inner).push(config.health.clone());
        let (log, store, registry) = (self.log.clone(), self.store.clone(), self.registry.clone());
        let run = sinks::run(config, log, store, registry, self.clock.clone(), self.flush.clone(), self.stop.clone());
        self.run(Part::new("sinks", run));
    }

    fn run(&self, part: Part) {
        if self.parts.send(part).is_err() {
            tracing::warn!("a stream came while this process stops; the next start serves it");
        }
    }
}

/// The stream of the options first, then those that schemas name. A schema that names none means
/// the first, whatever its name.
pub(crate) fn wanted(options: &Options, registry: &Registry) -> Vec<Stream> {
    let first = &options.stream;
    let named: BTreeSet<&Stream> = registry.iter().map(|schema| &schema.stream).collect();
    let further = named.into_iter().filter(|stream| *stream != first && stream.name() != DEFAULT_STREAM);
    std::iter::once(first).chain(further).cloned().collect()
}

/// How long `.state` is kept: twice the longest dedupe window, and not less than the default.
pub(crate) fn state_retention(registry: &Registry) -> Duration {
    STATE_RETENTION_MIN.max(registry.dedupe_window_max() * 2)
}

/// How a stream is made.
pub(crate) fn spec(options: &Options, stream: &Stream, state_retention: Duration) -> StreamSpec {
    let (partitions, retention) = (options.partitions, options.retention);
    StreamSpec { stream: stream.clone(), partitions, retention, state_retention }
}
