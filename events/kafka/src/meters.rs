//! What the log measures of itself and of its clients.
//!
//! Counts of records and times are taken where they happen. What only the client library knows (its
//! connections to brokers, and what went wrong on them) comes from its statistics, which each client
//! writes every [`STATISTICS_MS`]; only the few fields below are read of them.

use events::log::{Durability, Error, Result};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often clients write their statistics: some 100 KB for a hundred partitions.
pub(crate) const STATISTICS_MS: &str = "10000";

/// The appender's handles, looked up once.
pub(crate) struct Appends {
    records: Counter,
    bytes: Counter,
    seconds: [Histogram; 3],
    queue_bytes: Gauge,
    queue_records: Gauge,
}

impl Appends {
    /// For an appender that takes at most so many bytes at a time.
    pub(crate) fn new(bytes_max: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
        gauge!("killfeed_kafka_queue_limit_bytes").set(bytes_max as f64);
        let seconds = |acks: &'static str| histogram!("killfeed_kafka_append_seconds", "acks" => acks);
        Self {
            records: counter!("killfeed_log_appended_records_total"),
            bytes: counter!("killfeed_log_appended_bytes_total"),
            seconds: ["all", "1", "0"].map(seconds),
            queue_bytes: gauge!("killfeed_kafka_queue_bytes"),
            queue_records: gauge!("killfeed_kafka_queue_records"),
        }
    }

    /// An append that stands.
    pub(crate) fn stands(&self, records: usize, bytes: usize) {
        self.records.increment(records as u64);
        self.bytes.increment(bytes as u64);
    }

    /// An append that was answered.
    pub(crate) fn answered<T>(&self, durability: Durability, answer: &Result<T>, took: Duration) {
        let lane = match durability {
            Durability::All => 0,
            Durability::Leader => 1,
            Durability::None => 2,
        };
        self.seconds[lane].record(took.as_secs_f64());
        if let Err(error) = answer {
            counter!("killfeed_kafka_failed_appends_total", "outcome" => outcome(error)).increment(1);
        }
    }

    /// What waits in memory at the moment.
    #[expect(clippy::cast_precision_loss, reason = "for gauges")]
    pub(crate) fn queued(&self, bytes: usize, records: usize) {
        self.queue_bytes.set(bytes as f64);
        self.queue_records.set(records as f64);
    }
}

/// A step's transaction that has met its fate, after so long; its commit alone is part of that.
pub(crate) fn transaction(decided: &Result<()>, took: Duration) {
    let outcome = decided.as_ref().map_or_else(outcome, |()| "committed");
    histogram!("killfeed_kafka_transaction_seconds").record(took.as_secs_f64());
    counter!("killfeed_kafka_transactions_total", "outcome" => outcome).increment(1);
}

/// The records of a committed transaction.
pub(crate) fn stand(records: usize, bytes: usize) {
    counter!("killfeed_log_appended_records_total").increment(records as u64);
    counter!("killfeed_log_appended_bytes_total").increment(bytes as u64);
}

/// The end of a transaction: from asking for the commit to the cluster's answer.
pub(crate) fn committed(took: Duration) {
    histogram!("killfeed_kafka_commit_seconds").record(took.as_secs_f64());
}

/// Somebody spoke for a generation that is over, and was refused before the cluster was asked.
pub(crate) fn stale(group: &str) {
    counter!("killfeed_kafka_stale_generations_total", "group" => group.to_owned()).increment(1);
}

/// The group moved partitions: `assigned` to a member of this process, `revoked` from one, or `lost`
/// without its leave, since it was silent for too long.
pub(crate) fn rebalanced(group: &str, kind: &'static str) {
    counter!("killfeed_kafka_rebalances_total", "group" => group.to_owned(), "kind" => kind).increment(1);
}

/// A member of this process holds so many partitions more or less than before.
#[expect(clippy::cast_precision_loss, reason = "for a gauge")]
pub(crate) fn held(group: &str, before: usize, after: usize) {
    gauge!("killfeed_kafka_assigned_partitions", "group" => group.to_owned()).increment(after as f64 - before as f64);
}

/// A producer that lost track of what it had sent, and was replaced.
pub(crate) fn replaced() {
    counter!("killfeed_kafka_replaced_producers_total").increment(1);
}

/// What an error means for who asked, in a word.
fn outcome(error: &Error) -> &'static str {
    match error {
        Error::Unavailable(_) => "unavailable",
        Error::InDoubt(_) => "in_doubt",
        Error::Fenced(_) => "fenced",
        Error::Full(_) => "full",
        Error::Ended(_) => "ended",
        Error::Refused(_) => "refused",
        Error::OutOfRange { .. } | Error::Corrupt(_) => "fault",
    }
}

/// A client whose statistics are read.
#[derive(Debug)]
pub(crate) struct Watched {
    kind: &'static str,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    brokers: BTreeMap<String, Broker>,
    connected: u32,
}

/// What is read of the statistics.
#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
}

/// Counts since the client was made, but for the state and the times.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodeid: i32,
    state: String,
    txerrs: u64,
    rxerrs: u64,
    req_timeouts: u64,
    connects: u64,
    disconnects: u64,
    rtt: Window,
}

/// Of the last interval, in microseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Window {
    cnt: u64,
    p99: u64,
}

impl Watched {
    /// `kind` says what the client is for: `append`, `transact` or `group`.
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, seen: Mutex::default() }
    }

    /// Asks the client for statistics, unless the operator said otherwise.
    pub(crate) fn ask(config: &mut ClientConfig) {
        if config.get("statistics.interval.ms").is_none() {
            config.set("statistics.interval.ms", STATISTICS_MS);
        }
    }

    /// Takes statistics up.
    pub(crate) fn take(&self, json: &[u8]) {
        match serde_json::from_slice(json) {
            Ok(statistics) => self.note(statistics),
            Err(error) => tracing::debug!(%error, "statistics of the Kafka client"),
        }
    }

    fn note(&self, Statistics { brokers }: Statistics) {
        let mut seen = self.seen.lock();
        let (mut connected, mut slowest) = (0, 0);
        for (name, now) in brokers {
            let before = seen.brokers.get(&name).cloned().unwrap_or_default();
            let count = |what: &'static str, now: u64, before: u64| {
                if now > before {
                    counter!("killfeed_kafka_broker_errors_total", "what" => what).increment(now - before);
                }
            };
            count("send", now.txerrs, before.txerrs);
            count("receive", now.rxerrs, before.rxerrs);
            count("timeout", now.req_timeouts, before.req_timeouts);
            let grown = |now: u64, before: u64| now.saturating_sub(before);
            counter!("killfeed_kafka_broker_connects_total").increment(grown(now.connects, before.connects));
            counter!("killfeed_kafka_broker_disconnects_total").increment(grown(now.disconnects, before.disconnects));
            // Names that the client was started with, and its coordinator, stand beside the brokers they turn out
            // to be, without a number of their own.
            connected += u32::from(now.nodeid >= 0 && now.state == "UP");
            slowest = slowest.max(if now.rtt.cnt > 0 { now.rtt.p99 } else { 0 });
            seen.brokers.insert(name, now);
        }
        gauge!("killfeed_kafka_broker_connections").increment(f64::from(connected) - f64::from(seen.connected));
        seen.connected = connected;
        if slowest > 0 {
            let slowest = Duration::from_micros(slowest).as_secs_f64();
            gauge!("killfeed_kafka_round_trip_seconds", "client" => self.kind).set(slowest);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        gauge!("killfeed_kafka_broker_connections").decrement(f64::from(self.seen.get_mut().connected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_statistics_only_what_is_told_on_is_read() {
        let watched = Watched::new("append");
        let broker = |state: &str, connects: u64| {
            format!(
                r#"{{"name":"a:1","nodeid":1,"state":"{state}","txerrs":1,"rxerrs":0,"req_timeouts":0,
                    "connects":{connects},"disconnects":0,"rtt":{{"cnt":2,"p99":1500}},"toppars":{{}}}}"#
            )
        };
        let page =
            |broker: &str| format!(r#"{{"name":"x","ts":1,"topics":{{"t":{{}}}},"brokers":{{"a:1/1":{broker}}}}}"#);
        watched.take(page(&broker("UP", 1)).as_bytes());
        assert_eq!(watched.seen.lock().connected, 1);
        watched.take(page(&broker("DOWN", 2)).as_bytes());
        let seen = watched.seen.lock();
        let broker = &seen.brokers["a:1/1"];
        assert_eq!((seen.connected, broker.connects, broker.txerrs, broker.rtt.p99), (0, 2, 1, 1500));
        drop(seen);
        watched.take(b"no JSON");
        watched.take(b"{}");
        assert_eq!(watched.seen.lock().connected, 0);
    }
}
