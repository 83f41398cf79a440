//! What becomes of a tick, as a function of the timetable, the last tick that was decided, and the time.

use crate::timetable::Timetable;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Ticks that `run-all` catches up on at most; older ones are skipped.
pub const CATCH_UP_MAX: usize = 100;
/// Ticks that are looked at for one decision; the next goes on behind them.
const LOOK_MAX: usize = 10_000;

/// What is done about ticks that nobody ran when they were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// The newest is run, the others are skipped.
    #[default]
    RunOnce,
    /// All are run, oldest first, up to [`CATCH_UP_MAX`].
    RunAll,
    /// None is run.
    Skip,
}

/// What is to be decided next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is due before this instant; `None` if nothing ever is.
    Wait(Option<Timestamp>),
    /// This tick is to be run.
    Run(Timestamp),
    /// These ticks are left out.
    Skip {
        /// The first.
        from: Timestamp,
        /// The last.
        through: Timestamp,
        /// How many, both included.
        ticks: u64,
    },
}

/// Decides about the first tick after `decided`, up to which everything is decided. A tick is missed when
/// it is due for longer than `grace`.
pub fn decide(timetable: &Timetable, missed: Missed, grace: Duration, decided: Timestamp, now: Timestamp) -> Verdict {
    let Some(first) = timetable.next(decided) else { return Verdict::Wait(None) };
    if first > now {
        return Verdict::Wait(Some(first));
    }
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let is_missed = |tick: Timestamp| now.duration_since(tick) > grace;
    if !is_missed(first) {
        return Verdict::Run(first);
    }
    let due: Vec<Timestamp> = std::iter::successors(Some(first), |tick| timetable.next(*tick))
        .take_while(|tick| *tick <= now)
        .take(LOOK_MAX)
        .collect();
    let skipped = match missed {
        Missed::RunOnce => due.len() - 1,
        Missed::RunAll => due.len().saturating_sub(CATCH_UP_MAX),
        Missed::Skip => due.iter().take_while(|tick| is_missed(**tick)).count(),
    };
    match due[..skipped].last() {
        None => Verdict::Run(first),
        Some(last) => Verdict::Skip { from: first, through: *last, ticks: skipped as u64 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn verdict(missed: Missed, now: &str) -> Verdict {
        let hourly = Timetable::new("0 * * * *", "UTC").unwrap();
        decide(&hourly, missed, Duration::from_secs(300), at("2026-01-01T00:00:00Z"), at(now))
    }

    fn skip(through: &str, ticks: u64) -> Verdict {
        Verdict::Skip { from: at("2026-01-01T01:00:00Z"), through: at(through), ticks }
    }

    #[test]
    fn what_is_on_time_is_run_whatever_the_policy() {
        let first = at("2026-01-01T01:00:00Z");
        for missed in [Missed::RunOnce, Missed::RunAll, Missed::Skip] {
            assert_eq!(verdict(missed, "2026-01-01T00:59:59Z"), Verdict::Wait(Some(first)));
            assert_eq!(verdict(missed, "2026-01-01T01:00:00Z"), Verdict::Run(first));
            assert_eq!(verdict(missed, "2026-01-01T01:05:00Z"), Verdict::Run(first));
        }
    }

    #[test]
    fn missed_ticks_go_by_policy() {
        let first = at("2026-01-01T01:00:00Z");
        // One missed.
        assert_eq!(verdict(Missed::RunOnce, "2026-01-01T01:05:01Z"), Verdict::Run(first));
        assert_eq!(verdict(Missed::RunAll, "2026-01-01T01:05:01Z"), Verdict::Run(first));
        assert_eq!(verdict(Missed::Skip, "2026-01-01T01:05:01Z"), skip("2026-01-01T01:00:00Z", 1));
        // Three missed, and one on time.
        assert_eq!(verdict(Missed::RunOnce, "2026-01-01T04:01:00Z"), skip("2026-01-01T03:00:00Z", 3));
        assert_eq!(verdict(Missed::RunAll, "2026-01-01T04:01:00Z"), Verdict::Run(first));
        assert_eq!(verdict(Missed::Skip, "2026-01-01T04:01:00Z"), skip("2026-01-01T03:00:00Z", 3));
        // Four missed.
        assert_eq!(verdict(Missed::Skip, "2026-01-01T04:30:00Z"), skip("2026-01-01T04:00:00Z", 4));
    }

    #[test]
    fn catching_up_has_a_limit() {
        assert_eq!(verdict(Missed::RunAll, "2026-01-05T05:30:00Z"), skip("2026-01-01T01:00:00Z", 1));
        assert_eq!(verdict(Missed::RunAll, "2026-01-06T04:30:00Z"), skip("2026-01-02T00:00:00Z", 24));
    }

    #[test]
    fn years_are_skipped_in_pieces() {
        let minutely = Timetable::new("* * * * *", "UTC").unwrap();
        let (from, now) = (at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:30Z"));
        let (mut decided, mut skipped) = (from, 0);
        loop {
            match decide(&minutely, Missed::RunOnce, Duration::from_secs(30), decided, now) {
                Verdict::Skip { through, ticks, .. } => (decided, skipped) = (through, skipped + ticks),
                Verdict::Run(tick) => {
                    assert_eq!(tick, at("2026-03-01T00:00:00Z"));
                    break;
                }
                Verdict::Wait(_) => panic!("nothing was run"),
            }
        }
        assert_eq!(skipped, 59 * 24 * 60 - 1);
    }
}
