//! The columns that killfeed itself gives to its tables, in the order of the contract.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// The type of every time: microseconds, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns that stand before the payload's in every event table.
pub fn envelope() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let text = DataType::Utf8;
        fields([
            ("id", text.clone()),
            ("source", text.clone()),
            ("type", text.clone()),
            ("subject", text.clone()),
            ("time", timestamp()),
            ("original_time", timestamp()),
            ("received_at", timestamp()),
            ("game_id", text.clone()),
            ("player_id", text.clone()),
            ("session_id", text.clone()),
            ("region", text.clone()),
            ("dataschema", text.clone()),
            ("sampled_rate", DataType::Int64),
            ("trace_parent", text.clone()),
            ("geo_country", text.clone()),
            ("geo_city", text.clone()),
            ("geo_asn", DataType::Int64),
            ("geo_isp", text.clone()),
            ("geo_connection", text.clone()),
            ("schema_version", DataType::Int32),
            ("_incarnation", text.clone()),
            ("_partition", DataType::Int32),
            ("_offset", DataType::Int64),
            ("_raw_offset", DataType::Int64),
            ("date", DataType::Date32),
            ("extra", text),
        ])
    });
    &FIELDS
}

/// The columns of `dead_letters`.
pub fn dead_letters() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = DataType::Utf8;
        Arc::new(Schema::new(fields([
            ("reason", text.clone()),
            ("detail", text.clone()),
            ("stage", text.clone()),
            ("_topic", text.clone()),
            ("_incarnation", text.clone()),
            ("_partition", DataType::Int32),
            ("_offset", DataType::Int64),
            ("_raw_offset", DataType::Int64),
            ("id", text.clone()),
            ("source", text.clone()),
            ("type", text.clone()),
            ("time", timestamp()),
            ("received_at", timestamp()),
            ("game_id", text.clone()),
            ("player_id", text.clone()),
            ("headers", text),
            ("payload", DataType::Binary),
            ("date", DataType::Date32),
        ])))
    });
    SCHEMA.clone()
}

/// The columns of `killfeed_ledger`.
pub fn ledger() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let (text, count) = (DataType::Utf8, DataType::Int64);
        Arc::new(Schema::new(fields([
            ("id", text.clone()),
            ("time", timestamp()),
            ("instance", text.clone()),
            ("stage", text.clone()),
            ("stream", text.clone()),
            ("incarnation", text.clone()),
            ("partition", DataType::Int32),
            ("topic", text.clone()),
            ("from_offset", count.clone()),
            ("to_offset", count.clone()),
            ("accepted", count.clone()),
            ("clean", count.clone()),
            ("duplicates", count.clone()),
            ("conflicts", count.clone()),
            ("dead", count.clone()),
            ("redriven", count.clone()),
            ("acknowledged", count.clone()),
            ("unacknowledged", count.clone()),
            ("records", count.clone()),
            ("detail", text.clone()),
            ("_incarnation", text),
            ("_partition", DataType::Int32),
            ("_offset", count),
            ("date", DataType::Date32),
        ])))
    });
    SCHEMA.clone()
}

/// The date of a time in µs since the epoch, as `Date32` has it: days since then.
pub fn date_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(86_400_000_000)).unwrap_or_default()
}

/// All may be null: a value that one record lacks must never keep a batch from being written.
fn fields<const N: usize>(columns: [(&str, DataType); N]) -> Vec<Field> {
    columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect()
}
