//! One simulated process: it may be slow, paused or dead, and its clock may be wrong.
//!
//! A dead process is one whose calls never take effect and never return: nothing of it reaches log or
//! store, whichever of its tasks are still about. What was under way when it died may yet arrive. A
//! paused one stops at its next call, and goes on there when it is woken, knowing nothing of the time between.

use crate::world::{Draw, TEN, World};
use events::Clock;
use events::clock::Micros;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// Where virtual time begins: 2026-01-01, in µs since the epoch.
const EPOCH_US: Micros = 1_767_225_600_000_000;
/// Tens after which a straggler arrives at the latest: past every time-out of a commit.
const STRAGGLER_TENS: u64 = 7_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    life: Mutex<Life>,
    woken: Notify,
    pub(crate) clock: SkewedClock,
}

/// A clock of one process, or of the log: virtual time, and how far it is off.
#[derive(Clone)]
pub(crate) struct SkewedClock {
    world: Arc<World>,
    off_ms: Arc<AtomicI64>,
}

impl SkewedClock {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self { world: world.clone(), off_ms: Arc::default() }
    }

    /// Moves it.
    pub(crate) fn jump(&self, ms: i64) {
        self.off_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn set_right(&self) {
        self.off_ms.store(0, Ordering::SeqCst);
    }
}

impl fmt::Debug for SkewedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock off by {} ms", self.off_ms.load(Ordering::SeqCst))
    }
}

impl Clock for SkewedClock {
    fn now_us(&self) -> Micros {
        let passed = self.world.now_ms() + self.world.all_clocks_ms.load(Ordering::SeqCst);
        let off_ms = self.off_ms.load(Ordering::SeqCst);
        EPOCH_US.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX).saturating_add(off_ms).saturating_mul(1_000))
    }
}

impl Process {
    pub(crate) fn new(world: &Arc<World>, id: u32, name: String) -> Arc<Self> {
        let clock = SkewedClock::new(world);
        Arc::new(Self { id, name, world: world.clone(), life: Mutex::new(Life::Running), woken: Notify::new(), clock })
    }

    pub(crate) fn kill(&self) {
        *self.life.lock() = Life::Dead;
    }

    pub(crate) fn pause(&self) {
        *self.life.lock() = Life::Paused;
    }

    pub(crate) fn wake(&self) {
        let mut life = self.life.lock();
        if *life == Life::Paused {
            *life = Life::Running;
            self.woken.notify_waiters();
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.life.lock() == Life::Dead
    }

    /// Goes on only while the process runs.
    async fn live(&self) {
        loop {
            let life = *self.life.lock();
            match life {
                Life::Running => return,
                Life::Dead => std::future::pending().await,
                Life::Paused => {
                    self.woken.notified().await;
                    self.world.next_ten(0).await;
                }
            }
        }
    }

    /// Waits for a call's turn.
    pub(crate) async fn ask(&self, what: &str) -> Draw {
        self.live().await;
        let mut draw = self.world.draw(self.id, what);
        let later = self.latency(&mut draw);
        let order = draw.below(u64::MAX);
        self.world.turn(self.id, what, later, order).await;
        self.live().await;
        draw
    }

    /// Waits for the turn of a call that is on its way whatever becomes of the caller; false if it
    /// never arrives.
    pub(crate) async fn send(&self, what: &str) -> (Draw, bool) {
        let mut draw = self.world.draw(self.id, what);
        let straggles = self.world.is_faulty() && draw.strikes(self.world.plan.stragglers);
        let later = if straggles { self.straggle(&mut draw) } else { self.latency(&mut draw) };
        let order = draw.below(u64::MAX);
        self.world.turn(self.id, what, later, order).await;
        let arrives = !self.is_dead() || draw.strikes(500);
        (draw, arrives)
    }

    /// Goes on with the answer to a call: at the start of a ten, if the process still runs.
    pub(crate) async fn answer(&self, draw: &mut Draw) {
        let later = self.latency(draw);
        self.world.next_ten(later).await;
        self.live().await;
    }

    /// Lets a process that isn't dead go on before it makes a call that is sent.
    pub(crate) async fn may_send(&self) {
        self.live().await;
    }

    /// Tens that a call takes.
    fn latency(&self, draw: &mut Draw) -> u64 {
        let plan = &self.world.plan;
        if !self.world.is_faulty() {
            return draw.below(2);
        }
        if draw.strikes(10) { draw.below(plan.slow * TEN * 2) } else { draw.below(plan.slow) }
    }

    /// Tens after which a straggler arrives.
    fn straggle(&self, draw: &mut Draw) -> u64 {
        self.world.injected();
        let most = if draw.strikes(100) { STRAGGLER_TENS } else { STRAGGLER_TENS / 20 };
        let tens = draw.below(most);
        self.world.last_straggler_ms.fetch_max(self.world.now_ms() + (tens + 2) * TEN, Ordering::SeqCst);
        tens
    }

    /// Whether a fault of this rate strikes.
    pub(crate) fn fails(&self, draw: &mut Draw, per_mille: u64) -> bool {
        let fails = self.world.is_faulty() && draw.strikes(per_mille);
        if fails {
            self.world.injected();
        }
        fails
    }

    pub(crate) fn note(&self, what: &str) {
        self.world.note(&self.name, what);
    }
}
