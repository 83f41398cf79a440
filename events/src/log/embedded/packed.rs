//! How records lie on disk: one key and one value for all that one group commit brings a partition.
//!
//! ```text
//! key    0x03 | topic u32 | partition u32 | base u64 | count u32 | time ms u64 | bytes u64
//! value  count times: key length+1, headers length+1, payload length+1 or 0, then the three
//! ```
//!
//! Integers of the key are big-endian, so that keys sort by partition and offset; lengths of the
//! value are LEB128. `bytes` counts the value bytes that the partition ever got, this one included:
//! the difference of two keys is what lies between them. Everything but the records themselves
//! stands in the key, so that retention and look-ups by time read no value.

use crate::headers::Headers;
use crate::log::{Error, NewRecord, Offset, Record, Result};
use bytes::Bytes;

/// First byte of the keys of records.
const RECORDS: u8 = 3;
/// Bytes of a key.
const KEY_LEN: usize = 37;

/// What a key says about the records in its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) base: Offset,
    pub(super) count: u32,
    pub(super) time_ms: i64,
    /// Value bytes that the partition ever got, this chunk included.
    pub(super) bytes: u64,
}

impl Chunk {
    /// The offset after its last record.
    pub(super) fn end(&self) -> Offset {
        self.base + Offset::from(self.count)
    }
}

/// The prefix of a partition's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: u32,
    pub(super) partition: u32,
}

impl Place {
    fn prefix(self) -> [u8; 9] {
        let mut prefix = [RECORDS; 9];
        prefix[1..5].copy_from_slice(&self.topic.to_be_bytes());
        prefix[5..9].copy_from_slice(&self.partition.to_be_bytes());
        prefix
    }

    /// The least key of a chunk that begins at `base` or later.
    pub(super) fn from(self, base: Offset) -> Vec<u8> {
        let mut key = Vec::with_capacity(KEY_LEN);
        key.extend_from_slice(&self.prefix());
        key.extend_from_slice(&base.max(0).to_be_bytes());
        key
    }

    /// A key above those of all its chunks.
    pub(super) fn above(self) -> Vec<u8> {
        let mut key = self.prefix().to_vec();
        key.push(0xff);
        key
    }

    pub(super) fn key(self, chunk: &Chunk) -> Vec<u8> {
        let mut key = self.from(chunk.base);
        key.extend_from_slice(&chunk.count.to_be_bytes());
        key.extend_from_slice(&chunk.time_ms.to_be_bytes());
        key.extend_from_slice(&chunk.bytes.to_be_bytes());
        key
    }
}

/// Reads a key of records; `None` for any other.
pub(super) fn parse_key(key: &[u8]) -> Option<(Place, Chunk)> {
    if key.len() != KEY_LEN || key[0] != RECORDS {
        return None;
    }
    let four = |at: usize| key.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let eight = |at: usize| key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let signed = |at: usize| eight(at).map(|value| i64::from_be_bytes(value.to_be_bytes()));
    let place = Place { topic: four(1)?, partition: four(5)? };
    Some((place, Chunk { base: signed(9)?, count: four(17)?, time_ms: signed(21)?, bytes: eight(29)? }))
}

/// Packs records, in order.
pub(super) fn pack(records: &[NewRecord]) -> Vec<u8> {
    let bytes: usize = records.iter().map(|record| record.len() + 9).sum();
    let mut packed = Vec::with_capacity(bytes);
    for record in records {
        put_length(&mut packed, record.key.len());
        put_length(&mut packed, record.headers.len());
        put_length(&mut packed, record.payload.as_ref().map_or(0, |payload| payload.len() + 1));
        packed.extend_from_slice(&record.key);
        packed.extend_from_slice(record.headers.packed());
        packed.extend_from_slice(record.payload.as_deref().unwrap_or_default());
    }
    packed
}

fn put_length(into: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        into.push(low_bits(length) | 0x80);
        length >>= 7;
    }
    into.push(low_bits(length));
}

fn low_bits(length: usize) -> u8 {
    length.to_le_bytes()[0] & 0x7f
}

/// Walks the records of a value without copying them.
#[derive(Debug)]
pub(super) struct Unpack {
    chunk: Chunk,
    value: Bytes,
    at: usize,
    next: u32,
}

impl Unpack {
    pub(super) fn new(chunk: Chunk, value: Bytes) -> Self {
        Self { chunk, value, at: 0, next: 0 }
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = *self.value.get(self.at)?;
            self.at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.value.len())?;
        let taken = if length == 0 { Bytes::new() } else { self.value.slice(self.at..end) };
        self.at = end;
        Some(taken)
    }

    fn step(&mut self) -> Option<(Bytes, Bytes, Option<Bytes>)> {
        let (key, headers, payload) = (self.length()?, self.length()?, self.length()?);
        let (key, headers) = (self.take(key)?, self.take(headers)?);
        let payload = match payload.checked_sub(1) {
            Some(length) => Some(self.take(length)?),
            None => None,
        };
        Some((key, headers, payload))
    }
}

impl Iterator for Unpack {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.chunk.count {
            return None;
        }
        let offset = self.chunk.base + Offset::from(self.next);
        self.next += 1;
        let Some((key, headers, payload)) = self.step() else {
            self.next = self.chunk.count;
            return Some(Err(Error::Corrupt(format!("the record at offset {offset} ends before its time"))));
        };
        let headers = Headers::from_trusted(headers);
        Some(Ok(Record { offset, time_ms: self.chunk.time_ms, key, headers, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers;

    #[test]
    fn records_come_back_as_they_were_and_a_cut_value_is_found_out() {
        let long = Bytes::from(vec![b'x'; 70_000]);
        let records = [
            NewRecord::default(),
            NewRecord { key: "k".into(), headers: Headers::of([(headers::ID, "1")]), payload: Some(long) },
            NewRecord { payload: Some(Bytes::new()), ..NewRecord::default() },
        ];
        let chunk = Chunk { base: 7, count: 3, time_ms: 5, bytes: 0 };
        let value = Bytes::from(pack(&records));
        let back: Vec<_> = Unpack::new(chunk, value.clone()).map(Result::unwrap).collect();
        assert_eq!(back.iter().map(|record| record.offset).collect::<Vec<_>>(), [7, 8, 9]);
        for (back, record) in back.iter().zip(&records) {
            assert_eq!((&back.key, &back.headers, &back.payload), (&record.key, &record.headers, &record.payload));
        }
        let cut: Vec<_> = Unpack::new(chunk, value.slice(..value.len() - 2)).collect();
        assert!(matches!(cut.last(), Some(Err(Error::Corrupt(_)))), "{cut:?}");
    }

    #[test]
    fn keys_sort_by_partition_and_offset_and_read_back() {
        let place = |topic, partition| Place { topic, partition };
        let chunk = |base| Chunk { base, count: 2, time_ms: 1_700_000_000_000, bytes: 9 };
        let sorted =
            [(place(0, 1), chunk(5)), (place(0, 1), chunk(256)), (place(0, 2), chunk(0)), (place(1, 0), chunk(1))];
        let keys: Vec<_> = sorted.iter().map(|(place, chunk)| place.key(chunk)).collect();
        assert!(keys.is_sorted());
        for (key, expected) in keys.iter().zip(sorted) {
            assert_eq!(parse_key(key), Some(expected));
            assert!(*key < expected.0.above() && *key > expected.0.from(expected.1.base));
        }
    }
}
