//! Where to go on in a partition: at the group's position; if that was lost, where the ledger says
//! that the last flush ended; if nobody ever flushed, at offset 0. If the log no longer starts there,
//! the first read says so, and the sink stops: what is missing was never delivered.

use crate::Error;
use crate::route::Kind;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use events::ledger::{Count, Entry};
use events::log::{Log, Offset, ReadLimit, StreamInfo};
use events::streams::{SINK_GROUP, TopicPartition};
use tables::{LEDGER, Store, files};

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The offset to read next.
    pub(crate) at: Offset,
    /// Whether the group doesn't have it, and should be told.
    pub(crate) is_rebuilt: bool,
}

/// The position to read `of` from.
///
/// # Errors
/// If log or tables can't be read.
pub(crate) async fn position(
    log: &dyn Log,
    store: &Store,
    info: &StreamInfo,
    of: &TopicPartition,
    kind: Kind,
) -> Result<Position, Error> {
    if let Some(at) = log.committed(SINK_GROUP, of).await? {
        return Ok(Position { at, is_rebuilt: false });
    }
    let found = match kind {
        Kind::Ledger => of_ledger(store, info, of).await?,
        Kind::Clean | Kind::Dead => in_table(store, info, of).await?.max(in_topic(log, info, of).await?),
    };
    if let Some(position) = found {
        tracing::warn!(%of, position, "the group has no position here; rebuilt it from the ledger");
        metrics::counter!("killfeed_sink_positions_rebuilt_total").increment(1);
    }
    Ok(Position { at: found.unwrap_or(0), is_rebuilt: found.is_some() })
}

/// Every record of the ledger topic goes to one table, so that its transaction is the position.
async fn of_ledger(store: &Store, info: &StreamInfo, of: &TopicPartition) -> Result<Option<Offset>, Error> {
    let head = store.head(LEDGER).await?;
    Ok(head.and_then(|head| head.txn(&tables::app_id(&info.incarnation, &of.topic, of.partition))))
}

/// The end of the last flush that the ledger's table tells of.
async fn in_table(store: &Store, info: &StreamInfo, of: &TopicPartition) -> Result<Option<Offset>, Error> {
    let Some(table) = store.load(LEDGER).await? else { return Ok(None) };
    let schema = decode::columns::ledger();
    let mut last = None;
    for file in files::live(&table)? {
        for batch in files::read(table.object_store().as_ref(), &file, schema.clone()).await? {
            last = last.max(in_batch(&batch?, info, of)?);
        }
    }
    Ok(last)
}

fn in_batch(batch: &RecordBatch, info: &StreamInfo, of: &TopicPartition) -> Result<Option<Offset>, Error> {
    let column = |name: &str| {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| Error::Refused(format!("table {LEDGER} has no column {name}")))
    };
    let texts = |name: &str| -> Result<_, Error> { Ok(cast(&column(name)?, &DataType::Utf8)?) };
    let (stages, topics, incarnations) = (texts("stage")?, texts("topic")?, texts("incarnation")?);
    let (stages, topics, incarnations) =
        (stages.as_string::<i32>(), topics.as_string::<i32>(), incarnations.as_string::<i32>());
    let (partitions, ends) = (column("partition")?, column("to_offset")?);
    let (partitions, ends) = (partitions.as_primitive::<Int32Type>(), ends.as_primitive::<Int64Type>());
    let is_it = |row: &usize| {
        let row = *row;
        ends.is_valid(row)
            && stages.value(row) == "sink"
            && topics.value(row) == of.topic.as_ref()
            && incarnations.value(row) == info.incarnation.as_ref()
            && partitions.value(row) == of.partition
    };
    Ok((0..batch.num_rows()).filter(is_it).map(|row| ends.value(row)).max())
}

/// The end of the last flush that the ledger's topic tells of.
async fn in_topic(log: &dyn Log, info: &StreamInfo, of: &TopicPartition) -> Result<Option<Offset>, Error> {
    let ledger = TopicPartition::new(info.stream.ledger(), of.partition);
    let ends = log.ends(&ledger).await?;
    let (mut position, mut last) = (ends.start, None);
    while position < ends.last_stable {
        let batch = log.read(&ledger, position, ReadLimit::default()).await?;
        if batch.next <= position {
            break;
        }
        position = batch.next;
        for record in &batch.records {
            let entry = record.payload.as_deref().and_then(|payload| Entry::from_payload(payload).ok());
            let Some(Entry { incarnation, count: Count::Sink { topic, to, .. }, .. }) = entry else { continue };
            if incarnation == info.incarnation.as_ref() && topic == of.topic.as_ref() {
                last = last.max(Some(to));
            }
        }
    }
    Ok(last)
}
