//! Players at their own pace: what they do is due when they do it, and goes to the lane of its ordering key.

use crate::lane::{Lane, LaneOptions};
use crate::ledger::Due;
use crate::measured::{Books, Greeting};
use crate::rate::{LOOK, Times, close_all};
use crate::tally::Tally;
use crate::world::{Deed, World};
use killfeed_client::{Clock, StartError, Transport};
use parking_lot::Mutex;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A game's own client sends about every so often.
const CLIENT_BATCH: Duration = Duration::from_secs(8);

/// Where deeds go.
pub(crate) trait Outlet {
    fn now(&self) -> Duration;
    /// A deed that was due then.
    fn send(&mut self, deed: Deed, due: Duration);
    fn wait(&mut self, until: Duration);
}

/// Plays for `duration`; then everybody leaves.
pub(crate) fn play(
    world: &mut World,
    outlet: &mut dyn Outlet,
    duration: Duration,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Duration, usize),
) -> Times {
    let start = outlet.now();
    let interrupted = loop {
        let now = outlet.now().saturating_sub(start);
        watch(now, world.online());
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || now >= duration {
            break stopped;
        }
        while let Some(deed) = world.next_deed_by(now) {
            let due = start + deed.at;
            outlet.send(deed, due);
        }
        let next = world.next_at().unwrap_or(duration).min(duration);
        outlet.wait(start + next.min(now + LOOK));
    };
    let elapsed = outlet.now().saturating_sub(start);
    world.end(elapsed);
    while let Some(deed) = world.next_deed() {
        let due = start + deed.at;
        outlet.send(deed, due);
    }
    Times { due: 0, not_sent: 0, elapsed, interrupted }
}

/// SDK clients that the players share: all events of one game, or of one player outside of games, take one of them, so that their
/// order is that of a client of their own.
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    lanes: Vec<Lane>,
}

impl Shared {
    /// Starts `connections` lanes that all count there.
    pub(crate) fn start(
        connections: usize,
        options: &LaneOptions,
        clock: &Arc<dyn Clock>,
        tally: &Arc<Mutex<Tally>>,
        way: &dyn Fn() -> Box<dyn Transport>,
    ) -> Result<Self, StartError> {
        let mut lanes = Vec::with_capacity(connections);
        for _ in 0..connections.max(1) {
            let lane = Lane::start(options, clock.clone(), way(), Arc::new(|_: &Books| {}))?;
            lane.begin(tally.clone(), Due::Events);
            lanes.push(lane);
        }
        Ok(Self { clock: clock.clone(), lanes })
    }

    pub(crate) fn greetings(&self) -> Vec<Option<Greeting>> {
        self.lanes.iter().map(Lane::greeting).collect()
    }

    pub(crate) fn close(self, limit: Duration) {
        close_all(self.lanes, &*self.clock, limit);
    }
}

/// How long lanes wait for more, so that they make as many requests as the players' own clients would.
pub(crate) fn batch_time(players: usize, connections: usize) -> Duration {
    let players = u32::try_from(players).unwrap_or(u32::MAX).max(1);
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    (CLIENT_BATCH * connections / players).clamp(Duration::from_millis(50), CLIENT_BATCH)
}

impl Outlet for Shared {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn send(&mut self, deed: Deed, due: Duration) {
        let mut hasher = DefaultHasher::new();
        deed.key.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0);
        self.lanes[place].send(deed.event, due);
    }

    fn wait(&mut self, until: Duration) {
        std::thread::sleep(until.saturating_sub(self.clock.now()));
    }
}
