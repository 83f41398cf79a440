//! The picture, drawn by plotters.

use crate::marks::{MARKED_MAX, dashed, mark};
use crate::scale::{Axis, figure, time, time_ticks};
use crate::style::{GRID, INK, SERIES};
use crate::text::{escape, width};
use crate::{Chart, Kind};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

const WIDTH: u32 = 760;
/// Of a row of bars.
const ROW: u32 = 24;
/// Of a row's bar when there are several in it.
const BAR: u32 = 14;
/// Of a line chart without its legend.
const LINE_HEIGHT: u32 = 300;
const FONT: u32 = 15;
const LEGEND_ROW: u32 = 22;
const MARGIN: u32 = 8;
/// Room for the figure at the end of a bar.
const FIGURE: u32 = 76;
const AXIS: u32 = 28;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The picture of a chart that is within the limits.
pub(crate) fn svg(chart: &Chart) -> String {
    let legend = Legend::of(chart);
    let height = legend.height + if chart.is_empty() { 4 * ROW } else { body_height(chart) };
    let mut drawn = String::new();
    // Writing into memory doesn't fail; were it to, what is drawn so far is still a picture.
    let _ = draw(chart, &legend, &mut drawn, height);
    let (title, description) = (escape(&chart.title), escape(&chart.description));
    // The first line opens the element; ours says more.
    let inside = drawn.split_once('\n').map_or("", |(_, inside)| inside).trim_end();
    let inside = inside.strip_suffix("</svg>").unwrap_or(inside);
    let inside = if chart.kind == Kind::Line { dashed(inside) } else { inside.to_owned() };
    format!(
        "<svg role=\"img\" class=\"chart\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<title>{title}</title>\n<desc>{description}</desc>\n{inside}</svg>\n"
    )
}

fn body_height(chart: &Chart) -> u32 {
    match chart.kind {
        Kind::Line => LINE_HEIGHT,
        Kind::Bar if chart.series.len() > 1 => rows(chart) * (BAR * count(chart.series.len()) + 8) + AXIS + 2 * MARGIN,
        Kind::Bar | Kind::Stacked | Kind::Share => rows(chart) * ROW + AXIS + 2 * MARGIN,
    }
}

fn rows(chart: &Chart) -> u32 {
    count(chart.labels.len())
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn place(of: usize) -> f64 {
    f64::from(count(of))
}

fn pixels(of: u32) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn font(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", FONT).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
}

fn draw(chart: &Chart, legend: &Legend, drawn: &mut String, height: u32) -> Drawn {
    let root = SVGBackend::with_string(drawn, (WIDTH, height)).into_drawing_area();
    let (top, body) = root.split_vertically(legend.height);
    legend.draw(&top)?;
    if chart.is_empty() {
        let middle = (pixels(WIDTH / 2), pixels(2 * ROW));
        body.draw(&Text::new("No figures to draw", middle, font(HPos::Center, VPos::Center)))?;
    } else {
        match chart.kind {
            Kind::Line => line(chart, &body)?,
            Kind::Bar => bars(chart, &body)?,
            Kind::Stacked | Kind::Share => stacks(chart, &body)?,
        }
    }
    root.present()
}

/// The series' names with their colours, or lines, where there is more than one.
struct Legend {
    /// Each name with its place.
    entries: Vec<(String, u32, u32)>,
    height: u32,
    /// Pixels of a sample, and of the room behind it, as it stands in front of each name.
    sample: u32,
    is_of_lines: bool,
}

impl Legend {
    fn of(chart: &Chart) -> Self {
        let is_of_lines = chart.kind == Kind::Line;
        let sample = if is_of_lines { 44 } else { 22 };
        if chart.series.len() < 2 {
            return Self { entries: Vec::new(), height: 0, sample, is_of_lines };
        }
        let (mut x, mut y) = (MARGIN, MARGIN / 2);
        let mut entries = Vec::new();
        for series in &chart.series {
            let wide = sample + width(&series.name, FONT) + 14;
            if x > MARGIN && x + wide > WIDTH {
                (x, y) = (MARGIN, y + LEGEND_ROW);
            }
            entries.push((series.name.clone(), x, y));
            x += wide;
        }
        Self { entries, height: y + LEGEND_ROW, sample, is_of_lines }
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        for (nth, ((name, x, y), color)) in self.entries.iter().zip(SERIES).enumerate() {
            let (x, y) = (pixels(*x), pixels(*y));
            let end = x + pixels(self.sample) - 8;
            if self.is_of_lines {
                area.draw(&PathElement::new(vec![(x, y + 11), (end, y + 11)], color.stroke_width(2)))?;
                area.draw(&mark(nth, (x.midpoint(end), y + 11)))?;
            } else {
                area.draw(&Rectangle::new([(x, y + 4), (end, y + 18)], color.filled()))?;
            }
            area.draw(&Text::new(name.as_str(), (end + 8, y + 11), font(HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }
}

/// An axis with ticks where we want them.
struct Straight(Range<f64>, Vec<f64>);

impl Straight {
    fn new(range: Range<f64>, ticks: &[f64]) -> Self {
        Self(range, ticks.to_vec())
    }
}

impl Ranged for Straight {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.0.start) / (self.0.end - self.0.start);
        #[allow(clippy::cast_possible_truncation, reason = "it lies within the picture")]
        let pixels = (part.clamp(0.0, 1.0) * f64::from(to - from)).round() as i32;
        from + pixels
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.1.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.0.clone()
    }
}

/// A rectangle in the units of the axes: from, to, color.
type Block = ((f64, f64), (f64, f64), RGBColor);

/// Blocks in rows with names on the left, and figures at places. Row 0 is on top: `y` runs down.
fn blocks(chart: &Chart, axis: &Axis, blocks: &[Block], figures: &[(f64, f64, String)], area: &Area<'_>) -> Drawn {
    let rows = place(chart.labels.len());
    let left = chart.labels.iter().map(|label| width(label, FONT)).max().unwrap_or(0) + 10;
    let centers: Vec<f64> = (0..chart.labels.len()).map(|row| place(row) + 0.5).collect();
    let mut body = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(FIGURE)
        .x_label_area_size(AXIS)
        .y_label_area_size(left)
        .build_cartesian_2d(Straight::new(axis.from..axis.to, &axis.ticks), Straight::new(rows..0.0, &centers))?;
    let label = |y: &f64| chart.labels.iter().zip(0u32..).find(|(_, row)| f64::from(*row) + 0.5 == *y);
    body.configure_mesh()
        .disable_y_mesh()
        .x_labels(axis.ticks.len())
        .y_labels(chart.labels.len())
        .x_label_formatter(&|x| figure(x * axis.end, chart.unit))
        .y_label_formatter(&|y| label(y).map_or_else(String::new, |(label, _)| label.clone()))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(("sans-serif", FONT).into_font().color(&INK))
        .draw()?;
    body.draw_series(blocks.iter().map(|(from, to, color)| Rectangle::new([*from, *to], color.filled())))?;
    body.draw_series(figures.iter().map(|(x, y, text)| {
        EmptyElement::at((*x, *y)) + Text::new(text.clone(), (5, 0), font(HPos::Left, VPos::Center))
    }))?;
    Ok(())
}

fn bars(chart: &Chart, area: &Area<'_>) -> Drawn {
    let axis = Axis::of(chart.series.iter().flat_map(|series| series.values.iter().copied()));
    let thick = 0.76 / place(chart.series.len());
    let mut drawn = Vec::new();
    let mut figures = Vec::new();
    for (nth, (series, color)) in chart.series.iter().zip(SERIES).enumerate() {
        for (row, value) in series.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (x, y) = (value / axis.end, place(row) + 0.12 + thick * place(nth));
            drawn.push(((0.0, y), (x, y + thick), color));
            figures.push((x.max(0.0), y + thick / 2.0, figure(*value, chart.unit)));
        }
    }
    blocks(chart, &axis, &drawn, &figures, area)
}

fn stacks(chart: &Chart, area: &Area<'_>) -> Drawn {
    let is_share = chart.kind == Kind::Share;
    let part = |series: &crate::Series, row: usize| series.values[row].max(0.0);
    let whole = |row: usize| chart.series.iter().map(|series| part(series, row)).sum::<f64>();
    let rows = 0..chart.labels.len();
    let axis = if is_share { Axis::of([1.0].into_iter()) } else { Axis::of(rows.clone().map(whole)) };
    let mut drawn = Vec::new();
    let mut figures = Vec::new();
    for row in rows {
        let end = if is_share { whole(row) } else { axis.end };
        let mut x = 0.0;
        for (series, color) in chart.series.iter().zip(SERIES) {
            let long = if end > 0.0 { part(series, row) / end } else { 0.0 };
            if long > 0.0 {
                drawn.push(((x, place(row) + 0.12), (x + long, place(row) + 0.88), color));
                x += long;
            }
        }
        if !is_share {
            figures.push((x, place(row) + 0.5, figure(whole(row), chart.unit)));
        }
    }
    let shares = Chart { unit: if is_share { crate::Unit::Percent } else { chart.unit }, ..chart.clone() };
    blocks(&shares, &axis, &drawn, &figures, area)
}

/// Where a line's points stand from 0 to 1, and the ticks between.
fn places(labels: &[String]) -> (Vec<f64>, Vec<(f64, String)>) {
    let times: Option<Vec<i64>> = labels.iter().map(|label| time(label)).collect();
    let Some(times) = times else {
        let last = place(labels.len().saturating_sub(1)).max(1.0);
        let every = labels.len().div_ceil(6).max(1);
        let at = |row: usize| place(row) / last;
        let ticks = labels.iter().enumerate().step_by(every).map(|(row, label)| (at(row), label.clone()));
        return ((0..labels.len()).map(at).collect(), ticks.collect());
    };
    let (from, to) = (times.iter().copied().min().unwrap_or(0), times.iter().copied().max().unwrap_or(0));
    #[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    let at =
        |time: i64| if to > from { (time.saturating_sub(from)) as f64 / (to.saturating_sub(from)) as f64 } else { 0.5 };
    let ticks = time_ticks(from, to).into_iter().map(|(time, text)| (at(time), text));
    (times.iter().map(|time| at(*time)).collect(), ticks.collect())
}

fn line(chart: &Chart, area: &Area<'_>) -> Drawn {
    let axis = Axis::of(chart.series.iter().flat_map(|series| series.values.iter().copied()));
    let (places, ticks) = places(&chart.labels);
    let wide = axis.ticks.iter().map(|tick| width(&figure(tick * axis.end, chart.unit), FONT)).max().unwrap_or(0);
    let at: Vec<f64> = ticks.iter().map(|(at, _)| *at).collect();
    let mut body = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(FIGURE)
        .x_label_area_size(AXIS)
        .y_label_area_size(wide + 14)
        .build_cartesian_2d(Straight::new(0.0..1.0, &at), Straight::new(axis.from..axis.to, &axis.ticks))?;
    let tick = |x: &f64| ticks.iter().find(|(at, _)| at == x).map_or_else(String::new, |(_, text)| text.clone());
    body.configure_mesh()
        .disable_x_mesh()
        .x_labels(ticks.len())
        .y_labels(axis.ticks.len())
        .x_label_formatter(&tick)
        .y_label_formatter(&|y| figure(y * axis.end, chart.unit))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(("sans-serif", FONT).into_font().color(&INK))
        .draw()?;
    let is_marked = chart.series.len() > 1 && places.len() <= MARKED_MAX;
    for (nth, (series, color)) in chart.series.iter().zip(SERIES).enumerate() {
        let points: Vec<(f64, f64)> = places.iter().copied().zip(series.values.iter().map(|y| y / axis.end)).collect();
        // A gap parts the line; a point alone between two gaps is a dot.
        for run in points.split(|(_, y)| !y.is_finite()).filter(|run| !run.is_empty()) {
            match run {
                [only] if !is_marked => drop(body.draw_series([Circle::new(*only, 3, color.filled())])?),
                run => drop(body.draw_series(LineSeries::new(run.iter().copied(), color.stroke_width(2)))?),
            }
        }
        for point in points.iter().filter(|(_, y)| is_marked && y.is_finite()) {
            body.plotting_area().draw(&(EmptyElement::at(*point) + mark(nth, (0, 0))))?;
        }
    }
    Ok(())
}
