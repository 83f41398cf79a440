//! Whether the log still holds all that the tables were made from. A log that was cut by damage, or
//! brought back from an older copy, has forgotten steps that the tables remember: their events would
//! be processed again, at offsets that no transaction covers, and stand in the tables twice.

use crate::Error;
use events::log::{Log, StreamInfo};
use events::streams::TopicPartition;
use tables::Store;

/// Compares the transactions of every table with the ends of the stream's topics. To be called before
/// anything is appended after a start, since what comes next hides that something is missing.
///
/// # Errors
/// [`Error::LogBehind`] names the partition that ends furthest below what a table holds; else if log
/// or tables can't be read.
pub async fn check_log(log: &dyn Log, store: &Store, info: &StreamInfo) -> Result<(), Error> {
    let mut known: Vec<(TopicPartition, String, i64)> = Vec::new();
    for topic in [info.stream.clean(), info.stream.dead(), info.stream.ledger()] {
        for partition in 0..info.partitions {
            let of = TopicPartition::new(topic.clone(), partition);
            let end = log.ends(&of).await?.end;
            known.push((of, tables::app_id(&info.incarnation, &topic, partition), end));
        }
    }
    let mut worst: Option<(i64, Error)> = None;
    for table in store.table_names().await? {
        let Some(head) = store.head(&table).await? else { continue };
        for (of, app_id, end) in &known {
            let Some(txn) = head.txn(app_id).filter(|txn| txn > end) else { continue };
            if worst.as_ref().is_none_or(|(missing, _)| txn - end > *missing) {
                let error = Error::LogBehind { of: of.clone(), end: *end, table: table.clone(), txn };
                worst = Some((txn - end, error));
            }
        }
    }
    worst.map_or(Ok(()), |(_, error)| Err(error))
}
