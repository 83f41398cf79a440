//! The work on one tick: run the report, store its output, deliver it. Each step looks at what stands in
//! the store first, so it may be cut off anywhere and gone on with by anybody.

use crate::deliver::{Refused, Stored, Target};
use crate::journal::{State, hex};
use crate::records::{Attempt, End, Fate, Plan, Run};
use crate::report::Output;
use crate::schedule::Schedule;
use crate::scheduler::Inner;
use crate::tick::Tick;
use crate::{Result, backoff};
use futures::FutureExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout};

/// Tries of a report before its tick counts as failed.
pub const RUNS_MAX: usize = 5;
/// How long an owner may be silent beyond a run: longer than a delivery may take.
const SILENCE: Duration = Duration::from_secs(180);
/// How long a mark without a decision is left alone.
const UNDECIDED: Duration = Duration::from_secs(60);
/// After this long nobody decides any more: who put the mark died, and its timetable is gone.
const ABANDONED: Duration = Duration::from_secs(86_400);
/// How long one delivery may take, whatever its sender thinks.
const SEND_LIMIT: Duration = Duration::from_secs(120);
/// KiB of outputs that are held at once to be delivered.
pub(crate) const HELD_KIB: u32 = 256 << 10;

/// What comes after a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the tick is finished.
    Closed,
    /// More, after this time.
    In(Duration),
}

/// What a process remembers of a tick between two looks.
#[derive(Debug)]
pub(crate) struct Memory {
    objects: usize,
    changed: Instant,
    /// It may still have to be run, and by this process.
    pub(crate) is_to_run: bool,
    /// Tries that the store has not taken note of yet. They are not made again for that.
    unrecorded: BTreeMap<String, Attempt>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { objects: 0, changed: Instant::now(), is_to_run: true, unrecorded: BTreeMap::new() }
    }
}

/// A tick in work.
struct Work<'a> {
    inner: &'a Inner,
    schedule: &'a Schedule,
    state: &'a State,
    plan: &'a Plan,
    changed: Instant,
    now: Timestamp,
    began: Instant,
}

/// Goes on with a tick as far as it goes now.
pub(crate) async fn work(inner: &Inner, schedule: &Schedule, tick: Tick, memory: &Arc<Mutex<Memory>>) -> Result<Next> {
    loop {
        if let Some(next) = step(inner, schedule, tick, memory).await? {
            if next == Next::Closed {
                inner.journal.close(&schedule.name, tick).await?;
            }
            return Ok(next);
        }
    }
}

/// One step; what comes next, unless that is another step at once.
async fn step(inner: &Inner, schedule: &Schedule, tick: Tick, memory: &Mutex<Memory>) -> Result<Option<Next>> {
    let Some(state) = inner.journal.state(&schedule.name, tick).await? else {
        let mut memory = memory.lock();
        memory.is_to_run = false;
        let is_abandoned = memory.changed.elapsed() >= ABANDONED;
        return Ok(Some(if is_abandoned { Next::Closed } else { Next::In(UNDECIDED) }));
    };
    let Fate::Run(plan) = &state.decision.fate else { return Ok(Some(Next::Closed)) };
    if state.end == Some(End::Failed) {
        return Ok(Some(Next::Closed));
    }
    let is_own = state.owner == inner.instance;
    let changed = {
        let mut memory = memory.lock();
        if memory.objects != state.objects {
            (memory.objects, memory.changed) = (state.objects, Instant::now());
        }
        memory.is_to_run = is_own && state.runs.is_empty();
        memory.changed
    };
    let now = inner.clock.now().await?;
    let work = Work { inner, schedule, state: &state, plan, changed, now, began: Instant::now() };
    if !is_own {
        let patience = work.patience();
        if !patience.is_zero() {
            return Ok(Some(Next::In(patience)));
        }
        if !inner.journal.claim(&state, &inner.instance, now).await? {
            return Ok(Some(Next::In(SILENCE)));
        }
        tracing::info!(schedule = schedule.name, %tick, from = state.owner, "goes on with a tick whose owner is silent");
    }
    work.go_on(memory).await
}

impl Work<'_> {
    /// How long to leave the tick to its owner: until the next try was due, and then some.
    fn patience(&self) -> Duration {
        // A run is noted once it has ended.
        let running = if self.state.runs.is_empty() { self.schedule.time_limit } else { Duration::ZERO };
        let take_over = running + SILENCE;
        let waiting = self.plan.deliveries.iter().filter_map(|name| self.wait(name));
        let failed = self.state.failures.last().map(|last| self.until(last));
        let silent = self.changed.elapsed();
        let pause = failed.into_iter().chain(waiting).min().unwrap_or_default();
        if pause.is_zero() { take_over.saturating_sub(silent) } else { pause + SILENCE }
    }

    /// How long until a try may be repeated: by the shared clock, or as long as it was seen here; a clock
    /// that was set back does not hold anything up.
    fn until(&self, last: &Attempt) -> Duration {
        let pause = Duration::from_secs(last.retry_in_s.unwrap_or_default());
        let passed = Duration::try_from(self.now.duration_since(last.at)).unwrap_or_default();
        pause.saturating_sub(passed.max(self.changed.elapsed()))
    }

    fn time(&self) -> Timestamp {
        self.now.checked_add(self.began.elapsed()).unwrap_or(self.now)
    }

    /// What comes next; `None` if a run has just stored its output.
    async fn go_on(&self, memory: &Mutex<Memory>) -> Result<Option<Next>> {
        if let Some(bytes) = self.inner.journal.output_bytes(&self.plan.output).await? {
            return self.deliver_all(bytes, memory).await.map(Some);
        }
        if !self.state.sent.is_empty() {
            // It was there. Whoever deleted it meant it.
            return Ok(Some(Next::Closed));
        }
        let pause = self.state.failures.last().map(|last| self.until(last)).unwrap_or_default();
        if pause.is_zero() { self.run().await } else { Ok(Some(Next::In(pause))) }
    }

    /// Runs the report and stores what it gives, unless somebody else has.
    async fn run(&self) -> Result<Option<Next>> {
        let Some(_running) = self.turn().await? else { return Ok(None) };
        let (started, begun) = (self.time(), Instant::now());
        let run = AssertUnwindSafe(self.inner.runner.run(&self.plan.request)).catch_unwind();
        let ran = match timeout(self.schedule.time_limit, run).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(_)) => Err("the report panicked".into()),
            Err(_) => Err(format!("the report did not end within {:?}", self.schedule.time_limit)),
        };
        histogram!("killfeed_schedules_run_seconds", "schedule" => self.schedule.name.clone())
            .record(begun.elapsed().as_secs_f64());
        let took_ms = millis(begun.elapsed());
        match ran {
            Ok(output) => self.store(output, started, took_ms).await,
            Err(error) => self.note_failure(error, started, took_ms).await.map(Some),
        }
    }

    /// A place among the runs; `None` if there was none at first, and somebody went on with the tick meanwhile.
    async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>> {
        if let Ok(place) = self.inner.runs.try_acquire() {
            return Ok(Some(place));
        }
        let place = self.inner.runs.acquire().await.ok();
        let state = self.inner.journal.state(&self.schedule.name, self.state.decision.tick).await?;
        let is_ours = state.is_some_and(|state| {
            let is_idle = state.owner == self.inner.instance && state.runs.is_empty();
            is_idle || state.objects == self.state.objects
        });
        Ok(place.filter(|_| is_ours))
    }

    async fn store(&self, Output { bytes, rows }: Output, started: Timestamp, took_ms: u64) -> Result<Option<Next>> {
        let (journal, decision) = (&self.inner.journal, &self.state.decision);
        if journal.end(decision, End::Stored).await? == End::Failed {
            return Ok(Some(Next::Closed));
        }
        let by = self.inner.instance.clone();
        let sha256 = hex(&Sha256::digest(&bytes));
        journal.note_run(decision, &Run { sha256, bytes: bytes.len() as u64, rows, started, took_ms, by }).await?;
        if journal.store_output(&self.plan.output, bytes).await? {
            let name = self.schedule.name.clone();
            counter!("killfeed_schedules_ticks_total", "schedule" => name.clone(), "outcome" => "stored").increment(1);
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
            gauge!("killfeed_schedules_stored_timestamp_seconds", "schedule" => name)
                .set(decision.tick.at.as_second() as f64);
        }
        Ok(None)
    }

    async fn note_failure(&self, detail: String, at: Timestamp, took_ms: u64) -> Result<Next> {
        let before = self.state.failures.len();
        let decision = &self.state.decision;
        // Where another run gave something, its output is on its way: nobody gives up before that.
        let is_last = before + 1 >= RUNS_MAX && self.inner.journal.end(decision, End::Failed).await? == End::Failed;
        let retry_in_s = (!is_last).then(|| backoff::run(before, &self.inner.random).as_secs());
        let by = self.inner.instance.clone();
        tracing::warn!(schedule = self.schedule.name, tick = %decision.tick, detail, is_last, "report failed");
        let attempt = Attempt { at, took_ms, ok: false, detail, retry_in_s, by };
        self.inner.journal.note_failure(decision, before, &attempt).await?;
        if is_last {
            let name = self.schedule.name.clone();
            counter!("killfeed_schedules_ticks_total", "schedule" => name, "outcome" => "failed").increment(1);
        }
        Ok(retry_in_s.map_or(Next::Closed, |pause| Next::In(Duration::from_secs(pause))))
    }

    /// Makes the deliveries that are due; holds the output for no longer than that.
    async fn deliver_all(&self, bytes: u64, memory: &Mutex<Memory>) -> Result<Next> {
        let waits = self.plan.deliveries.iter().filter_map(|name| self.wait(name));
        let Some(wait) = waits.min() else { return Ok(Next::Closed) };
        let has_unrecorded = !memory.lock().unrecorded.is_empty();
        if !wait.is_zero() && !has_unrecorded {
            return Ok(Next::In(wait));
        }
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).min(HELD_KIB);
        let _held = self.inner.held.acquire_many(kib).await;
        let Some(output) = self.inner.journal.output(&self.plan.output).await? else { return Ok(Next::In(UNDECIDED)) };
        let run = self.run_that_gave(&output).await?;
        let stored = Stored {
            schedule: &self.schedule.name,
            tick: self.state.decision.tick,
            plan: self.plan,
            run: run.as_ref(),
            path: self.inner.journal.output_path(&self.plan.output).to_string(),
            output,
        };
        // One that hangs holds up no other.
        let deliveries = self.plan.deliveries.iter().map(|name| self.deliver(name, &stored, memory));
        let mut pause: Option<Duration> = None;
        for end in join_all(deliveries).await {
            if let Next::In(wait) = end? {
                pause = Some(pause.map_or(wait, |pause| pause.min(wait)));
            }
        }
        Ok(pause.map_or(Next::Closed, Next::In))
    }

    /// The run that an output is from. One that was stored since the state was read isn't in there.
    async fn run_that_gave(&self, output: &[u8]) -> Result<Option<Run>> {
        let sha256 = hex(&Sha256::digest(output));
        let of = |state: &State| state.runs.iter().find(|run| run.sha256 == sha256).cloned();
        if let Some(run) = of(self.state) {
            return Ok(Some(run));
        }
        let state = self.inner.journal.state(&self.schedule.name, self.state.decision.tick).await?;
        Ok(state.as_ref().and_then(of))
    }

    /// How long until a delivery is due; `None` if it is over: taken, or given up by whomever.
    fn wait(&self, name: &str) -> Option<Duration> {
        let Some(tries) = self.state.sent.get(name) else { return Some(Duration::ZERO) };
        let is_over = tries.iter().any(Attempt::is_over);
        (!is_over).then(|| tries.last().map(|last| self.until(last)).unwrap_or_default())
    }

    /// Delivers once, if that is due.
    async fn deliver(&self, name: &str, stored: &Stored<'_>, memory: &Mutex<Memory>) -> Result<Next> {
        let before = self.state.sent.get(name).map_or(0, Vec::len);
        let unrecorded = memory.lock().unrecorded.get(name).cloned();
        let attempt = match (unrecorded, self.wait(name)) {
            (Some(attempt), _) => attempt,
            (None, None) => return Ok(Next::Closed),
            (None, Some(wait)) if !wait.is_zero() => return Ok(Next::In(wait)),
            _ => {
                let attempt = self.try_once(name, before, stored).await;
                memory.lock().unrecorded.insert(name.to_owned(), attempt.clone());
                attempt
            }
        };
        self.inner.journal.note_sent(&self.state.decision, name, before, &attempt).await?;
        memory.lock().unrecorded.remove(name);
        Ok(attempt.retry_in_s.map_or(Next::Closed, |pause| Next::In(Duration::from_secs(pause))))
    }

    async fn try_once(&self, name: &str, before: usize, stored: &Stored<'_>) -> Attempt {
        let (at, begun) = (self.time(), Instant::now());
        let sending = AssertUnwindSafe(self.send(name, stored, at)).catch_unwind();
        let sent = match timeout(SEND_LIMIT, sending).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err(Refused::for_now("the sender panicked")),
            Err(_) => Err(Refused::for_now(format!("no end within {SEND_LIMIT:?}"))),
        };
        let (ok, detail, retry_in_s) = match sent {
            Ok(detail) => (true, detail, None),
            Err(refused) => {
                let is_last = refused.is_final || before + 1 >= self.schedule.attempts as usize;
                let pause = backoff::delivery(before, refused.retry_after, &self.inner.random);
                (false, refused.detail, (!is_last).then_some(pause.as_secs()))
            }
        };
        let outcome = match (ok, retry_in_s) {
            (true, _) => "delivered",
            (false, Some(_)) => "refused",
            (false, None) => "given_up",
        };
        let (schedule, delivery) = (self.schedule.name.clone(), name.to_owned());
        counter!("killfeed_schedules_deliveries_total", "schedule" => schedule, "delivery" => delivery, "outcome" => outcome)
            .increment(1);
        if !ok {
            tracing::warn!(schedule = self.schedule.name, tick = %stored.tick, delivery = name, detail, outcome, "not delivered");
        }
        Attempt { at, took_ms: millis(begun.elapsed()), ok, detail, retry_in_s, by: self.inner.instance.clone() }
    }

    async fn send(&self, name: &str, stored: &Stored<'_>, now: Timestamp) -> Result<String, Refused> {
        let delivery = self.schedule.deliveries.iter().find(|delivery| delivery.name == name);
        match delivery.map(|delivery| &delivery.target) {
            None => Err(Refused::for_now("no delivery of this name is configured any more")),
            Some(Target::Webhook { url, secret }) => self.inner.webhooks.send(&stored.webhook(url, secret, now)?).await,
            Some(Target::Mail { to }) => self.inner.mailer.send(&stored.mail(to)).await,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
