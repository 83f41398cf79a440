//! Ticks where clocks change, against a plain model that looks at every minute.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use schedules::Timetable;
use std::collections::BTreeSet;

/// A field of a pattern: the values that it takes.
fn values(field: &str, from: i8, to: i8) -> Vec<i8> {
    let mut found = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (low, high) = match (range, range.split_once('-')) {
            ("*", _) => (from, to),
            (_, Some((low, high))) => (low.parse().unwrap(), high.parse().unwrap()),
            (one, None) => (one.parse().unwrap(), one.parse().unwrap()),
        };
        found.extend((low..=high).step_by(step));
    }
    found.into_iter().collect()
}

struct Model {
    fields: [Vec<i8>; 5],
    is_fixed: bool,
}

impl Model {
    fn new(pattern: &str) -> Self {
        let fields: Vec<&str> = pattern.split(' ').collect();
        let is_fixed = !fields[0].contains(['*', '/']) && !fields[1].contains(['*', '/']);
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        let fields = std::array::from_fn(|at| values(fields[at], bounds[at].0, bounds[at].1));
        Self { fields, is_fixed }
    }

    fn matches(&self, local: DateTime) -> bool {
        let parts =
            [local.minute(), local.hour(), local.day(), local.month(), local.date().weekday().to_sunday_zero_offset()];
        self.fields.iter().zip(parts).all(|(field, part)| field.contains(&part))
    }

    /// All ticks after `from`, up to `to`.
    fn ticks(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
        let mut ticks = BTreeSet::new();
        let minute = SignedDuration::from_mins(1);
        // Every minute that the clock on the wall shows, or would have shown.
        let mut local = zone.to_datetime(from) - SignedDuration::from_hours(30);
        while local <= zone.to_datetime(to) + SignedDuration::from_hours(30) {
            let ambiguous = zone.to_ambiguous_timestamp(local);
            if self.matches(local) {
                match ambiguous.offset() {
                    AmbiguousOffset::Unambiguous { .. } => {
                        ticks.insert(ambiguous.unambiguous().unwrap());
                    }
                    AmbiguousOffset::Fold { .. } => {
                        ticks.insert(ambiguous.earlier().unwrap());
                        if !self.is_fixed {
                            ticks.insert(ambiguous.later().unwrap());
                        }
                    }
                    AmbiguousOffset::Gap { .. } if self.is_fixed => {
                        ticks.insert(first_after_gap(zone, local));
                    }
                    AmbiguousOffset::Gap { .. } => {}
                }
            }
            local += minute;
        }
        ticks.into_iter().filter(|tick| *tick > from && *tick <= to).collect()
    }
}

/// The first instant whose wall clock is past this time that never was.
fn first_after_gap(zone: &TimeZone, mut local: DateTime) -> Timestamp {
    loop {
        local += SignedDuration::from_mins(1);
        let ambiguous = zone.to_ambiguous_timestamp(local);
        if let AmbiguousOffset::Unambiguous { .. } = ambiguous.offset() {
            return ambiguous.unambiguous().unwrap();
        }
    }
}

fn ticks(timetable: &Timetable, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    std::iter::successors(timetable.next(from), |tick| timetable.next(*tick)).take_while(|tick| *tick <= to).collect()
}

/// Days on which something happens to clocks, by zone: hours skipped and doubled, half hours, whole days,
/// zones that changed for good, midnights that don't exist.
const CHANGES: [(&str, &str); 22] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2027-03-28"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    // A midnight that doesn't exist, and one that comes twice.
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-30"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("Asia/Beirut", "2026-03-29"),
    // A day that was left out.
    ("Pacific/Apia", "2011-12-30"),
    // Zones that changed for good.
    ("Europe/Istanbul", "2016-03-27"),
    ("Asia/Almaty", "2024-03-01"),
    ("Asia/Pyongyang", "2018-05-05"),
    ("America/Caracas", "2016-05-01"),
    // Back in spring and forth in autumn, around Ramadan.
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Europe/Dublin", "2026-03-29"),
    ("America/St_Johns", "2026-03-08"),
    // Nothing happens, on a day that is not always there.
    ("Asia/Kathmandu", "2028-02-29"),
];

const PATTERNS: [&str; 14] = [
    "0 6 * * *",
    "30 2 * * *",
    "0 2 * * *",
    "0 3 * * *",
    "0 0 * * *",
    "15 1,2,3 * * *",
    "0,30 0-3 * * *",
    "59 23 * * *",
    "30 2 * * 0",
    "0 * * * *",
    "*/15 * * * *",
    "*/20 2 * * *",
    "30 */2 * * *",
    "* 1 * * *",
];

#[test]
fn ticks_where_clocks_change_are_those_of_the_model() {
    let mut compared = 0;
    for (name, day) in CHANGES {
        let zone = TimeZone::get(name).unwrap();
        let day: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let (from, to) = (day - SignedDuration::from_hours(40), day + SignedDuration::from_hours(64));
        for pattern in PATTERNS {
            let timetable = Timetable::new(pattern, name).unwrap();
            let expected = Model::new(pattern).ticks(&zone, from, to);
            assert_eq!(ticks(&timetable, from, to), expected, "{pattern} in {name} around {day}");
            compared += expected.len();
        }
    }
    assert!(compared > 5_000, "only {compared} ticks compared");
}

#[test]
fn the_next_tick_is_the_same_from_wherever_one_looks() {
    for (name, day) in CHANGES {
        let day: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        for pattern in ["30 2 * * *", "0 0 * * *", "*/15 * * * *"] {
            let timetable = Timetable::new(pattern, name).unwrap();
            let from = day - SignedDuration::from_hours(26);
            let all = ticks(&timetable, from, from + SignedDuration::from_hours(80));
            for minutes in (0..52 * 60).step_by(7) {
                let at = from + SignedDuration::from_mins(minutes) + SignedDuration::from_millis(1);
                assert_eq!(timetable.next(at).as_ref(), all.range(at..).next(), "{pattern} in {name} after {at}");
            }
        }
    }
}

#[test]
fn hours_that_are_skipped_or_doubled() {
    let of = |pattern: &str, zone: &str, from: &str, count: usize| -> Vec<String> {
        let timetable = Timetable::new(pattern, zone).unwrap();
        let first = timetable.next(from.parse().unwrap());
        std::iter::successors(first, |tick| timetable.next(*tick)).take(count).map(|tick| tick.to_string()).collect()
    };
    // 02:30 doesn't exist on 29 March: 03:00, once.
    let spring = of("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    // 02:30 comes twice on 25 October: the first.
    let autumn = of("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Half an hour is skipped in Lord Howe.
    let howe = of("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2);
    assert_eq!(howe, ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
    // The 30th of December 2011 was left out in Samoa; a report of each day is due when it is over.
    let samoa = of("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3);
    assert_eq!(samoa, ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
}

#[test]
fn leap_days_and_last_days() {
    let leap = Timetable::new("0 0 29 2 *", "UTC").unwrap();
    let first = leap.next("2096-03-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(first.to_string(), "2104-02-29T00:00:00Z", "2100 is no leap year");
    let last = Timetable::new("0 18 L * *", "America/New_York").unwrap();
    let february = last.next("2028-02-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(february.to_string(), "2028-02-29T23:00:00Z");
}

#[test]
fn what_is_no_timetable_is_refused_in_one_line() {
    for (pattern, zone, part) in [
        ("0 6 * *", "UTC", "has 4 fields, and must have five fields: minute, hour, day of month, month, day of week"),
        ("0 0 6 * * *", "UTC", "has 6 fields"),
        ("61 6 * * *", "UTC", "cron \"61 6 * * *\": minute: 61 is not 0 to 59"),
        ("0 24 * * *", "UTC", ": hour: 24 is not 0 to 23"),
        ("0 6 0 * *", "UTC", ": day of month: 0 is not 1 to 31"),
        ("0 6 32W * *", "UTC", ": day of month: 32 is not 1 to 31"),
        ("0 6 * 1-13 *", "UTC", ": month: 13 is not 1 to 12"),
        ("0 6 * * 8", "UTC", ": day of week: 8 is not 0 to 7"),
        ("0 6 * * 1,9#2", "UTC", ": day of week: 9 is not 0 to 7"),
        ("0 99999999 * * *", "UTC", ": hour: 99999999 is not 0 to 23"),
        ("0 6-1 * * *", "UTC", ": hour: the range 6-1 runs backwards"),
        ("*/0 6 * * *", "UTC", ": minute: the step of */0 is 0"),
        ("*/x 6 * * *", "UTC", ": minute: the step of */x is no number"),
        ("5/10 6 * * *", "UTC", ": minute: 5/10 has no range in front of its step: say */10 or 5-59/10"),
        ("/10 6 * * *", "UTC", ": minute: /10 has no range in front of its step"),
        ("0 six * * *", "UTC", ": hour: \"six\" is none of what it takes: *, 0 to 23, ranges as 0-23"),
        ("0 6 * Foo *", "UTC", ": month: \"Foo\" is none of what it takes: "),
        ("0 6 * * 5#9", "UTC", ": day of week: \"5#9\" is none of what it takes: "),
        ("", "UTC", "has 0 fields, and must have five fields"),
        ("often", "UTC", "has 1 fields"),
        ("@often", "UTC", "must be five fields, or one of @yearly, "),
        ("0 6 30 2 *", "UTC", "no such day ever comes"),
        ("0 6 * * *", "Europe/Atlantis", "not in the time zone database"),
        ("0 6 * * *", "", "not in the time zone database"),
        ("0 6 * * *", "+01:00", "not in the time zone database"),
        ("0 6 * * *", "../../etc/passwd", "not in the time zone database"),
    ] {
        let faults = Timetable::new(pattern, zone).unwrap_err();
        let [fault] = &faults[..] else { panic!("{pattern:?} {zone:?}: {faults:?}") };
        assert!(fault.contains(part) && fault.lines().count() == 1, "{pattern:?} {zone:?}: {fault}");
        // The library's own words name no field.
        for word in ["omponent", "CronPattern", "out of bounds", "Invalid"] {
            assert!(!fault.contains(word), "{fault}");
        }
    }
}

#[test]
fn each_field_that_is_wrong_is_told() {
    let faults = Timetable::new("60 24 0 13 8", "Berlin").unwrap_err();
    let fields = ["minute: 60", "hour: 24", "day of month: 0", "month: 13", "day of week: 8", "zone \"Berlin\""];
    assert_eq!(faults.len(), fields.len(), "{faults:?}");
    assert!(faults.iter().zip(fields).all(|(fault, field)| fault.contains(field)), "{faults:?}");
}

#[test]
fn what_cron_takes_is_taken() {
    for pattern in [
        "@yearly",
        "@Annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@hourly",
        "*/15 * * * *",
        "0-30/10 6 * * *",
        "0 6 L * *",
        "0 6 15W * *",
        "0 6 LW * *",
        "0 6 ? * mon-fri",
        "0 6 1,15 jan,JUL *",
        "0 6 * * 5#3",
        "0 6 * * 5L",
        "0 6 * * 7",
        "0 6 * * sun",
        " 0  6 * * * ",
    ] {
        assert!(Timetable::new(pattern, "UTC").is_ok(), "{pattern}: {:?}", Timetable::new(pattern, "UTC"));
    }
}
