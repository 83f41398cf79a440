//! A process of relays: from options to its end.

use crate::clock::SystemClock;
use crate::database::Database;
use crate::http::HttpApi;
use crate::postgres::PgStore;
use crate::relay::{Relay, Settings, Stop};
use crate::schema::Table;
use crate::server;
use crate::sql::Delivered;
use crate::status::Status;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What a process is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database, as [`Database::parse`] takes it.
    pub postgres: String,
    /// Its password, if the URL has none.
    pub password: Option<String>,
    /// The outbox table.
    pub table: Table,
    /// What becomes of rows that were acknowledged.
    pub delivered: Delivered,
    /// The collection API.
    pub url: String,
    /// The key for it.
    pub key: Option<String>,
    /// How each relay works.
    pub settings: Settings,
    /// Relays in this process.
    pub relays: usize,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered.
    pub listen: Option<SocketAddr>,
}

/// Why a process of relays ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It can't work as it is set up.
    #[error("{0}")]
    Setup(String),
    /// A relay broke; a fault of ours.
    #[error("a relay ended unasked: {0}")]
    Broken(String),
}

/// Relays until it is told to stop; then finishes the batches in flight.
///
/// # Errors
///
/// [`RunError`].
pub async fn run(options: Options, stop: Stop) -> Result<(), RunError> {
    let database = Database::parse(&options.postgres, options.password.as_deref()).map_err(RunError::Setup)?;
    let api = HttpApi::new(&options.url, options.key).map_err(RunError::Setup)?;
    let status = Arc::new(Status::default());
    // Dropped at the end, and its task with it.
    let mut answering = JoinSet::new();
    if let Some(address) = options.listen {
        let bound = TcpListener::bind(address).await.map_err(|error| unbound(address, &error))?;
        let address = bound.local_addr().map_err(|error| unbound(address, &error))?;
        tracing::info!(%address, "answering /healthz, /readyz and /metrics");
        let router = server::router(status.clone());
        answering.spawn(async move { axum::serve(bound, router).await });
    }
    tracing::info!(table = %options.table, url = options.url, relays = options.relays, "relaying");
    let mut relays = JoinSet::new();
    for _ in 0..options.relays.max(1) {
        let store = PgStore::new(database.clone(), options.table.clone(), options.delivered);
        let chance = <rand::rngs::StdRng as rand::SeedableRng>::from_os_rng();
        let mut relay =
            Relay::new(store, api.clone(), SystemClock::default(), chance, options.settings, status.clone());
        let stop = stop.clone();
        relays.spawn(async move { relay.run(stop).await });
    }
    while let Some(ended) = relays.join_next().await {
        ended
            .map_err(|error| RunError::Broken(error.to_string()))?
            .map_err(|error| RunError::Setup(error.to_string()))?;
    }
    let (delivered, refused) = (status.delivered.load(Ordering::Relaxed), status.refused.load(Ordering::Relaxed));
    tracing::info!(delivered, refused, "stopped");
    Ok(())
}

fn unbound(address: SocketAddr, error: &std::io::Error) -> RunError {
    RunError::Setup(format!("cannot listen on {address}: {error}"))
}
