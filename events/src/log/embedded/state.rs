//! What the embedded log keeps in memory of what it stores: streams, the bounds of partitions,
//! positions. Loaded at open; after that the writer alone changes it.

use super::packed::Place;
use crate::log::{Ends, Offset, Result, StreamInfo, checks};
use crate::streams::{Stream, TopicPartition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredStream {
    pub(super) name: String,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub(super) generation: u32,
    pub(super) partitions: i32,
    pub(super) incarnation: Arc<str>,
    pub(super) retention_ms: u64,
    pub(super) state_retention_ms: u64,
    /// The five topics have this number and the four after it, in the order of [`Stream::topics`].
    pub(super) first_topic: u32,
    /// Where each partition of raw ends, once the next generation was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<Arc<[Offset]>>,
}

const fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_first(generation: &u32) -> bool {
    *generation == 1
}

impl StoredStream {
    pub(super) fn info(&self, stream: &Stream) -> StreamInfo {
        StreamInfo {
            stream: stream.clone(),
            partitions: self.partitions,
            incarnation: self.incarnation.clone(),
            retention: Duration::from_millis(self.retention_ms),
            ended: self.ended.clone(),
        }
    }

    /// Its topics' partitions with their places, and for how many ms each is kept.
    pub(super) fn places(&self, stream: &Stream) -> Vec<(TopicPartition, Place, u64)> {
        let mut places = Vec::new();
        for (topic, name) in (self.first_topic..).zip(stream.topics()) {
            let keep_ms = if name == stream.state() { self.state_retention_ms } else { self.retention_ms };
            for (number, partition) in (0..).zip(0..self.partitions) {
                let place = Place { topic, partition: number };
                places.push((TopicPartition::new(name.clone(), partition), place, keep_ms));
            }
        }
        places
    }
}

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionState {
    pub(super) place: Place,
    pub(super) keep_ms: u64,
    pub(super) start: Offset,
    /// After the last record that readers see.
    pub(super) end: Offset,
    /// The next offset to give; above `end` after an unclean stop or a failed write.
    pub(super) next: Offset,
    /// Offsets below it may be given.
    pub(super) reserved: Offset,
    /// Up to where offsets are to be reserved next.
    pub(super) needed: Offset,
    pub(super) time_ms: i64,
    /// Value bytes that the partition ever got.
    pub(super) bytes: u64,
    /// Those of them that are deleted.
    pub(super) bytes_deleted: u64,
}

impl PartitionState {
    pub(super) fn ends(&self) -> Ends {
        Ends { start: self.start, last_stable: self.end, end: self.end }
    }

    pub(super) fn kept(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_deleted)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) streams: BTreeMap<Stream, StoredStream>,
    pub(super) partitions: HashMap<TopicPartition, PartitionState>,
    pub(super) positions: BTreeMap<(Arc<str>, TopicPartition), Offset>,
}

impl State {
    pub(super) fn partition(&self, of: &TopicPartition) -> Result<&PartitionState> {
        self.partitions.get(of).ok_or_else(|| checks::unknown(of))
    }

    pub(super) fn partition_count(&self, topic: &str) -> Result<i32> {
        let found = self.streams.iter().find(|(stream, _)| stream.topics().iter().any(|name| **name == *topic));
        found.map(|(_, stored)| stored.partitions).ok_or_else(|| checks::unknown_topic(topic))
    }

    /// Whether a topic is the raw one of a generation that has ended.
    pub(super) fn has_ended(&self, topic: &str) -> bool {
        self.streams.iter().any(|(stream, stored)| stored.ended.is_some() && *stream.raw() == *topic)
    }

    /// Bytes of records that are kept.
    pub(super) fn kept(&self) -> u64 {
        self.partitions.values().map(PartitionState::kept).sum()
    }
}
