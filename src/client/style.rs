//! Colours and tables for people: on a terminal, and never in a pipe.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::io::Write as _;

/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// `text` in this style; [`anstream`] takes it away again where no terminal listens.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints aligned rows below a heading; numbers stand to the right.
pub(crate) fn table(head: &[String], numeric: &[bool], rows: Vec<Vec<String>>) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    for line in aligned(head, numeric, rows, terminal_width()).lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The same as text. Cells are wrapped where the lines would pass `width`.
pub(crate) fn aligned(head: &[String], numeric: &[bool], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for (column, numeric) in table.column_iter_mut().zip(numeric) {
        column.set_padding((0, 2));
        if *numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for (number, line) in table.to_string().lines().enumerate() {
        match number {
            0 => text.push_str(&paint(HEADING, line.trim_end())),
            _ => text.push_str(line.trim_end()),
        }
        text.push('\n');
    }
    text
}

/// Columns of the terminal that [`aligned`] takes for these rows if nothing is wrapped.
pub(crate) fn natural_width(head: &[String], rows: &[Vec<String>]) -> usize {
    let mut table = Table::new();
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    let widths = table.column_max_content_widths();
    widths.iter().map(|width| usize::from(*width)).sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// How wide the terminal is that standard output goes to, if it goes to one.
pub(crate) fn terminal_width() -> Option<u16> {
    Table::new().width().filter(|width| *width > 0)
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
