//! A plan from its first request to its report.

use crate::Invalid;
use crate::crowd::{self, Shared};
use crate::lane::LaneOptions;
use crate::measured::Greeting;
use crate::plan::{Mode, Plan, Target};
use crate::rate::{self, Fleet, Times};
use crate::report::{Report, Stage, Wanted};
use crate::tally::Tally;
use crate::truth::Truth;
use crate::world::{World, WorldOptions};
use killfeed_client::{Clock, Http, StartError, SystemClock, Transport};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The server must say who it is in this time.
const GREETING: Duration = Duration::from_secs(6);
/// How often `progress` is called.
const PROGRESS: Duration = Duration::from_millis(200);

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is out of its limits.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An SDK client can't be started.
    #[error(transparent)]
    Client(#[from] StartError),
    /// The server can't be reached, or doesn't know the key.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What it said, or what broke.
        reason: String,
    },
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Of the plan, counted from 1.
    pub stage: usize,
    /// Requests per second that are wanted; `None` with players.
    pub rate: Option<u32>,
    /// Since the stage began.
    pub elapsed: Duration,
    /// Players online; `None` with a rate.
    pub online: Option<usize>,
    /// Requests of the stage that ended.
    pub requests: u64,
    /// Events of the stage that were answered 202.
    pub acknowledged: u64,
    /// Requests of the stage that did not go well.
    pub errors: u64,
}

/// Runs a plan to its end. When `stop` becomes true, the stage under way ends, and what was measured is reported all the same.
///
/// # Errors
/// See [`Failure`]: nothing was measured then.
pub fn run(
    plan: &Plan,
    target: &Target,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, Truth), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let way = || Box::new(Http::new(&target.url, target.key.clone(), plan.timeout)) as Box<dyn Transport>;
    run_with(plan, target, &clock, &way, stop, progress)
}

/// The same, over a way of your own.
pub(crate) fn run_with(
    plan: &Plan,
    target: &Target,
    clock: &Arc<dyn Clock>,
    way: &dyn Fn() -> Box<dyn Transport>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, Truth), Failure> {
    plan.check()?;
    let stages = match &plan.mode {
        Mode::Rate(rates) => by_rate(plan, rates, target, clock, way, stop, progress)?,
        Mode::Players { players, ramp, speed } => {
            let world = World::new(WorldOptions {
                players: *players,
                ramp: *ramp,
                speed: *speed,
                seed: plan.seed,
                run: plan.run.clone(),
            });
            vec![by_players(plan, world, *players, target, clock, way, stop, progress)?]
        }
    };
    let mut truth = Truth::default();
    let mut report = Report::default();
    for (wanted, times, tally) in stages {
        let tally = tally.lock();
        truth.add(&tally);
        report.stages.push(Stage::new(wanted, times, &tally));
    }
    Ok((report, truth))
}

type Measured = (Wanted, Times, Arc<Mutex<Tally>>);

fn options(plan: &Plan, target: &Target) -> LaneOptions {
    LaneOptions {
        url: target.url.clone(),
        key: target.key.clone(),
        batch_events: plan.events_per_request,
        // A request is made when it is full.
        batch_time: Duration::from_secs(600),
        timeout: plan.timeout,
    }
}

fn by_rate(
    plan: &Plan,
    rates: &[u32],
    target: &Target,
    clock: &Arc<dyn Clock>,
    way: &dyn Fn() -> Box<dyn Transport>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Measured>, Failure> {
    let mut fleet = Fleet::start(plan, &options(plan, target), clock, way)?;
    greet(target, &**clock, stop, || fleet.greetings())?;
    let mut stages = Vec::with_capacity(rates.len());
    for (at, &rate) in rates.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let tally: Arc<Mutex<Tally>> = Arc::default();
        fleet.tally = tally.clone();
        let mut watcher = Watcher { stage: at + 1, rate: Some(rate), tally: tally.clone(), next: Duration::ZERO };
        let times = rate::stage(&mut fleet, rate, plan.duration, plan.timeout, stop, &mut |elapsed| {
            watcher.tell(elapsed, None, progress);
        });
        stages.push((Wanted::Rate { rate, events: plan.events_per_request }, times, tally));
    }
    // Who is still busy has had its time.
    fleet.close(Duration::ZERO);
    Ok(stages)
}

#[expect(clippy::too_many_arguments, reason = "all that a run has")]
fn by_players(
    plan: &Plan,
    mut world: World,
    players: usize,
    target: &Target,
    clock: &Arc<dyn Clock>,
    way: &dyn Fn() -> Box<dyn Transport>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measured, Failure> {
    let connections = plan.connections.min(players);
    let batch_time = crowd::batch_time(players, connections);
    let options = LaneOptions { batch_events: 500, batch_time, ..options(plan, target) };
    let tally: Arc<Mutex<Tally>> = Arc::default();
    let mut shared = Shared::start(connections, &options, clock, &tally, way)?;
    greet(target, &**clock, stop, || shared.greetings())?;
    let mut watcher = Watcher { stage: 1, rate: None, tally: tally.clone(), next: Duration::ZERO };
    let began = clock.now();
    let mut times = crowd::play(&mut world, &mut shared, plan.duration, stop, &mut |elapsed, online| {
        watcher.tell(elapsed, Some(online), progress);
    });
    shared.close(plan.timeout);
    times.elapsed = clock.now().saturating_sub(began);
    Ok((Wanted::Players(players), times, tally))
}

/// Waits until the server has answered every client, so that no stage begins with connections being made; the first refusal ends it.
fn greet(
    target: &Target,
    clock: &dyn Clock,
    stop: &AtomicBool,
    greetings: impl Fn() -> Vec<Option<Greeting>>,
) -> Result<(), Failure> {
    let unreachable = |reason: String| Err(Failure::Unreachable { url: target.url.clone(), reason });
    let until = clock.now() + GREETING;
    loop {
        let all = greetings();
        let known = all.contains(&Some(Greeting::Welcome));
        for greeting in all.iter().flatten() {
            match greeting {
                Greeting::Status(status @ (401 | 403)) => {
                    return unreachable(format!("it answered {status}: another --key"));
                }
                Greeting::Status(status) if !known => {
                    return unreachable(format!("it answered {status} to /v1/config"));
                }
                Greeting::None(reason) if !known => return unreachable(reason.clone()),
                _ => {}
            }
        }
        if all.iter().all(Option::is_some) || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if clock.now() >= until {
            return if known { Ok(()) } else { unreachable("no answer".to_owned()) };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tells how far a stage is, now and then.
struct Watcher {
    stage: usize,
    rate: Option<u32>,
    tally: Arc<Mutex<Tally>>,
    next: Duration,
}

impl Watcher {
    fn tell(&mut self, elapsed: Duration, online: Option<usize>, progress: &mut dyn FnMut(Progress)) {
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + PROGRESS;
        let tally = self.tally.lock();
        let (requests, acknowledged, errors) = (tally.requests, tally.taken(), tally.errors.values().sum());
        drop(tally);
        progress(Progress { stage: self.stage, rate: self.rate, elapsed, online, requests, acknowledged, errors });
    }
}
