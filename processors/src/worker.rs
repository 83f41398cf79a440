//! The loop: one member of the group, its partitions, and the transactions it commits.
//!
//! ```text
//! join ─▶ assigned ─▶ recover ─▶ seek, renew ─▶ poll ⇄ linger ─▶ step ─▶ commit ─▶ poll …
//!   ▲                                                                      │
//!   └────────────── fenced, in doubt: forget everything ◀──────────────────┘
//! ```
//!
//! A step takes its keys in memory before it commits, so after a commit that may not stand there is
//! one way only: drop what is known, join anew, and read the log. While the log is unavailable the
//! same step is tried again, with growing pauses.

use crate::config::Config;
use crate::ended::Ending;
use crate::error::Error;
use crate::observe;
use crate::partition::Partition;
use crate::recover::{Recovered, recover};
use crate::spill::Scratch;
use crate::state::{Head, pack};
use crate::step::{self, Output, Stage};
use crate::window::{Budget, Window};
use events::Lag;
use events::clock::Clock;
use events::headers;
use events::ledger::{self, Count, Entry};
use events::log::{Append, Batch, Log, Loss, Member, NewRecord, Offset, Poll, Record, Step, StreamInfo, Transactor};
use events::streams::{PROCESSOR_GROUP, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a poll waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(200);
/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// The first pause after an error; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// One partition in work.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) partition: Partition,
    pub(crate) position: Offset,
    renewed_ms: i64,
    lag: Lag,
}

/// One member of the group.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) info: StreamInfo,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) budget: Arc<Budget>,
    pub(crate) scratch: Arc<Scratch>,
    /// Names the member, and its transactional id.
    pub(crate) name: String,
}

/// A membership, from joining to the first thing that ends it.
pub(crate) struct Membership {
    pub(crate) member: Box<dyn Member>,
    transactor: Box<dyn Transactor>,
    pub(crate) raw: Arc<str>,
    pub(crate) owned: BTreeMap<i32, Owned>,
    lag_measured: Option<Instant>,
    /// What is known of the end of this generation.
    pub(crate) ending: Ending,
}

impl Drop for Membership {
    fn drop(&mut self) {
        for (number, _) in std::mem::take(&mut self.owned) {
            observe::gone(&TopicPartition::new(self.raw.clone(), number));
        }
    }
}

/// Why a membership ended.
enum End {
    Shutdown,
    /// What was in memory may not be what is in the log.
    Rejoin(events::log::Error),
}

impl Worker {
    /// Works until shutdown.
    pub(crate) async fn run(self, mut stage: Stage) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.config.backoff_max);
        loop {
            let mut membership = match self.join().await {
                Ok(membership) => membership,
                Err(error) if is_worth_retrying(&error) => {
                    backoff.pause("join", &error, &self.shutdown).await;
                    if self.shutdown.is_cancelled() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let ended = self.work(&mut membership, &mut stage, &mut backoff).await;
            match ended {
                Ok(End::Shutdown) => return Ok(()),
                Ok(End::Rejoin(error)) => {
                    metrics::counter!("killfeed_process_rejoins_total").increment(1);
                    drop(membership);
                    backoff.pause("step", &error, &self.shutdown).await;
                    if self.shutdown.is_cancelled() {
                        return Ok(());
                    }
                }
                Err(Error::Log(error)) => {
                    if let Some(loss) = Loss::of_error(&error) {
                        let now_us = self.clock.now_us();
                        ledger::note_expired(&*self.log, &self.info, &self.name, now_us, &loss).await;
                    }
                    return Err(error.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn join(&self) -> events::log::Result<Membership> {
        let transactor = self.log.transactor(&self.name).await?;
        let raw = self.info.stream.raw();
        let member = self.log.join(PROCESSOR_GROUP, std::slice::from_ref(&raw), &self.name).await?;
        let ending = Ending::default();
        Ok(Membership { member, transactor, raw, owned: BTreeMap::new(), lag_measured: None, ending })
    }

    /// Polls, steps and commits, until something ends the membership.
    async fn work(&self, m: &mut Membership, stage: &mut Stage, backoff: &mut Backoff) -> Result<End, Error> {
        loop {
            let polled = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(End::Shutdown),
                polled = m.member.poll(self.config.step_max, IDLE) => polled,
            };
            let ended = match polled {
                Ok(Poll::Assigned(partitions)) => self.take_over(m, &partitions).await,
                Ok(Poll::Revoked(partitions)) => {
                    partitions.iter().for_each(|of| m.give_up(of.partition));
                    Ok(())
                }
                Ok(Poll::Batches(batches)) => self.gather_and_step(m, stage, batches).await,
                Ok(Poll::Idle) => Ok(()),
                Err(error) => Err(error.into()),
            };
            let ended = match ended {
                Ok(()) => self.look_after(m).await,
                failed => failed,
            };
            match ended {
                Ok(()) => backoff.reset(),
                Err(Error::Log(events::log::Error::Fenced(_))) if self.moves_on(m).await => {}
                Err(Error::Log(error)) if is_worth_retrying(&error) => return Ok(End::Rejoin(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// After a step was fenced: whether that was because the group has moved on, and this member is told
    /// so now. Then it stays: to leave and join anew would move the group on again, and fence the others in
    /// the middle of their take-over, who would do the same.
    async fn moves_on(&self, m: &mut Membership) -> bool {
        let Ok(Poll::Revoked(_)) = m.member.poll(self.config.step_max, Duration::ZERO).await else { return false };
        m.owned.clear();
        match self.log.transactor(&self.name).await {
            Ok(transactor) => {
                m.transactor = transactor;
                true
            }
            Err(_) => false,
        }
    }

    /// Rebuilds what the log knows of each partition, renews its state record, and goes on from there.
    async fn take_over(&self, m: &mut Membership, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.look_for_end(m).await?;
        self.inherit(m, partitions).await?;
        for of in partitions {
            if self.is_past_end(m, of).await? {
                continue;
            }
            let started = Instant::now();
            let window = || Window::new(&of.to_string(), self.budget.clone(), self.scratch.clone());
            let recovering = recover(&*self.log, &self.info, of.partition, &*self.clock, window);
            let Recovered { partition, position } = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                recovered = recovering => recovered?,
            };
            let (fingerprints, took) = (partition.window().len(), started.elapsed());
            tracing::debug!(%of, position, fingerprints, ?took, "partition taken over");
            metrics::histogram!("killfeed_process_take_over_seconds").record(took);
            m.member.seek(of, position)?;
            m.owned.insert(of.partition, Owned { partition, position, renewed_ms: i64::MIN, lag: Lag::default() });
        }
        self.renew(m).await
    }

    /// Does what is due now and then.
    async fn look_after(&self, m: &mut Membership) -> Result<(), Error> {
        if m.lag_measured.is_none_or(|at| at.elapsed() >= LAG_INTERVAL) {
            m.lag_measured = Some(Instant::now());
            let now_ms = self.clock.now_ms();
            for (number, owned) in &mut m.owned {
                let of = TopicPartition::new(self.info.stream.raw(), *number);
                if let Ok(ends) = self.log.ends(&of).await {
                    let unread = (ends.last_stable - owned.position).max(0);
                    owned.lag.read(owned.partition.time_ms());
                    observe::partition(&of, &owned.partition, (unread, owned.lag.seconds(unread, now_ms)));
                }
            }
            observe::memory(&self.budget);
            if m.ending.is_near() {
                self.look_for_end(m).await?;
            }
        }
        self.renew(m).await
    }

    /// Writes a state record without claims for each partition whose newest one is old: so that
    /// there always is one, however quiet the partition.
    async fn renew(&self, m: &mut Membership) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let quarter_ms = i64::try_from(self.config.state_retention.get().as_millis() / 4).unwrap_or(i64::MAX);
        let mut step = self.empty_step(m);
        for (number, owned) in &mut m.owned {
            if now_ms.saturating_sub(owned.renewed_ms) < quarter_ms {
                continue;
            }
            let head = Head {
                incarnation: &self.info.incarnation,
                from: owned.position,
                to: owned.position,
                time_ms: owned.partition.time_ms(),
                horizon_ms: owned.partition.horizon_ms(),
            };
            step.appends.push(append(&self.info.stream.state(), *number, state_records(pack(head, &[]))));
            step.positions.push((TopicPartition::new(self.info.stream.raw(), *number), owned.position));
        }
        if step.appends.is_empty() {
            return Ok(());
        }
        let renewed: Vec<i32> = step.positions.iter().map(|(of, _)| of.partition).collect();
        self.commit(m, step).await?;
        for number in renewed {
            m.owned.entry(number).and_modify(|owned| owned.renewed_ms = now_ms);
        }
        Ok(())
    }

    /// Waits a little for more, then makes one step of all there is.
    async fn gather_and_step(&self, m: &mut Membership, stage: &mut Stage, first: Vec<Batch>) -> Result<(), Error> {
        let mut batches: BTreeMap<i32, Batch> = BTreeMap::new();
        let deadline = Instant::now() + self.config.linger;
        let mut polled = first;
        loop {
            for batch in polled {
                join_up(&mut batches, batch);
            }
            let records: usize = batches.values().map(|batch| batch.records.len()).sum();
            let left = deadline.saturating_duration_since(Instant::now());
            if records >= self.config.linger_records || left.is_zero() || self.shutdown.is_cancelled() {
                break;
            }
            polled = match m.member.poll(self.config.step_max, left).await? {
                Poll::Batches(more) => more,
                Poll::Idle => Vec::new(),
                Poll::Revoked(partitions) => {
                    for of in partitions {
                        m.give_up(of.partition);
                        batches.remove(&of.partition);
                    }
                    Vec::new()
                }
                Poll::Assigned(partitions) => {
                    self.take_over(m, &partitions).await?;
                    Vec::new()
                }
            };
        }
        self.send_late_on(m, &mut batches).await?;
        batches.retain(|number, _| m.owned.contains_key(number));
        self.cut_at_end(m, &mut batches).await?;
        self.step(m, stage, batches).await?;
        self.pass_end(m)
    }

    /// One step, and a span of it that is linked to its events' traces.
    async fn step(&self, m: &mut Membership, stage: &mut Stage, batches: BTreeMap<i32, Batch>) -> Result<(), Error> {
        let topic = self.info.stream.raw();
        let span = traces::span!("process step", "consumer", messaging.destination.name = %topic);
        let records = batches.values().flat_map(|batch| &batch.records);
        traces::link(&span, records.filter_map(|record| record.headers.get(headers::TRACEPARENT)));
        let done = self.try_step(m, stage, batches).await;
        if let Err(error) = &done {
            traces::fail(&span, error);
        }
        done
    }

    /// Compute, commit, move on.
    async fn try_step(
        &self,
        m: &mut Membership,
        stage: &mut Stage,
        batches: BTreeMap<i32, Batch>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut step = self.empty_step(m);
        let mut moved = Vec::with_capacity(batches.len());
        let mut counted = Vec::with_capacity(batches.len());
        let mut read_bytes = 0;
        for (number, batch) in batches {
            let Some(owned) = m.owned.get_mut(&number) else { continue };
            if batch.position != owned.position {
                return Err(Error::Log(events::log::Error::Fenced(format!(
                    "batch of {} begins at {}, the position is {}",
                    batch.from, batch.position, owned.position
                ))));
            }
            read_bytes += batch.records.iter().map(Record::len).sum::<usize>();
            let incarnation = &self.info.incarnation;
            let output = computing(|| step::process(batch, incarnation, &mut owned.partition, stage))?;
            moved.push((number, output.to));
            counted.push(output.counts.clone());
            self.put(&mut step, number, output)?;
        }
        observe::computed(started.elapsed());
        let written_bytes = step.appends.iter().flat_map(|append| &append.records).map(NewRecord::len).sum();
        self.commit(m, step).await?;
        observe::committed(&counted, (read_bytes, written_bytes), started.elapsed());
        let now_ms = self.clock.now_ms();
        for (number, to) in moved {
            m.owned.entry(number).and_modify(|owned| (owned.position, owned.renewed_ms) = (to, now_ms));
        }
        Ok(())
    }

    /// Adds what a batch became to the step.
    fn put(&self, step: &mut Step, number: i32, output: Output) -> Result<(), Error> {
        let stream = &self.info.stream;
        let counts = output.counts;
        let count = Count::Process {
            from: output.from,
            to: output.to,
            accepted: counts.accepted,
            clean: counts.clean,
            duplicates: counts.duplicates,
            dead: counts.dead,
            redriven: counts.redriven,
        };
        let entry = self.entry(number, ledger::new_id(), count).to_record()?;
        for (topic, records) in [
            (stream.clean(), output.clean),
            (stream.dead(), output.dead),
            (stream.state(), state_records(output.state)),
            (stream.ledger(), vec![entry]),
        ] {
            if !records.is_empty() {
                step.appends.push(append(&topic, number, records));
            }
        }
        step.positions.push((TopicPartition::new(stream.raw(), number), output.to));
        Ok(())
    }

    /// Commits a step; the same again while the log is unavailable or full.
    pub(crate) async fn commit(&self, m: &mut Membership, step: Step) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.config.backoff_max);
        loop {
            match m.transactor.commit(step.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ (events::log::Error::Unavailable(_) | events::log::Error::Full(_))) => {
                    backoff.pause("commit", &error, &self.shutdown).await;
                    if self.shutdown.is_cancelled() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn empty_step(&self, m: &Membership) -> Step {
        Step { appends: Vec::new(), positions: Vec::new(), generation: m.member.generation() }
    }

    pub(crate) fn entry(&self, partition: i32, id: String, count: Count) -> Entry {
        Entry {
            id,
            time_us: self.clock.now_us(),
            instance: self.name.clone(),
            stream: self.info.stream.name().to_owned(),
            incarnation: self.info.incarnation.to_string(),
            partition,
            count,
        }
    }
}

/// Runs what takes milliseconds, so that others' tasks move to another thread where there is one.
fn computing<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Whether joining anew may help.
fn is_worth_retrying(error: &events::log::Error) -> bool {
    error.is_retryable() || matches!(error, events::log::Error::Fenced(_) | events::log::Error::Ended(_))
}

pub(crate) fn append(topic: &Arc<str>, partition: i32, records: Vec<NewRecord>) -> Append {
    Append { to: TopicPartition::new(topic.clone(), partition), records }
}

pub(crate) fn state_records(records: Vec<bytes::Bytes>) -> Vec<NewRecord> {
    records.into_iter().map(|payload| NewRecord { payload: Some(payload), ..NewRecord::default() }).collect()
}

/// Puts a batch behind the one before it. One that doesn't join replaces it: the reader sought.
fn join_up(batches: &mut BTreeMap<i32, Batch>, batch: Batch) {
    match batches.get_mut(&batch.from.partition) {
        Some(before) if before.next == batch.position => {
            before.records.extend(batch.records);
            before.next = batch.next;
        }
        _ => _ = batches.insert(batch.from.partition, batch),
    }
}

/// Pauses that grow.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(max: Duration) -> Self {
        Self { next: BACKOFF_FIRST.min(max), max }
    }

    fn reset(&mut self) {
        self.next = BACKOFF_FIRST.min(self.max);
    }

    async fn pause(&mut self, what: &str, error: &events::log::Error, shutdown: &CancellationToken) {
        tracing::warn!(what, %error, pause = ?self.next, "processor tries again");
        metrics::counter!("killfeed_process_retries_total", "what" => what.to_owned()).increment(1);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(self.next) => {}
        }
        self.next = (self.next * 2).min(self.max);
    }
}
