//! When a schedule is due: a cron pattern read in a time zone.
//!
//! Patterns are those of Vixie cron, with five fields. Where clocks change, each time of day that a pattern
//! names in numbers has its one tick: in a skipped hour at the first instant after it, in a doubled hour
//! the first time. A pattern with `*` or `/` in hour or minute follows the wall clock: nothing in a
//! skipped hour, and twice in a doubled one. The library matches wall clock times; which instants these
//! are is found out here (its own way through zones ends for good at a day that was left out).

mod pattern;

use croner::Cron;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Where the search for a first tick begins: a pattern without one from here on has none at all.
const LONG_AGO: Timestamp = Timestamp::UNIX_EPOCH;

/// A cron pattern in a time zone.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    /// It names its times of day in numbers.
    is_fixed: bool,
    zone: TimeZone,
    pattern: String,
    zone_name: String,
}

impl Timetable {
    /// Reads a pattern of five fields (minute, hour, day of month, month, day of week) and the name of a
    /// zone in the IANA database.
    ///
    /// # Errors
    /// All that is wrong, each in one line that names the field or the zone.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, Vec<String>> {
        let cron = pattern::read(pattern);
        let found = TimeZone::get(zone)
            .map_err(|_| format!("zone {zone:?} is not in the time zone database; zones look like \"Europe/Berlin\""));
        let (cron, found) = match (cron, found) {
            (Ok(cron), Ok(found)) => (cron, found),
            (cron, found) => return Err(cron.err().into_iter().flatten().chain(found.err()).collect()),
        };
        let name = found.iana_name().unwrap_or(zone).to_owned();
        let is_fixed = is_fixed(pattern);
        let timetable = Self { cron, is_fixed, zone: found, pattern: pattern.to_owned(), zone_name: name };
        match timetable.next(LONG_AGO) {
            Some(_) => Ok(timetable),
            None => Err(vec![format!("cron {pattern:?}: no such day ever comes")]),
        }
    }

    /// The first tick after this instant; `None` if there is none.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let local = self.zone.to_datetime(after);
        if self.is_fixed {
            return self.walk(local, false).find_map(|civil| self.instant(civil).filter(|tick| *tick > after));
        }
        let ahead =
            self.walk(local, false).find_map(|civil| self.instants(civil).into_iter().find(|tick| *tick > after));
        // Where the clock is set back next, it shows times again that lie behind `local`.
        let again = self.set_back(after).and_then(|(at, civil)| {
            self.walk(civil, true).find_map(|civil| self.instants(civil).into_iter().find(|tick| *tick >= at))
        });
        ahead.into_iter().chain(again).min()
    }

    /// Wall clock times that match, on a wall where the clock is never set.
    fn walk(&self, from: DateTime, inclusive: bool) -> impl Iterator<Item = DateTime> {
        let next = |from: &DateTime, inclusive| self.cron.find_next_occurrence(from, inclusive).ok();
        std::iter::successors(next(&from, inclusive), move |civil| next(civil, false))
    }

    /// The one instant for a wall clock time: the first of two, or where the clock was set past it.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let is_gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        let earlier = ambiguous.earlier().ok()?;
        if is_gap { Some(self.zone.following(earlier).next()?.timestamp()) } else { Some(earlier) }
    }

    /// Every instant at which the clock shows this time: one, two or none.
    fn instants(&self, civil: DateTime) -> Vec<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().into_iter().collect(),
            AmbiguousOffset::Gap { .. } => Vec::new(),
            AmbiguousOffset::Fold { .. } => [ambiguous.earlier(), ambiguous.later()].into_iter().flatten().collect(),
        }
    }

    /// When the clock is set next after this instant, and what it shows then, if it is set back.
    fn set_back(&self, after: Timestamp) -> Option<(Timestamp, DateTime)> {
        let at = self.zone.following(after).next()?.timestamp();
        let before = self.zone.to_offset(at.checked_sub(SignedDuration::from_secs(1)).ok()?);
        (self.zone.to_offset(at) < before).then(|| (at, self.zone.to_datetime(at)))
    }

    /// The date in the zone at this instant.
    pub fn date(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    /// The instant with the zone's wall clock, as people read it: `2026-03-29 03:00 Europe/Berlin`.
    pub fn shown(&self, at: Timestamp) -> String {
        let local = at.to_zoned(self.zone.clone());
        format!("{} {}", local.strftime("%Y-%m-%d %H:%M"), self.zone_name)
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The zone's name.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }
}

/// Whether a pattern names its times of day in numbers, or by a word that means such.
fn is_fixed(pattern: &str) -> bool {
    let mut fields = pattern.split_whitespace();
    match (fields.next(), fields.next()) {
        (Some(minute), Some(hour)) => !minute.contains(['*', '/']) && !hour.contains(['*', '/']),
        (word, _) => !word.is_some_and(|word| word.eq_ignore_ascii_case("@hourly")),
    }
}
