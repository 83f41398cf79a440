//! The ledger: what each stage counted, so that every acknowledged event can be accounted for.
//!
//! Counts are of records seen, never differences of offsets. An entry of a reader covers a half-open
//! range of offsets [from, to) that ends at the reader's position; the entries of a partition tile
//! (the next one's `from` is the last one's `to`), which the audit checks. Entries travel as JSON
//! records on `<stream>.ledger`, in the partition that they speak of, and sinks carry them to the
//! table `killfeed_ledger`, which outlives the topics.

use crate::dead::Reason;
use crate::log::{Append, Durability, Log, Loss, NewRecord, Offset, StreamInfo};
use crate::streams::{Stream, TopicPartition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Random; an entry that was appended twice counts once.
    pub id: String,
    /// When it was written, µs since the epoch.
    pub time_us: i64,
    /// Which process wrote it.
    pub instance: String,
    /// The stream.
    pub stream: String,
    /// The stream's incarnation.
    pub incarnation: String,
    /// The partition that the counts are of.
    pub partition: i32,
    /// Who counted what.
    #[serde(flatten)]
    pub count: Count,
}

/// What was counted, by the stage that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Count {
    /// Ingest, each second and at drain: what it answered since its last entry.
    Ingest {
        /// Events of this partition answered as accepted with durability `all`.
        acknowledged: u64,
        /// Events accepted with a lesser durability.
        #[serde(default)]
        unacknowledged: u64,
    },
    /// A processor's step, in its transaction.
    Process {
        /// Raw offset of the position before the step.
        from: Offset,
        /// Raw offset of the position after it.
        to: Offset,
        /// Data records read.
        accepted: u64,
        /// Written to clean.
        clean: u64,
        /// Same key, same data.
        duplicates: u64,
        /// Written to dead, by reason; conflicts stand here too.
        dead: BTreeMap<Reason, u64>,
        /// Admitted past dedupe by the redrive marker (counted in `clean` as well).
        #[serde(default)]
        redriven: u64,
    },
    /// A sink's flush, with the commit of its position.
    Sink {
        /// `<stream>.clean` or `<stream>.dead`.
        topic: String,
        /// Offset of the position before the flush.
        from: Offset,
        /// Offset of the position after it.
        to: Offset,
        /// Records read.
        records: u64,
        /// Rows of this range by table, `dead_letters` among them.
        rows: BTreeMap<String, u64>,
    },
    /// Rows taken out of a table on purpose: a player forgotten, or a date past its keep. Written
    /// before the commit that takes them out; it counts once the table holds the transaction
    /// `killfeed/removal/<id of the entry's removal>`.
    Removal {
        /// Shared by the entries of one removal.
        removal: String,
        /// `forget` or `retention`.
        cause: String,
        /// The table.
        table: String,
        /// Rows of this incarnation and partition that were taken out, by reason for
        /// `dead_letters` (see [`Reason`]), under `row` for any other table.
        rows: BTreeMap<String, u64>,
    },
    /// Records deleted by the log's owner before a reader had seen them.
    Expired {
        /// The topic.
        topic: String,
        /// First offset that the reader missed.
        from: Offset,
        /// Where it went on.
        to: Offset,
        /// An upper bound of the records lost, since they can't be counted any more.
        records: u64,
    },
}

impl Entry {
    /// Says that records were deleted unread. The id comes from the range, so that a role that is started
    /// again and again counts it once.
    pub fn expired(info: &StreamInfo, instance: &str, time_us: i64, loss: &Loss) -> Self {
        Self {
            id: format!("expired-{}-{}-{}-{}", info.incarnation, loss.of, loss.from, loss.to),
            time_us,
            instance: instance.to_owned(),
            stream: info.stream.name().to_owned(),
            incarnation: info.incarnation.to_string(),
            partition: loss.of.partition,
            count: Count::Expired {
                topic: loss.of.topic.to_string(),
                from: loss.from,
                to: loss.to,
                records: loss.records_max(),
            },
        }
    }

    /// As an append to the ledger topic.
    ///
    /// # Errors
    /// As [`Self::to_record`].
    pub fn to_append(&self, stream: &Stream) -> Result<Append, serde_json::Error> {
        Ok(Append { to: self.destination(stream), records: vec![self.to_record()?] })
    }

    /// The partition of the ledger topic that this entry belongs to.
    pub fn destination(&self, stream: &Stream) -> TopicPartition {
        TopicPartition::new(stream.ledger(), self.partition)
    }

    /// As a record of the ledger topic.
    ///
    /// # Errors
    /// If it can't be written as JSON, which no entry made by this crate does.
    pub fn to_record(&self) -> Result<NewRecord, serde_json::Error> {
        Ok(NewRecord { payload: Some(serde_json::to_vec(self)?.into()), ..NewRecord::default() })
    }

    /// From the payload of a record of the ledger topic.
    ///
    /// # Errors
    /// If it is no entry.
    pub fn from_payload(payload: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}

/// Enters in the ledger that records were deleted unread, as far as it can be written: whoever finds it stops
/// all the same, and finds it again.
pub async fn note_expired(log: &dyn Log, info: &StreamInfo, instance: &str, time_us: i64, loss: &Loss) {
    let entry = Entry::expired(info, instance, time_us, loss);
    let Ok(append) = entry.to_append(&info.stream) else { return };
    for answer in log.append(vec![append], Durability::All).await {
        if let Err(error) = answer {
            tracing::error!(%error, of = %loss.of, "records deleted unread could not be entered in the ledger");
        }
    }
}

/// A new random id for an entry or a removal.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back() {
        let entry = Entry {
            id: "a".into(),
            time_us: 1,
            instance: "i".into(),
            stream: "events".into(),
            incarnation: "x".into(),
            partition: 3,
            count: Count::Process {
                from: 0,
                to: 10,
                accepted: 9,
                clean: 7,
                duplicates: 1,
                dead: [(Reason::Conflict, 1)].into(),
                redriven: 0,
            },
        };
        let record = entry.to_record().unwrap();
        assert_eq!(Entry::from_payload(&record.payload.unwrap()).unwrap(), entry);
    }
}
