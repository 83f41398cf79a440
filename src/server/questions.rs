//! The query role: an engine that sees the tables and the log's tail, and everybody who asks it.

use super::pages::Pages;
use super::parts::{Part, Parts, bytes};
use super::postgres::Taken;
use super::schedule;
use super::streams::Streams;
use crate::exit::Failure;
use crate::options::{LogKind, Options};
use axum::Router;
use dashboard::{Live, Pulse};
use edge::Keys;
use queries::audit::Books;
use queries::{Engine, Fresh};
use std::sync::Arc;
use std::time::Duration;

/// How often queries' processes read ahead on Kafka. A query reads what is left itself.
const KAFKA_READ_INTERVAL: Duration = Duration::from_millis(200);
/// How often they look at the sinks' positions there.
const KAFKA_POSITIONS_INTERVAL: Duration = Duration::from_secs(1);
/// Queries that may wait, for each that runs.
const WAITING_PER_RUNNING: usize = 16;

/// What the role is started with.
pub(super) struct Asked<'a> {
    pub(super) options: &'a Options,
    pub(super) streams: &'a Streams,
    pub(super) keys: Keys,
    pub(super) schedules: &'a schedules::Config,
    /// Where PostgreSQL's protocol is served, if it is.
    pub(super) postgres: Option<Taken>,
}

impl Parts {
    /// Starts the role; gives what it answers over HTTP.
    pub(super) fn start_questions(&mut self, asked: Asked<'_>) -> Result<Router, Failure> {
        let Asked { options, streams, keys, schedules, postgres } = asked;
        let engine = self.engine(options, streams)?;
        let books = Books { log: streams.log.clone(), streams: streams.served.clone() };
        let pages = Pages { engine: engine.clone(), books: books.clone(), registry: streams.registry.clone() };
        let mut router = queries::router(engine.clone(), keys.clone(), books);
        router = router.merge(self.dashboard(pages, streams, keys.clone()));
        if let Some(postgres) = postgres {
            self.spawn(Part::new("postgres", postgres.serve(engine.clone(), keys.clone(), self.stop.clone())));
        }
        if let Some(scheduler) = schedule::scheduler(schedules, &streams.store, engine)? {
            let (running, stop) = (scheduler.clone(), self.stop.clone());
            self.spawn(Part::new("schedules", async move {
                running.run(stop).await;
                Ok::<(), String>(())
            }));
            router = router.merge(schedules::router(scheduler, keys));
        }
        Ok(router)
    }

    fn dashboard(&mut self, pages: Pages, streams: &Streams, keys: Keys) -> Router {
        let (log, served) = (streams.log.clone(), streams.served.clone());
        let live = Live::new(log.clone(), served.clone(), self.watching.clone());
        let pulse = Pulse::default();
        let (watched, stop) = (pulse.clone(), self.stop.clone());
        self.spawn(Part::new("pulse", async move {
            watched.keep(log, served, stop).await;
            Ok::<(), String>(())
        }));
        dashboard::router(dashboard::Parts { source: Arc::new(pages), keys, pulse, live })
    }

    fn engine(&mut self, options: &Options, streams: &Streams) -> Result<Engine, Failure> {
        let running_max = usize::try_from(options.query_concurrency).unwrap_or(usize::MAX);
        let config = queries::Config {
            spill_dir: Some(options.data_dir.join("spill")),
            memory_bytes: bytes(options.query_memory),
            time_limit: options.query_time,
            rows_max: bytes(options.query_rows),
            running_max,
            waiting_max: running_max * WAITING_PER_RUNNING,
            ..queries::Config::default()
        };
        let (store, registry) = (streams.store.clone(), streams.registry.clone());
        let engine = Engine::new(store, registry.clone(), config).map_err(Failure::usage)?;
        if options.no_fresh {
            return Ok(engine);
        }
        let (log, served, clock) = (streams.log.clone(), streams.served.clone(), streams.clock.clone());
        let fresh = Fresh::new(fresh_config(options), log, served, registry, clock);
        let (reading, stop) = (fresh.clone(), self.stop.clone());
        self.spawn(Part::new("tail", async move {
            reading.run(stop).await;
            Ok::<(), String>(())
        }));
        Ok(engine.with_fresh(fresh))
    }
}

/// How much of the log's tail queries hold. What is a look at memory in the embedded log is a request on
/// Kafka.
fn fresh_config(options: &Options) -> queries::fresh::Config {
    let defaults = queries::fresh::Config::default();
    let (interval, positions_interval) = match options.log {
        LogKind::Embedded => (defaults.interval, defaults.positions_interval),
        LogKind::Kafka(_) => (KAFKA_READ_INTERVAL, KAFKA_POSITIONS_INTERVAL),
    };
    queries::fresh::Config {
        bytes_max: bytes(options.fresh_memory),
        age_max: options.fresh_age,
        interval,
        positions_interval,
        off: options.no_fresh_stream.iter().map(|stream| stream.name().to_owned()).collect(),
        discovery: !options.no_discovery,
        ..defaults
    }
}
