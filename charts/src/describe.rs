//! What a chart shows, in a sentence or two, for those who don't see it.

use crate::scale::figure;
use crate::text::{LABEL_CHARS, clean};
use crate::{BARS_MAX, Chart, Kind, POINTS_MAX, SERIES_MAX};
use std::fmt::Write as _;

/// The kind, how much of it there is, and each series' highest and lowest figure.
pub(crate) fn describe(chart: &Chart, rows: usize) -> String {
    let kind = match chart.kind {
        Kind::Bar => "Bar chart",
        Kind::Line => "Line chart",
        Kind::Stacked => "Stacked bar chart",
        Kind::Share => "Chart of shares",
    };
    let what = if chart.kind == Kind::Line { "points" } else { "rows" };
    let mut text = format!("{kind} of {rows} {what}");
    if chart.kind != Kind::Line && rows > BARS_MAX {
        let _ = write!(text, ", the first {BARS_MAX} drawn");
    } else if chart.kind == Kind::Line && rows > POINTS_MAX {
        let _ = write!(text, ", one in {} drawn", rows.div_ceil(POINTS_MAX));
    }
    if chart.series.len() > SERIES_MAX {
        let _ = write!(text, ", {SERIES_MAX} of {} series drawn", chart.series.len());
    }
    text.push('.');
    for series in chart.series.iter().take(SERIES_MAX) {
        let finite = || series.values.iter().take(rows).enumerate().filter(|(_, value)| value.is_finite());
        let highest = finite().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let lowest = finite().min_by(|a, b| a.1.total_cmp(b.1));
        if let (Some((high, most)), Some((low, least))) = (highest, lowest) {
            let name = |row: usize| clean(chart.labels.get(row).map_or("", String::as_str), LABEL_CHARS);
            let (most, least) = (figure(*most, chart.unit), figure(*least, chart.unit));
            let _ = write!(text, " {}: highest {most} ({}), lowest {least} ({}).", series.name, name(high), name(low));
        }
    }
    text
}
