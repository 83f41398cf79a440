//! When an event happened, by the server's clock.

use crate::ports::micros;
use std::fmt::Write as _;
use std::time::Duration;

/// Measurements of the offset that are kept. More than this many suspends of a machine in one run are told with the
/// last.
const OFFSETS_MAX: usize = 32;
/// A clock that stood still for less than this is not set again, in microseconds.
const STOOD_STILL_US: i64 = 2_000_000;

/// The wall clock is read once, at the start; from then on the monotonic clock counts. So somebody who sets the wall
/// clock moves no event, and the order within a session is that of the monotonic clock. The server's time, once it is
/// known, says how far off the first reading was.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Wall clock less monotonic clock, at the start, in microseconds.
    anchor_us: i64,
    /// From which monotonic moment on which offset counts, in microseconds; the first counts for what was before, too.
    offsets: Vec<(i64, i64)>,
}

impl Timeline {
    pub(crate) fn new(now: Duration, wall_us: i64) -> Self {
        Self { anchor_us: wall_us - micros(now), offsets: Vec::new() }
    }

    /// The server said `server_us` in the middle between `asked` and `answered`.
    pub(crate) fn measured(&mut self, asked: Duration, answered: Duration, server_us: i64) {
        let middle = (micros(asked) + micros(answered)) / 2;
        let offset = server_us - (self.anchor_us + middle);
        match self.offsets.last_mut() {
            None => self.offsets.push((middle, offset)),
            // A monotonic clock may stand still while the machine sleeps; it never runs ahead. So time only ever moves
            // on.
            Some(last) if offset > last.1 + STOOD_STILL_US => {
                if self.offsets.len() < OFFSETS_MAX {
                    self.offsets.push((middle, offset));
                }
            }
            Some(_) => {}
        }
    }

    /// Whether the server's time is known.
    pub(crate) fn is_measured(&self) -> bool {
        !self.offsets.is_empty()
    }

    /// The offset that counts first: what to add to an event of an earlier run that could not ask the server.
    pub(crate) fn first_offset_us(&self) -> i64 {
        self.offsets.first().map_or(0, |offset| offset.1)
    }

    /// By the local clock as it was at the start.
    pub(crate) fn local_us(&self, at: Duration) -> i64 {
        self.anchor_us + micros(at)
    }

    /// By the server's clock, as far as it is known.
    pub(crate) fn at_us(&self, at: Duration) -> i64 {
        let at_us = micros(at);
        let later = self.offsets.iter().rev().find(|(from, _)| *from <= at_us);
        self.local_us(at) + later.or(self.offsets.first()).map_or(0, |offset| offset.1)
    }
}

/// Appends a time as RFC 3339 with microseconds and Z.
pub(crate) fn write(text: &mut String, us: i64) {
    let (days, in_day) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
    let (year, month, day) = civil(days);
    let (seconds, micros) = (in_day / 1_000_000, in_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar: years begin in March, so
/// that the leap day is the last of a year, and 400 years are one cycle.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, in_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// Microseconds since 1970 of an RFC 3339 time in UTC, as the server writes it; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, clock) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = numbers(whole, ':')?;
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let (shifted, march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * march + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + in_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse::<i64>().ok().filter(|number| *number >= 0));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(us: i64) -> String {
        let mut text = String::new();
        write(&mut text, us);
        text
    }

    #[test]
    fn known_moments() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_767_225_600_000_001, "2026-01-01T00:00:00.000001Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
        ] {
            assert_eq!(written(us), text);
            assert_eq!(parse(text), Some(us));
        }
        assert_eq!(parse("2026-01-01T00:00:00Z"), Some(1_767_225_600_000_000));
        for wrong in
            ["", "Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00.xZ", "2026-01-01T1:2Z"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(us in 0..253_402_300_799_999_999_i64) {
            prop_assert_eq!(parse(&written(us)), Some(us));
        }

        #[test]
        fn time_never_goes_back(moments in proptest::collection::vec((0..1_000_000_u64, -10_000_000..10_000_000_i64), 1..40)) {
            let mut timeline = Timeline::new(Duration::ZERO, 1_000_000_000);
            let (mut now, mut last) = (Duration::ZERO, i64::MIN);
            timeline.measured(now, now, 2_000_000_000);
            for (step, server_off) in moments {
                now += Duration::from_micros(step);
                prop_assert!(timeline.at_us(now) >= last);
                last = timeline.at_us(now);
                timeline.measured(now, now, 2_000_000_000 + micros(now) + server_off);
            }
        }
    }

    #[test]
    fn a_machine_that_slept_is_set_right_and_what_was_before_stays() {
        let second = Duration::from_secs(1);
        let mut timeline = Timeline::new(second, 100_000_000);
        assert_eq!(timeline.at_us(second), 100_000_000);
        timeline.measured(second, second, 160_000_000);
        assert_eq!(timeline.at_us(Duration::ZERO), 159_000_000);
        timeline.measured(second * 3, second * 3, 1_000_000_000);
        assert_eq!(timeline.at_us(second), 160_000_000);
        assert_eq!(timeline.at_us(second * 3), 1_000_000_000);
    }
}
