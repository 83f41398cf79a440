//! The parts that a role consists of: how they are made, watched, and stopped.

use super::admin::{self, Admin};
use super::flush::Flusher;
use super::lag::LagWatch;
use super::log::{OpenLog, not_served};
use super::postgres::Taken;
use super::questions::Asked;
use super::ready::{Readiness, State};
use super::streams::Streams;
use super::{Role, data_dir, schemas};
use crate::FromFile;
use crate::exit::Failure;
use crate::options::Options;
use axum::Router;
use edge::{ClientAddress, Keys};
use events::Clock;
use ingest::Ingest;
use sinks::Maintenance;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tables::{Purpose, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// A number of an option as one of this machine's.
pub(crate) fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A part that was made, and does not run yet.
pub(crate) struct Part {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
}

impl Part {
    /// Of this name, which faults are reported under.
    pub(crate) fn new<E: Display>(
        name: &'static str,
        run: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        Self { name, run: Box::pin(async move { run.await.map_err(|error| error.to_string()) }) }
    }
}

/// The parts at work.
pub(crate) struct Parts {
    /// Each ends with its name and why; before `stop`, any end is a fault.
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    /// Parts that streams bring while this runs.
    further: UnboundedReceiver<Part>,
    pub(super) stop: CancellationToken,
    /// Until then pages may be watched.
    pub(super) watching: CancellationToken,
    log: OpenLog,
    ingest: Option<Ingest>,
    flusher: Flusher,
}

impl Parts {
    /// Starts the parts of `role`; gives them, and what they answer over HTTP.
    pub(crate) async fn start(
        role: Role,
        options: &Options,
        (file, postgres): (FromFile, Option<Taken>),
        readiness: Readiness,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Router), Failure> {
        let FromFile { keys, schedules } = file;
        data_dir::prepare(&options.data_dir)?;
        let (registry, directory) = schemas::load(&options.schemas_dir())?;
        let log = OpenLog::open(role, options, clock.clone()).await?;
        let watched = log.shared();
        readiness.watch("log", move || watched.trouble().map_or(State::Ready, State::Not));
        let store = open_store(role, options).await?;

        let (stop, (send, further)) = (CancellationToken::new(), unbounded_channel());
        let base = (log.shared(), store, log.instance());
        let streams = Streams::new(role, options, base, clock, registry.clone(), (send, stop.clone()));
        streams.follow(&registry.current()).await.map_err(|error| not_served(options, &error))?;
        let streams = Arc::new(streams);
        let flusher = Flusher {
            log: streams.log.clone(),
            streams: streams.served.clone(),
            ingest: None,
            sinks: role.has(Role::Sink).then(|| streams.flush.clone()),
        };
        let (tasks, watching) = (JoinSet::new(), CancellationToken::new());
        let mut parts = Self { tasks, further, stop: stop.clone(), watching, log: log.clone(), ingest: None, flusher };
        parts.take_further();
        let deletes_unread = log.deletes_unread();
        parts.spawn(Part::new("log", log.keep(stop.clone())));
        if role.has(Role::Process) {
            readiness.set("processors", State::Ready);
        }
        if role.has(Role::Sink) {
            let streams = streams.clone();
            readiness.watch("sinks", move || streams.sink_trouble().map_or(State::Ready, State::Not));
        }
        let mut router = Router::new();
        if role.has(Role::Ingest) {
            router = router.merge(parts.start_ingest(options, &streams, keys.clone(), &readiness)?);
        }
        if role.has(Role::Query) {
            let asked = Asked { options, streams: &streams, keys: keys.clone(), schedules: &schedules, postgres };
            router = router.merge(parts.start_questions(asked)?);
            readiness.set("queries", State::Ready);
        }
        let maintenance = role.has(Role::Sink).then(|| parts.start_maintenance(options, &streams));
        let watched = streams.clone();
        parts.spawn(Part::new("schemas", async move {
            schemas::watch(watched, directory, stop).await;
            Ok::<(), String>(())
        }));
        if deletes_unread {
            let watch = LagWatch::new(streams.log.clone(), streams.clock.clone(), streams.served.clone());
            let watched = watch.clone();
            readiness.watch("retention", move || watched.state());
            parts.spawn(Part::new("retention", watch.keep(parts.stop.clone())));
        }
        parts.spawn(Part::new("streams", streams.clone().watch(parts.stop.clone())));
        let (log, clock, store) = (streams.log.clone(), streams.clock.clone(), streams.store.clone());
        let flusher = (role == Role::Up).then(|| parts.flusher.clone());
        router = router.merge(admin::router(Admin { keys, log, clock, registry, store, flusher, maintenance }));
        Ok((parts, router.method_not_allowed_fallback(edge::no_such_method).fallback(edge::no_such_path)))
    }

    /// One part for all tables.
    fn start_maintenance(&mut self, options: &Options, streams: &Streams) -> Maintenance {
        let maintenance = Maintenance {
            keep_days: options.keep_days,
            ..Maintenance::new(streams.served.clone(), &*streams.instance)
        };
        let run = sinks::maintain(
            maintenance.clone(),
            streams.log.clone(),
            streams.store.clone(),
            streams.clock.clone(),
            self.stop.clone(),
        );
        self.spawn(Part::new("maintenance", run));
        maintenance
    }

    fn start_ingest(
        &mut self,
        options: &Options,
        streams: &Streams,
        keys: Keys,
        readiness: &Readiness,
    ) -> Result<Router, Failure> {
        let config = ingest::Config {
            instance: streams.instance.to_string(),
            client_address: ClientAddress::new(options.trusted_proxy.iter().copied()),
            drain_limit: options.drain_timeout / 2,
            clients_enabled: !options.clients_off,
            sampling: options.sampling.iter().cloned().collect(),
            cors_origins: options.cors_origin.clone(),
            ..ingest::Config::default()
        };
        let (log, registry) = (streams.log.clone(), streams.registry.clone());
        let ingest = Ingest::start(config, log, streams.served.current(), registry, keys, streams.clock.clone())
            .map_err(Failure::usage)?;
        // Set once: this is the only place that does.
        let _ = streams.ingest.set(ingest.clone());
        let watched = ingest.clone();
        readiness.watch("ingest", move || {
            if watched.is_ready() { State::Ready } else { State::Not("draining, or out of memory for requests".into()) }
        });
        // It counts until it is told to stop; that its task is gone is seen nowhere else.
        let (counting, stop) = (ingest.counting(), self.stop.clone());
        self.spawn(Part::new("ingest", async move {
            counting.await?;
            stop.cancelled().await;
            Ok::<(), String>(())
        }));
        let router = ingest.router();
        self.flusher.ingest = Some(ingest.clone());
        self.ingest = Some(ingest);
        Ok(router)
    }

    /// Ends the answers that would go on for as long as somebody looks, so that nobody waits for them.
    pub(crate) fn end_watching(&self) {
        self.watching.cancel();
    }

    pub(super) fn spawn(&mut self, part: Part) {
        let Part { name, run } = part;
        self.tasks.spawn(async move { (name, run.await) });
    }

    /// Runs what streams have brought.
    fn take_further(&mut self) {
        while let Ok(part) = self.further.try_recv() {
            self.spawn(part);
        }
    }

    /// Waits for a part to end, which none does unless something is wrong; says which and why.
    pub(crate) async fn fault(&mut self) -> String {
        let ended = loop {
            tokio::select! {
                ended = self.tasks.join_next() => break ended,
                Some(part) = self.further.recv() => self.spawn(part),
            }
        };
        match ended {
            Some(Ok((name, Err(error)))) => format!("{name} stopped: {error}"),
            Some(Ok((name, Ok(())))) => format!("{name} stopped without being told to"),
            Some(Err(error)) => format!("a part panicked: {}", said(error)),
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
        if self.flusher.sinks.is_none() || self.ingest.is_none() {
            return;
        }
        self.take_further();
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
        self.log.close(limit).await;
    }
}

/// The store, tried by the roles that can't do without it. Ingest and processors only compare the log with
/// the tables at their start, and may start while the store is away.
async fn open_store(role: Role, options: &Options) -> Result<Store, Failure> {
    let store = options.open_store()?;
    if role.has(Role::Sink) {
        store.check(Purpose::Write).await.map_err(Failure::usage)?;
    } else if role.has(Role::Query) {
        store.check(Purpose::Read).await.map_err(Failure::usage)?;
    }
    Ok(store)
}

/// What a task said when it panicked.
fn said(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was stopped from outside".into() };
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
