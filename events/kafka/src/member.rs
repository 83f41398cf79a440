//! A member of a group.
//!
//! ```text
//! cluster: assign ─▶ callback: seat opened, nothing fetched ─▶ Assigned ─▶ seeks ─▶ next poll fetches
//! cluster: revoke ─▶ callback: seat closed, what is under way settled, given up ─▶ Revoked
//! ```
//!
//! The callback runs inside a poll, so that a member which isn't polled gives nothing up, and is put
//! out when `max.poll.interval.ms` has passed. Between the assignment and the first seek the client
//! holds an empty assignment: it can't fetch from anywhere else than from where it was told to.

use crate::config::Config;
use crate::error::{asking, is_fencing, is_unknown, report_to_tracing};
use crate::meters::{self, Watched};
use crate::names::Names;
use crate::reader::Readers;
use crate::record;
use crate::seats::{Seat, Seats};
use crate::streams::Streams;
use events::TopicPartition;
use events::headers::HeadersBuilder;
use events::log::{Batch, Error, Offset, Poll, ReadLimit, Record, Result, checks};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The wait of one look for messages: the delay at which a member that is dropped is let go.
const SLICE: Duration = Duration::from_millis(100);

/// What the cluster said, and the caller wasn't told yet.
#[derive(Debug)]
enum Told {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

/// Takes part in rebalances.
pub(crate) struct Rebalances {
    names: Names,
    seat: Arc<Seat>,
    told: Mutex<VecDeque<Told>>,
    watched: Watched,
    /// How long steps that are under way may take to meet their fate.
    settle_limit: Duration,
}

impl ClientContext for Rebalances {
    report_to_tracing!();

    fn stats_raw(&self, statistics: &[u8]) {
        self.watched.take(statistics);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = self.names.partitions(list);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let metadata = consumer.group_metadata().filter(|_| !consumer.assignment_lost());
            self.seat.open(&partitions, metadata);
            if !partitions.is_empty() {
                meters::rebalanced(&self.seat.group, "assigned");
                self.told.lock().push_back(Told::Assigned(partitions));
            }
            consumer.assign(&TopicPartitionList::new())
        } else {
            self.seat.close();
            if !self.seat.settle(self.settle_limit) {
                tracing::warn!(member = %self.seat.member, "gives partitions up while a step is still under way");
            }
            if !partitions.is_empty() {
                let kind = if consumer.assignment_lost() { "lost" } else { "revoked" };
                meters::rebalanced(&self.seat.group, kind);
                self.told.lock().push_back(Told::Revoked(partitions));
            }
            consumer.unassign()
        };
        if let Err(error) = done {
            tracing::warn!(%error, member = %self.seat.member, "the client refused a rebalance");
        }
    }
}

/// A member, driven by polls. Every call but [`Self::seek`] and its like blocks.
pub(crate) struct Member {
    consumer: BaseConsumer<Rebalances>,
    readers: Arc<Readers>,
    seats: Arc<Seats>,
    names: Names,
    /// What it owns; `None` until the first seek.
    positions: BTreeMap<TopicPartition, Option<Offset>>,
    /// Sought, and not asked of the client yet.
    sought: BTreeSet<TopicPartition>,
    /// Known to the client.
    fetched: BTreeSet<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    request_timeout: Duration,
    /// What a poll found, until its caller takes it.
    undelivered: Option<Result<Poll>>,
}

impl Member {
    pub(crate) fn join(
        config: &Config,
        names: &Names,
        (readers, seats): (Arc<Readers>, Arc<Seats>),
        seat: Arc<Seat>,
        (group, topics): (&str, &[Arc<str>]),
    ) -> Result<Self> {
        let stream = checks::one_stream(group, topics.iter().map(|topic| &**topic))?;
        let what = |error: KafkaError| asking(&format!("join of group {group}"), &error);
        let settle_limit = config.transaction_timeout;
        let context = Rebalances {
            names: names.clone(),
            seat,
            told: Mutex::default(),
            watched: Watched::new("group"),
            settle_limit,
        };
        let consumer: BaseConsumer<Rebalances> =
            config.member(&names.group(group, stream)).create_with_context(context).map_err(what)?;
        let topics: Vec<String> = topics.iter().map(|topic| names.there(topic)).collect();
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>()).map_err(what)?;
        Ok(Self {
            consumer,
            readers,
            seats,
            names: names.clone(),
            positions: BTreeMap::new(),
            sought: BTreeSet::new(),
            fetched: BTreeSet::new(),
            paused: BTreeSet::new(),
            request_timeout: config.request_timeout,
            undelivered: None,
        })
    }

    /// Polls, unless what the last poll found was never taken. Whoever asked may stop waiting, and says
    /// so by `stop`.
    pub(crate) fn fetch(&mut self, limit: ReadLimit, deadline: Instant, stop: &AtomicBool) {
        if self.undelivered.is_none() {
            let found = self.poll(limit, deadline, stop);
            self.undelivered = Some(found).filter(|found| !matches!(found, Ok(Poll::Idle)));
        }
    }

    /// What was found.
    pub(crate) fn take(&mut self) -> Result<Poll> {
        self.undelivered.take().unwrap_or(Ok(Poll::Idle))
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.consumer.context().seat
    }

    /// What there is to do, waiting for it until `deadline`.
    fn poll(&mut self, limit: ReadLimit, deadline: Instant, stop: &AtomicBool) -> Result<Poll> {
        loop {
            if let Some(told) = self.told() {
                return Ok(told);
            }
            self.go_to_sought()?;
            let batches = self.collect(limit, deadline)?;
            if let Some(told) = self.told() {
                // What was collected belongs to the generation before.
                return Ok(told);
            }
            if !batches.is_empty() {
                return Ok(Poll::Batches(batches));
            }
            if Instant::now() >= deadline || stop.load(Ordering::Relaxed) {
                return Ok(Poll::Idle);
            }
        }
    }

    fn told(&mut self) -> Option<Poll> {
        let told = self.consumer.context().told.lock().pop_front()?;
        self.sought.clear();
        self.fetched.clear();
        self.paused.clear();
        Some(match told {
            Told::Assigned(partitions) => {
                self.positions = partitions.iter().map(|of| (of.clone(), None)).collect();
                Poll::Assigned(partitions)
            }
            Told::Revoked(partitions) => {
                self.positions.clear();
                Poll::Revoked(partitions)
            }
        })
    }

    /// Tells the client where to fetch from. A position that isn't in the log is an error each time.
    fn go_to_sought(&mut self) -> Result<()> {
        if self.sought.is_empty() {
            return Ok(());
        }
        for of in &self.sought {
            let Some(Some(position)) = self.positions.get(of) else { continue };
            let ends = self.readers.ends(of)?;
            if *position < ends.start || *position > ends.end {
                return Err(Error::OutOfRange { from: of.clone(), position: *position, ends });
            }
        }
        let what = |error: KafkaError| asking("seek", &error);
        // Those that are fetched already go first: only a seek makes the client forget how far it had come.
        for of in self.sought.intersection(&self.fetched) {
            let Some(Some(position)) = self.positions.get(of) else { continue };
            let topic = self.names.there(&of.topic);
            let to = KafkaOffset::Offset(*position);
            self.consumer.seek(&topic, of.partition, to, self.request_timeout).map_err(what)?;
        }
        if !self.sought.is_subset(&self.fetched) {
            // The whole assignment anew: each goes on from where it stands.
            let all = self.positions.iter().filter_map(|(of, at)| Some((of, KafkaOffset::Offset((*at)?))));
            let all = self.names.list(all).map_err(what)?;
            self.consumer.assign(&all).map_err(what)?;
            self.fetched = self.positions.iter().filter(|(_, at)| at.is_some()).map(|(of, _)| of.clone()).collect();
            self.steer(self.paused.iter(), true)?;
        }
        self.sought.clear();
        Ok(())
    }

    /// Takes what was fetched, in batches.
    fn collect(&mut self, limit: ReadLimit, deadline: Instant) -> Result<Vec<Batch>> {
        let mut found: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        let mut builder = HeadersBuilder::with_capacity(64 << 10);
        let (mut records, mut bytes, mut is_at_end) = (0, 0, false);
        while records < limit.records.max(1) && bytes < limit.bytes.max(1) {
            let wait = if records > 0 || is_at_end {
                Duration::ZERO
            } else {
                deadline.saturating_duration_since(Instant::now()).min(SLICE)
            };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let of = TopicPartition::new(self.names.here(message.topic()), message.partition());
                    let Some(Some(position)) = self.positions.get(&of) else { continue };
                    if message.offset() < *position {
                        continue;
                    }
                    if self.paused.contains(&of) {
                        // Fetched before the pause; to be fetched again after it.
                        self.sought.insert(of);
                        continue;
                    }
                    let record = record::record(&message, &mut builder);
                    records += 1;
                    bytes += record.len();
                    found.entry(of).or_default().push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => is_at_end = true,
                Some(Err(error)) => self.note(&error)?,
                None => break,
            }
        }
        self.batches(found, is_at_end)
    }

    /// Batches of what was found, and of gaps at the ends that hold nothing.
    fn batches(&mut self, mut found: BTreeMap<TopicPartition, Vec<Record>>, is_at_end: bool) -> Result<Vec<Batch>> {
        let what = |error: KafkaError| asking("positions", &error);
        let passed = if is_at_end { Some(self.consumer.position().map_err(what)?) } else { None };
        let mut batches = Vec::new();
        for (of, position) in &mut self.positions {
            let Some(position) = position else { continue };
            let records = found.remove(of).unwrap_or_default();
            let mut next = records.last().map_or(*position, |record| record.offset + 1);
            if let Some(passed) = &passed
                && !self.paused.contains(of)
                && let Some(of) = passed.find_partition(&self.names.there(&of.topic), of.partition)
                && let KafkaOffset::Offset(passed) = of.offset()
            {
                next = next.max(passed);
            }
            if next > *position {
                batches.push(Batch { from: of.clone(), position: *position, records, next });
                *position = next;
            }
        }
        Ok(batches)
    }

    /// An error among the messages: most pass by themselves, since the client tries again.
    fn note(&mut self, error: &KafkaError) -> Result<()> {
        let text = format!("{}: {error}", self.seat().member);
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.find_out_of_range(),
            Some(code) if is_fencing(code) => Err(Error::Fenced(text)),
            Some(code) if is_unknown(code) => self.find_gone(),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(Error::Fenced(text)),
            _ => {
                tracing::debug!(%error, member = %self.seat().member, "while polling");
                Ok(())
            }
        }
    }

    /// Whether a topic is gone, and not only between two leaders.
    fn find_gone(&self) -> Result<()> {
        let topics: BTreeSet<&Arc<str>> = self.positions.keys().map(|of| &of.topic).collect();
        for topic in topics {
            if Streams::partitions(&self.readers, topic)?.is_none() {
                return Err(checks::unknown_topic(topic));
            }
        }
        Ok(())
    }

    /// Which position is not in the log. It stays sought, so that each poll finds it again.
    fn find_out_of_range(&mut self) -> Result<()> {
        let known: Vec<_> = self.positions.iter().filter_map(|(of, at)| Some((of.clone(), (*at)?))).collect();
        for (of, position) in known {
            let ends = self.readers.ends(&of)?;
            self.sought.insert(of.clone());
            self.fetched.remove(&of);
            if position < ends.start || position > ends.end {
                return Err(Error::OutOfRange { from: of, position, ends });
            }
        }
        Ok(())
    }

    pub(crate) fn seek(&mut self, of: &TopicPartition, position: Offset) -> Result<()> {
        let member = &self.seat().member;
        let refused = Error::Refused(format!("{of} is not assigned to {member}"));
        let owned = self.positions.get_mut(of).ok_or(refused)?;
        *owned = Some(position);
        self.sought.insert(of.clone());
        if let Some(Ok(Poll::Batches(batches))) = &mut self.undelivered {
            batches.retain(|batch| batch.from != *of);
        }
        self.drop_empty();
        Ok(())
    }

    fn drop_empty(&mut self) {
        self.undelivered.take_if(|found| matches!(found, Ok(Poll::Batches(batches)) if batches.is_empty()));
    }

    pub(crate) fn pause(&mut self, of: &[TopicPartition]) -> Result<()> {
        self.paused.extend(of.iter().cloned());
        // What a dropped poll had found of them is fetched again after the pause.
        if let Some(Ok(Poll::Batches(batches))) = &mut self.undelivered {
            for batch in batches.extract_if(.., |batch| of.contains(&batch.from)) {
                self.positions.insert(batch.from.clone(), Some(batch.position));
                self.sought.insert(batch.from);
            }
        }
        self.drop_empty();
        self.steer(of.iter(), true)
    }

    pub(crate) fn resume(&mut self, of: &[TopicPartition]) -> Result<()> {
        self.paused.retain(|paused| !of.contains(paused));
        self.steer(of.iter(), false)
    }

    /// Pauses or resumes what the client fetches.
    fn steer<'a>(&self, of: impl Iterator<Item = &'a TopicPartition>, pause: bool) -> Result<()> {
        let what = |error: KafkaError| asking("pause", &error);
        let of = of.filter(|of| self.fetched.contains(*of)).map(|of| (of, KafkaOffset::Invalid));
        let list = self.names.list(of).map_err(what)?;
        if list.count() == 0 {
            return Ok(());
        }
        if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) }.map_err(what)
    }

    /// Commits positions on their own.
    pub(crate) fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        let what = |error: KafkaError| asking("commit of positions", &error);
        let generation = self.seat().generation();
        let _admission = self.seats.admit(&generation, positions.iter().map(|(of, _)| of))?;
        let list = self.names.list(positions.iter().map(|(of, at)| (of, KafkaOffset::Offset(*at)))).map_err(what)?;
        self.consumer.commit(&list, CommitMode::Sync).map_err(what)
    }
}
