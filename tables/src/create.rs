//! New tables: their columns, their properties, and whose they are.

use crate::{Error, Head, Result, Store};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use bytes::Bytes;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Metadata, StructType, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStore};
use serde_json::json;
use uuid::Uuid;

/// The table property that names the event type whose table it is.
pub const EVENT_TYPE: &str = "killfeed.eventType";

/// The column by which every table is partitioned: the date received.
pub(crate) const DATE: &str = "date";

/// Columns of which files carry statistics, so that queries by time and the audit skip files.
pub(crate) const STATISTICS: &str = "time,received_at,_partition,_offset,_raw_offset";

/// Commits between two checkpoints, for writers that heed the property; ours are made by maintenance.
const CHECKPOINT_INTERVAL: &str = "50";
/// How long commits below a checkpoint are kept. They serve those who follow the table from an older
/// version; who comes later loads the checkpoint. At a flush each five seconds this is 4,320 files.
const LOG_RETENTION: &str = "interval 6 hours";
/// How long files that no version needs any more are kept for queries that pinned an older one.
const FILE_RETENTION: &str = "interval 1 hours";

/// What a new table shall be.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its columns; one must be `date`, the partition column.
    pub schema: arrow::datatypes::SchemaRef,
    /// The event type that owns the name; `None` for killfeed's own tables.
    pub event_type: Option<String>,
}

/// The columns as Delta has them: timestamps in µs and UTC, strings and lists of the plain kind,
/// every column nullable (a column once required could never be left out again).
///
/// # Errors
/// If a column has a type that Delta lacks.
pub fn delta_schema(schema: &Schema) -> Result<StructType> {
    for field in schema.fields() {
        if let DataType::Timestamp(unit, zone) = field.data_type()
            && (*unit != TimeUnit::Microsecond || zone.is_none())
        {
            let detail = format!("column {} is {}, not in µs and UTC", field.name(), field.data_type());
            return Err(Error::Arrow(arrow::error::ArrowError::SchemaError(detail)));
        }
    }
    Ok(schema.try_into_kernel()?)
}

impl Store {
    /// Makes the table, or finds the one that somebody else made meanwhile: the caller looks at the
    /// answer's owner and columns.
    ///
    /// # Errors
    /// If the store fails, or a column has no Delta type.
    pub async fn create(&self, name: &str, definition: &Definition) -> Result<Head> {
        let table = self.handle(name)?;
        let log = table.log_store();
        let commit = first_commit(name, definition)?;
        let put = log.write_commit_entry(0, CommitOrBytes::LogBytes(commit), Uuid::new_v4());
        match put.await {
            Ok(()) | Err(TransactionError::VersionAlreadyExists(_)) => {}
            Err(error) => return Err(deltalake::DeltaTableError::from(error).into()),
        }
        let head = self.head(name).await?.ok_or_else(|| Error::NotListed(name.to_owned()))?;
        if head.is_own() {
            self.claim(name);
        }
        Ok(head)
    }
}

fn first_commit(name: &str, definition: &Definition) -> Result<Bytes> {
    let schema = delta_schema(&definition.schema)?;
    let columns: Vec<&str> =
        STATISTICS.split(',').filter(|column| definition.schema.column_with_name(column).is_some()).collect();
    let mut properties = vec![
        ("delta.dataSkippingStatsColumns", columns.join(",")),
        ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_owned()),
        ("delta.logRetentionDuration", LOG_RETENTION.to_owned()),
        ("delta.deletedFileRetentionDuration", FILE_RETENTION.to_owned()),
    ];
    properties.extend(definition.event_type.clone().map(|owner| (EVENT_TYPE, owner)));
    let metadata: Metadata = new_metadata(&schema, [DATE], properties).map_err(deltalake::DeltaTableError::from)?;
    let lines = [
        json!({"commitInfo": {"timestamp": metadata.created_time(), "operation": "CREATE TABLE", "engineInfo": "killfeed"}}),
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": metadata}),
    ];
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    tracing::info!(
        table = name,
        owner = definition.event_type,
        columns = definition.schema.fields().len(),
        "making table"
    );
    Ok(text.join("\n").into())
}
