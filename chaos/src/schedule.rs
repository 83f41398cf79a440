//! What happens to whom, drawn from a seed.

use crate::role::Kind;
use crate::toxiproxy::{Cut, Way};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::time::Duration;

/// Longer than a member may be silent before its group goes on without it (10 s).
const OUT_OF_GROUP: std::ops::Range<u64> = 11_000..16_000;

/// To whom it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Victim {
    /// A node of Kafka, from 1 on.
    Node(usize),
    /// The object store.
    Store,
    /// A process of killfeed, from 1 on.
    Role(Kind, usize),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and started again after this.
    Kill(Duration),
    /// SIGSTOP, and SIGCONT after this.
    Freeze(Duration),
    /// Stopped as an operator would, and started again.
    Restart,
    /// What clients send to it, or what it sends to the store, goes astray for this long.
    Cut(Cut, Duration),
}

/// One fault, and the rest after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) victim: Victim,
    pub(crate) fault: Fault,
    pub(crate) rest: Duration,
}

/// Faults without end, the same ones for the same seed.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: ChaCha8Rng,
    nodes: usize,
    of_each: usize,
    /// No fault lasts longer.
    longest: Duration,
}

impl Schedule {
    pub(crate) fn new(seed: u64, (nodes, of_each): (usize, usize), longest: Duration) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), nodes, of_each, longest }
    }

    fn victim(&mut self) -> Victim {
        let number = self.random.random_range(1..=self.of_each);
        match self.random.random_range(0..100) {
            0..25 => Victim::Node(self.random.random_range(1..=self.nodes)),
            25..37 => Victim::Store,
            37..52 => Victim::Role(Kind::Ingest, number),
            52..72 => Victim::Role(Kind::Process, number),
            72..93 => Victim::Role(Kind::Sink, number),
            _ => Victim::Role(Kind::Query, number),
        }
    }

    fn time(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(ms)).min(self.longest)
    }

    fn fault(&mut self, victim: Victim) -> Fault {
        let may_cut = match victim {
            Victim::Node(_) | Victim::Store => true,
            Victim::Role(kind, _) => kind == Kind::Ingest || kind.has_store(),
        };
        match self.random.random_range(0..100) {
            0..35 => match self.random.random_range(0..5) {
                0 => Fault::Kill(self.time(OUT_OF_GROUP)),
                _ => Fault::Kill(self.time(0..3_000)),
            },
            35..60 => match self.random.random_range(0..5) {
                0..2 => Fault::Freeze(self.time(OUT_OF_GROUP)),
                _ => Fault::Freeze(self.time(500..6_000)),
            },
            60..75 => Fault::Restart,
            _ if may_cut => {
                let way = if self.random.random() { Way::There } else { Way::Back };
                let cut = match self.random.random_range(0..4) {
                    0 => Cut::Silence(way),
                    1 => Cut::Reset(way),
                    2 => Cut::Slow(way),
                    _ => Cut::Torn(way, self.random.random_range(100..100_000)),
                };
                Fault::Cut(cut, self.time(1_000..12_000))
            }
            _ => Fault::Kill(self.time(0..3_000)),
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let victim = self.victim();
        let fault = self.fault(victim);
        let rest = self.time(0..3_000);
        Some(Step { victim, fault, rest })
    }
}

impl Victim {
    /// What kind of part it is.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Node(_) => "kafka",
            Self::Store => "store",
            Self::Role(kind, _) => kind.name(),
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Node(number) | Self::Role(_, number) => write!(f, "{}-{number}", self.kind()),
        }
    }
}

impl Fault {
    /// Its name, as a timeline and the counts show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Freeze(_) => "freeze",
            Self::Restart => "restart",
            Self::Cut(..) => "cut",
        }
    }

    pub(crate) fn is_restart(self) -> bool {
        self == Self::Restart
    }

    /// How long it lasts; a restart takes what it takes.
    pub(crate) fn lasts(self) -> Duration {
        match self {
            Self::Kill(time) | Self::Freeze(time) | Self::Cut(_, time) => time,
            Self::Restart => Duration::ZERO,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(cut, _) => write!(f, "cut: {}", cut.name()),
            _ => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_gives_the_same_faults_again_and_all_kinds_of_them() {
        let draw = |seed| Schedule::new(seed, (3, 2), Duration::MAX).take(500).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let seen: BTreeSet<_> = draw(1).iter().map(|step| (step.victim.kind(), step.fault.name())).collect();
        // Nothing stands between a processor and what it needs but Kafka's own proxies.
        assert_eq!(seen.len(), 6 * 4 - 1, "{seen:?}");
        assert!(draw(1).iter().any(|step| step.fault.lasts() > Duration::from_secs(10)));
    }

    #[test]
    fn a_short_run_has_short_faults() {
        let longest = Duration::from_secs(2);
        assert!(Schedule::new(1, (3, 2), longest).take(500).all(|step| step.fault.lasts() <= longest));
    }
}
