//! Compaction: small files of one date into larger ones. It rearranges rows and changes none, so it
//! carries no transaction; and if one of its files is gone when it commits, it drops its work.

use crate::{Error, Maintenance};
use chrono::NaiveDate;
use deltalake::kernel::{Action, Add};
use events::clock::Micros;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::BTreeMap;
use tables::files::{self, Encoder, LiveFile};
use tables::{DeltaTable, Head, Outcome, Store};

/// Compacts one table as far as it is worth it; answers how many files were merged.
pub(crate) async fn compact(config: &Maintenance, store: &Store, name: &str, today: NaiveDate) -> Result<u64, Error> {
    let mut merged = 0;
    loop {
        let Some((table, mut head)) = store.open_table(name).await? else { return Ok(merged) };
        let Some(group) = plan(config, &files::live(&table)?, today) else { return Ok(merged) };
        if !rearrange(config, &table, &mut head, &group).await? {
            metrics::counter!("killfeed_maintenance_gave_way_total").increment(1);
            return Ok(merged);
        }
        merged += group.len() as u64;
    }
}

/// The files of one date that are worth merging: from the smallest up, each no larger than those
/// before it together, so that a row is rewritten a logarithmic number of times.
pub(crate) fn plan(config: &Maintenance, live: &[LiveFile], today: NaiveDate) -> Option<Vec<LiveFile>> {
    let mut dates: BTreeMap<NaiveDate, Vec<&LiveFile>> = BTreeMap::new();
    for file in live {
        dates.entry(file.date).or_default().push(file);
    }
    dates.into_iter().find_map(|(date, mut of_date)| {
        let least = if date < today { 2 } else { config.small_files.max(2) };
        of_date.sort_by_key(|file| file.size);
        let (mut group, mut bytes): (Vec<LiveFile>, u64) = (Vec::new(), 0);
        for file in of_date {
            let size = u64::try_from(file.size).unwrap_or_default();
            let fits = bytes + size <= config.target_file_bytes;
            let is_alike = group.len() < least || size <= bytes;
            if !fits || !is_alike {
                break;
            }
            bytes += size;
            group.push(file.clone());
        }
        (group.len() >= least).then_some(group)
    })
}

async fn rearrange(
    config: &Maintenance,
    table: &DeltaTable,
    head: &mut Head,
    group: &[LiveFile],
) -> Result<bool, Error> {
    let adds = merge(config, table, head, group).await?;
    let removes = group.iter().map(|file| Action::Remove(files::removal(file, false)));
    let actions: Vec<Action> = removes.chain(adds.iter().cloned().map(Action::Add)).collect();
    loop {
        match head.commit("OPTIMIZE", actions.clone()).await? {
            Outcome::Stands(version) => {
                tracing::debug!(table = head.name(), version, files = group.len(), into = adds.len(), "compacted");
                return Ok(true);
            }
            Outcome::Lost(changes) => {
                let gone = group.iter().any(|file| changes.removed.contains(&file.path));
                if gone || changes.metadata || changes.unknown {
                    drop_files(table, &adds).await;
                    return Ok(false);
                }
            }
        }
    }
}

/// Writes the rows of `group` into as few files as the target allows.
async fn merge(config: &Maintenance, table: &DeltaTable, head: &Head, group: &[LiveFile]) -> Result<Vec<Add>, Error> {
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    let target = usize::try_from(config.target_file_bytes).unwrap_or(usize::MAX);
    let (date, schema, store) = (first.date, head.schema().clone(), table.object_store());
    let mut adds = Vec::new();
    let mut encoder = Encoder::new(&schema, date)?;
    for file in group {
        let rows = files::read(store.as_ref(), file, schema.clone()).await?;
        let fresh = schema.clone();
        let work = move || -> Result<_, tables::Error> {
            let mut full = Vec::new();
            for batch in rows {
                encoder.write(&batch?)?;
                if encoder.size() >= target {
                    full.push(std::mem::replace(&mut encoder, Encoder::new(&fresh, date)?).finish()?);
                }
            }
            Ok((encoder, full))
        };
        let full;
        (encoder, full) = tokio::task::spawn_blocking(work).await??;
        for file in full {
            adds.push(files::put(store.as_ref(), file, false).await?);
        }
    }
    let rest = tokio::task::spawn_blocking(move || encoder.finish()).await??;
    if rest.rows > 0 {
        adds.push(files::put(store.as_ref(), rest, false).await?);
    }
    Ok(adds)
}

/// Deletes files that were never committed. What can't be deleted, vacuum finds.
pub(crate) async fn drop_files(table: &DeltaTable, adds: &[Add]) {
    for add in adds {
        if let Err(error) = table.object_store().delete(&Path::from(add.path.as_str())).await {
            tracing::debug!(%error, path = add.path, "left to vacuum");
        }
    }
}

/// A time as µs, from a store's own.
pub(crate) const fn micros(time: chrono::DateTime<chrono::Utc>) -> Micros {
    time.timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SharedStreams;

    fn file(day: u32, size: i64) -> LiveFile {
        LiveFile { path: format!("{day}-{size}"), date: NaiveDate::from_ymd_opt(2026, 1, day).unwrap(), size }
    }

    #[test]
    fn merges_what_is_alike_and_leaves_large_files_alone() {
        let config = Maintenance { target_file_bytes: 1_000, ..Maintenance::new(SharedStreams::default(), "t") };
        let today = NaiveDate::from_ymd_opt(2026, 1, 9).unwrap();
        let sizes = |live: &[LiveFile]| plan(&config, live, today).map(|group| group.iter().map(|f| f.size).collect());
        let small: Vec<LiveFile> = (0..8).map(|i| file(9, 10 + i)).collect();
        let grown = |more: LiveFile| small.iter().cloned().chain([more]).collect::<Vec<_>>();
        let eight: Vec<i64> = (10..18).collect();
        type Case = (&'static str, Vec<LiveFile>, Option<Vec<i64>>);
        let cases: [Case; 6] = [
            ("too few of today", small[..7].to_vec(), None),
            ("enough of today", small.clone(), Some(eight.clone())),
            ("one much larger stays out", grown(file(9, 900)), Some(eight.clone())),
            ("two of a day that is over", vec![file(8, 400), file(8, 300)], Some(vec![300, 400])),
            ("together too large", vec![file(8, 600), file(8, 500)], None),
            ("one alone", vec![file(8, 5)], None),
        ];
        for (what, live, expected) in cases {
            assert_eq!(sizes(&live), expected, "{what}");
        }
    }
}
