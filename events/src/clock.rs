//! Time, handed in: production reads the system's clock, tests and the simulation turn their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Microseconds since 1970-01-01T00:00:00Z, the unit of every time in killfeed's tables.
pub type Micros = i64;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Now, in µs since the epoch. May jump; whoever needs order keeps the maximum seen.
    fn now_us(&self) -> Micros;

    /// Now, in ms since the epoch: the unit of a record's append time.
    fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1_000)
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> Micros {
        chrono::Utc::now().timestamp_micros()
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `now_us`.
    pub fn at(now_us: Micros) -> Self {
        Self(Arc::new(AtomicI64::new(now_us)))
    }

    /// Moves the clock by `us`, backwards if negative. All clones show the same time.
    pub fn advance_us(&self, us: i64) {
        self.0.fetch_add(us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> Micros {
        self.0.load(Ordering::SeqCst)
    }
}
