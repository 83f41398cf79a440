//! Streams on the cluster: what is recorded of them, and whether their topics are as recorded.
//!
//! What Kafka has no place for (the incarnation, the number of partitions that was agreed on) is one
//! record of the topic `killfeed.streams` for each generation, kept for ever. Who makes a generation makes
//! its topics first and then appends; the first record of a generation counts, so that two who make it at
//! once agree. That record also says where the generation before it ended: `grow`.

use crate::producer::Appender;
use crate::reader::Readers;
use crate::topics::{Found, REGISTER, Topics};
use events::TopicPartition;
use events::log::{Append, Durability, Error, NewRecord, Offset, ReadLimit, Result, StreamInfo, StreamSpec, checks};
use events::streams::Stream;
use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode as Code;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One record of the register.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Registered {
    stream: String,
    #[serde(default = "first")]
    generation: u32,
    incarnation: String,
    partitions: i32,
    /// The marks of the five topics, see [`crate::topics::Found::mark`]; streams that were made before there
    /// were marks have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<String>,
    /// Where each partition of raw ended in the generation before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Arc<[Offset]>>,
}

const fn first() -> u32 {
    1
}

impl Registered {
    fn is_of(&self, stream: &Stream) -> bool {
        self.stream == stream.name() && self.generation == stream.generation()
    }

    /// Partitions of each topic.
    pub(crate) const fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The topics that are not those that were recorded, a sentence each.
    pub(crate) fn remade(&self, found: &[Found]) -> Vec<String> {
        let others = found.iter().zip(&self.marks).filter(|(found, mark)| found.mark() != **mark);
        others.map(|(found, mark)| found.is_another(mark)).collect()
    }
}

/// Makes and finds streams.
pub(crate) struct Streams {
    pub(crate) topics: Topics,
    pub(crate) appender: Arc<Appender>,
    /// The register as it was read last, and up to where.
    pub(crate) register: Arc<Mutex<(Offset, Arc<[Registered]>)>>,
}

impl Streams {
    pub(crate) fn new(topics: Topics, appender: Arc<Appender>) -> Self {
        Self { topics, appender, register: Arc::new(Mutex::new((0, Arc::default()))) }
    }

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
            if spec.stream.generation() > 1 {
                return Err(Error::Refused(format!("stream {} comes by growing only", spec.stream)));
            }
            self.make(spec).await?;
        }
        let found = self.look(&spec.stream).await?;
        let (found, topics) =
            found.ok_or_else(|| Error::Unavailable(format!("stream {} is not recorded yet", spec.stream)))?;
        checks::same(spec, &found)?;
        let differences = self.topics.retention_differences(spec, &topics);
        if !differences.is_empty() {
            self.topics.alter(&topics, &differences).await?;
            self.topics.await_settings(spec, Topics::retention_differences).await?;
        }
        Ok(StreamInfo { retention: spec.retention, ..found })
    }

    /// The stream, if it was made; refused if its topics are not as recorded.
    pub(crate) async fn find(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        Ok(self.look(stream).await?.map(|(info, _)| info))
    }

    /// Makes the topics of a generation, and records it.
    async fn make(&self, spec: &StreamSpec) -> Result<()> {
        let found = self.prepare(spec).await?;
        self.register(spec, found.iter().map(Found::mark).collect(), None).await
    }

    /// Makes the topics of a generation.
    pub(crate) async fn prepare(&self, spec: &StreamSpec) -> Result<Vec<Found>> {
        self.topics.make(spec).await?;
        self.check_partitions(&spec.stream, spec.partitions).await?;
        let found = self.topics.find(&spec.stream).await?;
        self.topics.check(&found)?;
        Ok(found)
    }

    async fn look(&self, stream: &Stream) -> Result<Option<(StreamInfo, Vec<Found>)>> {
        let Some(registered) = self.registered(stream).await? else { return Ok(None) };
        self.check_partitions(stream, registered.partitions).await?;
        let topics = self.topics.find(stream).await?;
        self.topics.check(&topics)?;
        let remade = registered.remade(&topics);
        if !remade.is_empty() {
            return Err(Error::Refused(remade.join("; ")));
        }
        let ended = self.registered(&stream.next()).await?.and_then(|next| next.ended);
        let info = StreamInfo {
            stream: stream.clone(),
            partitions: registered.partitions,
            incarnation: registered.incarnation.into(),
            retention: topics.first().map(Found::retention).unwrap_or_default(),
            ended,
        };
        Ok(Some((info, topics)))
    }

    /// Appends the stream's record to the register.
    pub(crate) async fn register(
        &self,
        spec: &StreamSpec,
        marks: Vec<String>,
        ended: Option<Arc<[Offset]>>,
    ) -> Result<()> {
        let registered = Registered {
            stream: spec.stream.name().to_owned(),
            generation: spec.stream.generation(),
            incarnation: events::ledger::new_id(),
            partitions: spec.partitions,
            marks,
            ended,
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
    pub(crate) async fn registered(&self, stream: &Stream) -> Result<Option<Registered>> {
        let (readers, known) = (self.topics.readers.clone(), self.register.clone());
        let all = crate::log::blocking(move || read_register(&readers, &known)).await?;
        Ok(all.iter().find(|registered| registered.is_of(stream)).cloned())
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

/// All records of the register; what was read before isn't read again.
fn read_register(readers: &Readers, known: &Mutex<(Offset, Arc<[Registered]>)>) -> Result<Arc<[Registered]>> {
    if Streams::partitions(readers, REGISTER)?.is_none() {
        return Ok(Arc::default());
    }
    let of = register();
    let ends = readers.ends(&of)?;
    let mut known = known.lock();
    if known.0 == ends.last_stable {
        return Ok(known.1.clone());
    }
    let (mut position, mut all) = (ends.start, Vec::new());
    while position < ends.last_stable {
        let batch = readers.read(&of, position, ReadLimit::default())?;
        if batch.next <= position {
            break;
        }
        position = batch.next;
        let payloads = batch.records.iter().filter_map(|record| record.payload.as_deref());
        all.extend(payloads.filter_map(|payload| serde_json::from_slice::<Registered>(payload).ok()));
    }
    *known = (position, all.into());
    Ok(known.1.clone())
}

/// The partition that records streams.
fn register() -> TopicPartition {
    TopicPartition::new(REGISTER, 0)
}
