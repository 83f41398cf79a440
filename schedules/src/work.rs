//! The work on one tick: run the report, store its output, deliver it. Each step looks at what stands in
//! the store first, so it may be cut off anywhere and gone on with by anybody.

use crate::deliver::{Refused, Stored, Target};
use crate::journal::{State, hex};
use crate::records::{Attempt, Fate, Plan, Run};
use crate::report::Output;
use crate::schedule::Schedule;
use crate::scheduler::Inner;
use crate::tick::Tick;
use crate::{Result, backoff};
use bytes::Bytes;
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
use tokio::time::{Instant, timeout};

/// Tries of a report before its tick counts as failed.
pub const RUNS_MAX: usize = 5;
/// How long an owner may be silent beyond a run: longer than a delivery may take.
const SILENCE: Duration = Duration::from_secs(180);
/// How long a mark without a decision is left alone.
const UNDECIDED: Duration = Duration::from_secs(60);
/// How long one delivery may take, whatever its sender thinks.
const SEND_LIMIT: Duration = Duration::from_secs(120);

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
    /// Tries that the store has not taken note of yet. They are not made again for that.
    unrecorded: BTreeMap<String, Attempt>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { objects: 0, changed: Instant::now(), unrecorded: BTreeMap::new() }
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
    let Some(state) = inner.journal.state(&schedule.name, tick).await? else { return Ok(Next::In(UNDECIDED)) };
    let Fate::Run(plan) = &state.decision.fate else {
        inner.journal.close(&schedule.name, tick).await?;
        return Ok(Next::Closed);
    };
    let changed = {
        let mut memory = memory.lock();
        if memory.objects != state.objects {
            (memory.objects, memory.changed) = (state.objects, Instant::now());
        }
        memory.changed
    };
    let now = inner.clock.now().await?;
    let work = Work { inner, schedule, state: &state, plan, changed, now, began: Instant::now() };
    if state.owner != inner.instance {
        let patience = work.patience();
        if !patience.is_zero() {
            return Ok(Next::In(patience));
        }
        if !inner.journal.claim(&state, &inner.instance, now).await? {
            return Ok(Next::In(SILENCE));
        }
        tracing::info!(schedule = schedule.name, %tick, from = state.owner, "goes on with a tick whose owner is silent");
    }
    let next = work.go_on(memory).await?;
    if next == Next::Closed {
        inner.journal.close(&schedule.name, tick).await?;
    }
    Ok(next)
}

impl Work<'_> {
    /// How long to leave the tick to its owner: until the next try was due, and then some.
    fn patience(&self) -> Duration {
        // A run is noted once it has ended.
        let running = if self.state.runs.is_empty() { self.schedule.time_limit } else { Duration::ZERO };
        let take_over = running + SILENCE;
        let unfinished = |tries: Option<&Attempt>| tries.is_none_or(|last| !last.ok && last.retry_in_s.is_some());
        let sent = self.plan.deliveries.iter().map(|name| self.state.sent.get(name).and_then(|tries| tries.last()));
        let waiting =
            sent.filter(|last| unfinished(*last)).map(|last| last.map_or(Duration::ZERO, |it| self.until(it)));
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

    async fn go_on(&self, memory: &Mutex<Memory>) -> Result<Next> {
        let output = match self.inner.journal.output(&self.plan.output).await? {
            Some(output) => output,
            None => {
                if let Some(last) = self.state.failures.last() {
                    if last.retry_in_s.is_none() {
                        return Ok(Next::Closed);
                    }
                    let pause = self.until(last);
                    if !pause.is_zero() {
                        return Ok(Next::In(pause));
                    }
                }
                match self.run().await? {
                    Ok(output) => output,
                    Err(next) => return Ok(next),
                }
            }
        };
        self.deliver_all(output, memory).await
    }

    /// Runs the report and stores what it gives, unless somebody else has; what stands then.
    async fn run(&self) -> Result<Result<Bytes, Next>> {
        let _running = self.inner.runs.acquire().await;
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
            Ok(output) => Ok(Ok(self.store(output, started, took_ms).await?)),
            Err(error) => Ok(Err(self.note_failure(error, started, took_ms).await?)),
        }
    }

    async fn store(&self, Output { bytes, rows }: Output, started: Timestamp, took_ms: u64) -> Result<Bytes> {
        let (journal, decision) = (&self.inner.journal, &self.state.decision);
        let by = self.inner.instance.clone();
        let sha256 = hex(&Sha256::digest(&bytes));
        journal.note_run(decision, &Run { sha256, bytes: bytes.len() as u64, rows, started, took_ms, by }).await?;
        // Somebody may have given this tick up while the report ran: what is stored is delivered.
        journal.open(&self.schedule.name, decision.tick).await?;
        if journal.store_output(&self.plan.output, bytes.clone()).await? {
            let name = self.schedule.name.clone();
            counter!("killfeed_schedules_ticks_total", "schedule" => name.clone(), "outcome" => "stored").increment(1);
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
            gauge!("killfeed_schedules_stored_timestamp_seconds", "schedule" => name)
                .set(decision.tick.at.as_second() as f64);
            return Ok(bytes);
        }
        // What stands is the output, whoever it is from.
        Ok(journal.output(&self.plan.output).await?.unwrap_or(bytes))
    }

    async fn note_failure(&self, detail: String, at: Timestamp, took_ms: u64) -> Result<Next> {
        let before = self.state.failures.len();
        // Where a run gave something, the put of its output may still be on its way: nobody gives up before it.
        let is_last = before + 1 >= RUNS_MAX && self.state.runs.is_empty();
        let retry_in_s = (!is_last).then(|| backoff::run(before, &self.inner.random).as_secs());
        let by = self.inner.instance.clone();
        tracing::warn!(schedule = self.schedule.name, tick = %self.state.decision.tick, detail, is_last, "report failed");
        let attempt = Attempt { at, took_ms, ok: false, detail, retry_in_s, by };
        self.inner.journal.note_failure(&self.state.decision, before, &attempt).await?;
        if is_last {
            let name = self.schedule.name.clone();
            counter!("killfeed_schedules_ticks_total", "schedule" => name, "outcome" => "failed").increment(1);
        }
        Ok(retry_in_s.map_or(Next::Closed, |pause| Next::In(Duration::from_secs(pause))))
    }

    async fn deliver_all(&self, output: Bytes, memory: &Mutex<Memory>) -> Result<Next> {
        let sha256 = hex(&Sha256::digest(&output));
        let run = self.state.runs.iter().find(|run| run.sha256 == sha256).cloned();
        // A run of this very step is not in the state yet.
        let fresh = match run {
            Some(run) => Some(run),
            None => {
                let state = self.inner.journal.state(&self.schedule.name, self.state.decision.tick).await?;
                state.and_then(|state| state.runs.into_iter().find(|run| run.sha256 == sha256))
            }
        };
        let stored = Stored {
            schedule: &self.schedule.name,
            tick: self.state.decision.tick,
            plan: self.plan,
            run: fresh.as_ref(),
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

    /// Delivers once, if that is due.
    async fn deliver(&self, name: &str, stored: &Stored<'_>, memory: &Mutex<Memory>) -> Result<Next> {
        let none = Vec::new();
        let tries = self.state.sent.get(name).unwrap_or(&none);
        let unrecorded = memory.lock().unrecorded.get(name).cloned();
        let attempt = match (unrecorded, tries.last()) {
            (Some(attempt), _) => attempt,
            (None, Some(last)) if last.ok || last.retry_in_s.is_none() => return Ok(Next::Closed),
            (None, Some(last)) if !self.until(last).is_zero() => return Ok(Next::In(self.until(last))),
            _ => {
                let attempt = self.try_once(name, tries.len(), stored).await;
                memory.lock().unrecorded.insert(name.to_owned(), attempt.clone());
                attempt
            }
        };
        self.inner.journal.note_sent(&self.state.decision, name, tries.len(), &attempt).await?;
        memory.lock().unrecorded.remove(name);
        Ok(attempt.retry_in_s.map_or(Next::Closed, |pause| Next::In(Duration::from_secs(pause))))
    }

    async fn try_once(&self, name: &str, before: usize, stored: &Stored<'_>) -> Attempt {
        let (at, begun) = (self.time(), Instant::now());
        let sent = match timeout(SEND_LIMIT, self.send(name, stored, at)).await {
            Ok(sent) => sent,
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
