//! Maintenance: few large files instead of many small ones, checkpoints, old log entries and old
//! files away, rows past their keep. Done by whoever holds the lease, a round at a time. Everything
//! here gives way to appends, and is right even if two do it at once.

use crate::remove::{Remover, Select};
use crate::{Error, compact, vacuum};
use chrono::{DateTime, Days, NaiveDate};
use deltalake::checkpoints;
use events::log::Log;
use events::{Clock, SharedStreams};
use object_store::ObjectStoreExt;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tables::{DeltaTable, LEDGER, Lease, Store};
use tokio_util::sync::CancellationToken;

/// Options of maintenance.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// The streams whose rows the tables hold; each one's removals are counted in its own ledger.
    pub streams: SharedStreams,
    /// Names this process; unique.
    pub instance: String,
    /// The pause between two rounds.
    pub every: Duration,
    /// The size that files are brought to, in bytes. One such file is held in memory.
    pub target_file_bytes: u64,
    /// Small files of one date that are worth a rewrite.
    pub small_files: usize,
    /// Commits after which a checkpoint is made.
    pub checkpoint_every: u64,
    /// How long files that no version needs stay: longer than the longest flush, pause and query.
    pub file_retention: Duration,
    /// Rows received more days ago than this are removed; `None` keeps them.
    pub keep_days: Option<u32>,
}

impl Maintenance {
    /// The defaults for these streams, for a process of this name.
    pub fn new(streams: SharedStreams, instance: impl Into<String>) -> Self {
        Self {
            streams,
            instance: instance.into(),
            every: Duration::from_secs(30),
            target_file_bytes: 128 << 20,
            small_files: 8,
            checkpoint_every: 50,
            file_retention: Duration::from_secs(60 * 60),
            keep_days: None,
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Files that were merged into others.
    pub compacted: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Files deleted from the store.
    pub vacuumed: u64,
    /// Rows removed because they were past their keep.
    pub removed: u64,
}

/// Maintains all tables until `shutdown`, whenever it gets the lease. A failed round is logged and
/// tried again.
///
/// # Errors
/// Never by itself.
pub async fn maintain(
    config: Maintenance,
    log: Arc<dyn Log>,
    store: Store,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let lease = Lease::new(&store, "maintenance", &config.instance, config.every.saturating_mul(10), clock.clone());
    let mut held = None;
    while !shutdown.is_cancelled() {
        match lease.acquire().await {
            Ok(Some(grant)) => {
                held = Some(grant);
                let round = maintain_once(&config, &log, &store, &clock);
                let done = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    done = round => done,
                };
                if let Err(error) = done {
                    metrics::counter!("killfeed_maintenance_failures_total").increment(1);
                    tracing::warn!(%error, "maintenance failed; the next round tries again");
                }
            }
            Ok(None) => held = None,
            Err(error) => tracing::warn!(%error, "the lease of maintenance can't be had"),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(config.every) => {}
        }
    }
    if let Some(grant) = held
        && let Err(error) = lease.release(grant).await
    {
        tracing::debug!(%error, "the lease of maintenance ends by itself");
    }
    Ok(())
}

/// One round over all tables, lease or not.
///
/// # Errors
/// What the first table that failed says; the others are maintained nevertheless.
pub async fn maintain_once(
    config: &Maintenance,
    log: &Arc<dyn Log>,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Result<Maintained, Error> {
    let mut done = Maintained::default();
    let mut failed = None;
    for name in store.table_names().await? {
        if let Err(error) = one(config, log, store, clock, &name, &mut done).await {
            tracing::warn!(table = name, %error, "table could not be maintained");
            failed.get_or_insert(error);
        }
    }
    metrics::counter!("killfeed_maintenance_compacted_files_total").increment(done.compacted);
    metrics::counter!("killfeed_maintenance_vacuumed_files_total").increment(done.vacuumed);
    failed.map_or(Ok(done), Err)
}

async fn one(
    config: &Maintenance,
    log: &Arc<dyn Log>,
    store: &Store,
    clock: &Arc<dyn Clock>,
    name: &str,
    done: &mut Maintained,
) -> Result<(), Error> {
    let today = today(clock.as_ref());
    if let Some(days) = config.keep_days.filter(|_| name != LEDGER)
        && let Some(before) = today.checked_sub_days(Days::new(days.into()))
    {
        let remover = Remover { streams: &config.streams, instance: &config.instance, log, store, clock };
        done.removed += remover.remove(name, &Select::Before(before), "retention").await?.rows;
    }
    done.compacted += compact::compact(config, store, name, today).await?;
    let Some(table) = store.load(name).await? else { return Ok(()) };
    if checkpoint(config, &table).await? {
        done.checkpoints += 1;
    }
    done.vacuumed += vacuum::vacuum(&table, config.file_retention, clock.as_ref()).await?;
    Ok(())
}

/// The UTC date of now.
pub(crate) fn today(clock: &dyn Clock) -> NaiveDate {
    DateTime::from_timestamp_micros(clock.now_us()).unwrap_or_default().date_naive()
}

#[derive(Deserialize)]
struct LastCheckpoint {
    version: u64,
}

/// Makes a checkpoint if there is reason to, and cleans away the commits that it stands for.
async fn checkpoint(config: &Maintenance, table: &DeltaTable) -> Result<bool, Error> {
    let version = table.snapshot().map_err(tables::Error::from)?.version();
    let path = table.log_store().log_path().clone().join("_last_checkpoint");
    let last = match table.object_store().get(&path).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(tables::Error::from)?;
            serde_json::from_slice::<LastCheckpoint>(&bytes).map_or(0, |last| last.version)
        }
        Err(object_store::Error::NotFound { .. }) => 0,
        Err(error) => return Err(tables::Error::from(error).into()),
    };
    if version < last + config.checkpoint_every {
        return Ok(false);
    }
    checkpoints::create_checkpoint(table, None).await.map_err(tables::Error::from)?;
    checkpoints::cleanup_metadata(table, None).await.map_err(tables::Error::from)?;
    Ok(true)
}
