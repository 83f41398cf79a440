//! How the pipeline does at this moment.

use crate::app::Look;
use crate::data::{Books, TableInfo};
use crate::page::{Here, alert, guard};
use crate::pulse::Figures;
use crate::show::{ago, fixed, rate, size, whole};
use axum::response::{IntoResponse as _, Response};
use edge::Problem;
use http::{HeaderValue, header};
use maud::{Markup, html};
use std::time::Duration;

/// How long the page waits for what was never asked before.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The curve's width and height, in its own units.
const CURVE: (f64, f64) = (600.0, 120.0);
/// Seconds that one point of the curve stands for.
const SECONDS_A_POINT: usize = 5;

/// GET `/`.
pub(crate) async fn page(look: Look) -> Response {
    let figures = shown(&look).await;
    let main = html! {
        h1.hidden { "Overview" }
        div #figures data-moving="/overview/figures" { (figures) }
        p.hidden #said role="status" aria-live="polite" {}
        noscript { p.note { "Load the page anew for new figures." } }
    };
    look.page(Here::Overview, "Overview", &main)
}

/// GET `/overview/figures`: the part of the page that moves.
pub(crate) async fn figures(look: Look) -> Response {
    let mut response = shown(&look).await.into_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    guard(headers);
    response
}

async fn shown(look: &Look) -> Markup {
    let (figures, books, tables) =
        tokio::join!(look.app.pulse.watched(), look.app.books(PATIENCE), look.app.tables(PATIENCE));
    let newest = tables.as_ref().ok().and_then(|tables| newest(tables));
    html! {
        (tiles(&figures, books.as_ref().ok(), newest.as_ref()))
        div.columns {
            section.card aria-labelledby="rate-title" { (curve(&figures)) }
            section.card aria-labelledby="books-title" { (the_books(&books)) }
        }
        section.card aria-labelledby="types-title" { (by_table(&figures, &tables)) }
    }
}

/// The figure that each tile is about, large.
fn tiles(figures: &Figures, books: Option<&(Books, Duration)>, newest: Option<&(String, f64)>) -> Markup {
    let seen: u64 = figures.accepted.iter().sum();
    let tile = |label: &str, value: &str, more: &Markup| {
        html! { div.tile { dt { (label) } dd { span.value { (value) } span.more { (more) } } } }
    };
    let share = if seen == 0 { 0.0 } else { 100.0 * to_f64(figures.duplicates) / to_f64(seen) };
    html! {
        dl.tiles {
            (tile("Events a second", &rate(figures.rate), &html! { "over ten seconds" }))
            @match newest {
                Some((table, age)) => (tile("Newest event", &ago(*age), &html! { "ago, " (table) })),
                None => (tile("Newest event", "–", &html! { "none yet" })),
            }
            (tile("Duplicates", &whole(figures.duplicates), &html! { (fixed(share, 1)) " % in five minutes" }))
            (tile("Dead letters", &whole(figures.dead + figures.conflicts), &html! {
                a href="/dead-letters" { "in five minutes" }
            }))
            @match books {
                Some((books, _)) => (tile("In flight", &whole(books.in_flight), &html! { "not in a table yet" })),
                None => (tile("In flight", "–", &html! { "being counted" })),
            }
            @match books {
                Some((books, age)) => div.tile .good[books.balanced] .bad[!books.balanced] {
                    dt { "Books" }
                    dd {
                        span.value { @if books.balanced { "Balanced" } @else { "Unbalanced" } }
                        span.more { "counted " (age.as_secs()) " s ago" }
                    }
                },
                None => (tile("Books", "–", &html! { "being counted" })),
            }
        }
    }
}

fn curve(figures: &Figures) -> Markup {
    let points = averaged(&figures.accepted);
    let top = nice(points.iter().copied().fold(0.0, f64::max));
    let (line, area) = (line(&points, top), area(&points, top));
    let peak = points.iter().copied().fold(0.0, f64::max);
    let said =
        format!("Events accepted a second over five minutes: now {}, at most {}", rate(figures.rate), rate(peak));
    html! {
        h2 #rate-title { "Events a second" }
        div.curve {
            div.scale aria-hidden="true" { span { (rate(top)) } span { (rate(top / 2.0)) } span { "0" } }
            svg role="img" aria-label=(said) viewBox=(format!("0 0 {} {}", CURVE.0, CURVE.1)) preserveAspectRatio="none" {
                path.grid d=(format!("M0 0.5H{0}M0 {1}H{0}M0 {2}H{0}", CURVE.0, CURVE.1 / 2.0, CURVE.1 - 0.5)) {}
                path.area d=(area) {}
                polyline.line points=(line) {}
            }
            div.axis aria-hidden="true" { span { "5 min ago" } span { "now" } }
        }
    }
}

/// Means over [`SECONDS_A_POINT`].
fn averaged(seconds: &[u64]) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "for a curve")]
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len() as f64;
    seconds.chunks(SECONDS_A_POINT).map(mean).collect()
}

/// The next round number, of which half is one, too.
fn nice(number: f64) -> f64 {
    if number <= 1.0 {
        return 1.0;
    }
    let power = 10_f64.powf(number.log10().floor());
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| *step >= number)
        .unwrap_or(number)
}

fn line(points: &[f64], top: f64) -> String {
    let last = to_f64(points.len().saturating_sub(1).max(1) as u64);
    let place = |(place, value): (usize, &f64)| {
        format!("{:.1},{:.1}", to_f64(place as u64) / last * CURVE.0, CURVE.1 - value / top * (CURVE.1 - 2.0) - 1.0)
    };
    points.iter().enumerate().map(place).collect::<Vec<_>>().join(" ")
}

fn area(points: &[f64], top: f64) -> String {
    format!("M0,{0}L{1} {2},{0}Z", CURVE.1, line(points, top), CURVE.0)
}

fn the_books(books: &Result<(Books, Duration), Problem>) -> Markup {
    let row = |sign: &str, name: &str, count: u64, what: &str| {
        html! { tr { td.sign { (sign) } th scope="row" { (name) } td.num { (whole(count)) } td.what { (what) } } }
    };
    html! {
        h2 #books-title { "The books" }
        @match books {
            Err(problem) => (alert(problem)),
            Ok((books, _)) => {
                table.books {
                    caption.hidden { "What became of every accepted event" }
                    tbody {
                        (row("", "Accepted", books.accepted, "read from the log"))
                        (row("=", "Delivered", books.delivered, "rows of tables"))
                        (row("+", "Duplicates", books.duplicates, "came before"))
                        (row("+", "Conflicts", books.conflicts, "came before, with other data"))
                        (row("+", "Dead letters", books.dead, "kept with a reason"))
                        (row("+", "In flight", books.in_flight, "on their way"))
                        @if books.expired > 0 { (row("+", "Expired", books.expired, "deleted unread by the log")) }
                    }
                }
                @if !books.balanced {
                    p.warning role="alert" { "The books don't balance: " code { "killfeed audit" } " says where." }
                }
            }
        }
    }
}

fn by_table(figures: &Figures, tables: &Result<Vec<TableInfo>, Problem>) -> Markup {
    html! {
        h2 #types-title { "Event types" }
        @match tables {
            Err(problem) => (alert(problem)),
            Ok(tables) => {
                @let rows = event_tables(figures, tables);
                @if rows.is_empty() {
                    p.note { "No event has arrived yet. " code { "killfeed generate --games 10" } " makes some." }
                } @else {
                    div.scroll role="region" aria-label="Event types" tabindex="0" {
                        table {
                            caption.hidden { "Event types with their rate, newest event, rows and size" }
                            thead { tr {
                                th scope="col" { "Table" }
                                th.num scope="col" { "Rows a second" }
                                th.num scope="col" { "Newest" }
                                th.num scope="col" { "Rows" }
                                th.num scope="col" { "Size" }
                            } }
                            tbody {
                                @for (table, rows_a_second) in rows {
                                    tr {
                                        th scope="row" { a href={ "/catalogue/" (table.name) } { (table.name) } }
                                        td.num { (rate(rows_a_second)) }
                                        td.num { @match age(table) { Some(age) => { (ago(age)) }, None => "–" } }
                                        td.num { @match table.rows { Some(rows) => { (whole(rows)) }, None => "–" } }
                                        td.num { @match table.bytes { Some(bytes) => { (size(bytes)) }, None => "–" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Tables of events with their rates, the liveliest first.
fn event_tables<'a>(figures: &Figures, tables: &'a [TableInfo]) -> Vec<(&'a TableInfo, f64)> {
    let events = tables.iter().filter(|table| is_of_events(&table.name));
    let mut rows: Vec<_> =
        events.map(|table| (table, figures.tables.get(&table.name).copied().unwrap_or_default())).collect();
    rows.sort_by(|(a, fast), (b, faster)| faster.total_cmp(fast).then(b.rows.cmp(&a.rows)).then(a.name.cmp(&b.name)));
    rows
}

/// Whether a table holds events; killfeed's own and those derived from others don't.
fn is_of_events(name: &str) -> bool {
    name != "dead_letters" && !name.starts_with("killfeed_") && !name.ends_with("_latest")
}

/// The newest event of all: its table, and its age in seconds.
fn newest(tables: &[TableInfo]) -> Option<(String, f64)> {
    let ages = tables.iter().filter(|table| is_of_events(&table.name));
    let ages = ages.filter_map(|table| Some((table.name.clone(), age(table)?)));
    ages.min_by(|(_, age), (_, other)| age.total_cmp(other))
}

/// Seconds since the table's newest event.
fn age(table: &TableInfo) -> Option<f64> {
    let newest = chrono::DateTime::parse_from_rfc3339(table.newest.as_deref()?).ok()?;
    let age = chrono::Utc::now().signed_duration_since(newest).num_milliseconds();
    #[expect(clippy::cast_precision_loss, reason = "an age to look at")]
    Some((age as f64 / 1_000.0).max(0.0))
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_number_at_or_above_the_peak() {
        for (peak, top) in
            [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 3.0), (70.0, 80.0), (100.0, 100.0), (101.0, 200.0)]
        {
            assert!((nice(peak) - top).abs() < 1e-9, "{peak}: {}", nice(peak));
        }
        assert_eq!(line(&[0.0, 10.0], 10.0), "0.0,119.0 600.0,1.0");
        assert_eq!(line(&[], 1.0), "");
        assert_eq!(averaged(&[5; 10]), [5.0, 5.0]);
    }
}
