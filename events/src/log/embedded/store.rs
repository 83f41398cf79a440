//! The store below: fjall, one keyspace, and the keys in it that aren't records.
//!
//! ```text
//! 0x01 | stream name, generation if past 1     JSON of the stream
//! 0x02 | group, 0, topic, 0, partition i32     position u64
//! 0x03 | see `packed`                          records
//! 0x04 | topic u32 | partition u32             start u64, bytes deleted u64
//! ```
//!
//! One keyspace for all, because a journal can go only when every keyspace in it was flushed. Values
//! over half a KB lie apart from their keys, so that compaction moves keys only; nothing is
//! compressed, since that would cost more processor time than all the rest of an append.

use super::packed::{self, Chunk, Place, Unpack};
use super::space::store_error;
use super::state::{PartitionState, State, StoredStream};
use crate::log::{Batch, Error, Offset, ReadLimit, Result};
use crate::streams::{Stream, TopicPartition};
use bytes::Bytes;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use std::path::Path;
use std::sync::Arc;

const STREAM: u8 = 1;
const POSITION: u8 = 2;
const START: u8 = 4;

/// An open store. Nothing else holds handles of it, so dropping it closes it.
pub(super) struct Store {
    pub(super) db: Database,
    pub(super) keys: Keyspace,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(super) fn open(dir: &Path, cache_bytes: u64, memtable_bytes: u64) -> Result<Self> {
        let doing = format!("opening the log in {}", dir.display());
        let db = Database::builder(dir)
            .cache_size(cache_bytes)
            .journal_compression(CompressionType::None)
            .manual_journal_persist(true)
            .worker_threads(2)
            .open()
            .map_err(|error| store_error(&doing, &error))?;
        let apart = KvSeparationOptions::default().separation_threshold(512).compression(CompressionType::None);
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .manual_journal_persist(true)
                .data_block_compression_policy(fjall::config::CompressionPolicy::disabled())
                .with_kv_separation(Some(apart))
        };
        let keys = db.keyspace("log", options).map_err(|error| store_error(&doing, &error))?;
        Ok(Self { db, keys })
    }

    /// Everything but records, and of these the bounds.
    pub(super) fn load(&self) -> Result<State> {
        let mut state = State::default();
        for entry in self.keys.prefix([STREAM]) {
            let value = entry.value().map_err(reading)?;
            let stored: StoredStream = serde_json::from_slice(&value).map_err(|error| damaged(&error))?;
            let stream = Stream::new(&stored.name).map_err(|error| damaged(&error))?.at(stored.generation);
            for (of, place, keep_ms) in stored.places(&stream) {
                state.partitions.insert(of, self.partition(place, keep_ms)?);
            }
            state.streams.insert(stream, stored);
        }
        for entry in self.keys.prefix([POSITION]) {
            let (key, value) = entry.into_inner().map_err(reading)?;
            let position = parse_position(&key, &value).ok_or_else(|| damaged(&"a position"))?;
            state.positions.insert(position.0, position.1);
        }
        Ok(state)
    }

    fn partition(&self, place: Place, keep_ms: u64) -> Result<PartitionState> {
        let (start, bytes_deleted) = match self.keys.get(start_key(place)).map_err(reading)? {
            Some(value) => parse_start(&value).ok_or_else(|| damaged(&"the start of a partition"))?,
            None => (0, 0),
        };
        let last = self.keys.range(place.from(0)..place.above()).next_back();
        let last = last.map(|entry| entry.key().map_err(reading)).transpose()?;
        let last = last.and_then(|key| packed::parse_key(&key)).map(|(_, chunk)| chunk);
        let end = last.map_or(start, |chunk| chunk.end());
        let time_ms = last.map_or(0, |chunk| chunk.time_ms);
        let bytes = last.map_or(bytes_deleted, |chunk| chunk.bytes);
        Ok(PartitionState {
            place,
            keep_ms,
            start,
            end,
            next: end,
            reserved: 0,
            needed: 0,
            time_ms,
            bytes,
            bytes_deleted,
        })
    }

    /// The chunk that holds `position`, or the first one after it, among those below `end`.
    pub(super) fn chunk_at(&self, place: Place, position: Offset) -> Result<Option<Chunk>> {
        let before = self.keys.range(place.from(0)..place.from(position + 1)).next_back();
        if let Some(entry) = before {
            let chunk = chunk_of(&entry.key().map_err(reading)?)?;
            if chunk.end() > position {
                return Ok(Some(chunk));
            }
        }
        let after = self.keys.range(place.from(position + 1)..place.above()).next();
        after.map(|entry| chunk_of(&entry.key().map_err(reading)?)).transpose()
    }

    /// Chunks from the one at `base` on, keys only.
    pub(super) fn chunks(&self, place: Place, base: Offset) -> impl Iterator<Item = Result<Chunk>> {
        self.keys.range(place.from(base)..place.above()).map(|entry| chunk_of(&entry.key().map_err(reading)?))
    }

    /// Reads records of [position, end).
    pub(super) fn read(
        &self,
        from: &TopicPartition,
        place: Place,
        (position, end): (Offset, Offset),
        limit: ReadLimit,
    ) -> Result<Batch> {
        let mut batch = Batch { from: from.clone(), position, records: Vec::new(), next: position };
        let Some(first) = self.chunk_at(place, position)? else {
            batch.next = end.max(position);
            return Ok(batch);
        };
        let mut bytes = 0;
        for entry in self.keys.range(place.from(first.base)..place.above()) {
            let (key, value) = entry.into_inner().map_err(reading)?;
            let chunk = chunk_of(&key)?;
            if chunk.base >= end {
                break;
            }
            for record in Unpack::new(chunk, Bytes::from(value)) {
                let record = record.map_err(|error| damaged(&format!("{from}: {error}")))?;
                if record.offset < position {
                    continue;
                }
                if !batch.records.is_empty() && (batch.records.len() >= limit.records || bytes >= limit.bytes) {
                    return Ok(batch);
                }
                bytes += record.len();
                batch.next = record.offset + 1;
                batch.records.push(record);
            }
        }
        batch.next = batch.next.max(end);
        Ok(batch)
    }

    /// The first offset in [start, end) whose record is of `time_ms` or later, else `end`.
    pub(super) fn offset_at(&self, place: Place, (start, end): (Offset, Offset), time_ms: i64) -> Result<Offset> {
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.chunk_at(place, middle)? {
                Some(chunk) if chunk.base < end && chunk.time_ms < time_ms => low = chunk.end(),
                _ => high = middle,
            }
        }
        Ok(self.chunk_at(place, low)?.map_or(end, |chunk| chunk.base.max(low)).min(end))
    }
}

fn chunk_of(key: &[u8]) -> Result<Chunk> {
    packed::parse_key(key).map(|(_, chunk)| chunk).ok_or_else(|| damaged(&"a key of records"))
}

fn reading(error: fjall::Error) -> Error {
    store_error("reading the log", &error)
}

fn damaged(what: &dyn std::fmt::Display) -> Error {
    Error::Corrupt(format!("what is stored doesn't parse: {what}"))
}

pub(super) fn stream_key(stream: &Stream) -> Vec<u8> {
    [&[STREAM], stream.to_string().as_bytes()].concat()
}

pub(super) fn position_key(group: &str, of: &TopicPartition) -> Vec<u8> {
    [&[POSITION], group.as_bytes(), &[0], of.topic.as_bytes(), &[0], &of.partition.to_be_bytes()].concat()
}

pub(super) fn start_key(place: Place) -> Vec<u8> {
    [&[START][..], &place.topic.to_be_bytes(), &place.partition.to_be_bytes()].concat()
}

pub(super) fn start_value(start: Offset, bytes_deleted: u64) -> Vec<u8> {
    [start.to_be_bytes(), bytes_deleted.to_be_bytes()].concat()
}

fn parse_start(value: &[u8]) -> Option<(Offset, u64)> {
    let (start, deleted) = value.split_at_checked(8)?;
    Some((Offset::from_be_bytes(start.try_into().ok()?), u64::from_be_bytes(deleted.try_into().ok()?)))
}

type Position = ((Arc<str>, TopicPartition), Offset);

fn parse_position(key: &[u8], value: &[u8]) -> Option<Position> {
    let (names, partition) = key.get(1..)?.split_last_chunk::<4>()?;
    let names = std::str::from_utf8(names.strip_suffix(&[0])?).ok()?;
    let (group, topic) = names.split_once('\0')?;
    let of = TopicPartition::new(topic, i32::from_be_bytes(*partition));
    Some(((group.into(), of), Offset::from_be_bytes(value.try_into().ok()?)))
}
