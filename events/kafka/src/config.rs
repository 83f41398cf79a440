//! Settings of every client that the log makes.
//!
//! What isn't set here is librdkafka's default. Each queue has a bound: librdkafka's own defaults are
//! 1 GiB for each producer and 64 MiB for each partition of a consumer.

use crate::meters::Watched;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::Duration;

/// What waits in a member's queue, in KiB: some flushes' worth.
const MEMBER_QUEUE_KBYTES: &str = "32768";
/// What waits in the queue of a reader without a group, in KiB.
const READER_QUEUE_KBYTES: &str = "16384";
/// librdkafka stops fetching at this many messages in a queue, however small they are.
const QUEUE_MESSAGES: &str = "50000";
/// The longest message that producers take, in bytes: a record of the longest kind, and its framing.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// How long a producer goes on with a record whose append was answered "in doubt": longer than a cluster
/// takes to choose new leaders. A record that is given up makes the client number those behind it anew, and
/// one of them that stood already would stand twice.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the log finds its cluster, and what it may spend.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of some brokers, separated by commas; the others are learned from them.
    pub brokers: String,
    /// Stands before the names of topics, groups and transactional ids; empty unless several
    /// killfeeds share a cluster.
    pub prefix: String,
    /// One node keeps everything: topics are made with one replica, and a topic that could lose
    /// acknowledged records with its only node is no reason to refuse.
    pub single_node: bool,
    /// From an append to its answer at most; an append that is still open then is in doubt. Shorter
    /// than a request's deadline, so that the answer still reaches the client.
    pub delivery_timeout: Duration,
    /// A transaction open for longer is aborted by the cluster. A processor that died holds readers
    /// of its partitions back for this long.
    pub transaction_timeout: Duration,
    /// A member that is silent for this long has lost its partitions.
    pub session_timeout: Duration,
    /// Every other call to the cluster takes at most this long.
    pub request_timeout: Duration,
    /// Bytes of records that appends may hold in memory together; a further append waits for room,
    /// and is refused when its time has passed.
    pub append_bytes_max: usize,
    /// Further settings of librdkafka, by its own names: TLS and SASL. They win over all else.
    pub properties: BTreeMap<String, String>,
}

impl Config {
    /// The defaults, for a cluster found by these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: String::new(),
            single_node: false,
            delivery_timeout: Duration::from_secs(8),
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            append_bytes_max: 128 << 20,
            properties: BTreeMap::new(),
        }
    }

    /// The settings of librdkafka that it doesn't take, each by its name and why. Values may be secret, and
    /// are not repeated.
    pub fn faults(&self) -> Vec<String> {
        let fault = |(name, value): (&String, &String)| {
            let checked = ClientConfig::new().set(name, value).create_native_config();
            let why = match checked.err()? {
                KafkaError::ClientConfig(_, why, ..) if value.is_empty() => why,
                KafkaError::ClientConfig(_, why, ..) => why.replace(value.as_str(), "..."),
                _ => "is not taken".into(),
            };
            Some(format!("{name}: {why}"))
        };
        self.properties.iter().filter_map(fault).collect()
    }

    fn uses_tls(&self) -> bool {
        self.properties.get("security.protocol").is_some_and(|protocol| protocol.to_ascii_uppercase().ends_with("SSL"))
    }

    /// Settings that all clients share, topped by those of its kind and by the operator's.
    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "killfeed")
            // A broker that is gone is found out by the time that callers would give up.
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        if self.uses_tls() {
            // OpenSSL is linked in, and doesn't know where this machine keeps its authorities.
            config.set("ssl.ca.location", "probe");
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// The same, for a client that is served all the time, so that its statistics are read.
    fn watched(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client(settings);
        Watched::ask(&mut config);
        config
    }

    /// `patience` is how long the client itself goes on with a record, `request` with one request of it.
    fn producer_settings(&self, patience: Duration, request: Duration) -> [(&'static str, String); 7] {
        [
            ("message.max.bytes", MESSAGE_BYTES_MAX.to_string()),
            // Twice what appends may hold, so that the bound is met before, whole appends at a time.
            ("queue.buffering.max.kbytes", (self.append_bytes_max.div_ceil(1 << 9)).to_string()),
            ("queue.buffering.max.messages", "1000000".into()),
            ("linger.ms", "2".into()),
            ("message.timeout.ms", millis(patience)),
            ("request.timeout.ms", millis(request.div_f64(2.0).max(Duration::from_secs(1)))),
            ("retry.backoff.max.ms", "500".into()),
        ]
    }

    /// A producer for appends. `acks` is Kafka's word: `all`, `1` or `0`.
    pub(crate) fn producer(&self, acks: &str) -> ClientConfig {
        let idempotent = if acks == "all" { "true" } else { "false" };
        let settings = self.producer_settings(self.delivery_timeout.max(PATIENCE), self.delivery_timeout);
        let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend([("acks", acks), ("enable.idempotence", idempotent)]);
        if acks != "all" {
            // Without sequence numbers a retry would let later records overtake.
            all.push(("max.in.flight.requests.per.connection", "1"));
        }
        self.watched(&all)
    }

    /// The producer of one transactional id.
    pub(crate) fn transactor(&self, id: &str) -> ClientConfig {
        let timeout = millis(self.transaction_timeout);
        let settings = self.producer_settings(self.transaction_timeout, self.transaction_timeout);
        let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend([("transactional.id", id), ("transaction.timeout.ms", &timeout)]);
        self.watched(&all)
    }

    /// What all consumers share: nothing is committed, moved or made behind our back.
    fn consumer(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut all = vec![
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("queued.min.messages", QUEUE_MESSAGES),
            ("fetch.wait.max.ms", "100"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.queue.backoff.ms", "20"),
        ];
        all.extend(settings);
        self.client(&all)
    }

    /// A member of a group. Ranges give partition p of every topic to the same member.
    pub(crate) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(&[
            ("group.id", group),
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", &millis(self.session_timeout)),
            ("heartbeat.interval.ms", "500"),
            ("queued.max.messages.kbytes", MEMBER_QUEUE_KBYTES),
        ]);
        Watched::ask(&mut config);
        config
    }

    /// A reader without a group; librdkafka wants a group's name for it all the same.
    pub(crate) fn reader(&self, group: &str) -> ClientConfig {
        self.consumer(&[("group.id", group), ("queued.max.messages.kbytes", READER_QUEUE_KBYTES)])
    }

    /// Asks for bounds, positions and metadata only. `isolation` decides which end it sees.
    pub(crate) fn asker(&self, group: &str, isolation: &str) -> ClientConfig {
        self.consumer(&[("group.id", group), ("isolation.level", isolation)])
    }

    /// Makes topics and looks at their settings.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client(&[])
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
