//! Start and stop: checks what must hold, and runs the workers until one fails or all are done.

use crate::config::Config;
use crate::enrich::{Databases, Enricher};
use crate::error::Error;
use crate::inherit::await_old;
use crate::route::Router;
use crate::spill::Scratch;
use crate::step::Stage;
use crate::window::Budget;
use crate::worker::Worker;
use events::clock::Clock;
use events::log::Log;
use events::schema::SharedRegistry;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs the stream's processor until `shutdown`; then finishes the step in work and leaves the group.
///
/// # Errors
/// What only an operator can resolve; see [`Error`]. Everything else is retried.
pub async fn run(
    config: Config,
    log: Arc<dyn Log>,
    registry: SharedRegistry,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let info = log.stream(&config.stream).await?.ok_or_else(|| Error::NoStream(config.stream.to_string()))?;
    let window_max = registry.current().dedupe_window_max();
    let state_retention = config.state_retention.get();
    if state_retention < window_max * 2 {
        let stream = config.stream.to_string();
        return Err(Error::StateRetention { stream, state_retention, window_max });
    }
    if !await_old(&*log, &info, &*clock, &shutdown).await? {
        return Ok(());
    }
    let scratch = Scratch::new(&config.scratch_dir)?;
    let budget = Budget::new(config.dedupe_memory_bytes_max);
    let databases = Databases::open(&config.geoip);
    let config = Arc::new(config);
    // The first worker to end, well or not, ends the others.
    let shutdown = shutdown.child_token();
    let _on_drop = shutdown.clone().drop_guard();
    let mut workers = JoinSet::new();
    let looking = look_after(databases.clone(), registry.clone(), config.clone(), shutdown.clone());
    workers.spawn(async move {
        looking.await;
        Ok(())
    });
    for number in 0..config.workers.max(1) {
        let enricher = Enricher::new(databases.clone(), config.address, config.geoip_cached_addresses_max);
        let stage = Stage::new(Router::new(registry.clone(), config.discovery), enricher);
        let worker = Worker {
            config: config.clone(),
            log: log.clone(),
            info: info.clone(),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            budget: budget.clone(),
            scratch: scratch.clone(),
            name: format!("killfeed-process-{}-{}-{number}", config.stream, config.instance),
        };
        workers.spawn(worker.run(stage));
    }
    let mut outcome = Ok(());
    while let Some(ended) = workers.join_next().await {
        shutdown.cancel();
        let ended = ended.unwrap_or_else(|panicked| Err(Error::Panicked(panicked.to_string())));
        outcome = outcome.and(ended);
    }
    outcome
}

/// Reads geo databases again when their files change, and looks at schemas that came since the start.
async fn look_after(databases: Databases, registry: SharedRegistry, config: Arc<Config>, shutdown: CancellationToken) {
    let mut seen = registry.current();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(config.geoip_check_interval) => {}
        }
        let current = registry.current();
        if !Arc::ptr_eq(&current, &seen) {
            let window_max = current.dedupe_window_max();
            let state_retention = config.state_retention.get();
            if state_retention < window_max * 2 {
                tracing::error!(
                    ?window_max,
                    ?state_retention,
                    "a schema's dedupe window is longer than half of the time for which state is kept: after a restart this processor will refuse to run"
                );
            }
            seen = current;
        }
        let databases = databases.clone();
        if tokio::task::spawn_blocking(move || databases.refresh()).await.is_err() {
            tracing::error!("looking at geo databases panicked; what was read stays in use");
        }
    }
}
