//! What may go wrong in a memory log, how often, and in which order: all of it from one seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How often each fault strikes, from 0 (never) to 1 (always), by operation that it can strike.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Before an append: one to five offsets are burned, as by a transaction marker of Kafka.
    pub gap: f64,
    /// Before an append: somebody's aborted records take one to five offsets; no reader sees them.
    pub aborted: f64,
    /// Before an append: somebody's transaction opens and holds the last stable offset back; it
    /// aborts once the partition was touched (read, appended to, asked for its ends) one to eight times.
    pub open: f64,
    /// An append or a commit fails with `Unavailable`; nothing is written.
    pub unavailable: f64,
    /// An append or a commit ends with `InDoubt`; half of them happened.
    pub in_doubt: f64,
    /// A commit is fenced: its transactional id was taken, or its group has a new generation.
    pub fenced: f64,
    /// An append or a commit ends with a crash: what wasn't appended with durability `all` is lost,
    /// all members and transactors are put out, and the operation itself is in doubt.
    pub crash: f64,
}

impl Faults {
    /// Nothing but what every Kafka consumer meets on a good day: gaps, aborted and open transactions.
    pub const GAPS: Self =
        Self { gap: 0.3, aborted: 0.2, open: 0.1, unavailable: 0.0, in_doubt: 0.0, fenced: 0.0, crash: 0.0 };

    /// A bad day: everything, often.
    pub const STORM: Self =
        Self { gap: 0.2, aborted: 0.1, open: 0.1, unavailable: 0.05, in_doubt: 0.05, fenced: 0.05, crash: 0.01 };
}

/// What happens to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    Unavailable,
    InDoubt { happened: bool },
    Fenced { by_group: bool },
    Crash { happened: bool },
}

/// Draws from one generator, in the order of the log's operations.
#[derive(Debug)]
pub(super) struct Dice {
    faults: Faults,
    rng: ChaCha8Rng,
}

impl Dice {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self { faults, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    fn strikes(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.rng.random_bool(rate.min(1.0))
    }

    pub(super) fn append(&mut self) -> Fate {
        if self.strikes(self.faults.unavailable) {
            Fate::Unavailable
        } else if self.strikes(self.faults.in_doubt) {
            Fate::InDoubt { happened: self.rng.random() }
        } else if self.strikes(self.faults.crash) {
            Fate::Crash { happened: self.rng.random() }
        } else {
            Fate::Good
        }
    }

    pub(super) fn commit(&mut self) -> Fate {
        if self.strikes(self.faults.fenced) { Fate::Fenced { by_group: self.rng.random() } } else { self.append() }
    }

    /// Offsets that a gap takes before the next append.
    pub(super) fn gap(&mut self) -> Option<i64> {
        self.strikes(self.faults.gap).then(|| self.rng.random_range(1..=5))
    }

    /// Offsets that aborted records take before the next append.
    pub(super) fn aborted(&mut self) -> Option<i64> {
        self.strikes(self.faults.aborted).then(|| self.rng.random_range(1..=5))
    }

    /// Offsets that an open transaction takes, and the touches after which it aborts.
    pub(super) fn open(&mut self) -> Option<(i64, u32)> {
        self.strikes(self.faults.open).then(|| (self.rng.random_range(1..=3), self.rng.random_range(1..=8)))
    }

    pub(super) fn name(&mut self) -> String {
        format!("{:016x}", self.rng.random::<u64>())
    }
}
