//! A tick: one instant at which a schedule is due, and its name in the store.

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an instant is written in names: sorts by time, and needs no escape anywhere.
const FORMAT: &str = "%Y-%m-%dT%H-%M-%SZ";
/// What marks a tick that somebody asked for.
const MANUAL: &str = "-manual";

/// One run of a schedule: when it is due, and whether the timetable or somebody asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tick {
    /// The instant, to the second.
    pub at: Timestamp,
    /// Asked for by hand; not part of the timetable.
    pub manual: bool,
}

impl Tick {
    /// A tick of a timetable.
    pub fn scheduled(at: Timestamp) -> Self {
        Self { at, manual: false }
    }

    /// A tick that somebody asked for, at the second that has begun.
    pub fn manual(at: Timestamp) -> Self {
        Self { at: Timestamp::from_second(at.as_second()).unwrap_or(at), manual: true }
    }

    /// The tick of this name, as [`Display`](fmt::Display) writes it.
    pub fn parse(name: &str) -> Option<Self> {
        let instant = name.strip_suffix(MANUAL);
        let parsed = strtime::parse(FORMAT, instant.unwrap_or(name)).ok()?;
        let at = parsed.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Self { at, manual: instant.is_some() })
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.manual { MANUAL } else { "" };
        write!(f, "{}{mark}", self.at.strftime(FORMAT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_tick_and_sorts_by_time() {
        let at: Timestamp = "2026-03-29T01:00:00Z".parse().unwrap();
        let tick = Tick::scheduled(at);
        assert_eq!(tick.to_string(), "2026-03-29T01-00-00Z");
        assert_eq!(Tick::parse(&tick.to_string()), Some(tick));
        let manual = Tick::manual("2026-03-29T01:00:07.5Z".parse().unwrap());
        assert_eq!(manual.to_string(), "2026-03-29T01-00-07Z-manual");
        assert_eq!(Tick::parse(&manual.to_string()), Some(manual));
        assert!(tick.to_string() < manual.to_string());
        for wrong in ["", "x", "2026-03-29", "2026-13-29T01-00-00Z", "2026-03-29T01-00-00Z-other"] {
            assert_eq!(Tick::parse(wrong), None, "{wrong}");
        }
    }
}
