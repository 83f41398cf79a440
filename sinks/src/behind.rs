//! Whether the log still holds all that the tables were made from. A log that was cut by damage, or
//! brought back from an older copy, has forgotten steps that the tables remember: their events would
//! be processed again, at offsets that no transaction covers, and stand in the tables twice.

use crate::Error;
use events::log::{Log, StreamInfo};
use events::streams::TopicPartition;
use std::collections::BTreeMap;
use tables::Store;

/// Compares the transactions of every table with the ends of the stream's topics. To be called before
/// anything is appended after a start, since what comes next hides that something is missing.
///
/// Others may deliver meanwhile. So the tables are read first, and the ends after them: an end that was read
/// before could lie below what somebody has delivered since.
///
/// # Errors
/// [`Error::LogBehind`] names the partition that ends furthest below what a table holds; else if log
/// or tables can't be read.
pub async fn check_log(log: &dyn Log, store: &Store, info: &StreamInfo) -> Result<(), Error> {
    let of_stream = [info.stream.clean(), info.stream.dead(), info.stream.ledger()]
        .into_iter()
        .flat_map(|topic| (0..info.partitions).map(move |partition| TopicPartition::new(topic.clone(), partition)));
    let ids: Vec<(TopicPartition, String)> =
        of_stream.map(|of| (of.clone(), tables::app_id(&info.incarnation, &of.topic, of.partition))).collect();
    // What each partition's furthest table holds.
    let mut furthest: BTreeMap<&TopicPartition, (i64, String)> = BTreeMap::new();
    for table in store.table_names().await? {
        let Some(head) = store.head(&table).await? else { continue };
        for (of, app_id) in &ids {
            let Some(txn) = head.txn(app_id) else { continue };
            if furthest.get(of).is_none_or(|(other, _)| txn > *other) {
                furthest.insert(of, (txn, table.clone()));
            }
        }
    }
    let mut worst: Option<(i64, Error)> = None;
    for (of, (txn, table)) in furthest {
        let end = log.ends(of).await?.end;
        if txn > end && worst.as_ref().is_none_or(|(missing, _)| txn - end > *missing) {
            worst = Some((txn - end, Error::LogBehind { of: of.clone(), end, table, txn }));
        }
    }
    worst.map_or(Ok(()), |(_, error)| Err(error))
}
