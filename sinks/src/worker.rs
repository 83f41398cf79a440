//! The worker: reads what its group gives it, gathers, and flushes by time, rows, bytes or on
//! request. One flush is at work while the next is gathered; past the limit the partitions are
//! paused, so that memory stays flat while the store is down.

use crate::flush::{Context, Slot, deliver, settle};
use crate::route::{Kind, Part};
use crate::{Config, Error, FlushSignal, recover};
use events::ledger;
use events::log::{Batch, Log, Loss, Member, Offset, Poll, ReadLimit, Record, StreamInfo};
use events::schema::SharedRegistry;
use events::streams::{SINK_GROUP, TopicPartition};
use events::{Clock, Lag, headers};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tables::{Head, Store};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How long a poll waits: the delay at which a request or a finished flush is seen.
const POLL: Duration = Duration::from_millis(50);
/// How often it is said how far the sink is behind.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// A flush that takes longer is told of.
const FLUSH_LONG: Duration = Duration::from_secs(15);
/// The part of the flush interval that is spent gathering: half. The other half is for the flush before,
/// if it is still at work, and for the commit, so that a row is there when the interval has passed.
const GATHER_SHARE: u32 = 2;

/// Delivers the stream until `shutdown`, then flushes what it holds.
///
/// # Errors
/// If an operator is needed: a position out of the log's range, or something that is corrupt. What
/// may pass by itself (store or log down) is tried again for as long as it takes.
pub async fn run(
    config: Config,
    log: Arc<dyn Log>,
    store: Store,
    registry: SharedRegistry,
    clock: Arc<dyn Clock>,
    flush: FlushSignal,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let worker = Worker { config, log, store, registry, clock, flush, heads: Arc::default() };
    let mut tries = 0;
    loop {
        let started = Instant::now();
        let error = match worker.session(&shutdown).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if started.elapsed() > Duration::from_secs(60) {
            tries = 0;
        }
        if error.is_fenced() {
            metrics::counter!("killfeed_sink_fenced_total").increment(1);
            tracing::debug!(%error, "fenced; joining again");
        } else if !error.is_retryable() {
            worker.note_expired(&error).await;
            worker.config.health.set(Some(error.to_string()));
            return Err(error);
        }
        let trouble = error.to_string();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = crate::flush::backoff(&worker.config, &mut tries, &trouble) => {}
        }
    }
}

struct Worker {
    config: Config,
    log: Arc<dyn Log>,
    store: Store,
    registry: SharedRegistry,
    clock: Arc<dyn Clock>,
    flush: FlushSignal,
    heads: Arc<Mutex<HashMap<String, Head>>>,
}

/// What is gathered of one partition.
#[derive(Debug)]
struct Gathered {
    kind: Kind,
    /// Committed.
    settled: Offset,
    /// Committed, or about to be by the flush at work.
    from: Offset,
    next: Offset,
    /// Whether the group lost its position, so that it is to be told even if nothing new comes.
    is_rebuilt: bool,
    records: Vec<Record>,
    bytes: usize,
    /// Append times of the first and the last record of the flush at work, in ms.
    flying: Option<(i64, i64)>,
    lag: Lag,
}

impl Gathered {
    /// Nothing yet, from a position on.
    fn at(kind: Kind, position: recover::Position) -> Self {
        let recover::Position { at, is_rebuilt } = position;
        let (records, lag) = (Vec::new(), Lag::default());
        Self { kind, settled: at, from: at, next: at, is_rebuilt, records, bytes: 0, flying: None, lag }
    }

    /// A flush has brought all before `from` to its tables.
    fn settle(&mut self) {
        self.settled = self.from;
        if let Some((_, last_ms)) = self.flying.take() {
            self.lag.read(last_ms);
        }
    }

    /// Seconds that the oldest of `unread` records has waited for its table.
    #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
    fn waited_s(&mut self, unread: i64, now_ms: i64) -> f64 {
        let held = self.flying.map(|(first_ms, _)| first_ms).or(self.records.first().map(|first| first.time_ms));
        match held {
            Some(first_ms) => now_ms.saturating_sub(first_ms).max(0) as f64 / 1e3,
            None => self.lag.seconds(unread, now_ms),
        }
    }
}

/// One membership, from joining to leaving.
struct Session<'a> {
    worker: &'a Worker,
    info: StreamInfo,
    member: Box<dyn Member>,
    slot: Slot,
    gathered: BTreeMap<TopicPartition, Gathered>,
    since: Option<Instant>,
    flying: Option<JoinHandle<Result<(), Error>>>,
    /// When the flush at work began.
    flown: Instant,
    /// Bytes of the records of the flush at work.
    flying_bytes: usize,
    /// When it was last said how far behind this is.
    measured: Option<Instant>,
    paused: bool,
    asked: u64,
    /// Positions that a request waits for.
    wanted: BTreeMap<TopicPartition, Offset>,
}

impl Worker {
    async fn session(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        let stream = &self.config.stream;
        let info = self.log.stream(stream).await?.ok_or_else(|| Error::NoStream(stream.to_string()))?;
        let topics = [stream.clean(), stream.dead(), stream.ledger()];
        let member = self.log.join(SINK_GROUP, &topics, &self.config.instance).await?;
        let mut session = Session {
            worker: self,
            info,
            member,
            slot: Arc::default(),
            gathered: BTreeMap::new(),
            since: None,
            flying: None,
            flown: Instant::now(),
            flying_bytes: 0,
            measured: None,
            paused: false,
            asked: 0,
            wanted: BTreeMap::new(),
        };
        let ended = session.work(shutdown).await;
        session.gathered.keys().for_each(|of| lags(of, 0.0, 0.0));
        if let Some(flying) = session.flying.take() {
            flying.abort();
            // Aborted on purpose: what it left half done, the next start finishes.
            let _ = flying.await;
        }
        ended
    }

    /// Enters in the ledger what was deleted unread.
    async fn note_expired(&self, error: &Error) {
        let Error::Log(error) = error else { return };
        let Some(loss) = Loss::of_error(error) else { return };
        if let Ok(Some(info)) = self.log.stream(&self.config.stream).await {
            let now_us = self.clock.now_us();
            ledger::note_expired(&*self.log, &info, &self.config.instance, now_us, &loss).await;
        }
    }

    fn kind(&self, topic: &str) -> Kind {
        let stream = &self.config.stream;
        if topic == stream.clean().as_ref() {
            Kind::Clean
        } else if topic == stream.dead().as_ref() {
            Kind::Dead
        } else {
            Kind::Ledger
        }
    }
}

impl Session<'_> {
    async fn work(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        while !shutdown.is_cancelled() {
            match self.member.poll(self.limit(), POLL).await? {
                Poll::Assigned(partitions) => self.assigned(partitions).await?,
                Poll::Revoked(partitions) => self.revoked(&partitions).await?,
                Poll::Batches(batches) => batches.into_iter().for_each(|batch| self.gather(batch)),
                Poll::Idle => {}
            }
            self.land().await?;
            self.hear().await?;
            if self.flying.is_none() && self.is_due() {
                self.start();
            }
            self.press();
            self.measure().await;
        }
        self.drain().await
    }

    fn limit(&self) -> ReadLimit {
        let config = &self.worker.config;
        let room = config.flush_bytes.saturating_sub(self.bytes()).clamp(64 << 10, 8 << 20);
        ReadLimit { records: config.flush_rows.clamp(1, 65_536), bytes: room }
    }

    fn bytes(&self) -> usize {
        self.gathered.values().map(|of| of.bytes).sum()
    }

    fn rows(&self) -> usize {
        self.gathered.values().map(|of| of.records.len()).sum()
    }

    async fn assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Error> {
        self.abandon().await?;
        for of in partitions {
            self.go_on(of).await?;
        }
        if self.paused {
            self.paused = false;
            self.resume();
        }
        Ok(())
    }

    /// Reads a partition from where it was left.
    async fn go_on(&mut self, of: TopicPartition) -> Result<(), Error> {
        let worker = self.worker;
        let kind = worker.kind(&of.topic);
        let position = recover::position(worker.log.as_ref(), &worker.store, &self.info, &of, kind).await?;
        self.member.seek(&of, position.at)?;
        tracing::debug!(%of, from = position.at, "sink reads");
        if position.is_rebuilt {
            self.since.get_or_insert_with(Instant::now);
        }
        self.gathered.insert(of, Gathered::at(kind, position));
        Ok(())
    }

    async fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        for of in partitions {
            self.gathered.remove(of);
            self.wanted.remove(of);
            lags(of, 0.0, 0.0);
        }
        self.abandon().await
    }

    /// Ends the flush at work, since its generation is over. Its records are read again from where
    /// the group's positions stand, which tell whether it had come to its end.
    async fn abandon(&mut self) -> Result<(), Error> {
        let Some(flying) = self.flying.take() else { return Ok(()) };
        flying.abort();
        let _ = flying.await;
        self.begin_again().await
    }

    /// Reads what is assigned again from where the group's positions stand.
    async fn begin_again(&mut self) -> Result<(), Error> {
        self.flying_bytes = 0;
        self.slot = Arc::default();
        self.since = None;
        let kept: Vec<TopicPartition> = self.gathered.keys().cloned().collect();
        for of in kept {
            self.go_on(of).await?;
        }
        Ok(())
    }

    fn gather(&mut self, batch: Batch) {
        let Some(of) = self.gathered.get_mut(&batch.from) else { return };
        if batch.position != of.next {
            return;
        }
        of.next = batch.next;
        observe(&batch);
        of.bytes += batch.records.iter().map(size).sum::<usize>();
        of.records.extend(batch.records);
        if of.next > of.from {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Takes note of a flush that has ended.
    async fn land(&mut self) -> Result<(), Error> {
        let Some(flying) = self.flying.take_if(|flying| flying.is_finished()) else { return Ok(()) };
        match flying.await? {
            // The group has moved on, and the next poll says so. To leave and join anew would move it on
            // again, and fence the others in the middle of their flushes.
            Err(error) if error.is_fenced() => {
                metrics::counter!("killfeed_sink_fenced_total").increment(1);
                tracing::debug!(%error, "fenced; reading again from where the group stands");
                return self.begin_again().await;
            }
            ended => ended?,
        }
        self.flying_bytes = 0;
        self.gathered.values_mut().for_each(Gathered::settle);
        self.measured = None;
        Ok(())
    }

    /// Says how far behind the tables are, also while no flush comes to its end.
    async fn measure(&mut self) {
        if self.measured.is_some_and(|at| at.elapsed() < LAG_INTERVAL) {
            return;
        }
        self.measured = Some(Instant::now());
        self.complain();
        let now_ms = self.worker.clock.now_ms();
        for (of, gathered) in &mut self.gathered {
            if let Ok(ends) = self.worker.log.ends(of).await {
                let unread = (ends.last_stable - gathered.settled).max(0);
                #[expect(clippy::cast_precision_loss, reason = "an upper bound, for a gauge")]
                lags(of, unread as f64, gathered.waited_s(unread, now_ms));
            }
        }
    }

    /// A store that leaves requests unanswered gives no error for long: the time says it before.
    fn complain(&self) {
        let health = &self.worker.config.health;
        if self.flying.is_some() && self.flown.elapsed() > FLUSH_LONG && health.is_well() {
            let trouble =
                format!("a flush is at work for {} s: the store is slow, or doesn't answer", FLUSH_LONG.as_secs());
            tracing::warn!(trouble);
            health.set(Some(trouble));
        }
    }

    /// Takes note of a request: what is readable now is wanted in the tables.
    async fn hear(&mut self) -> Result<(), Error> {
        let asked = self.worker.flush.requests();
        if asked != self.asked {
            for of in self.gathered.keys() {
                self.wanted.insert(of.clone(), self.worker.log.ends(of).await?.last_stable);
            }
            self.asked = asked;
        }
        let gathered = &self.gathered;
        self.wanted.retain(|of, wanted| gathered.get(of).is_some_and(|of| of.from < *wanted));
        Ok(())
    }

    fn is_due(&self) -> bool {
        let config = &self.worker.config;
        self.since.is_some_and(|since| {
            !self.wanted.is_empty()
                || since.elapsed() >= config.flush_interval / GATHER_SHARE
                || self.rows() >= config.flush_rows
                || self.bytes() >= config.flush_bytes
        })
    }

    /// Starts a flush of all that is gathered.
    fn start(&mut self) {
        self.since = None;
        self.flying_bytes = self.bytes();
        let mut parts = Vec::new();
        for (of, gathered) in self.gathered.iter_mut().filter(|(_, of)| of.next > of.from || of.is_rebuilt) {
            let times = gathered.records.first().zip(gathered.records.last());
            gathered.flying = times.map(|(first, last)| (first.time_ms, last.time_ms));
            parts.push(Part {
                kind: gathered.kind,
                topic: of.topic.clone(),
                partition: of.partition,
                app_id: tables::app_id(&self.info.incarnation, &of.topic, of.partition).into(),
                from: gathered.from,
                to: gathered.next,
                records: Arc::new(std::mem::take(&mut gathered.records)),
            });
            gathered.from = gathered.next;
            gathered.is_rebuilt = false;
            gathered.bytes = 0;
        }
        if parts.is_empty() {
            return;
        }
        let worker = self.worker;
        let context = Arc::new(Context {
            config: worker.config.clone(),
            store: worker.store.clone(),
            clock: worker.clock.clone(),
            incarnation: self.info.incarnation.clone(),
            registry: worker.registry.current(),
            parts,
            heads: worker.heads.clone(),
        });
        let (registry, log, slot) = (worker.registry.clone(), worker.log.clone(), self.slot.clone());
        let generation = self.member.generation();
        self.flown = Instant::now();
        self.flying = Some(tokio::spawn(async move {
            let span = traces::span!("sink flush", "consumer", messaging.destination.name = %context.config.stream);
            let records = context.parts.iter().flat_map(|part| part.records.iter());
            traces::link(&span, records.filter_map(|record| record.headers.get(headers::TRACEPARENT)));
            let counts = deliver(context.clone(), &registry).instrument(span).await?;
            settle(&context, &log, &slot, &generation, &counts).await?;
            context.config.health.set(None);
            Ok(())
        }));
    }

    /// Pauses reading while as much waits as a flush may hold, and goes on when it no longer does.
    fn press(&mut self) {
        let config = &self.worker.config;
        let full = self.bytes() >= config.flush_bytes || self.rows() >= config.flush_rows;
        if full && !self.paused {
            let all: Vec<TopicPartition> = self.gathered.keys().cloned().collect();
            self.member.pause(&all);
            self.paused = true;
        } else if !full && self.paused {
            self.paused = false;
            self.resume();
        }
        config.health.hold(self.bytes() + self.flying_bytes);
        metrics::gauge!("killfeed_sink_paused", "stream" => config.health.stream()).set(if self.paused {
            1.0
        } else {
            0.0
        });
    }

    fn resume(&mut self) {
        let all: Vec<TopicPartition> = self.gathered.keys().cloned().collect();
        self.member.resume(&all);
    }

    /// Brings what was read to the tables, as far as the time for it goes.
    async fn drain(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.worker.config.drain;
        for _ in 0..2 {
            if let Some(mut flying) = self.flying.take() {
                match tokio::time::timeout_at(deadline, &mut flying).await {
                    Ok(ended) => ended??,
                    Err(_) => {
                        flying.abort();
                        tracing::warn!("stopping before the last flush is through; the next start finishes it");
                        return Ok(());
                    }
                }
            }
            self.start();
        }
        Ok(())
    }
}

/// Says how far the tables are behind a partition.
fn lags(of: &TopicPartition, records: f64, seconds: f64) {
    let labels = [("topic", of.topic.to_string()), ("partition", of.partition.to_string())];
    metrics::gauge!("killfeed_sink_lag_records", &labels).set(records);
    metrics::gauge!("killfeed_sink_lag_seconds", &labels).set(seconds);
}

/// Counts what was read.
fn observe(batch: &Batch) {
    let bytes: usize = batch.records.iter().map(Record::len).sum();
    let topic = [("topic", batch.from.topic.to_string())];
    metrics::counter!("killfeed_sink_read_records_total", &topic).increment(batch.records.len() as u64);
    metrics::counter!("killfeed_sink_read_bytes_total", &topic).increment(bytes as u64);
}

/// What a record takes in memory, about.
fn size(record: &Record) -> usize {
    record.key.len() + record.headers.len() + record.payload.as_ref().map_or(0, bytes::Bytes::len) + size_of::<Record>()
}
