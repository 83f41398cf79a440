//! Columns that the two tables of killfeed's own share.

use arrow::array::{ArrayRef, Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use events::clock::Micros;
use std::sync::Arc;

const MICROS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// A column that may be null.
pub(crate) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The type of every time in killfeed's tables.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn timestamps(values: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

pub(crate) fn dates(values: impl Iterator<Item = Micros>) -> ArrayRef {
    Arc::new(values.map(|time| Some(date_of(time))).collect::<Date32Array>())
}

/// The UTC date of a time, in days since the epoch.
pub(crate) fn date_of(time: Micros) -> i32 {
    i32::try_from(time.div_euclid(MICROS_A_DAY)).unwrap_or(i32::MAX)
}

/// Reads an RFC 3339 time.
pub(crate) fn parse_time(text: &str) -> Option<Micros> {
    Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}
