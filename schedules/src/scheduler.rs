//! The loop: decides ticks that are due, and sees to it that every tick that is to be run is finished.
//!
//! Any number of replicas may run it on one store. Who decides a tick first owns it; another goes on with
//! it when its owner has been silent for longer than it should have needed.

use crate::backoff::Random;
use crate::deliver::{Mailer, Webhooks};
use crate::journal::Journal;
use crate::policy::{Missed, Verdict, decide};
use crate::records::{Decision, Fate, Plan};
use crate::report::Runner;
use crate::schedule::Schedule;
use crate::tick::Tick;
use crate::time::SharedClock;
use crate::work::{HELD_KIB, Memory, Next, work};
use crate::{Error, Result};
use futures::FutureExt as _;
use jiff::Timestamp;
use metrics::{counter, gauge};
use object_store::DynObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use rand::RngCore;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The shortest: stores tell the time in whole seconds.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// The pause after the store failed; doubled each time, up to that between two looks.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Ticks of one schedule that wait for their run in this process, past which it decides no more of them: what
/// comes in faster than it is run is left out by policy, and not put off for ever.
const TO_RUN_MAX: usize = 4;
/// Decisions about one schedule in one look; the next goes on.
const DECISIONS_MAX: usize = 200;
/// Reports that run at once.
const RUNS_AT_ONCE: usize = 2;
/// Ticks in work at once.
const TICKS_AT_ONCE: usize = 32;
/// How long ticks in work may go on when the process is told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What a scheduler stands on.
pub struct Parts {
    /// Where decisions, outputs and history lie. Needs a conditional put.
    pub store: Arc<DynObjectStore>,
    /// Below which everything lies.
    pub root: Path,
    /// The clock that all replicas share.
    pub clock: Arc<dyn SharedClock>,
    /// Runs reports.
    pub runner: Arc<dyn Runner>,
    /// Sends webhooks.
    pub webhooks: Arc<dyn Webhooks>,
    /// Sends mail.
    pub mailer: Arc<dyn Mailer>,
    /// The longest pause between two looks for ticks that another replica left behind, or that are due
    /// because a clock was set. A minute is fine: one look costs a put and some listings.
    pub look_every: Duration,
    /// Names this process, and spreads repetitions.
    pub random: Box<dyn RngCore + Send>,
}

/// Runs schedules. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) schedules: BTreeMap<String, Schedule>,
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<dyn SharedClock>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) webhooks: Arc<dyn Webhooks>,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) random: Random,
    pub(crate) instance: String,
    look_every: Duration,
    pub(crate) runs: Semaphore,
    /// KiB of outputs that may still be held to be delivered.
    pub(crate) held: Semaphore,
    /// Up to where each schedule is decided.
    decided: Mutex<HashMap<String, Timestamp>>,
    look_now: Notify,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scheduler({}, {} schedules)", self.0.instance, self.0.schedules.len())
    }
}

/// An open tick, as this process sees it.
struct Slot {
    memory: Arc<Mutex<Memory>>,
    /// When it is worth a look again.
    wake: Instant,
    in_work: bool,
    /// Looks in a row that failed.
    failures: u32,
}

impl Slot {
    fn new() -> Self {
        Self { memory: Arc::new(Mutex::new(Memory::new())), wake: Instant::now(), in_work: false, failures: 0 }
    }
}

type Key = (String, Tick);
type Slots = BTreeMap<Key, Slot>;

impl Scheduler {
    /// A scheduler of these schedules. Their names are unique.
    pub fn new(schedules: impl IntoIterator<Item = Schedule>, mut parts: Parts) -> Self {
        let instance = format!("{:016x}", parts.random.next_u64());
        Self(Arc::new(Inner {
            schedules: schedules.into_iter().map(|schedule| (schedule.name.clone(), schedule)).collect(),
            journal: Journal::new(parts.store, parts.root),
            clock: parts.clock,
            runner: parts.runner,
            webhooks: parts.webhooks,
            mailer: parts.mailer,
            random: Mutex::new(parts.random),
            instance,
            look_every: parts.look_every,
            runs: Semaphore::new(RUNS_AT_ONCE),
            held: Semaphore::new(HELD_KIB as usize),
            decided: Mutex::default(),
            look_now: Notify::new(),
        }))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Decides, runs and delivers until it is told to stop. A store that fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut slots = Slots::new();
        let mut tasks: JoinSet<(Key, Result<Next>)> = JoinSet::new();
        let (mut look, mut failures) = (Instant::now(), 0);
        while !stop.is_cancelled() {
            if look <= Instant::now() {
                let pause = self.look(&mut slots, &mut failures).await;
                look = Instant::now() + pause;
            }
            self.begin(&mut slots, &mut tasks);
            let wake = slots.values().filter(|slot| !slot.in_work).map(|slot| slot.wake).min();
            let wake = if tasks.len() < TICKS_AT_ONCE { wake.map_or(look, |wake| wake.min(look)) } else { look };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(done) = tasks.join_next() => {
                    if let Ok((key, next)) = done {
                        self.end(&mut slots, key, next);
                    }
                }
                () = self.0.look_now.notified() => look = Instant::now(),
                () = sleep_until(wake) => {}
            }
        }
        // What is cut off here is gone on with at the next start, or by another replica.
        let _ = timeout(STOP_LIMIT, async { while tasks.join_next().await.is_some() {} }).await;
    }

    /// Decides what is due and finds what is open; how long until the next look.
    async fn look(&self, slots: &mut Slots, failures: &mut u32) -> Duration {
        let (decided, found) = (self.decide_all(slots).await, self.find_open(slots).await);
        match (decided, found) {
            (Ok(pause), Ok(())) => {
                *failures = 0;
                pause
            }
            (Err(error), _) | (_, Err(error)) => {
                *failures += 1;
                counter!("killfeed_schedules_store_failures_total").increment(1);
                tracing::warn!(%error, "cannot look after schedules; tried again");
                self.after_failure(*failures)
            }
        }
    }

    fn after_failure(&self, failures: u32) -> Duration {
        let doubled = AFTER_FAILURE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.0.look_every.max(AFTER_FAILURE))
    }

    async fn decide_all(&self, slots: &Slots) -> Result<Duration> {
        let (now, asked) = (self.0.clock.now().await?, Instant::now());
        let mut pause = self.0.look_every;
        let mut failed = None;
        for schedule in self.0.schedules.values() {
            // One that can't be decided holds up no other.
            let to_run = |(key, slot): &(&Key, &Slot)| key.0 == schedule.name && slot.memory.lock().is_to_run;
            match self.decide(schedule, now, slots.iter().filter(to_run).count()).await {
                Ok(None) => {}
                Ok(Some(due)) => pause = pause.min(Duration::try_from(due.duration_since(now)).unwrap_or_default()),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(pause.saturating_sub(asked.elapsed()).max(LOOK_PAUSE)),
        }
    }

    async fn find_open(&self, slots: &mut Slots) -> Result<()> {
        let open = self.0.journal.open_ticks().await?;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        gauge!("killfeed_schedules_open").set(open.len() as f64);
        slots.retain(|key, slot| slot.in_work || open.binary_search(key).is_ok());
        for key in open {
            // Ticks of a schedule that is not known here are left to those who know it.
            if self.0.schedules.contains_key(&key.0) {
                slots.entry(key).or_insert_with(Slot::new);
            }
        }
        Ok(())
    }

    /// Decides what is due of a schedule of which so many ticks are to be run yet; when something is due again.
    async fn decide(&self, schedule: &Schedule, now: Timestamp, mut to_run: usize) -> Result<Option<Timestamp>> {
        let known = self.0.decided.lock().get(&schedule.name).copied();
        let mut decided = match known {
            Some(decided) => decided,
            None => self.0.journal.decided(&schedule.name, &schedule.timetable, now).await?,
        };
        self.0.decided.lock().insert(schedule.name.clone(), decided);
        for _ in 0..DECISIONS_MAX {
            let (tick, fate) = match decide(&schedule.timetable, schedule.missed, schedule.grace, decided, now) {
                Verdict::Wait(due) => return Ok(due),
                Verdict::Run(_) if to_run >= TO_RUN_MAX => return Ok(None),
                Verdict::Run(at) => (Tick::scheduled(at), self.fate(schedule, Tick::scheduled(at))),
                Verdict::Skip { from, through, ticks } => {
                    let why = match schedule.missed {
                        Missed::RunOnce => "missed, and a newer one is run",
                        Missed::RunAll => "missed, and more than are caught up on",
                        Missed::Skip => "missed",
                    };
                    (Tick::scheduled(from), Fate::Skip { through, ticks, why: why.into() })
                }
            };
            let standing = self.settle(schedule, tick, fate, now).await?;
            decided = match standing.fate {
                Fate::Run(_) => {
                    to_run += 1;
                    standing.tick.at
                }
                Fate::Skip { through, .. } => through,
            };
            self.0.decided.lock().insert(schedule.name.clone(), decided);
            if let Err(error) = self.0.journal.note_decided(&schedule.name, &schedule.timetable, decided).await {
                tracing::debug!(%error, "could not note what is decided; it will be found");
            }
        }
        Ok(Some(now))
    }

    fn fate(&self, schedule: &Schedule, tick: Tick) -> Fate {
        // The placeholders were tried when the schedule was read.
        let request = schedule.request(tick.at).unwrap_or_else(|_| crate::report::Request {
            report: schedule.report.clone(),
            params: schedule.params.clone(),
            format: schedule.format,
        });
        Fate::Run(Plan {
            request,
            shown: schedule.timetable.shown(tick.at),
            output: format!("{}/{tick}.{}", schedule.name, schedule.format.extension()),
            deliveries: schedule.deliveries.iter().map(|delivery| delivery.name.clone()).collect(),
        })
    }

    /// Makes a decision, unless it is made; what stands.
    async fn settle(&self, schedule: &Schedule, tick: Tick, fate: Fate, now: Timestamp) -> Result<Decision> {
        if matches!(fate, Fate::Run(_)) {
            self.0.journal.open(&schedule.name, tick).await?;
        }
        let (schedule, by) = (schedule.name.clone(), self.0.instance.clone());
        let decision = Decision { schedule: schedule.clone(), tick, fate, by, at: now };
        let (standing, is_ours) = self.0.journal.decide(&decision).await?;
        if let Fate::Skip { ticks, through, why } = &standing.fate
            && is_ours
        {
            tracing::warn!(schedule, from = %tick, %through, ticks, why, "ticks skipped");
            counter!("killfeed_schedules_ticks_total", "schedule" => schedule, "outcome" => "skipped")
                .increment(*ticks);
        }
        Ok(standing)
    }

    /// Runs a schedule now, beside its timetable; the tick that was made for it.
    ///
    /// # Errors
    /// If there is no such schedule, or the store fails.
    pub async fn run_now(&self, name: &str) -> Result<Tick> {
        let schedule = self.0.schedules.get(name).ok_or_else(|| Error::NoSchedule(name.to_owned()))?;
        let now = self.0.clock.now().await?;
        let tick = Tick::manual(now);
        self.settle(schedule, tick, self.fate(schedule, tick), now).await?;
        self.0.look_now.notify_one();
        Ok(tick)
    }

    /// Starts work on ticks that are due for a look.
    fn begin(&self, slots: &mut Slots, tasks: &mut JoinSet<(Key, Result<Next>)>) {
        let now = Instant::now();
        let due = slots.iter_mut().filter(|(_, slot)| !slot.in_work && slot.wake <= now);
        for (key, slot) in due.take(TICKS_AT_ONCE.saturating_sub(tasks.len())) {
            slot.in_work = true;
            let (scheduler, key, memory) = (self.clone(), key.clone(), slot.memory.clone());
            tasks.spawn(async move {
                let inner = scheduler.inner();
                let next = match inner.schedules.get(&key.0) {
                    // A bug of ours in one tick is that of no other, and no end of this one.
                    Some(schedule) => AssertUnwindSafe(work(inner, schedule, key.1, &memory)).catch_unwind().await,
                    None => Ok(Ok(Next::In(inner.look_every))),
                };
                (key, next.unwrap_or_else(|_| Err(Error::Panic)))
            });
        }
    }

    /// Takes note of how a piece of work ended.
    fn end(&self, slots: &mut Slots, key: Key, next: Result<Next>) {
        let failures = slots.get(&key).map_or(0, |slot| slot.failures);
        let (pause, failures) = match next {
            Ok(Next::Closed) => {
                slots.remove(&key);
                return;
            }
            Ok(Next::In(pause)) => (pause, 0),
            Err(error) => {
                counter!("killfeed_schedules_store_failures_total").increment(1);
                tracing::warn!(schedule = key.0, tick = %key.1, %error, "cannot go on with a tick; tried again");
                (self.after_failure(failures + 1), failures + 1)
            }
        };
        if let Some(slot) = slots.get_mut(&key) {
            (slot.in_work, slot.failures) = (false, failures);
            slot.wake = Instant::now() + pause.max(LOOK_PAUSE);
        }
    }
}
