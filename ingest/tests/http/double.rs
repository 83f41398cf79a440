//! A log that keeps what is appended, and fails as it is told.

use async_trait::async_trait;
use events::TopicPartition;
use events::log::{
    Append, Appended, Batch, Durability, Ends, Error, Log, Member, NewRecord, Offset, ReadLimit, Result, StreamInfo,
    StreamSpec, Transactor,
};
use events::streams::Stream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What happens to an append.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It fails with this, and nothing is written.
    Fail(Error),
    /// It is written, and fails with this all the same.
    WriteAndFail(Error),
    /// It never comes back.
    Hang,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Double(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<TopicPartition, Vec<NewRecord>>,
    faults: BTreeMap<TopicPartition, Fault>,
    calls: Vec<(Durability, usize)>,
}

impl Double {
    /// What stands in a partition.
    pub(crate) fn records(&self, topic: &str, partition: i32) -> Vec<NewRecord> {
        let place = TopicPartition::new(topic, partition);
        self.0.lock().unwrap().records.get(&place).cloned().unwrap_or_default()
    }

    /// What stands in all partitions of a topic, partition by partition.
    pub(crate) fn all(&self, topic: &str) -> Vec<NewRecord> {
        let state = self.0.lock().unwrap();
        state
            .records
            .iter()
            .filter(|(place, _)| &*place.topic == topic)
            .flat_map(|(_, records)| records.clone())
            .collect()
    }

    /// From now on; `None` heals.
    pub(crate) fn fault(&self, topic: &str, partition: i32, fault: Option<Fault>) {
        let place = TopicPartition::new(topic, partition);
        let mut state = self.0.lock().unwrap();
        match fault {
            Some(fault) => state.faults.insert(place, fault),
            None => state.faults.remove(&place),
        };
    }

    /// Calls of `append` since the last look: durability, partitions.
    pub(crate) fn calls(&self) -> Vec<(Durability, usize)> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::Refused("ingest only appends".into()))
}

#[async_trait]
impl Log for Double {
    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        self.0.lock().unwrap().calls.push((durability, appends.len()));
        let mut answers = Vec::new();
        for Append { to, records } in appends {
            assert!(!records.is_empty());
            let fault = self.0.lock().unwrap().faults.get(&to).cloned();
            if let Some(Fault::Hang) = fault {
                std::future::pending::<()>().await;
            }
            if let Some(Fault::Fail(error)) = fault {
                answers.push(Err(error));
                continue;
            }
            let mut state = self.0.lock().unwrap();
            let stored = state.records.entry(to).or_default();
            let first = Offset::try_from(stored.len()).unwrap();
            stored.extend(records);
            let last = Offset::try_from(stored.len()).unwrap() - 1;
            answers.push(match fault {
                Some(Fault::WriteAndFail(error)) => Err(error),
                _ => Ok(Appended { first, last, time_ms: 0 }),
            });
        }
        answers
    }

    async fn create_stream(&self, _: &StreamSpec) -> Result<StreamInfo> {
        unused()
    }

    async fn stream(&self, _: &Stream) -> Result<Option<StreamInfo>> {
        unused()
    }

    async fn read(&self, _: &TopicPartition, _: Offset, _: ReadLimit) -> Result<Batch> {
        unused()
    }

    async fn ends(&self, _: &TopicPartition) -> Result<Ends> {
        unused()
    }

    async fn offset_at(&self, _: &TopicPartition, _: i64) -> Result<Offset> {
        unused()
    }

    async fn committed(&self, _: &str, _: &TopicPartition) -> Result<Option<Offset>> {
        unused()
    }

    async fn join(&self, _: &str, _: &[Arc<str>], _: &str) -> Result<Box<dyn Member>> {
        unused()
    }

    async fn transactor(&self, _: &str) -> Result<Box<dyn Transactor>> {
        unused()
    }
}
