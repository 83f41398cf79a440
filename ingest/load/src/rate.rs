//! The open model: request k is due at k / rate, whatever became of the ones before it. A slow server
//! can't slow the questions down, and so can't hide: who waits for a connection has been waiting since it was due.

use crate::lane::{Lane, LaneOptions};
use crate::ledger::Due;
use crate::measured::{Books, Greeting};
use crate::plan::Plan;
use crate::tally::Tally;
use crate::world::{World, WorldOptions};
use killfeed_client::{Clock, Event, StartError, Transport};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// After a stage, requests that are due and have no connection wait for one so long; then they are not sent.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Nobody sleeps longer without looking whether to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// Players of a lane: enough for a match.
const PLAYERS: usize = 10;

/// Those who can send.
pub(crate) trait Lanes {
    fn now(&self) -> Duration;
    /// Begins the request that was due then; `false` if nobody is free.
    fn begin(&mut self, due: Duration) -> bool;
    /// Whether anybody is not free.
    fn is_busy(&self) -> bool;
    /// Sleeps till then; or, if a number is given, until so many are free, or all.
    fn wait(&mut self, until: Duration, free: Option<usize>);
}

/// What became of a stage's schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Requests that were due.
    pub(crate) due: u64,
    /// Of these, those for which no connection was free in time.
    pub(crate) not_sent: u64,
    /// From the first due to the last answer, at least the stage's duration.
    pub(crate) elapsed: Duration,
    pub(crate) interrupted: bool,
}

/// When request `k` is due, since the begin of its stage.
pub(crate) fn due_at(k: u64, rate: u32) -> Duration {
    let nanos = u128::from(k) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Requests that are due before `time`.
fn due_before(time: Duration, rate: u32) -> u64 {
    u64::try_from((time.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
}

/// Runs a stage to its last answer. `watch` is told how much was sent, now and then.
pub(crate) fn stage(
    lanes: &mut dyn Lanes,
    rate: u32,
    duration: Duration,
    patience: Duration,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Duration),
) -> Times {
    let start = lanes.now();
    let mut due = due_before(duration, rate);
    let mut sent = 0;
    let last_send = start + duration + GRACE;
    let mut interrupted = false;
    while sent < due {
        let now = lanes.now();
        watch(now.saturating_sub(start));
        if stop.load(Ordering::Relaxed) {
            interrupted = true;
            due = due.min(due_before(now - start, rate)).max(sent);
            break;
        }
        if now >= last_send {
            break;
        }
        while sent < due && start + due_at(sent, rate) <= now && lanes.begin(start + due_at(sent, rate)) {
            sent += 1;
        }
        if sent < due {
            let next = start + due_at(sent, rate);
            // Due already: then it is a lane that is waited for.
            if next > now {
                lanes.wait(next.min(now + LOOK), None);
            } else {
                lanes.wait(now + LOOK, Some(1));
            }
        }
    }
    let last_answer = lanes.now() + patience;
    while lanes.is_busy() && lanes.now() < last_answer {
        watch(lanes.now().saturating_sub(start));
        let look_at = lanes.now() + LOOK;
        lanes.wait(look_at, Some(usize::MAX));
    }
    let took = lanes.now().saturating_sub(start);
    Times { due, not_sent: due - sent, elapsed: if interrupted { took } else { took.max(duration) }, interrupted }
}

/// A lane's players, and the events of its next request.
struct Source {
    world: World,
    ready: Vec<Event>,
}

impl Source {
    fn fill(&mut self, events: usize) {
        while self.ready.len() < events {
            let Some(deed) = self.world.next_deed() else { break };
            self.ready.push(deed.event);
        }
    }
}

/// Which lanes are free; who is used last is used next, so that a low rate keeps to few warm connections.
#[derive(Default)]
struct Free {
    lanes: Mutex<Vec<usize>>,
    changed: Condvar,
}

/// SDK clients: as many requests can be under way as there are.
pub(crate) struct Fleet {
    clock: Arc<dyn Clock>,
    lanes: Vec<(Lane, Arc<Mutex<Source>>)>,
    free: Arc<Free>,
    pub(crate) tally: Arc<Mutex<Tally>>,
}

impl Fleet {
    /// Starts the lanes of a plan; `way` makes the way to the server for each.
    pub(crate) fn start(
        plan: &Plan,
        options: &LaneOptions,
        clock: &Arc<dyn Clock>,
        way: &dyn Fn() -> Box<dyn Transport>,
    ) -> Result<Self, StartError> {
        let free = Arc::new(Free::default());
        let mut lanes = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let world = World::new(WorldOptions {
                players: PLAYERS,
                ramp: Duration::from_secs(10),
                speed: 1,
                seed: plan.seed.wrapping_add((number as u64) << 32),
                run: format!("{}-{number}", plan.run),
            });
            let mut source = Source { world, ready: Vec::with_capacity(plan.events_per_request) };
            source.fill(plan.events_per_request);
            let source = Arc::new(Mutex::new(source));
            let (of_lane, events, freed) = (source.clone(), plan.events_per_request, free.clone());
            // On the client's own thread, after the answer was measured: so making events holds up no schedule.
            let done = move |books: &Books| {
                if !books.ledger.lock().is_settled() {
                    return;
                }
                let mut source = of_lane.lock();
                if source.ready.is_empty() {
                    source.fill(events);
                    freed.lanes.lock().push(number);
                    freed.changed.notify_one();
                }
            };
            let lane = Lane::start(options, clock.clone(), way(), Arc::new(done))?;
            lanes.push((lane, source));
        }
        free.lanes.lock().extend((0..lanes.len()).rev());
        Ok(Self { clock: clock.clone(), lanes, free, tally: Arc::default() })
    }

    /// What the server said to those that asked.
    pub(crate) fn greetings(&self) -> Vec<Option<Greeting>> {
        self.lanes.iter().map(|(lane, _)| lane.greeting()).collect()
    }

    /// Ends all lanes. Those with something under way have `limit` for it, together.
    pub(crate) fn close(self, limit: Duration) {
        close_all(self.lanes.into_iter().map(|(lane, _)| lane).collect(), &*self.clock, limit);
    }
}

/// Ends lanes: they have `limit` together.
pub(crate) fn close_all(lanes: Vec<Lane>, clock: &dyn Clock, limit: Duration) {
    let until = clock.now() + limit;
    lanes.iter().for_each(Lane::push);
    for lane in lanes {
        let rest = if lane.is_settled() { Duration::ZERO } else { until.saturating_sub(clock.now()) };
        lane.close(rest);
    }
}

impl Lanes for Fleet {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn begin(&mut self, due: Duration) -> bool {
        let Some(number) = self.free.lanes.lock().pop() else { return false };
        let (lane, source) = &self.lanes[number];
        lane.begin(self.tally.clone(), Due::Request(due));
        // The lane becomes free when its last event is settled; `ready` is empty from here on.
        let events = std::mem::take(&mut source.lock().ready);
        let mut taken = 0;
        let all = events.len();
        for event in events {
            taken += usize::from(lane.send(event, due));
        }
        if taken == 0 {
            // Nothing goes out, so no answer will free it.
            self.give_back(number, all);
        } else if taken < all {
            lane.push();
        }
        true
    }

    fn is_busy(&self) -> bool {
        self.free.lanes.lock().len() < self.lanes.len()
    }

    fn wait(&mut self, until: Duration, free: Option<usize>) {
        let enough = free.map_or(usize::MAX, |free| free.min(self.lanes.len()));
        let mut lanes = self.free.lanes.lock();
        // Looked at under the lock: a lane that became free a moment ago is not slept over.
        while lanes.len() < enough {
            let now = self.clock.now();
            if now >= until {
                break;
            }
            self.free.changed.wait_for(&mut lanes, until - now);
        }
    }
}

impl Fleet {
    fn give_back(&self, number: usize, events: usize) {
        let mut source = self.lanes[number].1.lock();
        if source.ready.is_empty() {
            source.fill(events);
            self.free.lanes.lock().push(number);
        }
    }
}
