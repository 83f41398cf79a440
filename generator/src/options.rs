//! What to generate.

use crate::Error;
use events::clock::Micros;

/// 2026-01-05T00:00:00Z, a Monday: where generated time starts unless told otherwise. It is fixed,
/// so that the same seed gives the same bytes on any day, and lies in the past, because ingest
/// pulls times back that lie ahead of its clock.
pub const START_US: Micros = 1_767_571_200_000_000;

/// The highest rate of any kind of disorder.
pub(crate) const RATE_MAX: f64 = 0.5;
/// Games for which ids are set aside.
pub(crate) const GAMES_MAX: u64 = 1_000_000;

/// How many games, which seed, how much disorder.
///
/// Rates are shares of the events: 0.05 of 1,000 events are 50 lines more (duplicates, conflicts,
/// malformed) or 50 events moved (late).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Games to play, at most a million.
    pub games: u64,
    /// Seed of all randomness. Ids of games and players carry it, so that the games of two seeds
    /// can live in one table.
    pub seed: u64,
    /// Exact resends: the same line once more, later.
    pub duplicates: f64,
    /// The same event with other data, later than the original.
    pub conflicts: f64,
    /// Lines that ingest must refuse.
    pub malformed: f64,
    /// Events sent long after they happened.
    pub late: f64,
    /// When the first game starts, µs since the epoch.
    pub start_us: Micros,
    /// Over which time the games' starts are spread, in µs; `None`: they start 90 s apart, closer together if
    /// they would take more than 30 days.
    pub span_us: Option<Micros>,
}

impl Default for Options {
    /// 100 games of seed 1 from [`START_US`], in order and whole.
    fn default() -> Self {
        Self {
            games: 100,
            seed: 1,
            duplicates: 0.0,
            conflicts: 0.0,
            malformed: 0.0,
            late: 0.0,
            start_us: START_US,
            span_us: None,
        }
    }
}

impl Options {
    /// Whether this can be generated.
    ///
    /// # Errors
    /// Names the option that is out of its bounds.
    pub fn check(&self) -> Result<(), Error> {
        if self.games > GAMES_MAX {
            return Err(Error::Games { games: self.games });
        }
        let rates = [
            ("duplicates", self.duplicates),
            ("conflicts", self.conflicts),
            ("malformed", self.malformed),
            ("late", self.late),
        ];
        for (what, rate) in rates {
            if !(0.0..=RATE_MAX).contains(&rate) {
                return Err(Error::Rate { what, rate });
            }
        }
        Ok(())
    }

    /// Six hexadecimal digits that stand for the seed in ids (SplitMix64's finalizer, so that
    /// neighbouring seeds differ).
    pub(crate) fn seed_tag(&self) -> u64 {
        let mut mixed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 0xff_ffff
    }
}
