//! RFC 3339 to microseconds and back: [`parse`] for what clients send, [`format`](fn@format) for what
//! killfeed writes. Written out because it runs several times for each event.

use crate::clock::Micros;

const DAY_US: i64 = 86_400_000_000;
/// 0000-01-01T00:00:00Z, the earliest time that RFC 3339 can write.
pub const EARLIEST_US: Micros = -62_167_219_200_000_000;
/// 9999-12-31T23:59:59.999999Z, the latest.
pub const LATEST_US: Micros = 253_402_300_799_999_999;

/// Bytes of what [`format`](fn@format) writes.
pub const FORMATTED_LEN: usize = 27;

/// µs since the epoch of an RFC 3339 time; `None` if it is none. Digits below the microsecond are
/// cut; a leap second counts as the first of the next minute.
pub fn parse(text: &str) -> Option<Micros> {
    let bytes = text.as_bytes();
    let (head, mut rest) = bytes.split_first_chunk::<19>()?;
    let number = |from: usize, len: usize| {
        head.get(from..from + len)?
            .iter()
            .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let separators = [head[4], head[7], head[13], head[16]] == *b"--::" && matches!(head[10], b'T' | b't' | b' ');
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let fits = separators && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut fraction = 0;
    if let Some((b'.', after)) = rest.split_first() {
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let mut unit = 100_000;
        for digit in after.iter().take(digits.min(6)) {
            fraction += i64::from(digit - b'0') * unit;
            unit /= 10;
        }
        rest = after.get(digits..)?;
    }
    let offset_minutes = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) => {
            let hours = i64::from(h1 - b'0') * 10 + i64::from(h2 - b'0');
            let minutes = i64::from(m1 - b'0') * 10 + i64::from(m2 - b'0');
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

/// `2026-11-21T09:30:00.000000Z`: µs, UTC. Times outside the years 0 to 9999 become the nearest
/// that can be written.
pub fn format(at: Micros) -> [u8; FORMATTED_LEN] {
    let at = at.clamp(EARLIEST_US, LATEST_US);
    let (year, month, day) = civil_from_days(at.div_euclid(DAY_US));
    let in_day = at.rem_euclid(DAY_US);
    let (seconds, micros) = (in_day / 1_000_000, in_day % 1_000_000);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (from, len, value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, seconds / 3_600),
        (14, 2, seconds / 60 % 60),
        (17, 2, seconds % 60),
        (20, 6, micros),
    ] {
        let mut left = value;
        for place in text[from..from + len].iter_mut().rev() {
            *place = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
    text
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The same, backwards.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_rfc_3339_allows_and_nothing_else() {
        for (text, us) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2023-07-29T03:06:59.437Z", Some(1_690_600_019_437_000)),
            ("2023-07-29t03:06:59.437123999z", Some(1_690_600_019_437_123)),
            ("2023-07-29 05:06:59.5+02:00", Some(1_690_600_019_500_000)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000)),
            ("2024-02-29T00:00:00-00:30", Some(1_709_166_600_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-01-00T00:00:00Z", None),
            ("2023-01-01T24:00:00Z", None),
            ("2023-01-01T00:00:00", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00+2:00", None),
            ("2023-01-01T00:00:00+24:00", None),
            ("2023-01-01", None),
            ("yesterday, sometime", None),
            ("1690600019437", None),
            ("٢٠٢٣-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text), us, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono_and_reads_its_own_writing(us in EARLIEST_US..=LATEST_US) {
            let text = String::from_utf8(format(us).to_vec()).unwrap();
            prop_assert_eq!(parse(&text), Some(us));
            let theirs = chrono::DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!(theirs.timestamp_micros(), us);
        }

        #[test]
        fn never_panics(text in any::<String>(), us in any::<i64>()) {
            let _ = parse(&text);
            prop_assert_eq!(parse(std::str::from_utf8(&format(us)).unwrap()), Some(us.clamp(EARLIEST_US, LATEST_US)));
        }
    }
}
