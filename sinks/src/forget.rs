//! A player forgotten: every row of theirs out of every table, dead letters included.

use crate::remove::{Remover, Select};
use crate::{Error, Maintenance};
use events::Clock;
use events::clock::Micros;
use events::log::Log;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{LEDGER, Store};

/// What was erased, and what remains until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Rows erased, by table; tables that held none are left out.
    pub rows: BTreeMap<String, u64>,
    /// Until then the bytes may stand in files that no query reads any more (µs since the epoch);
    /// maintenance deletes them by then, if it runs. `None` if nothing was erased.
    pub files_until_us: Option<Micros>,
    /// Until then the events may stand in the log (µs since the epoch), which deletes by age.
    pub log_until_us: Micros,
    /// What this does not reach, in words for the operator.
    pub remains: String,
}

/// Erases the rows whose `player_id` is `player`, atomically per table, each as a removal that the
/// ledger counts. Rows still under way to the tables are not reached: flush before, and call again
/// if the player may still be sending.
///
/// # Errors
/// If log or tables can't be read or written; what was erased by then stays erased.
pub async fn forget(
    config: &Maintenance,
    log: &Arc<dyn Log>,
    store: &Store,
    clock: &Arc<dyn Clock>,
    player: &str,
) -> Result<Forgotten, Error> {
    if player.is_empty() {
        return Err(Error::Refused("player is empty: name the player to forget".into()));
    }
    let remover = Remover { streams: &config.streams, instance: &config.instance, log, store, clock };
    let select = Select::Player(player.into());
    let mut rows = BTreeMap::new();
    for name in store.table_names().await?.into_iter().filter(|name| name != LEDGER) {
        let removed = remover.remove(&name, &select, "forget").await?;
        if removed.rows > 0 {
            rows.insert(name, removed.rows);
        }
    }
    let now = clock.now_us();
    let after =
        |duration: std::time::Duration| now.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
    let log_retention = config.streams.current().iter().map(|info| info.retention).max();
    let files_until_us = (!rows.is_empty()).then(|| after(config.file_retention + config.every.saturating_mul(2)));
    Ok(Forgotten {
        rows,
        files_until_us,
        log_until_us: after(log_retention.unwrap_or_default()),
        remains: "events of this player in the log until its retention has passed; mentions of the player in \
                  payloads of other players' events; copies made outside killfeed"
            .into(),
    })
}
