//! From figures to lengths: where the axis ends, where its ticks stand, how a figure is written.
//!
//! Figures are divided by the axis' end before they are drawn, so that the largest numbers there are don't
//! overflow on their way.

use crate::Unit;
use chrono::{DateTime, NaiveDate};

/// Past this a figure is drawn as this: sums of a few stay finite.
const DRAWABLE_MAX: f64 = 1e300;
/// Ticks of an axis of figures, on each side of zero.
const TICKS: i32 = 5;
const SECOND: i64 = 1_000_000;
/// Steps between ticks of time, in µs: as people divide it.
const STEPS: [i64; 20] = {
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    [
        SECOND,
        5 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        14 * DAY,
        30 * DAY,
        90 * DAY,
        365 * DAY,
        3_650 * DAY,
    ]
};

/// A figure that can be drawn; NaN where there is none.
pub(crate) fn drawable(value: Option<f64>) -> f64 {
    value.filter(|value| value.is_finite()).map_or(f64::NAN, |value| value.clamp(-DRAWABLE_MAX, DRAWABLE_MAX))
}

/// An axis of figures, in units of `end`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// What one unit of the axis stands for; above 0.
    pub(crate) end: f64,
    /// The axis runs from here, 0 or below.
    pub(crate) from: f64,
    /// To here, 0 or above.
    pub(crate) to: f64,
    /// Between the two, 0 among them.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// That holds all of these and zero. Between small counts it has no ticks: there is no half of an event.
    pub(crate) fn of(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let (low, high, is_whole) =
            values.filter(|value| value.is_finite()).fold((0.0f64, 0.0f64, true), |(low, high, is_whole), value| {
                (low.min(value), high.max(value), is_whole && value.fract() == 0.0)
            });
        let end = round_up(high.max(-low));
        let step = if unit == Unit::Number && is_whole && end < 5.0 {
            1.0 / end
        } else if low < 0.0 && high > 0.0 {
            0.5
        } else {
            1.0 / 5.0
        };
        let from = if low < 0.0 { (low / end / step).floor() * step } else { 0.0 };
        let to = if high > 0.0 || low == 0.0 { (high / end / step).ceil().max(1.0) * step } else { 0.0 };
        let ticks =
            (-TICKS..=TICKS).map(|tick| f64::from(tick) * step).filter(|tick| (from - 1e-9..=to + 1e-9).contains(tick));
        Self { end, from, to, ticks: ticks.collect() }
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    // Denormal numbers have no power of their own.
    if power == 0.0 {
        return value;
    }
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|end| *end >= value * (1.0 - 1e-12))
        .unwrap_or(value)
}

/// A figure in few characters: `0.25`, `1.5k`, `3M`, `1.2e20`, `31.25 %`.
pub(crate) fn figure(value: f64, unit: Unit) -> String {
    let value = drawable(Some(value));
    match unit {
        // As many digits as a share of four behind the point has.
        Unit::Percent if value.abs() < 1e4 => format!("{} %", plain(value * 100.0, 2)),
        Unit::Percent => format!("{} %", number(value * 100.0)),
        Unit::Number => number(value),
    }
}

fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.2e}");
    }
    for (end, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= end {
            let unit = if letter == "k" { 1e3 } else { end };
            return format!("{}{letter}", plain(value / unit, 2));
        }
    }
    plain(
        value,
        if size >= 100.0 {
            1
        } else if size >= 1.0 {
            2
        } else {
            4
        },
    )
}

/// A number with so many digits behind the point, halves rounded away from zero, as reports do.
pub fn fixed(value: f64, decimals: usize) -> String {
    // A half that was computed lies next to it: 100 times 0.0725 is 7.249999999999999.
    const NEXT: f64 = 1e-9;
    let unit = 10f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
    let units = (value.abs() * unit + NEXT).round();
    let rounded = if units.is_finite() { (units / unit).copysign(value) } else { value };
    format!("{rounded:.decimals$}")
}

/// With so many decimals at most, no zeros at their end.
fn plain(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Labels that are all times, or all days.
pub(crate) struct Times {
    /// Each in µs since the epoch.
    pub(crate) at: Vec<i64>,
    /// They are days: nothing stands between two of them.
    is_days: bool,
}

impl Times {
    /// `None` if a label is neither a date (`YYYY-MM-DD`) nor a time (RFC 3339).
    pub(crate) fn of(labels: &[String]) -> Option<Self> {
        let at = labels.iter().map(|label| time(label)).collect::<Option<Vec<i64>>>()?;
        Some(Self { at, is_days: labels.iter().all(|label| day(label).is_some()) })
    }

    /// The first and the last.
    pub(crate) fn ends(&self) -> (i64, i64) {
        (self.at.iter().copied().min().unwrap_or(0), self.at.iter().copied().max().unwrap_or(0))
    }

    /// At most one more than `most` ticks between the two, and what stands at each.
    pub(crate) fn ticks(&self, most: u32) -> Vec<(i64, String)> {
        const DAY: i64 = 86_400 * SECOND;
        let (from, to) = self.ends();
        let shown =
            |at: i64, pattern: &str| Some((at, DateTime::from_timestamp_micros(at)?.format(pattern).to_string()));
        if from == to {
            return shown(from, if self.is_days { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" }).into_iter().collect();
        }
        let most = i64::from(most);
        let span = to.saturating_sub(from);
        let step = STEPS.into_iter().filter(|step| !self.is_days || *step >= DAY).find(|step| span / step <= most);
        let step = step.unwrap_or(span / most);
        let pattern = match step {
            ..60_000_000 => "%H:%M:%S",
            60_000_000..DAY if span < DAY => "%H:%M",
            60_000_000..DAY => "%m-%d %H:%M",
            _ => "%Y-%m-%d",
        };
        let first = from.div_euclid(step).saturating_mul(step);
        let ticks: Vec<_> = std::iter::successors(Some(first), |at| at.checked_add(step))
            .take_while(|at| *at <= to)
            .filter(|at| *at >= from)
            .filter_map(|at| shown(at, pattern))
            .collect();
        if ticks.is_empty() { shown(from, "%Y-%m-%d %H:%M").into_iter().collect() } else { ticks }
    }
}

/// A date or a time, in µs since the epoch.
fn time(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    Some(day(text)?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}
