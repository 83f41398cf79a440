//! A world drawn from a seed: its time, its faults, its processes, and what happened in it.

use super::outside::{Outside, Received};
use super::store::{Disk, Handle};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use parking_lot::Mutex;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use schedules::{Parts, Schedule, Scheduler, StoreClock};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Lines of the history that a broken law shows.
const SHOWN: usize = 40;

/// Requests in one world: more than any seed needs by far.
const CALLS_MAX: u64 = 4_000_000;

/// What becomes of a request to the store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    None,
    /// It fails, and nothing happened.
    Before,
    /// It fails, and stands.
    After,
    /// It fails, and stands later.
    Late(Duration),
    /// It stands, and there is never an answer.
    Silent,
    /// The process dies, and nothing happened.
    DeathBefore,
    /// The process dies, and it stands.
    DeathAfter,
}

/// How rough the world is. All are shares of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    store_faults: f64,
    deaths: f64,
    report_faults: f64,
    receiver_faults: f64,
}

impl Weather {
    pub(super) const FAIR: Self = Self { store_faults: 0.0, deaths: 0.0, report_faults: 0.0, receiver_faults: 0.0 };
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) deaths: u64,
    pub(super) faults: u64,
    pub(super) calls: u64,
    pub(super) runs: u64,
    pub(super) jumps: u64,
    pub(super) hash: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) received: Mutex<Vec<Received>>,
    pub(super) died: Notify,
    begin: (Timestamp, Instant),
    weather: Mutex<Weather>,
    random: Mutex<ChaCha8Rng>,
    /// How far the store's clock is off.
    offset: Mutex<SignedDuration>,
    store_away_until: Mutex<Option<Instant>>,
    tally: Mutex<Tally>,
    hasher: Mutex<DefaultHasher>,
    history: Mutex<VecDeque<String>>,
}

impl World {
    pub(super) fn new(seed: u64, begin: Timestamp, forgets_conditions: bool) -> Arc<Self> {
        Arc::new(Self {
            disk: Disk { forgets_conditions, ..Disk::default() },
            received: Mutex::default(),
            died: Notify::new(),
            begin: (begin, Instant::now()),
            weather: Mutex::new(Weather::FAIR),
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            offset: Mutex::default(),
            store_away_until: Mutex::default(),
            tally: Mutex::default(),
            hasher: Mutex::default(),
            history: Mutex::default(),
        })
    }

    /// Weather of the seed's choice.
    pub(super) fn roughen(&self) {
        let pick = |from: &[f64]| from[self.below(from.len())];
        let weather = Weather {
            store_faults: pick(&[0.0, 0.003, 0.03]),
            deaths: pick(&[0.0005, 0.002, 0.01]),
            report_faults: pick(&[0.0, 0.1, 0.4]),
            receiver_faults: pick(&[0.0, 0.2, 0.5]),
        };
        *self.weather.lock() = weather;
        self.note(format!("{weather:?}"));
    }

    pub(super) fn calm(&self) {
        *self.weather.lock() = Weather::FAIR;
        *self.store_away_until.lock() = None;
        self.note("all is well from here on".into());
    }

    pub(super) fn chance(&self) -> f64 {
        self.random.lock().random()
    }

    pub(super) fn below(&self, end: usize) -> usize {
        self.random.lock().random_range(0..end)
    }

    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        self.random.lock().random_range(from..=to)
    }

    pub(super) fn report_faults(&self) -> f64 {
        self.weather.lock().report_faults
    }

    pub(super) fn receiver_faults(&self) -> f64 {
        self.weather.lock().receiver_faults
    }

    pub(super) fn next_run(&self) -> u64 {
        let mut tally = self.tally.lock();
        tally.runs += 1;
        tally.runs
    }

    /// What the store takes for the time.
    pub(super) fn store_time(&self) -> Timestamp {
        self.begin.0 + self.begin.1.elapsed() + *self.offset.lock()
    }

    /// Sets the store's clock: a minute, an hour, some days, forth or back.
    pub(super) fn jump(&self) {
        let most = [60, 3_600, 86_400, 20 * 86_400][self.below(4)];
        let by = self.between(1, most) as i64;
        let by = SignedDuration::from_secs(if self.chance() < 0.5 { -by } else { by });
        *self.offset.lock() += by;
        self.tally.lock().jumps += 1;
        self.note(format!("the store's clock jumps by {by:?}"));
    }

    pub(super) fn set_clock_right(&self) {
        *self.offset.lock() = SignedDuration::ZERO;
    }

    /// The store is away for a while.
    pub(super) fn lose_store(&self, time: Duration) {
        *self.store_away_until.lock() = Some(Instant::now() + time);
        self.note(format!("the store is away for {time:?}"));
    }

    pub(super) fn is_store_away(&self) -> bool {
        self.store_away_until.lock().is_some_and(|until| until > Instant::now())
    }

    /// What becomes of a request, and how long it takes.
    pub(super) fn draw(&self, what: &str) -> (Fault, Duration) {
        let weather = *self.weather.lock();
        let luck = self.chance();
        let fault = if luck < weather.deaths {
            if self.chance() < 0.5 { Fault::DeathBefore } else { Fault::DeathAfter }
        } else if luck < weather.deaths + weather.store_faults {
            match self.below(5) {
                0 | 1 => Fault::Before,
                2 => Fault::After,
                3 => Fault::Late(Duration::from_secs(self.between(1, 3_600))),
                _ => Fault::Silent,
            }
        } else {
            Fault::None
        };
        let delay =
            if self.chance() < weather.store_faults { self.between(1_000, 90_000) } else { self.between(1, 60) };
        {
            let mut tally = self.tally.lock();
            tally.calls += 1;
            assert!(tally.calls < CALLS_MAX, "somebody asks the store without end\n{}", self.history());
            match fault {
                Fault::None => {}
                Fault::DeathBefore | Fault::DeathAfter => tally.deaths += 1,
                _ => tally.faults += 1,
            }
        }
        self.note(format!("{what}: {fault:?}"));
        (fault, Duration::from_millis(delay))
    }

    pub(super) fn note(&self, line: String) {
        let line = format!("{} {line}", self.begin.0 + self.begin.1.elapsed());
        line.hash(&mut *self.hasher.lock());
        let mut history = self.history.lock();
        if history.len() == SHOWN {
            history.pop_front();
        }
        history.push_back(line);
    }

    pub(super) fn history(&self) -> String {
        self.history.lock().iter().cloned().collect::<Vec<_>>().join("\n")
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { hash: self.hasher.lock().finish(), ..*self.tally.lock() }
    }
}

/// A replica that lives until it dies, or is dropped.
pub(super) struct Process {
    handle: Handle,
    scheduler: Scheduler,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Process {
    pub(super) fn start(world: &Arc<World>, schedules: &[Schedule]) -> Self {
        let handle = Handle { world: world.clone(), is_alive: Arc::new(AtomicBool::new(true)) };
        let store = Arc::new(handle.clone());
        let outside = Arc::new(Outside(world.clone()));
        let parts = Parts {
            store: store.clone(),
            root: root(),
            clock: Arc::new(StoreClock::new(store, root().join("_clock"))),
            runner: outside.clone(),
            webhooks: outside.clone(),
            mailer: outside,
            look_every: Duration::from_secs(1_800),
            random: Box::new(ChaCha8Rng::seed_from_u64(world.random.lock().next_u64())),
        };
        let scheduler = Scheduler::new(schedules.to_vec(), parts);
        let running = scheduler.clone();
        let task = tokio::spawn(async move { running.run(tokio_util::sync::CancellationToken::new()).await });
        world.note("a process starts".into());
        Self { handle, scheduler, tasks: vec![task] }
    }

    /// Somebody asks it to run this now, and may not hear what came of that.
    pub(super) fn ask(&mut self, schedule: &str) {
        self.handle.world.note(format!("somebody asks for {schedule}"));
        let (scheduler, schedule) = (self.scheduler.clone(), schedule.to_owned());
        self.tasks.push(tokio::spawn(async move { drop(scheduler.run_now(&schedule).await) }));
    }

    pub(super) fn is_alive(&self) -> bool {
        self.handle.is_alive.load(Ordering::SeqCst)
    }
}

impl Drop for Process {
    /// Ends it at once; what is on its way may still arrive.
    fn drop(&mut self) {
        self.handle.is_alive.store(false, Ordering::SeqCst);
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

pub(super) fn root() -> Path {
    Path::from("lake/_reports")
}
