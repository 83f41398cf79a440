//! 1. Accept: events over HTTP, to the log, acknowledged once durable.
//!
//! One request goes through these, in order; all between the body and the log is plain functions:
//!
//! | step | module |
//! |---|---|
//! | let in, unless draining or full | `admission` |
//! | which form the events come in | `form` |
//! | the body, bounded and decompressed | `body` |
//! | each event read, stamped and given its partition | `batch`, `stamp` |
//! | appended, partition by partition | `append` |
//! | counted for the ledger | `tally` |
//! | one result per event, and a status over all | `answer` |
//!
//! The payload that reaches the log is the slice of the request body that the client wrote.

mod admission;
mod answer;
mod append;
mod batch;
mod body;
mod config;
mod cors;
mod form;
mod http;
mod meters;
mod published;
mod stamp;
mod tally;

pub use config::Config;
pub use cors::Origin;

use admission::{Gate, Memory};
use edge::Keys;
use events::Clock;
use events::log::{self, Log, StreamInfo};
use events::schema::SharedRegistry;
use meters::Meters;
use std::sync::{Arc, Mutex, PoisonError};
use tally::{Streams, Tally};
use tokio::task::JoinHandle;

/// The role. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    log: Arc<dyn Log>,
    registry: SharedRegistry,
    keys: Keys,
    clock: Arc<dyn Clock>,
    gate: Gate,
    memory: Arc<Memory>,
    tally: Arc<Tally>,
    counting: Mutex<Option<JoinHandle<()>>>,
    meters: Meters,
}

impl Ingest {
    /// Starts the role over `streams`, of which the first takes every type whose schema names none.
    /// Counts go to the ledger from now on. Call it inside a tokio runtime, and after the metrics
    /// recorder was installed.
    ///
    /// # Errors
    /// [`log::Error::Refused`] if `streams` is empty.
    pub fn start(
        config: Config,
        log: Arc<dyn Log>,
        streams: Vec<StreamInfo>,
        registry: SharedRegistry,
        keys: Keys,
        clock: Arc<dyn Clock>,
    ) -> log::Result<Self> {
        let streams = Streams::new(streams).ok_or_else(|| log::Error::Refused("ingest needs a stream".into()))?;
        let tally = Arc::new(Tally::new(streams, log.clone(), clock.clone(), config.instance.clone()));
        let gate = Gate::default();
        let counting = tokio::spawn(tally::keep_writing(tally.clone(), config.ledger_interval, gate.closed()));
        Ok(Self(Arc::new(Inner {
            memory: Arc::new(Memory::new(config.memory_bytes_max)),
            meters: Meters::new(config.memory_bytes_max),
            config,
            log,
            registry,
            keys,
            clock,
            gate,
            tally,
            counting: Mutex::new(Some(counting)),
        })))
    }

    /// Waits for the end of the task that writes counts to the ledger, which comes with the drain. To
    /// be called once: without that task the books would be wrong, and nobody would say so.
    ///
    /// # Errors
    /// If it panicked.
    pub fn counting(&self) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let counting = self.0.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match counting {
                Some(counting) => counting.await.map_err(|error| format!("what writes counts to the ledger: {error}")),
                None => Ok(()),
            }
        }
    }

    /// Serves a further stream from now on, or a further generation of one, whose topics were made. One that
    /// is served already stays as it is. Of a stream's generations the newest gets the events.
    pub fn serve(&self, info: StreamInfo) {
        self.0.tally.serve(info);
    }

    /// Ready when the log has said since the last time that a stream has grown: whoever knows into what is
    /// to look, and to [`Self::serve`] it.
    pub async fn some_ended(&self) {
        self.0.tally.some_ended().await;
    }

    /// `POST /v1/events`, `POST /v1/batch` and `GET /v1/config`. Serve it with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, else events get no client address.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Whether a request sent now would be taken in: not draining, and memory to spare.
    pub fn is_ready(&self) -> bool {
        !self.0.gate.is_closed() && self.0.memory.has_room()
    }

    /// Writes what was acknowledged since the last time to the ledger, now.
    ///
    /// # Errors
    /// What the log said. Nothing is lost by it: the counts go with the next try.
    pub async fn write_ledger(&self) -> log::Result<()> {
        self.0.tally.write().await
    }

    /// Refuses new requests with 503, waits for those in work, and writes the ledger; each bounded
    /// by [`Config::drain_limit`].
    ///
    /// # Errors
    /// What the log said at the last try to write the ledger. Events stay acknowledged all the
    /// same; the ledger's count of them is then too low, never too high.
    pub async fn drain(&self) -> log::Result<()> {
        let limit = self.0.config.drain_limit;
        if tokio::time::timeout(limit, self.0.gate.close()).await.is_err() {
            tracing::warn!(limit_s = limit.as_secs_f64(), "requests still in work at the end of the drain");
        }
        self.0.tally.write_until(tokio::time::Instant::now() + limit).await
    }
}
