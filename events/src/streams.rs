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

/// An unbounded set of similar events: a name, and the five topics that carry it in one of its
/// generations. Generation 1 has topics like `events.raw`, later ones like `events.g2.raw`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    name: Arc<str>,
    generation: u32,
}

impl Stream {
    /// The stream of this name, in its first generation: 1 to 100 of `[a-z0-9_-]`, as Kafka's topic names
    /// allow.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
            return Err(format!("stream name {name:?} is not 1 to 100 characters of a-z, 0-9, _ and -"));
        }
        Ok(Self { name: name.into(), generation: 1 })
    }

    /// Its name, the same in all generations.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which generation of the stream this is: 1 or more.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The same stream in another generation; 0 counts as 1.
    #[must_use]
    pub fn at(&self, generation: u32) -> Self {
        Self { name: self.name.clone(), generation: generation.max(1) }
    }

    /// The generation that this one grows into.
    #[must_use]
    pub fn next(&self) -> Self {
        self.at(self.generation.saturating_add(1))
    }

    /// The generation that grew into this one.
    pub fn before(&self) -> Option<Self> {
        (self.generation > 1).then(|| self.at(self.generation - 1))
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

    /// The stream that a topic belongs to, as [`Display`](fmt::Display) writes it, with its generation.
    pub fn name_of(topic: &str) -> &str {
        topic.rsplit_once('.').map_or(topic, |(stream, _)| stream)
    }

    fn topic(&self, what: &str) -> Arc<str> {
        format!("{self}.{what}").into()
    }
}

/// What its topics' names begin with: the name, and the generation from the second on.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.generation > 1 { write!(f, ".g{}", self.generation) } else { Ok(()) }
    }
}

/// The streams that a process serves, each generation for itself, in the order in which they came.
/// Whoever adds one, all see it from their next look on; none is ever taken away.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_generation_has_the_names_of_the_contract_and_no_other_stream_can_have_those_of_later_ones() {
        let first = Stream::new("events").unwrap();
        assert_eq!(&*first.raw(), "events.raw");
        let second = first.next();
        assert_eq!(
            (&*second.raw(), second.name(), second.to_string()),
            ("events.g2.raw", "events", "events.g2".into())
        );
        assert_eq!((second.before(), first.before()), (Some(first), None));
        assert_eq!(Stream::name_of("events.g2.raw"), "events.g2");
        assert!(Stream::new("events.g2").is_err());
    }
}
