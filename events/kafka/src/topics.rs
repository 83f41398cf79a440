//! A stream's topics: how they are made, what their settings must be, and how they are brought there.

use crate::config::{Config, MESSAGE_BYTES_MAX};
use crate::error::asking;
use crate::names::Names;
use crate::reader::{Quiet, Readers};
use events::TopicPartition;
use events::log::{Error, Result, StreamSpec};
use events::streams::Stream;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The topic that records streams.
pub(crate) const REGISTER: &str = "killfeed.streams";
/// How long a leader of a new topic may take to have leaders everywhere.
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
/// Replicas of each partition, unless there is one node only.
const REPLICAS: i32 = 3;
/// Replicas that must have a record before it is acknowledged, of three.
const IN_SYNC_MIN: i32 = 2;

const RETENTION: &str = "retention.ms";
const IN_SYNC: &str = "min.insync.replicas";
const UNCLEAN: &str = "unclean.leader.election.enable";
const TIME: &str = "message.timestamp.type";
const CLEANUP: &str = "cleanup.policy";
const LONGEST: &str = "max.message.bytes";
/// A setting without effect where records are deleted and not compacted: a random number in it tells a
/// topic from one that was made again under its name. (The client can't ask for Kafka's own ids of topics.)
const MARK: &str = "delete.retention.ms";
/// The longest batch that an ended raw topic takes: room for an end marker, and for no event.
const ENDED_BYTES_MAX: &str = "96";

/// The topics of streams.
#[derive(Clone)]
pub(crate) struct Topics {
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) readers: Arc<Readers>,
}

/// One topic as it stands on the cluster.
pub(crate) struct Found {
    /// Its name there.
    name: String,
    resource: ConfigResource,
}

/// What a topic's setting is, and what it should be.
pub(crate) struct Difference {
    pub(crate) topic: String,
    pub(crate) setting: &'static str,
    pub(crate) is: String,
    pub(crate) wanted: String,
}

impl Found {
    fn value(&self, setting: &str) -> String {
        self.resource.get(setting).and_then(|entry| entry.value.clone()).unwrap_or_default()
    }

    /// What tells it from a topic that was made again under its name.
    pub(crate) fn mark(&self) -> String {
        self.value(MARK)
    }

    /// Says that it isn't the one that was recorded with `mark`.
    pub(crate) fn is_another(&self, mark: &str) -> String {
        format!(
            "topic {} was made again since its stream was recorded, or its mark was changed ({MARK} is {}, recorded is {mark}): \
             what it held is gone",
            self.name,
            self.mark()
        )
    }

    /// How long the topic keeps its records.
    pub(crate) fn retention(&self) -> Duration {
        let ms: i64 = self.value(RETENTION).parse().unwrap_or(-1);
        // Kafka's word for ever is -1.
        Duration::from_millis(u64::try_from(ms).unwrap_or(i64::MAX.unsigned_abs()))
    }
}

impl Topics {
    /// Replicas of each partition.
    pub(crate) fn replicas(&self) -> i32 {
        if self.config.single_node { 1 } else { REPLICAS }
    }

    /// Replicas that must be in sync for an append to be acknowledged.
    pub(crate) fn in_sync(&self) -> i32 {
        IN_SYNC_MIN.min(self.replicas())
    }

    /// The settings that a topic is made with.
    fn settings(&self, spec: &StreamSpec, topic: &str) -> BTreeMap<&'static str, String> {
        let kept = if keeps_long(spec, topic) { spec.state_retention } else { spec.retention };
        let kept = if topic == REGISTER { "-1".into() } else { kept.as_millis().to_string() };
        BTreeMap::from([
            (CLEANUP, "delete".into()),
            (RETENTION, kept),
            ("retention.bytes", "-1".into()),
            (TIME, "LogAppendTime".into()),
            (LONGEST, MESSAGE_BYTES_MAX.to_string()),
            (IN_SYNC, self.in_sync().to_string()),
            (UNCLEAN, "false".into()),
        ])
    }

    /// Makes the topics that are missing, the register too, and waits until each partition has a leader.
    pub(crate) async fn make(&self, spec: &StreamSpec) -> Result<()> {
        let mut topics: Vec<Arc<str>> = spec.stream.topics().to_vec();
        topics.push(REGISTER.into());
        let made: Vec<_> =
            topics.iter().map(|topic| (topic, self.names.there(topic), self.settings(spec, topic))).collect();
        let mark = random_mark();
        let wanted: Vec<NewTopic<'_>> = made
            .iter()
            .map(|(topic, name, settings)| {
                let partitions = if ***topic == *REGISTER { 1 } else { spec.partitions };
                let new = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas()));
                let new = if ***topic == *REGISTER { new } else { new.set(MARK, &mark) };
                settings.iter().fold(new, |new, (setting, value)| new.set(setting, value))
            })
            .collect();
        let done = self.admin()?.create_topics(&wanted, &self.limits()).await;
        for done in done.map_err(|error| asking(&format!("topics of {}", spec.stream), &error))? {
            match done {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, Code::InvalidReplicationFactor)) => {
                    return Err(Error::Refused(format!(
                        "topic {name} needs {} brokers; with fewer, say --single-node",
                        self.replicas()
                    )));
                }
                Err((name, code)) if crate::error::is_refusal(code) => {
                    return Err(Error::Refused(format!("topic {name} can't be made: {code}")));
                }
                Err((name, code)) => return Err(Error::Unavailable(format!("topic {name} can't be made: {code}"))),
            }
        }
        let readers = self.readers.clone();
        crate::log::blocking(move || topics.iter().try_for_each(|topic| await_leaders(&readers, topic))).await
    }

    /// The stream's topics as they stand; all of them must be there.
    pub(crate) async fn find(&self, stream: &Stream) -> Result<Vec<Found>> {
        let names: Vec<String> = stream.topics().iter().map(|topic| self.names.there(topic)).collect();
        let wanted: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let found = self.admin()?.describe_configs(&wanted, &self.limits()).await;
        let found =
            found.map_err(|error| self.readers.cause.explain(asking(&format!("settings of {stream}"), &error)))?;
        let found = names.into_iter().zip(found).map(|(name, resource)| match resource {
            Ok(resource) => Ok(Found { name, resource }),
            Err(code) => Err(Error::Unavailable(format!("settings of {name}: {code}"))),
        });
        found.collect()
    }

    /// Refuses topics whose settings don't keep the log's laws.
    pub(crate) fn check(&self, found: &[Found]) -> Result<()> {
        let mut needed = vec![(TIME, "LogAppendTime", ""), (CLEANUP, "delete", "")];
        if !self.config.single_node {
            needed.extend([(IN_SYNC, "2", ", or say --single-node"), (UNCLEAN, "false", ", or say --single-node")]);
        }
        let mut faults = Vec::new();
        for topic in found {
            for (setting, wanted, else_say) in &needed {
                let is = topic.value(setting);
                if !fits(setting, &is, wanted) {
                    faults.push(format!("{}: {setting} is {is:?}, needed is {wanted}{else_say}", topic.name));
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Refused(faults.join("; "))) }
    }

    /// Every setting that is not as the topics would be made now. State is kept for as long as it was
    /// ever asked for.
    pub(crate) fn differences(&self, spec: &StreamSpec, found: &[Found]) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (topic, found) in spec.stream.topics().iter().zip(found) {
            for (setting, wanted) in self.settings(spec, topic) {
                let is = found.value(setting);
                let is_kept =
                    setting == RETENTION && keeps_long(spec, topic) && found.retention() >= spec.state_retention;
                if !is_kept && !fits(setting, &is, &wanted) {
                    differences.push(Difference { topic: found.name.clone(), setting, is, wanted });
                }
            }
        }
        differences
    }

    /// The differences in how long records are kept.
    pub(crate) fn retention_differences(&self, spec: &StreamSpec, found: &[Found]) -> Vec<Difference> {
        self.differences(spec, found).into_iter().filter(|difference| difference.setting == RETENTION).collect()
    }

    /// Brings settings to what they should be. What else was set on a topic is set again with them: the
    /// call replaces all that a topic has.
    pub(crate) async fn alter(&self, found: &[Found], differences: &[Difference]) -> Result<()> {
        let mut altered = Vec::new();
        for topic in found {
            let of_topic: Vec<_> = differences.iter().filter(|difference| difference.topic == topic.name).collect();
            if of_topic.is_empty() {
                continue;
            }
            let mut alter = AlterConfig::new(ResourceSpecifier::Topic(&topic.name));
            for entry in topic.resource.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic) {
                alter = alter.set(&entry.name, entry.value.as_deref().unwrap_or_default());
            }
            for difference in of_topic {
                let Difference { topic, setting, is, wanted } = difference;
                tracing::info!(topic, setting, is, wanted, "changing a topic's setting");
                alter = alter.set(difference.setting, &difference.wanted);
            }
            altered.push(alter);
        }
        if altered.is_empty() {
            return Ok(());
        }
        let done = self.admin()?.alter_configs(&altered, &self.limits()).await;
        for done in done.map_err(|error| asking("settings of topics", &error))? {
            done.map_err(|(of, code)| Error::Refused(format!("settings of {of:?} can't be changed: {code}")))?;
        }
        Ok(())
    }

    /// Has a raw topic take nothing more than end markers.
    pub(crate) async fn fence(&self, stream: &Stream) -> Result<()> {
        let found: Vec<Found> = self.find(stream).await?.into_iter().take(1).collect();
        let fence = found.iter().filter(|raw| raw.value(LONGEST) != ENDED_BYTES_MAX).map(|raw| Difference {
            topic: raw.name.clone(),
            setting: LONGEST,
            is: raw.value(LONGEST),
            wanted: ENDED_BYTES_MAX.into(),
        });
        self.alter(&found, &fence.collect::<Vec<_>>()).await
    }

    /// Waits until settings that were changed are what every look finds: brokers learn of them one by one.
    pub(crate) async fn await_settings(
        &self,
        spec: &StreamSpec,
        differences: impl Fn(&Self, &StreamSpec, &[Found]) -> Vec<Difference>,
    ) -> Result<()> {
        let deadline = Instant::now() + self.config.request_timeout;
        loop {
            let found = self.find(&spec.stream).await?;
            match differences(self, spec, &found).first() {
                None => return Ok(()),
                Some(Difference { topic, setting, is, .. }) if Instant::now() >= deadline => {
                    return Err(Error::Unavailable(format!("{topic}: {setting} is still {is}")));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<Quiet>> {
        let made = self.config.admin().create_with_context(Quiet(self.readers.cause.clone()));
        made.map_err(|error| Error::Unavailable(format!("admin client: {error}")))
    }

    fn limits(&self) -> AdminOptions {
        let limit = Some(self.config.request_timeout);
        AdminOptions::new().request_timeout(limit).operation_timeout(limit)
    }
}

/// Whether a topic outlives the others: what dedupe remembers, and the ledger, in which what was deleted
/// unread elsewhere must be found explained.
fn keeps_long(spec: &StreamSpec, topic: &str) -> bool {
    *topic == *spec.stream.state() || *topic == *spec.stream.ledger()
}

/// A number of ms that nobody chooses by chance, as text.
fn random_mark() -> String {
    let id = events::ledger::new_id();
    let number = id.get(..15).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    number.to_string()
}

/// Whether a setting is good enough. More replicas in sync than needed are.
fn fits(setting: &str, is: &str, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<i32>().ok();
    is == wanted || (setting == IN_SYNC && wanted != "1" && number(is) >= number(wanted))
}

fn await_leaders(readers: &Readers, topic: &str) -> Result<()> {
    let deadline = Instant::now() + LEADERS_LIMIT;
    loop {
        let metadata = readers.metadata(topic);
        let partitions: Vec<i32> = match &metadata {
            Ok(metadata) => metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default(),
            Err(_) => &[],
        }
        .iter()
        .map(|partition| partition.id())
        .collect();
        // Metadata names a leader before that one knows; it must answer itself.
        let answers = |partition: &i32| readers.ends(&TopicPartition::new(topic, *partition)).is_ok();
        if !partitions.is_empty() && partitions.iter().all(answers) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Unavailable(format!("topic {topic} has no leader after {LEADERS_LIMIT:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
