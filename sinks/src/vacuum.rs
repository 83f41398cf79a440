//! Vacuum: files that no version of a table needs any more. A file goes if the table doesn't hold
//! it, if it is old enough that no flush can still be about to commit it, and if it was taken out
//! long enough ago that no query still reads it. And only if it was ever the table's: either the log
//! says so, or it is called as killfeed calls its files. What others put there stays.

use crate::Error;
use crate::compact::micros;
use events::Clock;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tables::{DeltaTable, files};

/// Deletes what is past `retention`; answers how many files went. Looks at the store's listing
/// first and at the table after it, so that a file that is committed meanwhile is found to be live.
pub(crate) async fn vacuum(table: &DeltaTable, retention: Duration, clock: &dyn Clock) -> Result<u64, Error> {
    let store = table.object_store();
    let keep = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let before = clock.now_us().saturating_sub(keep);
    let listed: Vec<_> = store.list(None).try_collect().await.map_err(tables::Error::from)?;
    let old = listed.into_iter().filter(|meta| {
        let is_data = meta.location.as_ref().ends_with(".parquet") && !meta.location.as_ref().starts_with("_delta_log");
        is_data && micros(meta.last_modified) < before
    });
    let mut candidates: Vec<_> = old.map(|meta| meta.location).collect();
    if candidates.is_empty() {
        return Ok(0);
    }
    let mut table = table.clone();
    table.update_incremental(None).await.map_err(tables::Error::from)?;
    let live: HashSet<String> = files::live(&table)?.into_iter().map(|file| file.path).collect();
    candidates.retain(|path| !live.contains(path.as_ref()));
    if candidates.is_empty() {
        return Ok(0);
    }
    let removed = removed(&table).await?;
    candidates.retain(|path| removed.contains_key(path.as_ref()) || files::is_own(path.as_ref()));
    let mut gone = 0;
    for path in candidates {
        if removed.get(path.as_ref()).is_some_and(|removed_us| *removed_us >= before) {
            continue;
        }
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => gone += 1,
            Err(error) => return Err(tables::Error::from(error).into()),
        }
    }
    Ok(gone)
}

/// Files that the table's log still remembers to have been taken out, and when, in µs.
async fn removed(table: &DeltaTable) -> Result<HashMap<String, i64>, Error> {
    let snapshot = table.snapshot().map_err(tables::Error::from)?;
    let log = table.log_store();
    let mut tombstones = snapshot.all_tombstones(log.as_ref());
    let mut removed = HashMap::new();
    while let Some(tombstone) = tombstones.next().await {
        let tombstone = tombstone.map_err(tables::Error::from)?;
        let time_ms = tombstone.deletion_timestamp().unwrap_or_default();
        removed.insert(tombstone.path().into_owned(), time_ms.saturating_mul(1_000));
    }
    Ok(removed)
}
