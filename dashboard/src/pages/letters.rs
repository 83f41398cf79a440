//! Dead letters: what could not become a row, why, and its bytes.

use crate::app::Look;
use crate::data::{Cell, Table};
use crate::form::{SHOWN_MAX, address};
use crate::page::{Here, alert, empty, heading};
use crate::pages::payload;
use crate::show::{cut, time, visible, whole};
use axum::response::Response;
use edge::Problem;
use events::dead::Reason;
use http::StatusCode;
use maud::{Markup, html};

const TITLE: &str = "Dead letters";
const LEAD: &str = "What could not become a row stands here, with its bytes and a reason: nothing is dropped.";
/// Letters on a page.
const PAGE: usize = 25;
/// Reasons to choose from: a closed list, far shorter.
const REASONS_MAX: usize = 100;
const REASONS: &str =
    "SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY letters DESC, reason";

/// GET `/dead-letters`.
pub(crate) async fn page(look: Look) -> Response {
    let reason = look.fields.get("reason");
    let number = match look.fields.page() {
        Ok(number) => number,
        Err(problem) => return refused(&look, &problem, None),
    };
    let sql = format!(
        "SELECT reason, detail, stage, id, type, source, received_at, game_id, player_id, headers, payload, \
         _topic, _partition, _offset FROM dead_letters WHERE $reason = '' OR reason = $reason \
         ORDER BY received_at DESC NULLS LAST, date DESC, _topic, _partition, _offset DESC LIMIT {} OFFSET {}",
        PAGE + 1,
        (number - 1).saturating_mul(PAGE),
    );
    let texts = [("reason", reason)];
    let source = &look.app.source;
    let (letters, reasons) = tokio::join!(
        source.query(&sql, &texts, &look.who.principal, PAGE + 1),
        source.query(REASONS, &[], &look.who.principal, REASONS_MAX),
    );
    let is_absent = |problem: &Problem| problem.status == StatusCode::NOT_FOUND;
    let is_empty = letters.as_ref().map_or_else(is_absent, |letters| letters.rows.is_empty());
    let counts = reasons.as_ref().map(counts).unwrap_or_default();
    if is_empty && let Err(problem) = check(reason, number, &counts) {
        return refused(&look, &problem, reasons.is_ok().then_some((reason, &counts)));
    }
    let status = letters.as_ref().err().filter(|problem| !is_absent(problem)).map_or(StatusCode::OK, |p| p.status);
    let main = html! {
        (heading(TITLE, LEAD))
        @match &letters {
            Err(problem) if is_absent(problem) => (none(reason)),
            Err(problem) => (alert(problem)),
            Ok(letters) => {
                @if reasons.is_ok() { (filter(reason, &counts)) }
                @if letters.rows.is_empty() { (none(reason)) }
                @else {
                    ol.letters start=((number - 1) * PAGE + 1) {
                        @for row in letters.rows.iter().take(PAGE) { li { (letter(letters, row)) } }
                    }
                }
                (pager(reason, number, letters.rows.len() > PAGE))
            }
        }
    };
    look.page_of(status, Here::Letters, TITLE, &main)
}

/// What an address asks for that isn't there, with what is.
fn refused(look: &Look, problem: &Problem, counted: Option<(&str, &Counts)>) -> Response {
    let main = html! {
        (heading(TITLE, LEAD))
        @if let Some((reason, counts)) = counted { (filter(reason, counts)) }
        (alert(problem))
        p { a href="/dead-letters" { "All dead letters, the newest first" } }
    };
    look.page_of(problem.status, Here::Letters, TITLE, &main)
}

/// Reasons with the number of their letters.
type Counts = Vec<(String, u64)>;

fn counts(reasons: &Table) -> Counts {
    let pair = |row: &Vec<Cell>| Some((row.first()?.text()?.to_owned(), row.get(1)?.text()?.parse::<u64>().ok()?));
    reasons.rows.iter().filter_map(pair).collect()
}

/// Whether there is such a page, though it has no letters: the first one always is, of a reason that there is.
fn check(reason: &str, number: usize, counts: &Counts) -> Result<(), Problem> {
    let of = |found: &str| reason.is_empty() || found == reason;
    if !reason.is_empty() && Reason::parse(reason).is_none() && !counts.iter().any(|(found, _)| of(found)) {
        let known = Reason::ALL.map(Reason::as_str).join(", ");
        return Err(Problem::bad_request(format!("no reason {:?}; there are: {known}", cut(reason, SHOWN_MAX))));
    }
    let letters: u64 = counts.iter().filter(|(found, _)| of(found)).map(|(_, count)| count).sum();
    let pages = letters.div_ceil(PAGE as u64).max(1);
    if number as u64 > pages {
        return Err(Problem::bad_request(format!("no page {number}; the last one is {pages}")));
    }
    Ok(())
}

fn none(reason: &str) -> Markup {
    match reason {
        "" => empty("No dead letters", "Every event that was accepted became a row or a counted duplicate."),
        _ => empty("No dead letters here", "None has this reason."),
    }
}

fn filter(chosen: &str, reasons: &Counts) -> Markup {
    let all: u64 = reasons.iter().map(|(_, count)| count).sum();
    html! {
        nav.chips aria-label="Reasons" {
            ul {
                li { a href="/dead-letters" aria-current=[chosen.is_empty().then_some("true")] { "All " span.count { (whole(all)) } } }
                @for (reason, count) in reasons {
                    li {
                        a href=(address("/dead-letters", [("reason", reason.as_str())]))
                            aria-current=[(reason == chosen).then_some("true")] {
                            (reason) " " span.count { (whole(*count)) }
                        }
                    }
                }
            }
        }
    }
}

fn letter(letters: &Table, row: &[Cell]) -> Markup {
    let cell = |column: &str| letters.place(column).and_then(|place| row.get(place));
    let text = |column: &str| cell(column).and_then(Cell::text);
    let at = [text("_topic"), text("_partition"), text("_offset")].map(|part| part.unwrap_or("?"));
    html! {
        details.letter {
            summary {
                span.when { @match text("received_at") { Some(at) => time datetime=(at) { (time(at)) }, None => "unknown time" } }
                span.badge { (visible(text("reason").unwrap_or("unknown"))) }
                span.what { (visible(text("type").unwrap_or("unknown type"))) }
                span.detail { (visible(text("detail").unwrap_or_default())) }
            }
            div.body {
                dl.facts {
                    @for (name, column) in [("Detail", "detail"), ("Found by", "stage"), ("Id", "id"), ("Source", "source"),
                        ("Game", "game_id"), ("Player", "player_id")] {
                        @if let Some(value) = text(column) { dt { (name) } dd { (visible(value)) } }
                    }
                    dt { "In the log" } dd { (at[0]) ", partition " (at[1]) ", offset " (at[2]) }
                }
                @match cell("payload") {
                    Some(Cell::Bytes(bytes)) => (payload::shown(bytes)),
                    Some(Cell::Text(text)) => (payload::shown(text.as_bytes())),
                    _ => p.note { "No payload, or one that this key may not see." },
                }
                @if let Some(headers) = text("headers") {
                    h3 { "Headers" }
                    pre tabindex="0" aria-label="Headers" { @match payload::read(headers.as_bytes()) {
                        payload::Shown::Text(text) | payload::Shown::Hex(text) => (text),
                    } }
                }
            }
        }
    }
}

fn pager(reason: &str, number: usize, is_more: bool) -> Markup {
    let to = |page: usize| {
        let page = page.to_string();
        address(
            "/dead-letters",
            [("reason", reason), ("page", &page)].into_iter().filter(|(_, value)| !value.is_empty()),
        )
    };
    html! {
        @if number > 1 || is_more {
            nav.pager aria-label="Pages" {
                @if number > 1 { a.button rel="prev" href=(to(number - 1)) { "Newer" } }
                span { "Page " (number) }
                @if is_more { a.button rel="next" href=(to(number + 1)) { "Older" } }
            }
        }
    }
}
