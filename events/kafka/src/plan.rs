//! What a stream's topics should be and aren't: `killfeed topics`.

use crate::streams::Streams;
use crate::topics::{Difference, Topics};
use events::log::{Error, Result, StreamSpec, checks};
use std::fmt;

/// One thing to do before a stream can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A topic is missing.
    Make {
        /// Its name.
        topic: String,
        /// Its partitions.
        partitions: i32,
        /// Replicas of each.
        replicas: i32,
    },
    /// A topic's setting is another one.
    Set {
        /// Its name.
        topic: String,
        /// The setting, in Kafka's words.
        setting: &'static str,
        /// What it is.
        from: String,
        /// What it should be.
        to: String,
    },
    /// The stream has no incarnation yet.
    Record {
        /// The stream's name.
        stream: String,
    },
    /// What nobody can change without harm to what the topic holds.
    Impossible {
        /// Its name.
        topic: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make { topic, partitions, replicas } => {
                write!(f, "make {topic}: partitions {partitions}, replicas {replicas}")
            }
            Self::Set { topic, setting, from, to } => write!(f, "set {topic}: {setting} from {from} to {to}"),
            Self::Record { stream } => write!(f, "record {stream}: a new incarnation"),
            Self::Impossible { topic, why } => write!(f, "impossible {topic}: {why}"),
        }
    }
}

impl From<Difference> for Change {
    fn from(Difference { topic, setting, is, wanted }: Difference) -> Self {
        Self::Set { topic, setting, from: is, to: wanted }
    }
}

impl Streams {
    /// What `apply` would do.
    pub(crate) async fn plan(&self, spec: &StreamSpec) -> Result<Vec<Change>> {
        checks::spec(spec)?;
        let mut changes = Vec::new();
        let (topics, of) = (self.topics.clone(), spec.clone());
        let shapes = crate::log::blocking(move || shapes(&topics, &of)).await?;
        let registered = self.registered(&spec.stream).await?;
        let is_whole = shapes.iter().all(|(_, is_there)| *is_there);
        changes.extend(shapes.into_iter().filter_map(|(change, _)| change));
        if is_whole {
            let found = self.topics.find(&spec.stream).await?;
            changes.extend(self.topics.differences(spec, &found).into_iter().map(Change::from));
            let remade = registered.as_ref().map(|registered| registered.remade(&found)).unwrap_or_default();
            let topic = || format!("{}.*", spec.stream);
            changes.extend(remade.into_iter().map(|why| Change::Impossible { topic: topic(), why }));
        }
        match registered.map(|registered| registered.partitions()) {
            None => changes.push(Change::Record { stream: spec.stream.name().to_owned() }),
            Some(recorded) if recorded != spec.partitions => changes.push(Change::Impossible {
                topic: format!("{}.*", spec.stream),
                why: format!(
                    "{recorded} partitions are recorded, {} were asked for; the number is fixed for a generation of \
                     the stream",
                    spec.partitions
                ),
            }),
            Some(_) => {}
        }
        Ok(changes)
    }

    /// Brings topics to what they should be, and makes the stream.
    pub(crate) async fn apply(&self, spec: &StreamSpec) -> Result<()> {
        let planned = self.plan(spec).await?;
        let impossible: Vec<String> = planned
            .iter()
            .filter(|change| matches!(change, Change::Impossible { .. }))
            .map(ToString::to_string)
            .collect();
        if !impossible.is_empty() {
            return Err(Error::Refused(impossible.join("; ")));
        }
        self.topics.make(spec).await?;
        let found = self.topics.find(&spec.stream).await?;
        self.topics.alter(&found, &self.topics.differences(spec, &found)).await?;
        self.topics.await_settings(spec, Topics::differences).await?;
        self.create(spec).await?;
        Ok(())
    }
}

/// For each topic what is to be done about its partitions and replicas, and whether it is there. Blocks.
fn shapes(topics: &Topics, spec: &StreamSpec) -> Result<Vec<(Option<Change>, bool)>> {
    let replicas = topics.replicas();
    let mut shapes = Vec::new();
    for topic in spec.stream.topics() {
        let name = topics.names.there(&topic);
        let Some(partitions) = Streams::partitions(&topics.readers, &topic)? else {
            let made = Change::Make { topic: name, partitions: spec.partitions, replicas };
            shapes.push((Some(made), false));
            continue;
        };
        let metadata = topics.readers.metadata(&topic)?;
        let found = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
        let fewest = found.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default();
        let why = if partitions != spec.partitions {
            Some(format!("it has {partitions} partitions, {} were asked for", spec.partitions))
        } else if i32::try_from(fewest).is_ok_and(|fewest| fewest < replicas) {
            Some(format!("it has {fewest} replicas, and needs {replicas}: reassign it, or say --single-node"))
        } else {
            None
        };
        shapes.push((why.map(|why| Change::Impossible { topic: name, why }), true));
    }
    Ok(shapes)
}
