//! The parts that a role consists of: how they are made, watched, and stopped.

use super::admin::{self, Admin};
use super::flush::Flusher;
use super::ready::{Readiness, State};
use super::{Role, data_dir, schemas};
use crate::exit::Failure;
use crate::options::Options;
use axum::Router;
use edge::{ClientAddress, Keys};
use events::log::embedded::{self, EmbeddedLog};
use events::log::{Log, StreamInfo, StreamSpec};
use events::schema::SharedRegistry;
use events::{Clock, Stream, SystemClock};
use ingest::Ingest;
use queries::audit::Books;
use sinks::Maintenance;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// This process' name in ledger entries and transactional ids. The embedded log has one process at a
/// time, and the same name after a restart fences what is left of the one before.
const INSTANCE: &str = "local";
/// `.state` is kept at least this long; twice the longest dedupe window if that is longer.
const STATE_RETENTION_MIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often the embedded log is asked to delete what is past its retention.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// The parts at work.
pub(crate) struct Parts {
    /// Each ends with its name and why; before `stop`, any end is a fault.
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
    log: EmbeddedLog,
    ingest: Option<Ingest>,
    flusher: Flusher,
}

/// What every part is made from.
struct Base {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    registry: SharedRegistry,
    store: Store,
    streams: Vec<StreamInfo>,
    state_retention: Duration,
}

impl Parts {
    /// Starts the parts of `role`; gives them, and what they answer over HTTP.
    pub(crate) async fn start(
        role: Role,
        options: &Options,
        keys: Keys,
        readiness: Readiness,
    ) -> Result<(Self, Router), Failure> {
        data_dir::prepare(&options.data_dir)?;
        let (registry, directory) = schemas::load(&options.schemas_dir())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let log = open_log(options, clock.clone()).await?;
        let state_retention = STATE_RETENTION_MIN.max(registry.current().dedupe_window_max() * 2);
        let streams = make_streams(&log, options, &registry, state_retention).await?;
        readiness.set("log", State::Ready);
        let store = Store::open(&options.store_location()).map_err(Failure::usage)?;
        for info in &streams {
            check_log(options, &log, &store, info).await?;
        }
        let base =
            Base { log: Arc::new(log.clone()), clock, registry: registry.clone(), store, streams, state_retention };

        let stop = CancellationToken::new();
        let flusher = Flusher { log: base.log.clone(), streams: base.streams.clone(), ingest: None, sinks: Vec::new() };
        let mut parts = Self { tasks: JoinSet::new(), stop: stop.clone(), log: log.clone(), ingest: None, flusher };
        let mut router = Router::new();
        parts.spawn("schemas", async move {
            schemas::watch(registry, directory, stop).await;
            Ok::<(), String>(())
        });
        parts.spawn("log", keep_retention(log, parts.stop.clone()));
        if role.has(Role::Process) {
            parts.start_processors(options, &base, &readiness);
        }
        if role.has(Role::Sink) {
            parts.start_sinks(options, &base, &readiness);
        }
        if role.has(Role::Ingest) {
            router = router.merge(parts.start_ingest(options, &base, keys.clone(), &readiness)?);
        }
        if role.has(Role::Query) {
            router = router.merge(start_queries(options, &base, keys.clone(), &readiness)?);
        }
        let maintenance = role.has(Role::Sink).then(|| parts.start_maintenance(options, &base));
        let Base { log, clock, registry, store, .. } = base;
        let flusher = (role == Role::Up).then(|| parts.flusher.clone());
        router = router.merge(admin::router(Admin { keys, log, clock, registry, store, flusher, maintenance }));
        Ok((parts, router.method_not_allowed_fallback(edge::no_such_method).fallback(edge::no_such_path)))
    }

    fn start_processors(&mut self, options: &Options, base: &Base, readiness: &Readiness) {
        for info in &base.streams {
            let scratch = options.data_dir.join("scratch").join(info.stream.name());
            let config = processors::Config {
                geoip: options.geoip.clone(),
                discovery: !options.no_discovery,
                state_retention: base.state_retention,
                ..processors::Config::new(info.stream.clone(), INSTANCE, scratch)
            };
            let run =
                processors::run(config, base.log.clone(), base.registry.clone(), base.clock.clone(), self.stop.clone());
            self.spawn("processors", run);
        }
        readiness.set("processors", State::Ready);
    }

    fn start_sinks(&mut self, options: &Options, base: &Base, readiness: &Readiness) {
        let mut healths = Vec::new();
        for info in &base.streams {
            let config = sinks::Config {
                flush_interval: options.flush_interval,
                discovery: !options.no_discovery,
                drain: options.drain_timeout,
                ..sinks::Config::new(info.stream.clone(), INSTANCE)
            };
            healths.push(config.health.clone());
            let signal = sinks::FlushSignal::default();
            self.flusher.sinks.push(signal.clone());
            let run = sinks::run(
                config,
                base.log.clone(),
                base.store.clone(),
                base.registry.clone(),
                base.clock.clone(),
                signal,
                self.stop.clone(),
            );
            self.spawn("sinks", run);
        }
        readiness
            .watch("sinks", move || healths.iter().find_map(sinks::Health::trouble).map_or(State::Ready, State::Not));
    }

    /// One part for all tables; what it takes out of them is counted in the ledger of the first stream.
    fn start_maintenance(&mut self, options: &Options, base: &Base) -> Maintenance {
        let maintenance =
            Maintenance { keep_days: options.keep_days, ..Maintenance::new(options.stream.clone(), INSTANCE) };
        let run = sinks::maintain(
            maintenance.clone(),
            base.log.clone(),
            base.store.clone(),
            base.clock.clone(),
            self.stop.clone(),
        );
        self.spawn("maintenance", run);
        maintenance
    }

    fn start_ingest(
        &mut self,
        options: &Options,
        base: &Base,
        keys: Keys,
        readiness: &Readiness,
    ) -> Result<Router, Failure> {
        let config = ingest::Config {
            instance: INSTANCE.into(),
            client_address: ClientAddress::new(options.trusted_proxy.iter().copied()),
            drain_limit: options.drain_timeout / 2,
            ..ingest::Config::default()
        };
        let (log, streams, registry) = (base.log.clone(), base.streams.clone(), base.registry.clone());
        let ingest = Ingest::start(config, log, streams, registry, keys, base.clock.clone()).map_err(Failure::usage)?;
        let watched = ingest.clone();
        readiness.watch("ingest", move || {
            if watched.is_ready() { State::Ready } else { State::Not("draining, or out of memory for requests".into()) }
        });
        let router = ingest.router();
        self.flusher.ingest = Some(ingest.clone());
        self.ingest = Some(ingest);
        Ok(router)
    }

    fn spawn<E: Display>(&mut self, name: &'static str, part: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.tasks.spawn(async move { (name, part.await.map_err(|error| error.to_string())) });
    }

    /// Waits for a part to end, which none does unless something is wrong; says which and why.
    pub(crate) async fn fault(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok((name, Err(error)))) => format!("{name} stopped: {error}"),
            Some(Ok((name, Ok(())))) => format!("{name} stopped without being told to"),
            Some(Err(error)) => format!("a part panicked: {error}"),
            None => "no part is at work".into(),
        }
    }

    /// Refuses new events, answers those in work, and brings what was accepted to its tables; what
    /// doesn't get there within `limit` stands in the log, and goes on at the next start.
    pub(crate) async fn drain(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        if let Some(ingest) = &self.ingest
            && let Err(error) = ingest.drain().await
        {
            tracing::warn!(%error, "the last counts of acknowledged events could not be written");
        }
        if self.flusher.sinks.is_empty() || self.ingest.is_none() {
            return;
        }
        let flush = self.flusher.flush(deadline.saturating_duration_since(Instant::now()));
        // A part that fails now ends the wait: nothing would move any more.
        tokio::select! {
            flushed = flush => {
                if let Err(error) = flushed {
                    tracing::warn!(%error, "stopping before everything is in its table");
                }
            }
            Some(_) = self.tasks.join_next() => tracing::warn!("a part failed while stopping"),
        }
    }

    /// Stops the parts and closes the log.
    pub(crate) async fn stop(&mut self, limit: Duration) {
        self.stop.cancel();
        let deadline = Instant::now() + limit;
        while let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await {
            if let Ok((name, Err(error))) = ended {
                tracing::warn!(part = name, error, "ended with an error");
            }
        }
        self.tasks.abort_all();
        if timeout(limit, self.log.close()).await.is_err() {
            tracing::warn!("the log is still writing");
        }
    }
}

async fn open_log(options: &Options, clock: Arc<dyn Clock>) -> Result<EmbeddedLog, Failure> {
    let dir = options.data_dir.join("log");
    let opened = tokio::task::spawn_blocking({
        let dir = dir.clone();
        move || EmbeddedLog::open(dir, embedded::Config::default(), clock)
    });
    match opened.await {
        Ok(Ok(log)) => Ok(log),
        Ok(Err(error)) => Err(Failure::usage(format!("cannot open the log in {}: {error}", dir.display()))),
        Err(error) => Err(Failure::negative(format!("opening the log panicked: {error}"))),
    }
}

/// Refuses a log that forgot what the tables hold, before anything is appended to it.
async fn check_log(options: &Options, log: &EmbeddedLog, store: &Store, info: &StreamInfo) -> Result<(), Failure> {
    match sinks::check_log(log, store, info).await {
        Ok(()) => Ok(()),
        Err(error @ sinks::Error::LogBehind { .. }) => {
            let dir = options.data_dir.join("log");
            Err(Failure::usage(format!(
                "{error}. Put back a whole copy of {dir}; or move {dir} away to begin a new log: rows stay as they are, and \
                 what was only in the old log is missing",
                dir = dir.display()
            )))
        }
        Err(error) => Err(Failure::usage(format!("cannot compare the log with the tables: {error}"))),
    }
}

/// Makes the stream of the options, and those that schemas name.
async fn make_streams(
    log: &EmbeddedLog,
    options: &Options,
    registry: &SharedRegistry,
    state_retention: Duration,
) -> Result<Vec<StreamInfo>, Failure> {
    let declared: BTreeSet<Stream> = registry.current().iter().map(|schema| schema.stream.clone()).collect();
    let default = Stream::new(events::streams::DEFAULT_STREAM).map_err(Failure::usage)?;
    let mut streams = vec![options.stream.clone()];
    streams.extend(declared.into_iter().filter(|stream| *stream != options.stream && *stream != default));
    let mut infos = Vec::new();
    for stream in streams {
        let spec = StreamSpec { stream, partitions: options.partitions, retention: options.retention, state_retention };
        infos.push(log.create_stream(&spec).await.map_err(Failure::usage)?);
    }
    Ok(infos)
}

async fn keep_retention(log: EmbeddedLog, stop: CancellationToken) -> Result<(), String> {
    while stop.run_until_cancelled(tokio::time::sleep(RETENTION_INTERVAL)).await.is_some() {
        match log.enforce_retention().await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "log deleted what was past its retention"),
            Err(error) if error.is_retryable() => tracing::warn!(%error, "log retention; trying again"),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

fn start_queries(options: &Options, base: &Base, keys: Keys, readiness: &Readiness) -> Result<Router, Failure> {
    let config = queries::Config { spill_dir: Some(options.data_dir.join("spill")), ..queries::Config::default() };
    let engine = queries::Engine::new(base.store.clone(), base.registry.clone(), config).map_err(Failure::usage)?;
    let books = Books { log: base.log.clone(), streams: base.streams.iter().map(|info| info.stream.clone()).collect() };
    readiness.set("queries", State::Ready);
    Ok(queries::router(engine, keys, books))
}
