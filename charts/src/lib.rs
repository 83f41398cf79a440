//! Plain rows as a picture: one SVG, drawn on the server, for HTML reports and the dashboard.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Chart`] | what is drawn: labels, series of numbers, a kind |
//! | [`svg`] | the picture, for one width |
//! | [`pictures`] | the same for pages that desktops and phones read |
//! | [`STYLE`] | how it takes the page's colours, light and dark |
//! | [`fixed`] | how figures are rounded |
//!
//! A picture has no script, no style of its own, and asks for nothing outside itself, so that it stands in a
//! page with the strictest content security policy. Its colours are those of a light page; [`STYLE`], which
//! the page brings, exchanges them for the page's own and for a dark one's. To screen readers it is one image
//! with a title and a description; the figures belong in a table beside it.
//!
//! ```
//! let chart = charts::Chart {
//!     kind: charts::Kind::Bar,
//!     title: "Crashes by signature".into(),
//!     labels: vec!["render".into(), "audio".into()],
//!     series: vec![charts::Series { name: "crashes".into(), values: vec![3.0, 1.0] }],
//!     ..Default::default()
//! };
//! assert!(charts::svg(&chart, charts::Width::Wide).starts_with("<svg role=\"img\""));
//! ```

mod describe;
mod draw;
mod marks;
mod scale;
mod style;
#[cfg(test)]
mod tests;
mod text;

pub use scale::fixed;
pub use style::STYLE;
pub use text::{escape, misleads};

/// Rows of bars that a picture shows; the rest stays in the table beside it.
pub const BARS_MAX: usize = 40;
/// Points of a line that a picture shows; of more, every second, third and so on.
pub const POINTS_MAX: usize = 1_000;
/// Series that can be told apart by colour; later ones are left out.
pub const SERIES_MAX: usize = 6;

/// What a picture shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// How it is drawn.
    pub kind: Kind,
    /// In a few words; its accessible name, not drawn, since the page has it as a heading.
    pub title: String,
    /// What it shows, for those who don't see it; empty: made from the figures.
    pub description: String,
    /// One for each row: a bar's name, or where a line's point stands. If all of a line's labels are
    /// dates (`YYYY-MM-DD`) or times (RFC 3339), points stand as far apart as their times.
    pub labels: Vec<String>,
    /// The figures, each with one value for each label; missing and non-finite ones leave a gap.
    pub series: Vec<Series>,
    /// What the figures are.
    pub unit: Unit,
}

/// One column of figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Its name, in the legend.
    pub name: String,
    /// One value for each label.
    pub values: Vec<f64>,
}

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A horizontal bar for each row; with several series, a group of bars.
    #[default]
    Bar,
    /// A line for each series, over time or over the labels in their order.
    Line,
    /// A horizontal bar for each row, its parts the series, as long as their sum. Negative parts are left out.
    Stacked,
    /// The same, every bar of one length: the parts' shares.
    Share,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bar, Self::Line, Self::Stacked, Self::Share];

    /// As reports name it: `bar`, `line`, `stacked`, `share`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bar => "bar",
            Self::Line => "line",
            Self::Stacked => "stacked",
            Self::Share => "share",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What figures are, and so how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Plain numbers.
    #[default]
    Number,
    /// Shares of one, written as percent.
    Percent,
}

/// For whom a picture is drawn: text has its size, whatever the screen's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// A desktop, a sheet of paper: 760 px.
    Wide,
    /// A phone: 340 px, the names of bars above them.
    Narrow,
}

/// The chart as an `<svg class="chart">` element, valid both inside HTML and as an XML file of its own.
///
/// Any input gives a picture: odd labels are escaped and shortened, figures that aren't numbers leave a
/// gap, and without any figure it says so.
pub fn svg(chart: &Chart, width: Width) -> String {
    draw::svg(&chart.cut(), width, "chart")
}

/// A picture for each width, of which [`STYLE`] shows the one that fits the page.
pub fn pictures(chart: &Chart) -> String {
    let chart = chart.cut();
    draw::svg(&chart, Width::Wide, "chart wide") + &draw::svg(&chart, Width::Narrow, "chart narrow")
}

impl Chart {
    /// What of it is drawn: within the limits, texts cleaned, numbers that can be drawn.
    fn cut(&self) -> Self {
        let rows = self.series.iter().map(|series| series.values.len()).max().unwrap_or(0).min(self.labels.len());
        let every = if self.kind == Kind::Line { rows.div_ceil(POINTS_MAX).max(1) } else { 1 };
        let shown = if self.kind == Kind::Line { rows } else { rows.min(BARS_MAX) };
        let picked = || (0..shown).step_by(every);
        let series = self.series.iter().take(SERIES_MAX).map(|series| Series {
            name: text::clean(&series.name, text::NAME_CHARS),
            values: picked().map(|row| scale::drawable(series.values.get(row).copied())).collect(),
        });
        let description =
            if self.description.is_empty() { describe::describe(self, rows) } else { self.description.clone() };
        Self {
            kind: self.kind,
            title: text::clean(&self.title, text::TITLE_CHARS),
            description: text::clean(&description, text::DESCRIPTION_CHARS),
            labels: picked().map(|row| text::clean(&self.labels[row], text::LABEL_CHARS)).collect(),
            series: series.collect(),
            unit: self.unit,
        }
    }

    fn is_empty(&self) -> bool {
        !self.series.iter().any(|series| series.values.iter().any(|value| value.is_finite()))
    }
}
