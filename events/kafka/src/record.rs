//! Records to messages and back: the CloudEvents Kafka binding, binary mode.
//!
//! Attributes are headers, named as `events::headers` has them; the payload is the value, as it came.
//! An empty key is no key, a record without payload has no value.

use bytes::Bytes;
use events::headers::HeadersBuilder;
use events::log::{NewRecord, Record};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

/// What a message takes in a producer's queue beyond the record's own bytes, about.
const OVERHEAD_BYTES: usize = 512;

/// What a record takes in a producer's queue, about.
pub(crate) fn queued_bytes(record: &NewRecord) -> usize {
    record.len() + OVERHEAD_BYTES
}

/// The message for a record.
pub(crate) fn message<'a, D: IntoOpaque>(
    topic: &'a str,
    partition: i32,
    record: &'a NewRecord,
    opaque: D,
) -> BaseRecord<'a, [u8], [u8], D> {
    let mut message = BaseRecord::with_opaque_to(topic, opaque).partition(partition);
    if !record.key.is_empty() {
        message = message.key(&record.key[..]);
    }
    if let Some(payload) = &record.payload {
        message = message.payload(&payload[..]);
    }
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(12);
        for (name, value) in record.headers.iter() {
            // Names are ASCII: ours are constants, clients' were checked when they came in.
            let key = std::str::from_utf8(name).unwrap_or_default();
            headers = headers.insert(Header { key, value: Some(value) });
        }
        message = message.headers(headers);
    }
    message
}

/// The record of a message. `builder` is lent so that neighbours share a buffer.
pub(crate) fn record(message: &BorrowedMessage<'_>, builder: &mut HeadersBuilder) -> Record {
    if let Some(headers) = message.headers() {
        for header in headers.iter() {
            builder.push(header.key, header.value.unwrap_or_default());
        }
    }
    Record {
        offset: message.offset(),
        time_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
        headers: builder.split(),
        payload: message.payload().map(Bytes::copy_from_slice),
    }
}
