//! Values as people read them, and tables of them.

use crate::data::{Cell, Column, Kind, Table};
use maud::{Markup, html};
use std::fmt::Write as _;

/// Characters of a cell that a table shows; the rest is in the download.
const CELL_MAX: usize = 300;
/// Lines that are shown of a list.
const LINES_MAX: usize = 200;
/// Bytes of a cell that are shown in hex.
const HEX_MAX: usize = 24;

/// A whole number in groups of three digits.
pub(crate) fn whole(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number with so many digits behind the point, in groups of three before it.
pub(crate) fn fixed(number: f64, digits: usize) -> String {
    grouped(&charts::fixed(number, digits))
}

/// A rate: a digit behind the point where it is small.
pub(crate) fn rate(number: f64) -> String {
    fixed(number, usize::from(number > 0.0 && number < 100.0))
}

/// A decimal number with commas between groups; anything else as it is.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (digits, fraction) = rest.find(['.', 'e', 'E']).map_or((rest, ""), |at| rest.split_at(at));
    if digits.len() < 5 && fraction.is_empty() || digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut text = sign.to_owned();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// Bytes in the unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut left = bytes as f64;
    let mut unit = 0;
    while left >= 1024.0 && unit + 1 < UNITS.len() {
        left /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && left < 100.0);
    format!("{left:.digits$} {}", UNITS[unit])
}

/// A span of seconds in the two units that matter.
pub(crate) fn ago(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds, never below 0")]
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{minutes} min {} s", whole % 60),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A time in RFC 3339 without what repeats: a blank for the T, no more than milliseconds, no Z.
pub(crate) fn time(rfc3339: &str) -> String {
    let text = rfc3339.strip_suffix('Z').unwrap_or(rfc3339).replacen('T', " ", 1);
    let end = text.find('.').map_or(text.len(), |point| (point + 4).min(text.len()));
    text.get(..end).unwrap_or(&text).to_owned()
}

/// Text in which nothing hides: characters that turn the direction or can't be seen stand as their number.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if charts::misleads(c) || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{feff}') => {
                // Writing to a string can't fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The first characters, with an ellipsis where there are more.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(HEX_MAX) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > HEX_MAX { text + "…" } else { text }
}

/// A cell's content.
fn cell(kind: Kind, cell: &Cell, digits: Option<usize>) -> Markup {
    html! {
        @match cell {
            Cell::Null => span.null { "null" },
            Cell::Bytes(bytes) => code { (hex(bytes)) },
            Cell::Lines(lines) => details.lines {
                summary { (lines.len()) @if lines.len() == 1 { " line" } @else { " lines" } }
                ul { @for line in lines.iter().take(LINES_MAX) { li { (cut(&visible(line), CELL_MAX)) } } }
                @if lines.len() > LINES_MAX { p.note { "and more" } }
            },
            Cell::Text(text) => @match kind {
                Kind::Number => (grouped(&padded(text, digits))),
                Kind::Time => time datetime=(text) { (time(text)) },
                Kind::Text => (cut(&visible(text), CELL_MAX)),
            },
        }
    }
}

/// Column names with blanks for their underscores would be other names: they stay.
fn head(column: &Column) -> Markup {
    html! { th scope="col" .num[column.kind == Kind::Number] { (visible(&column.name)) } }
}

/// Digits behind the point that a column of numbers is shown with, so that they stand under each other: as many as
/// its longest has. `None`: as they are, since one has more than a report rounds to, or is no plain decimal.
fn digits(table: &Table, place: usize) -> Option<usize> {
    const DIGITS_MAX: usize = 4;
    let mut most = 0;
    for row in &table.rows {
        let Some(number) = row.get(place).and_then(Cell::text) else { continue };
        if !number.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'-' | b'.')) {
            return None;
        }
        most = most.max(number.split_once('.').map_or(0, |(_, fraction)| fraction.len()));
    }
    (most <= DIGITS_MAX).then_some(most)
}

/// A decimal number with so many digits behind the point.
fn padded(number: &str, digits: Option<usize>) -> String {
    let Some(digits) = digits.filter(|digits| *digits > 0) else { return number.to_owned() };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    format!("{whole}.{fraction:0<digits$}")
}

/// A table, with what it is as its caption.
pub(crate) fn table(caption: &str, table: &Table) -> Markup {
    let digits: Vec<Option<usize>> = (0..table.columns.len())
        .map(|place| if table.columns[place].kind == Kind::Number { digits(table, place) } else { None })
        .collect();
    html! {
        @for warning in &table.warnings { p.warning role="note" { (warning) } }
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption.hidden { (caption) }
                thead { tr { @for column in &table.columns { (head(column)) } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for ((column, value), digits) in table.columns.iter().zip(row).zip(&digits) {
                                td .num[column.kind == Kind::Number] { (cell(column.kind, value, *digits)) }
                            }
                        }
                    }
                }
            }
        }
        p.note {
            @if table.rows.is_empty() { "No rows." }
            @else if table.more { "The first " (whole(table.rows.len() as u64)) " rows; the download has all." }
            @else if table.rows.len() == 1 { "1 row" }
            @else { (whole(table.rows.len() as u64)) " rows" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_groups_of_three() {
        for (number, shown) in [
            ("0", "0"),
            ("1234", "1234"),
            ("12345", "12,345"),
            ("-1234567", "-1,234,567"),
            ("1234.5678", "1,234.5678"),
            ("0.25", "0.25"),
            ("1e30", "1e30"),
            ("NaN", "NaN"),
            ("", ""),
        ] {
            assert_eq!(grouped(number), shown);
        }
        assert_eq!((rate(0.0), rate(2.25), rate(12_345.6)), ("0".into(), "2.3".into(), "12,346".into()));
    }

    #[test]
    fn decimals_stand_under_each_other() {
        let of = |numbers: &[&str]| {
            let rows = numbers.iter().map(|number| vec![Cell::Text((*number).to_owned())]).collect();
            let table = Table { rows, ..Table::default() };
            numbers.iter().map(|number| padded(number, digits(&table, 0))).collect::<Vec<_>>()
        };
        assert_eq!(of(&["0.5", "0.3333", "-12"]), ["0.5000", "0.3333", "-12.0000"]);
        assert_eq!(of(&["1", "20"]), ["1", "20"]);
        assert_eq!(of(&["0.5", "1e-7"]), ["0.5", "1e-7"]);
        assert_eq!(of(&["0.5", "0.30000000000000004"]), ["0.5", "0.30000000000000004"]);
    }

    #[test]
    fn sizes_and_spans_have_the_unit_that_fits() {
        assert_eq!(
            [0, 1023, 1024, 1 << 20, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "16777216 TiB"]
        );
        let spans = [-1.0, 0.25, 59.9, 61.0, 3_700.0, 90_000.0].map(ago);
        assert_eq!(spans, ["0.0 s", "0.2 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn what_hides_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{0}\n\u{200b}ü"), "a\\u{202e}b\\u{0}\n\\u{200b}ü");
        assert_eq!((cut("äöü", 2), cut("äö", 2)), ("äö…".into(), "äö".into()));
        assert_eq!(time("2026-11-20T10:00:00.123456Z"), "2026-11-20 10:00:00.123");
        assert_eq!(time("nonsense"), "nonsense");
    }
}
