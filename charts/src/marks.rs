//! How lines are told apart that lie on each other: every one but the first has gaps, through which those below are
//! seen, and each has marks of its own shape, the smaller over the larger.

use crate::SERIES_MAX;
use crate::style::SERIES;
use plotters::element::{Circle, Cross, DynElement, IntoDynElement as _, PathElement, Polygon, Rectangle};
use plotters::prelude::SVGBackend;
use plotters::style::{Color as _, RGBColor};

/// Points of a line at most that have marks; more would be a band.
pub(crate) const MARKED_MAX: usize = 60;
/// Strokes and gaps of each line, in pixels; empty: without gaps.
const DASHES: [&str; SERIES_MAX] = ["", "9 5", "3 4", "12 4 3 4", "6 8", "2 8"];

/// The picture with gaps in its lines. The library that draws them knows none.
pub(crate) fn dashed(picture: &str) -> String {
    let mut dashed = picture.to_owned();
    for (RGBColor(red, green, blue), dashes) in SERIES.into_iter().zip(DASHES).filter(|(_, dashes)| !dashes.is_empty())
    {
        let line = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\" stroke-width=\"2\"");
        dashed = dashed.replace(&line, &format!("{line} stroke-dasharray=\"{dashes}\""));
    }
    dashed
}

/// The mark of a series, around a pixel.
pub(crate) fn mark<'a>(nth: usize, (x, y): (i32, i32)) -> DynElement<'static, SVGBackend<'a>, (i32, i32)> {
    let color = SERIES[nth % SERIES_MAX];
    let filled = color.filled();
    match nth {
        0 => Circle::new((x, y), 5, filled).into_dyn(),
        1 => Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled).into_dyn(),
        2 => Polygon::new(vec![(x, y - 5), (x + 5, y + 4), (x - 5, y + 4)], filled).into_dyn(),
        3 => Cross::new((x, y), 4, color.stroke_width(1)).into_dyn(),
        4 => Polygon::new(vec![(x, y - 4), (x + 4, y), (x, y + 4), (x - 4, y)], filled).into_dyn(),
        _ => PathElement::new(vec![(x, y - 5), (x, y + 5)], color.stroke_width(1)).into_dyn(),
    }
}
