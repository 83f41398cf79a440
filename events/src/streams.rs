//! Streams, their topics, and the partitions of these.

use crate::log::StreamInfo;
use std::fmt;
use std::sync::Arc;

/// The stream that events go to unless a schema names another.
pub const DEFAULT_STREAM: &str = "events";

/// The consumer group of processors; reads `.raw`.
pub const PROCESSOR_GROUP: &str = "killfeed-process";
/// The consumer group of sinks; reads `.clean`, `.dead` and `.ledger`.
pub const SINK_GROUP: &str = "killfeed-sink";

/// An unbounded set of similar events: a name, and the five topics that carry it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream(Arc<str>);

impl Stream {
    /// The stream of this name: 1 to 100 of `[a-z0-9_-]`, as Kafka's topic names allow.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
            return Err(format!("stream name {name:?} is not 1 to 100 characters of a-z, 0-9, _ and -"));
        }
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What ingest accepted, as it came.
    pub fn raw(&self) -> Arc<str> {
        self.topic("raw")
    }

    /// What processors made of it: deduplicated, enriched, without addresses.
    pub fn clean(&self) -> Arc<str> {
        self.topic("clean")
    }

    /// What processors could not let pass, with a reason.
    pub fn dead(&self) -> Arc<str> {
        self.topic("dead")
    }

    /// The processors' state: fingerprints admitted, by raw range.
    pub fn state(&self) -> Arc<str> {
        self.topic("state")
    }

    /// The counts that each stage writes.
    pub fn ledger(&self) -> Arc<str> {
        self.topic("ledger")
    }

    /// All five, in the order above.
    pub fn topics(&self) -> [Arc<str>; 5] {
        [self.raw(), self.clean(), self.dead(), self.state(), self.ledger()]
    }

    /// The name of the stream that a topic belongs to.
    pub fn name_of(topic: &str) -> &str {
        topic.rsplit_once('.').map_or(topic, |(stream, _)| stream)
    }

    fn topic(&self, what: &str) -> Arc<str> {
        format!("{}.{what}", self.0).into()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The streams that a process serves, in the order in which they came. Whoever adds one, all see it
/// from their next look on; none is ever taken away.
#[derive(Debug, Clone, Default)]
pub struct SharedStreams(Arc<parking_lot::RwLock<Vec<StreamInfo>>>);

impl SharedStreams {
    /// Starts with these.
    pub fn new(infos: Vec<StreamInfo>) -> Self {
        Self(Arc::new(parking_lot::RwLock::new(infos)))
    }

    /// All of them, as of now.
    pub fn current(&self) -> Vec<StreamInfo> {
        self.0.read().clone()
    }

    /// Adds one, or takes up what is new about it.
    pub fn put(&self, info: StreamInfo) {
        let mut infos = self.0.write();
        match infos.iter_mut().find(|known| known.stream == info.stream) {
            Some(known) => *known = info,
            None => infos.push(info),
        }
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name, for example `events.raw`.
    pub topic: Arc<str>,
    /// Counted from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
