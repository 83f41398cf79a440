//! RFC 3339 times, read and written as microseconds since the epoch, UTC.
//!
//! Times are read for every event, by ingest and by the decoder, so the usual shape (`Z`, up to
//! nine decimals) has a way of its own; every other shape goes through chrono.

use chrono::{DateTime, SecondsFormat};

/// Microseconds in a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Reads an RFC 3339 time; what is finer than a microsecond is cut off. `None` if it is no such
/// time. A leap second (`:60`) counts as the second before it, as in Unix time.
pub fn parse_us(text: &str) -> Option<i64> {
    parse_usual(text.as_bytes()).or_else(|| {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        time.timestamp().checked_mul(1_000_000)?.checked_add(i64::from(time.timestamp_subsec_micros().min(999_999)))
    })
}

/// Writes RFC 3339 with six decimals and `Z`. A time outside chrono's range of about 262,000 years
/// is written as the epoch.
pub fn format_us(time_us: i64) -> String {
    DateTime::from_timestamp_micros(time_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The date of a time, in days since the epoch, as Arrow's `Date32` has it.
pub fn date_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).unwrap_or_default()
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, and nothing else.
fn parse_usual(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let shape = [head[4], head[7], head[10], head[13], head[16]];
    if shape != *b"--T::" {
        return None;
    }
    let two = |at: usize| -> Option<i64> {
        let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
    };
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (end, fraction) = tail.split_last()?;
    if *end != b'Z' {
        return None;
    }
    let mut micros = 0;
    if let Some((dot, digits)) = fraction.split_first() {
        if *dot != b'.' || digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for place in 0..6 {
            micros = micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
        }
    }
    let seconds = ((days_from_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a Gregorian date: Howard Hinnant's `days_from_civil`.
const fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_rfc_3339_allows_and_nothing_else() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2023-07-29T03:06:59.437Z", Some(1_690_600_019_437_000)),
            ("2023-07-29T05:06:59.437+02:00", Some(1_690_600_019_437_000)),
            ("2023-07-29t03:06:59.437z", Some(1_690_600_019_437_000)),
            ("2024-02-29T00:00:00.1234567Z", Some(1_709_164_800_123_456)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-07-29T24:00:00Z", None),
            ("2023-07-29T03:06:59.Z", None),
            ("2023-07-29T03:06:59", None),
            ("2023-07-29", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_us(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_chrono(time_us in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let text = format_us(time_us);
            prop_assert_eq!(parse_usual(text.as_bytes()), Some(time_us));
            prop_assert_eq!(DateTime::parse_from_rfc3339(&text).unwrap().timestamp_micros(), time_us);
        }
    }
}
