//! Every limit that an event or a request meets, in one place: defaults, with their units.

/// One event: headers and payload together, in bytes. Kafka's default message limit is 1 MiB less its framing.
pub const EVENT_BYTES_MAX: usize = 1_000_000;
/// Events in one request.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// One request's body as it comes over the wire, in bytes.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// One request's body after decompression, in bytes.
pub const BODY_DECOMPRESSED_BYTES_MAX: usize = 32 << 20;
/// An attribute's name, in bytes. CloudEvents asks for no more than 20.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// An attribute's value, in bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 2_048;
/// Extension attributes on one event.
pub const ATTRIBUTES_MAX: usize = 64;
/// Depth to which JSON may nest.
pub const JSON_DEPTH_MAX: usize = 64;
/// Payload columns of one table; a field past it goes to `extra`.
pub const COLUMNS_MAX: usize = 1_000;
/// Depth of nested columns; a field below it goes to `extra`.
pub const COLUMN_DEPTH_MAX: usize = 8;
/// Length of a column's name, in bytes; a field with a longer one goes to `extra`.
pub const COLUMN_NAME_BYTES_MAX: usize = 128;
/// Length of a table's name, in bytes: it is a folder's name too, and file systems end at 255.
pub const TABLE_NAME_BYTES_MAX: usize = 200;
/// Tables that discovery makes; a further unknown type is a dead letter.
pub const TABLES_MAX: usize = 1_000;
