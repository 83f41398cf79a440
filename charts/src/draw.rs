//! The picture, drawn by plotters.

use crate::marks::{MARKED_MAX, dashed, mark};
use crate::scale::{Axis, Times, figure};
use crate::style::{GRID, INK, SERIES};
use crate::text::{escape, width};
use crate::{Chart, Kind, Width};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// Of a row of bars, its name beside it.
const ROW: u32 = 24;
/// Of a row's bar when there are several in it, or its name stands above.
const BAR: u32 = 14;
/// Above and below a row's bars.
const GAP: u32 = 4;
const LEGEND_ROW: u32 = 22;
const MARGIN: u32 = 8;
const AXIS: u32 = 28;

/// What differs between a desktop's picture and a phone's, in pixels.
#[derive(Debug)]
struct Frame {
    width: u32,
    font: u32,
    /// Of a line chart without its legend.
    line_height: u32,
    /// Room for the figure at the end of a bar.
    figure: u32,
    /// The line above each row's bars that its name takes; 0: names stand beside.
    name: u32,
    /// Ticks with a time or a name below a line chart, at most.
    ticks: u32,
}

const WIDE: Frame = Frame { width: 760, font: 15, line_height: 300, figure: 76, name: 0, ticks: 5 };
const NARROW: Frame = Frame { width: 340, font: 13, line_height: 220, figure: 50, name: 20, ticks: 2 };

/// Where the bars of a row stand in it.
struct Row {
    height: u32,
    /// Of its height: where bars begin, and what they take.
    top: f64,
    thick: f64,
}

impl Frame {
    fn text(&self, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
        ("sans-serif", self.font).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
    }

    fn row(&self, chart: &Chart) -> Row {
        let bars = if chart.kind == Kind::Bar { count(chart.series.len()) } else { 1 };
        if bars == 1 && self.name == 0 {
            return Row { height: ROW, top: 0.12, thick: 0.76 };
        }
        let top = self.name.max(GAP);
        let height = top + bars * BAR + GAP;
        let part = |of: u32| f64::from(of) / f64::from(height);
        Row { height, top: part(top), thick: part(bars * BAR) }
    }

    fn body_height(&self, chart: &Chart) -> u32 {
        match chart.kind {
            _ if chart.is_empty() => 4 * ROW,
            Kind::Line => self.line_height,
            Kind::Bar | Kind::Stacked | Kind::Share => {
                count(chart.labels.len()) * self.row(chart).height + AXIS + 2 * MARGIN
            }
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The picture of a chart that is within the limits, for this width; `class` is its element's.
pub(crate) fn svg(chart: &Chart, width: Width, class: &str) -> String {
    let frame = match width {
        Width::Wide => &WIDE,
        Width::Narrow => &NARROW,
    };
    let legend = Legend::of(chart, frame);
    let (width, height) = (frame.width, legend.height + frame.body_height(chart));
    let mut drawn = String::new();
    // Writing into memory doesn't fail; were it to, what is drawn so far is still a picture.
    let _ = draw(chart, frame, &legend, &mut drawn, height);
    let (title, description) = (escape(&chart.title), escape(&chart.description));
    // The first line opens the element; ours says more.
    let inside = drawn.split_once('\n').map_or("", |(_, inside)| inside).trim_end();
    let inside = inside.strip_suffix("</svg>").unwrap_or(inside);
    let inside = if chart.kind == Kind::Line { dashed(inside) } else { inside.to_owned() };
    format!(
        "<svg role=\"img\" class=\"{class}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<title>{title}</title>\n<desc>{description}</desc>\n{inside}</svg>\n"
    )
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

fn draw(chart: &Chart, frame: &Frame, legend: &Legend, drawn: &mut String, height: u32) -> Drawn {
    let root = SVGBackend::with_string(drawn, (frame.width, height)).into_drawing_area();
    let (top, body) = root.split_vertically(legend.height);
    legend.draw(frame, &top)?;
    if chart.is_empty() {
        let middle = (pixels(frame.width / 2), pixels(2 * ROW));
        body.draw(&Text::new("No figures to draw", middle, frame.text(HPos::Center, VPos::Center)))?;
    } else {
        match chart.kind {
            Kind::Line => line(chart, frame, &body)?,
            Kind::Bar => bars(chart, frame, &body)?,
            Kind::Stacked | Kind::Share => stacks(chart, frame, &body)?,
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
    fn of(chart: &Chart, frame: &Frame) -> Self {
        let is_of_lines = chart.kind == Kind::Line;
        let sample = if is_of_lines { 44 } else { 22 };
        if chart.series.len() < 2 {
            return Self { entries: Vec::new(), height: 0, sample, is_of_lines };
        }
        let (mut x, mut y) = (MARGIN, MARGIN / 2);
        let mut entries = Vec::new();
        for series in &chart.series {
            let wide = sample + width(&series.name, frame.font) + 14;
            if x > MARGIN && x + wide > frame.width {
                (x, y) = (MARGIN, y + LEGEND_ROW);
            }
            entries.push((series.name.clone(), x, y));
            x += wide;
        }
        Self { entries, height: y + LEGEND_ROW, sample, is_of_lines }
    }

    fn draw(&self, frame: &Frame, area: &Area<'_>) -> Drawn {
        for (nth, ((name, x, y), color)) in self.entries.iter().zip(SERIES).enumerate() {
            let (x, y) = (pixels(*x), pixels(*y));
            let end = x + pixels(self.sample) - 8;
            if self.is_of_lines {
                area.draw(&PathElement::new(vec![(x, y + 11), (end, y + 11)], color.stroke_width(2)))?;
                area.draw(&mark(nth, (x.midpoint(end), y + 11)))?;
            } else {
                area.draw(&Rectangle::new([(x, y + 4), (end, y + 18)], color.filled()))?;
            }
            area.draw(&Text::new(name.as_str(), (end + 8, y + 11), frame.text(HPos::Left, VPos::Center)))?;
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

/// What stands in rows, in the units of the axes: y runs down, row 0 is on top.
#[derive(Default)]
struct Blocks {
    blocks: Vec<Block>,
    /// Each with its place.
    figures: Vec<(f64, f64, String)>,
}

impl Blocks {
    /// Draws them, with names beside or above, and an axis below.
    fn draw(self, chart: &Chart, frame: &Frame, axis: &Axis, area: &Area<'_>) -> Drawn {
        let rows = place(chart.labels.len());
        let names_above = frame.name > 0;
        let widest = chart.labels.iter().map(|label| width(label, frame.font)).max().unwrap_or(0);
        // Above them only the first tick needs room, which is centred at the left end.
        let left = if names_above { 8 } else { widest + 10 };
        let centers: Vec<f64> = (0..chart.labels.len()).filter(|_| !names_above).map(|row| place(row) + 0.5).collect();
        let mut body = ChartBuilder::on(area)
            .margin(MARGIN)
            .margin_right(frame.figure)
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
            .label_style(("sans-serif", frame.font).into_font().color(&INK))
            .draw()?;
        body.draw_series(self.blocks.iter().map(|(from, to, color)| Rectangle::new([*from, *to], color.filled())))?;
        body.draw_series(self.figures.into_iter().map(|(x, y, text)| {
            EmptyElement::at((x, y)) + Text::new(text, (5, 0), frame.text(HPos::Left, VPos::Center))
        }))?;
        let middle = frame.row(chart).top / 2.0;
        body.draw_series(chart.labels.iter().enumerate().filter(|_| names_above).map(|(row, label)| {
            let at = (axis.from, place(row) + middle);
            EmptyElement::at(at) + Text::new(label.clone(), (1, 0), frame.text(HPos::Left, VPos::Center))
        }))?;
        Ok(())
    }
}

fn bars(chart: &Chart, frame: &Frame, area: &Area<'_>) -> Drawn {
    let axis = Axis::of(chart.series.iter().flat_map(|series| series.values.iter().copied()), chart.unit);
    let in_row = frame.row(chart);
    let thick = in_row.thick / place(chart.series.len());
    let mut drawn = Blocks::default();
    for (nth, (series, color)) in chart.series.iter().zip(SERIES).enumerate() {
        for (row, value) in series.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (x, y) = (value / axis.end, place(row) + in_row.top + thick * place(nth));
            drawn.blocks.push(((0.0, y), (x, y + thick), color));
            drawn.figures.push((x.max(0.0), y + thick / 2.0, figure(*value, chart.unit)));
        }
    }
    drawn.draw(chart, frame, &axis, area)
}

fn stacks(chart: &Chart, frame: &Frame, area: &Area<'_>) -> Drawn {
    let is_share = chart.kind == Kind::Share;
    let part = |series: &crate::Series, row: usize| series.values[row].max(0.0);
    let whole = |row: usize| chart.series.iter().map(|series| part(series, row)).sum::<f64>();
    let rows = 0..chart.labels.len();
    let unit = if is_share { crate::Unit::Percent } else { chart.unit };
    let axis = if is_share { Axis::of([1.0].into_iter(), unit) } else { Axis::of(rows.clone().map(whole), unit) };
    let in_row = frame.row(chart);
    let mut drawn = Blocks::default();
    for row in rows {
        let end = if is_share { whole(row) } else { axis.end };
        let mut x = 0.0;
        for (series, color) in chart.series.iter().zip(SERIES) {
            let long = if end > 0.0 { part(series, row) / end } else { 0.0 };
            if long > 0.0 {
                let top = place(row) + in_row.top;
                drawn.blocks.push(((x, top), (x + long, top + in_row.thick), color));
                x += long;
            }
        }
        if !is_share {
            drawn.figures.push((x, place(row) + in_row.top + in_row.thick / 2.0, figure(whole(row), unit)));
        }
    }
    drawn.draw(&Chart { unit, ..chart.clone() }, frame, &axis, area)
}

/// Where a line's points stand from 0 to 1, and the ticks between, `most` or one more.
fn places(labels: &[String], most: u32) -> (Vec<f64>, Vec<(f64, String)>) {
    let Some(times) = Times::of(labels) else {
        let last = place(labels.len().saturating_sub(1)).max(1.0);
        let every = labels.len().div_ceil(most as usize + 1).max(1);
        let at = |row: usize| place(row) / last;
        let ticks = labels.iter().enumerate().step_by(every).map(|(row, label)| (at(row), label.clone()));
        return ((0..labels.len()).map(at).collect(), ticks.collect());
    };
    let (from, to) = times.ends();
    #[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    let at =
        |time: i64| if to > from { (time.saturating_sub(from)) as f64 / (to.saturating_sub(from)) as f64 } else { 0.5 };
    let ticks = times.ticks(most).into_iter().map(|(time, text)| (at(time), text));
    (times.at.iter().map(|time| at(*time)).collect(), ticks.collect())
}

fn line(chart: &Chart, frame: &Frame, area: &Area<'_>) -> Drawn {
    let axis = Axis::of(chart.series.iter().flat_map(|series| series.values.iter().copied()), chart.unit);
    let (places, ticks) = places(&chart.labels, frame.ticks);
    let wide = axis.ticks.iter().map(|tick| width(&figure(tick * axis.end, chart.unit), frame.font)).max().unwrap_or(0);
    let at: Vec<f64> = ticks.iter().map(|(at, _)| *at).collect();
    let mut body = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(frame.figure)
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
        .label_style(("sans-serif", frame.font).into_font().color(&INK))
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
