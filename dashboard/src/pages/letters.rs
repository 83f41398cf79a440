//! Dead letters: what could not become a row, why, and its bytes.

use crate::app::Look;
use crate::data::{Cell, Table};
use crate::form::address;
use crate::page::{Here, alert, empty, heading};
use crate::pages::payload;
use crate::show::{time, visible, whole};
use axum::response::Response;
use edge::Problem;
use http::StatusCode;
use maud::{Markup, html};

/// Letters on a page.
const PAGE: usize = 25;
/// Reasons to choose from: a closed list, far shorter.
const REASONS_MAX: usize = 100;
const REASONS: &str =
    "SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY letters DESC, reason";

/// GET `/dead-letters`.
pub(crate) async fn page(look: Look) -> Response {
    let (reason, number) = (look.fields.get("reason"), look.fields.page());
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
    let status = letters.as_ref().err().filter(|problem| !is_absent(problem)).map_or(StatusCode::OK, |p| p.status);
    let main = html! {
        (heading("Dead letters", "What could not become a row stands here, with its bytes and a reason: nothing is dropped."))
        @match &letters {
            Err(problem) if is_absent(problem) => (none(reason, number)),
            Err(problem) => (alert(problem)),
            Ok(letters) => {
                @if let Ok(reasons) = &reasons { (filter(reason, reasons)) }
                @if letters.rows.is_empty() { (none(reason, number)) }
                @else {
                    ol.letters start=((number - 1) * PAGE + 1) {
                        @for row in letters.rows.iter().take(PAGE) { li { (letter(letters, row)) } }
                    }
                }
                (pager(reason, number, letters.rows.len() > PAGE))
            }
        }
    };
    look.page_of(status, Here::Letters, "Dead letters", &main)
}

fn none(reason: &str, number: usize) -> Markup {
    match (reason, number) {
        ("", 1) => empty("No dead letters", "Every event that was accepted became a row or a counted duplicate."),
        _ => empty("No dead letters here", "None of this reason, or not as many pages."),
    }
}

fn filter(chosen: &str, reasons: &Table) -> Markup {
    let pair = |row: &Vec<Cell>| Some((row.first()?.text()?.to_owned(), row.get(1)?.text()?.parse::<u64>().ok()?));
    let reasons: Vec<(String, u64)> = reasons.rows.iter().filter_map(pair).collect();
    let all: u64 = reasons.iter().map(|(_, count)| count).sum();
    html! {
        nav.chips aria-label="Reasons" {
            ul {
                li { a href="/dead-letters" aria-current=[chosen.is_empty().then_some("true")] { "All " span.count { (whole(all)) } } }
                @for (reason, count) in &reasons {
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
