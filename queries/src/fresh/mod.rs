//! The tail: what stands in the log and not in the tables yet, so that an answer has it all the same.
//!
//! Every table that SQL sees is its Delta snapshot united with the tail of the log. The order in which a
//! query looks is what makes each event count once, and never go away again:
//!
//! ```text
//!  1. the sinks' positions   P      older than the snapshots, or as old
//!  2. the snapshots          T.txn
//!  3. the last stable ends   E      one vector for all tables, newer than the snapshots
//!  table T on partition p is its snapshot and the tail [max(T.txn[p], P[p]), E[p])
//! ```
//!
//! A snapshot holds all of T below max(T.txn\[p\], position\[p\]) as of its own moment. A position read later
//! could be past rows that the snapshot lacks: they would be missing. An end read earlier could be below
//! rows that a snapshot has: one table would be ahead of another. And ends only grow, whoever asks whom.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Fresh`] | what a process holds, and the loop that reads ahead |
//! | `topic` | positions, pins, reading and letting go |
//! | `held` | records of one type, and the rows made of them |
//! | `cut` | one query's positions and ends, and the rows between them |

mod cut;
mod held;
mod topic;

pub(crate) use cut::{Cut, Known, Tail};

use decode::Discovery;
use events::log::{Log, ReadLimit, StreamInfo};
use events::schema::SharedRegistry;
use events::{Clock, SharedStreams, Stream};
use held::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use topic::{Carries, Topic};

/// How much of the tail is held, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bytes that records and the rows made of them may take together. Past it nothing more is read until
    /// the sinks get on, and answers say up to when they are complete.
    pub bytes_max: usize,
    /// A record that waits longer for its table than this keeps further ones from being read, too.
    pub age_max: Duration,
    /// How often it is read ahead. Queries read what is left themselves.
    pub interval: Duration,
    /// How often the sinks' positions are looked at.
    pub positions_interval: Duration,
    /// How long a query waits for what it must read, before it answers with what is there.
    pub wait_max: Duration,
    /// How much is read at once.
    pub read: ReadLimit,
    /// Streams, by name, of which answers have only what is in the tables.
    pub off: BTreeSet<String>,
    /// Whether fields that have no column get one, as in the sinks.
    pub discovery: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            age_max: Duration::from_secs(600),
            interval: Duration::from_millis(25),
            positions_interval: Duration::from_millis(100),
            wait_max: Duration::from_secs(2),
            read: topic::READ,
            off: BTreeSet::new(),
            discovery: true,
        }
    }
}

/// The limits as those who count want them.
struct Limits {
    /// Half of the bytes: the other is for rows.
    records_bytes: usize,
    age_ms: i64,
}

impl Limits {
    fn of(config: &Config) -> Self {
        let age_ms = i64::try_from(config.age_max.as_millis()).unwrap_or(i64::MAX);
        Self { records_bytes: config.bytes_max / 2, age_ms }
    }
}

/// The tails of all streams that a process serves. Clones share them.
#[derive(Debug, Clone)]
pub struct Fresh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    log: Arc<dyn Log>,
    streams: SharedStreams,
    registry: SharedRegistry,
    clock: Arc<dyn Clock>,
    bytes: Arc<Bytes>,
    topics: Mutex<BTreeMap<(Stream, Carries), Arc<Topic>>>,
    /// Held by who opens topics.
    opening: tokio::sync::Mutex<()>,
}

impl Fresh {
    /// Holds nothing yet.
    pub fn new(
        config: Config,
        log: Arc<dyn Log>,
        streams: SharedStreams,
        registry: SharedRegistry,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (bytes, topics, opening) = (Arc::default(), Mutex::default(), tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner { config, log, streams, registry, clock, bytes, topics, opening }))
    }

    /// Reads ahead until `stop`, so that queries find little left to read.
    pub async fn run(self, stop: CancellationToken) {
        let mut looked: Option<Instant> = None;
        let mut measured: Option<Instant> = None;
        let mut quiet = true;
        while stop.run_until_cancelled(tokio::time::sleep(self.0.config.interval)).await.is_some() {
            let look = looked.is_none_or(|at| at.elapsed() >= self.0.config.positions_interval);
            if look {
                looked = Some(Instant::now());
            }
            let ended = self.step(look).await;
            if let Err(error) = &ended
                && quiet
            {
                tracing::warn!(%error, "the log can't be read ahead; answers may be less fresh until it can");
            }
            quiet = ended.is_ok();
            if measured.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                measured = Some(Instant::now());
                self.measure();
            }
        }
    }

    /// One round: reads what there is, and with `positions` lets go of what is in the tables.
    pub(crate) async fn step(&self, positions: bool) -> events::log::Result<()> {
        let Inner { log, config, .. } = &*self.0;
        let topics = self.topics().await?;
        if positions {
            for topic in &topics {
                let gone = topic.follow_sink(&**log).await?;
                metrics::counter!("killfeed_fresh_released_records_total").increment(gone as u64);
            }
        }
        let all = topics.iter().flat_map(|topic| topic.partitions().map(move |partition| (topic, partition)));
        let reads = all.map(|(topic, partition)| topic.read_on(&**log, partition, None, config));
        for ended in futures::future::join_all(reads).await {
            ended?;
        }
        Ok(())
    }

    /// The topics of all streams that are served and not switched off, opened where they are new.
    async fn topics(&self) -> events::log::Result<Vec<Arc<Topic>>> {
        let Inner { log, streams, clock, bytes, topics, opening, config, .. } = &*self.0;
        let mut found = Vec::new();
        for info in streams.current().iter().filter(|info| !config.off.contains(info.stream.name())) {
            for carries in [Carries::Events, Carries::Letters, Carries::Ledger] {
                let key = (info.stream.clone(), carries);
                let known = |info: &StreamInfo| {
                    let topics = topics.lock();
                    topics.get(&key).filter(|topic| topic.info.incarnation == info.incarnation).cloned()
                };
                if let Some(topic) = known(info) {
                    found.push(topic);
                    continue;
                }
                let _opening = opening.lock().await;
                if let Some(topic) = known(info) {
                    found.push(topic);
                    continue;
                }
                let topic = Topic::open(&**log, info, carries, (bytes.clone(), clock.clone())).await?;
                let topic = Arc::new(topic);
                topics.lock().insert(key, topic.clone());
                found.push(topic);
            }
        }
        Ok(found)
    }

    fn discovery(&self) -> Discovery {
        if self.0.config.discovery { Discovery::On } else { Discovery::Off }
    }

    #[expect(clippy::cast_precision_loss, reason = "for gauges")]
    fn measure(&self) {
        let Inner { topics, bytes, config, clock, .. } = &*self.0;
        let topics: Vec<Arc<Topic>> = topics.lock().values().cloned().collect();
        let mut ages: BTreeMap<String, f64> = BTreeMap::new();
        let (mut records, mut full) = (0, false);
        for topic in &topics {
            full = full || topic.is_full(config);
            for held in topic.held() {
                records += held.measure().map_or(0, |(records, _)| records);
                if let (Ok(table), Some(age_s)) = (&held.table, held.age_s(&**clock)) {
                    ages.entry(table.clone()).and_modify(|age| *age = age.min(age_s)).or_insert(age_s);
                }
            }
        }
        for (table, age_s) in ages {
            metrics::gauge!("killfeed_fresh_newest_age_seconds", "table" => table).set(age_s);
        }
        metrics::gauge!("killfeed_fresh_held_records").set(records as f64);
        let held = |what, bytes: usize| metrics::gauge!("killfeed_fresh_held_bytes", "what" => what).set(bytes as f64);
        held("records", bytes.records.load(Ordering::SeqCst));
        held("rows", bytes.rows.load(Ordering::SeqCst));
        metrics::gauge!("killfeed_fresh_full").set(if full { 1.0 } else { 0.0 });
    }

    #[cfg(test)]
    pub(crate) fn held_records(&self) -> usize {
        let topics: Vec<Arc<Topic>> = self.0.topics.lock().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.held()).filter_map(|held| held.measure()).map(|(records, _)| records).sum()
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.bytes.records.load(Ordering::SeqCst) + self.0.bytes.rows.load(Ordering::SeqCst)
    }

    /// Forgets rows of all tables, if they take more than their half: who asks makes them again.
    fn relieve(&self) {
        let Inner { topics, bytes, config, .. } = &*self.0;
        if bytes.rows.load(Ordering::SeqCst) <= config.bytes_max / 2 {
            return;
        }
        let topics: Vec<Arc<Topic>> = topics.lock().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.held()).for_each(|held| held.forget_rows());
    }
}
