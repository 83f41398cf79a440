//! Streams on the cluster: what is recorded of them, and whether their topics are as recorded.
//!
//! What Kafka has no place for (the incarnation, the number of partitions that was agreed on) is one
//! record of the topic `killfeed.streams`, kept for ever. Who makes a stream makes its topics first and
//! then appends; the first record of a stream counts, so that two who make it at once agree.

use crate::producer::Appender;
use crate::reader::Readers;
use crate::topics::{Found, REGISTER, Topics};
use events::TopicPartition;
use events::log::{Append, Durability, Error, NewRecord, ReadLimit, Result, StreamInfo, StreamSpec, checks};
use events::streams::Stream;
use rdkafka::error::RDKafkaErrorCode as Code;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One record of the register.
#[derive(Debug, Serialize, Deserialize)]
struct Registered {
    stream: String,
    incarnation: String,
    partitions: i32,
}

/// Makes and finds streams.
pub(crate) struct Streams {
    pub(crate) topics: Topics,
    pub(crate) appender: Arc<Appender>,
}

impl Streams {
    /// Partitions of a topic, or `None` if there is no such topic. Blocks.
    pub(crate) fn partitions(readers: &Readers, topic: &str) -> Result<Option<i32>> {
        let metadata = readers.metadata(topic)?;
        let Some(found) = metadata.topics().first() else { return Ok(None) };
        if let Some(error) = found.error() {
            let code: Code = error.into();
            if crate::error::is_unknown(code) {
                return Ok(None);
            }
            return Err(Error::Unavailable(format!("topic {topic}: {code}")));
        }
        let count = found.partitions().len();
        Ok(if count == 0 { None } else { Some(i32::try_from(count).unwrap_or(i32::MAX)) })
    }

    /// Makes the stream, or finds it; brings how long its topics keep records to what is asked for.
    pub(crate) async fn create(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        if self.registered(&spec.stream).await?.is_none() {
            self.topics.make(spec).await?;
            self.check_partitions(&spec.stream, spec.partitions).await?;
            self.topics.check(&self.topics.find(&spec.stream).await?)?;
            self.register(spec).await?;
        }
        let found = self.look(&spec.stream).await?;
        let (found, topics) =
            found.ok_or_else(|| Error::Unavailable(format!("stream {} is not recorded yet", spec.stream)))?;
        checks::same(spec, &found)?;
        self.topics.alter(&topics, &self.topics.retention_differences(spec, &topics)).await?;
        Ok(StreamInfo { retention: spec.retention, ..found })
    }

    /// The stream, if it was made; refused if its topics are not as recorded.
    pub(crate) async fn find(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        Ok(self.look(stream).await?.map(|(info, _)| info))
    }

    /// The number of partitions that is recorded of the stream, if it is.
    pub(crate) async fn registered_partitions(&self, stream: &Stream) -> Result<Option<i32>> {
        Ok(self.registered(stream).await?.map(|registered| registered.partitions))
    }

    async fn look(&self, stream: &Stream) -> Result<Option<(StreamInfo, Vec<Found>)>> {
        let Some(registered) = self.registered(stream).await? else { return Ok(None) };
        self.check_partitions(stream, registered.partitions).await?;
        let topics = self.topics.find(stream).await?;
        self.topics.check(&topics)?;
        let info = StreamInfo {
            stream: stream.clone(),
            partitions: registered.partitions,
            incarnation: registered.incarnation.into(),
            retention: topics.first().map(Found::retention).unwrap_or_default(),
        };
        Ok(Some((info, topics)))
    }

    /// Appends the stream's record to the register.
    async fn register(&self, spec: &StreamSpec) -> Result<()> {
        let registered = Registered {
            stream: spec.stream.name().to_owned(),
            incarnation: events::ledger::new_id(),
            partitions: spec.partitions,
        };
        let payload = serde_json::to_vec(&registered).map_err(|error| Error::Refused(error.to_string()))?;
        let record = NewRecord {
            key: registered.stream.into_bytes().into(),
            payload: Some(payload.into()),
            ..NewRecord::default()
        };
        let append = Append { to: register(), records: vec![record] };
        for answer in self.appender.append(vec![Ok(append)], Durability::All).await {
            answer?;
        }
        Ok(())
    }

    /// The first record of the stream in the register.
    async fn registered(&self, stream: &Stream) -> Result<Option<Registered>> {
        let (readers, name) = (self.topics.readers.clone(), stream.name().to_owned());
        crate::log::blocking(move || {
            if Self::partitions(&readers, REGISTER)?.is_none() {
                return Ok(None);
            }
            let register = register();
            let stable = readers.ends(&register)?.last_stable;
            let mut position = readers.ends(&register)?.start;
            while position < stable {
                let batch = readers.read(&register, position, ReadLimit::default())?;
                if batch.next <= position {
                    break;
                }
                position = batch.next;
                for record in batch.records {
                    let found: Option<Registered> =
                        record.payload.as_deref().and_then(|payload| serde_json::from_slice(payload).ok());
                    if let Some(found) = found.filter(|found| found.stream == name) {
                        return Ok(Some(found));
                    }
                }
            }
            Ok(None)
        })
        .await
    }

    /// Refuses topics that haven't the partitions that were agreed on.
    async fn check_partitions(&self, stream: &Stream, partitions: i32) -> Result<()> {
        let (readers, topics) = (self.topics.readers.clone(), stream.topics());
        crate::log::blocking(move || {
            for topic in &topics {
                match Self::partitions(&readers, topic)? {
                    Some(found) if found == partitions => {}
                    Some(found) => {
                        return Err(Error::Refused(format!(
                            "topic {topic} has {found} partitions, and {partitions} are recorded: \
                             the number is fixed for a generation of the stream"
                        )));
                    }
                    None => return Err(Error::Refused(format!("topic {topic} is gone"))),
                }
            }
            Ok(())
        })
        .await
    }
}

/// The partition that records streams.
fn register() -> TopicPartition {
    TopicPartition::new(REGISTER, 0)
}
