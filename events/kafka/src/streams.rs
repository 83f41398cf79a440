//! Streams on the cluster: their topics, what is recorded of them, and what a fit topic is.
//!
//! What Kafka has no place for (the incarnation, the number of partitions that was agreed on) is one
//! record of the topic `killfeed.streams`, kept for ever. Who makes a stream makes its topics first and
//! then appends; the first record of a stream counts, so that two who make it at once agree.

use crate::config::{Config, MESSAGE_BYTES_MAX};
use crate::error::asking;
use crate::names::Names;
use crate::producer::Appender;
use crate::reader::{Quiet, Readers};
use events::TopicPartition;
use events::log::{Append, Durability, Error, NewRecord, ReadLimit, Result, StreamInfo, StreamSpec, checks};
use events::streams::Stream;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The topic that records streams.
const REGISTER: &str = "killfeed.streams";
/// How long a new topic may take to have leaders everywhere.
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
/// Replicas of each partition, unless there is one node only.
const REPLICAS: i32 = 3;
/// Replicas that must have a record before it is acknowledged, of three.
const IN_SYNC_MIN: i32 = 2;

/// One record of the register.
#[derive(Debug, Serialize, Deserialize)]
struct Registered {
    stream: String,
    incarnation: String,
    partitions: i32,
    retention_ms: u64,
}

impl Registered {
    fn info(&self, stream: &Stream) -> StreamInfo {
        StreamInfo {
            stream: stream.clone(),
            partitions: self.partitions,
            incarnation: self.incarnation.as_str().into(),
            retention: Duration::from_millis(self.retention_ms),
        }
    }
}

/// Makes and finds streams.
pub(crate) struct Streams {
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) readers: Arc<Readers>,
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

    /// Makes the stream, or finds it.
    pub(crate) async fn create(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        checks::spec(spec)?;
        if let Some(found) = self.find(&spec.stream).await? {
            checks::same(spec, &found)?;
            return Ok(found);
        }
        self.make_topics(spec).await?;
        self.check(&spec.stream, spec.partitions).await?;
        let registered = Registered {
            stream: spec.stream.name().to_owned(),
            incarnation: events::ledger::new_id(),
            partitions: spec.partitions,
            retention_ms: u64::try_from(spec.retention.as_millis()).unwrap_or(u64::MAX),
        };
        let payload = serde_json::to_vec(&registered).map_err(|error| Error::Refused(error.to_string()))?;
        let record = NewRecord {
            key: registered.stream.clone().into_bytes().into(),
            payload: Some(payload.into()),
            ..NewRecord::default()
        };
        let append = Append { to: register(), records: vec![record] };
        for answer in self.appender.append(vec![Ok(append)], Durability::All).await {
            answer?;
        }
        let found = self.registered(&spec.stream).await?;
        let found = found.ok_or_else(|| Error::Unavailable(format!("stream {} is not recorded yet", spec.stream)))?;
        let found = found.info(&spec.stream);
        checks::same(spec, &found)?;
        Ok(found)
    }

    /// The stream, if it was made; refused if its topics are not as recorded.
    pub(crate) async fn find(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        let Some(registered) = self.registered(stream).await? else { return Ok(None) };
        self.check(stream, registered.partitions).await?;
        Ok(Some(registered.info(stream)))
    }

    /// The first record of the stream in the register.
    async fn registered(&self, stream: &Stream) -> Result<Option<Registered>> {
        let (readers, name) = (self.readers.clone(), stream.name().to_owned());
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

    /// Makes the topics that are missing, and waits until each partition has a leader.
    async fn make_topics(&self, spec: &StreamSpec) -> Result<()> {
        let replicas = if self.config.single_node { 1 } else { REPLICAS };
        let in_sync = IN_SYNC_MIN.min(replicas).to_string();
        let longest = MESSAGE_BYTES_MAX.to_string();
        let ms = |time: Duration| time.as_millis().to_string();
        let (kept, state_kept) = (ms(spec.retention), ms(spec.state_retention));
        let topics = spec.stream.topics();
        let names: Vec<String> = topics.iter().map(|topic| self.names.there(topic)).collect();
        let register = self.names.there(REGISTER);
        let topic = |name, partitions, kept| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(replicas))
                .set("cleanup.policy", "delete")
                .set("retention.ms", kept)
                .set("retention.bytes", "-1")
                .set("message.timestamp.type", "LogAppendTime")
                .set("max.message.bytes", &longest)
                .set("min.insync.replicas", &in_sync)
                .set("unclean.leader.election.enable", "false")
        };
        let mut wanted = vec![topic(register.as_str(), 1, "-1")];
        for (name, of) in names.iter().zip(&topics) {
            let kept = if **of == *spec.stream.state() { &state_kept } else { &kept };
            wanted.push(topic(name, spec.partitions, kept));
        }
        let admin = self.admin()?;
        let options = AdminOptions::new()
            .request_timeout(Some(self.config.request_timeout))
            .operation_timeout(Some(self.config.request_timeout));
        let made = admin.create_topics(&wanted, &options).await;
        let made = made.map_err(|error| asking(&format!("topics of {}", spec.stream), &error))?;
        for made in made {
            match made {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, Code::InvalidReplicationFactor)) => {
                    return Err(Error::Refused(format!(
                        "topic {name} needs {replicas} brokers; with fewer, say --single-node"
                    )));
                }
                Err((name, code)) => return Err(Error::Refused(format!("topic {name} can't be made: {code}"))),
            }
        }
        let readers = self.readers.clone();
        let mut topics: Vec<Arc<str>> = topics.to_vec();
        topics.push(REGISTER.into());
        crate::log::blocking(move || topics.iter().try_for_each(|topic| await_leaders(&readers, topic))).await
    }

    fn admin(&self) -> Result<AdminClient<Quiet>> {
        let made = self.config.admin().create_with_context(Quiet);
        made.map_err(|error| Error::Unavailable(format!("admin client: {error}")))
    }

    /// Whether the stream's topics have the partitions that were agreed on, and keep what they
    /// acknowledge when a node dies.
    async fn check(&self, stream: &Stream, partitions: i32) -> Result<()> {
        let (readers, topics) = (self.readers.clone(), stream.topics());
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
        .await?;
        self.check_settings(stream).await
    }

    /// Whether the topics' settings keep the log's laws.
    async fn check_settings(&self, stream: &Stream) -> Result<()> {
        let names: Vec<String> = stream.topics().iter().map(|topic| self.names.there(topic)).collect();
        let wanted: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(self.config.request_timeout));
        let found = self.admin()?.describe_configs(&wanted, &options).await;
        let found = found.map_err(|error| asking(&format!("settings of {stream}"), &error))?;
        let mut faults = Vec::new();
        for (name, found) in names.iter().zip(found) {
            let settings = found.map_err(|code| Error::Unavailable(format!("settings of {name}: {code}")))?;
            let value = |setting: &str| settings.get(setting).and_then(|entry| entry.value.clone()).unwrap_or_default();
            let mut expect = |setting: &str, fits: bool, wanted: &str| {
                if !fits {
                    faults.push(format!("{name}: {setting} is {:?}, needed is {wanted}", value(setting)));
                }
            };
            let is = |setting: &str, wanted: &str| value(setting) == wanted;
            expect("message.timestamp.type", is("message.timestamp.type", "LogAppendTime"), "LogAppendTime");
            expect("cleanup.policy", is("cleanup.policy", "delete"), "delete");
            if !self.config.single_node {
                let in_sync: i32 = value("min.insync.replicas").parse().unwrap_or(0);
                expect("min.insync.replicas", in_sync >= IN_SYNC_MIN, "2 or more, or say --single-node");
                let unclean = is("unclean.leader.election.enable", "false");
                expect("unclean.leader.election.enable", unclean, "false, or say --single-node");
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Refused(faults.join("; "))) }
    }
}

/// The partition that records streams.
fn register() -> TopicPartition {
    TopicPartition::new(REGISTER, 0)
}

fn await_leaders(readers: &Readers, topic: &str) -> Result<()> {
    let deadline = Instant::now() + LEADERS_LIMIT;
    loop {
        let metadata = readers.metadata(topic);
        let is_led = metadata.as_ref().is_ok_and(|metadata| {
            metadata.topics().first().is_some_and(|topic| {
                !topic.partitions().is_empty()
                    && topic.partitions().iter().all(|partition| partition.leader() >= 0 && partition.error().is_none())
            })
        });
        if is_led {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Unavailable(format!("topic {topic} has no leader after {LEADERS_LIMIT:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
