//! Colours: those of a light page in the picture itself, those of the page by a style sheet.

use plotters::style::RGBColor;

/// Text.
pub(crate) const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
/// Lines of the grid and axes.
pub(crate) const GRID: RGBColor = RGBColor(0xD1, 0xD9, 0xE0);
/// The series', in order; each at least 4.5 to 1 against white.
pub(crate) const SERIES: [RGBColor; crate::SERIES_MAX] = [
    RGBColor(0x0B, 0x62, 0xC4),
    RGBColor(0xB3, 0x47, 0x00),
    RGBColor(0x1A, 0x7F, 0x37),
    RGBColor(0x82, 0x50, 0xDF),
    RGBColor(0xBF, 0x39, 0x89),
    RGBColor(0x7D, 0x57, 0x00),
];

/// The style sheet that pages with charts carry.
///
/// It exchanges a picture's colours for custom properties: `--chart-ink` (else the text's colour around it),
/// `--chart-grid`, `--chart-1` to `--chart-6`. A page that sets none of them gets a dark set when its reader
/// prefers dark. Of [`pictures`](crate::pictures) it shows the one for the page's width. The same bytes always, so that a content security policy can name their hash.
pub const STYLE: &str = "\
.chart{max-width:100%;height:auto;font-family:system-ui,sans-serif}
.chart.narrow{display:none}
@media (max-width:40rem){
.chart.wide{display:none}
.chart.narrow{display:block}
}
.chart [fill=\"#1B1F24\"]{fill:var(--chart-ink,currentColor)}
.chart [stroke=\"#1B1F24\"]{stroke:var(--chart-ink,currentColor)}
.chart [stroke=\"#D1D9E0\"]{stroke:var(--chart-grid,#D1D9E0)}
.chart [fill=\"#0B62C4\"]{fill:var(--chart-1,#0B62C4)}
.chart [stroke=\"#0B62C4\"]{stroke:var(--chart-1,#0B62C4)}
.chart [fill=\"#B34700\"]{fill:var(--chart-2,#B34700)}
.chart [stroke=\"#B34700\"]{stroke:var(--chart-2,#B34700)}
.chart [fill=\"#1A7F37\"]{fill:var(--chart-3,#1A7F37)}
.chart [stroke=\"#1A7F37\"]{stroke:var(--chart-3,#1A7F37)}
.chart [fill=\"#8250DF\"]{fill:var(--chart-4,#8250DF)}
.chart [stroke=\"#8250DF\"]{stroke:var(--chart-4,#8250DF)}
.chart [fill=\"#BF3989\"]{fill:var(--chart-5,#BF3989)}
.chart [stroke=\"#BF3989\"]{stroke:var(--chart-5,#BF3989)}
.chart [fill=\"#7D5700\"]{fill:var(--chart-6,#7D5700)}
.chart [stroke=\"#7D5700\"]{stroke:var(--chart-6,#7D5700)}
@media (prefers-color-scheme:dark){
.chart [stroke=\"#D1D9E0\"]{stroke:var(--chart-grid,#3D444D)}
.chart [fill=\"#0B62C4\"]{fill:var(--chart-1,#6CB6FF)}
.chart [stroke=\"#0B62C4\"]{stroke:var(--chart-1,#6CB6FF)}
.chart [fill=\"#B34700\"]{fill:var(--chart-2,#F0883E)}
.chart [stroke=\"#B34700\"]{stroke:var(--chart-2,#F0883E)}
.chart [fill=\"#1A7F37\"]{fill:var(--chart-3,#57C765)}
.chart [stroke=\"#1A7F37\"]{stroke:var(--chart-3,#57C765)}
.chart [fill=\"#8250DF\"]{fill:var(--chart-4,#C297FF)}
.chart [stroke=\"#8250DF\"]{stroke:var(--chart-4,#C297FF)}
.chart [fill=\"#BF3989\"]{fill:var(--chart-5,#F778BA)}
.chart [stroke=\"#BF3989\"]{stroke:var(--chart-5,#F778BA)}
.chart [fill=\"#7D5700\"]{fill:var(--chart-6,#E3B341)}
.chart [stroke=\"#7D5700\"]{stroke:var(--chart-6,#E3B341)}
}
";
