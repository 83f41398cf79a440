//! Events as they come, for those who look at this moment.

use crate::app::Look;
use crate::form::{Fields, SHOWN_MAX, address};
use crate::live::{Seen, VIEWERS_MAX};
use crate::page::{Here, alert, guard, heading};
use crate::show::{cut, size};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use edge::{Principal, Problem};
use events::headers;
use events::log::Record;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};

/// Events that a viewer is shown in a second: more can't be read. The others are counted.
const SHOWN_A_SECOND: u32 = 40;
/// A stream ends after this; the browser opens the next one.
const LASTS: Duration = Duration::from_secs(30 * 60);

/// What a viewer wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    /// The type, or how it begins, with a `*` at the end; empty for all.
    kind: String,
    /// Text that the event contains, as this viewer sees it; empty for all.
    text: String,
}

impl Filter {
    fn of(fields: &Fields) -> Result<Self, Problem> {
        let kind = fields.get("type");
        if kind.strip_suffix('*').unwrap_or(kind).contains('*') {
            let shown = cut(kind, SHOWN_MAX);
            return Err(Problem::bad_request(format!(
                "type is a name, or its beginning with * behind it, not {shown:?}"
            )));
        }
        Ok(Self { kind: kind.to_owned(), text: fields.get("text").to_lowercase() })
    }

    fn takes_type(&self, kind: &str) -> bool {
        match self.kind.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => self.kind.is_empty() || self.kind == kind,
        }
    }

    fn takes(&self, event: &Value) -> bool {
        self.text.is_empty() || event.to_string().to_lowercase().contains(&self.text)
    }
}

/// GET `/tail`.
pub(crate) async fn page(look: Look) -> Response {
    let (kind, text) = (look.fields.get("type"), look.fields.get("text"));
    let problem = Filter::of(&look.fields).err();
    let fields = [("type", kind), ("text", text)].into_iter().filter(|(_, value)| !value.is_empty());
    let main = html! {
        (heading("Live tail", "Events as they pass deduplication, from now on."))
        form.params method="get" action="/tail" {
            div.field {
                label for="type" { "Type" }
                input #type name="type" value=(kind) autocomplete="off" spellcheck="false" placeholder="lol.* or chat.message";
            }
            div.field {
                label for="text" { "Contains" }
                input #text name="text" value=(text) autocomplete="off" spellcheck="false" placeholder="a player, a game, a word";
            }
            button.primary type="submit" { "Filter" }
            @if !(kind.is_empty() && text.is_empty()) { a.button href="/tail" { "Reset" } }
        }
        @if let Some(problem) = &problem { (alert(problem)) }
        @else { (events(&address("/tail/stream", fields))) }
        noscript { p.warning { "The live tail needs JavaScript; the SQL page doesn't." } }
    };
    look.page_of(problem.map_or(StatusCode::OK, |problem| problem.status), Here::Tail, "Live tail", &main)
}

/// Where events appear, which come from this address.
fn events(stream: &str) -> Markup {
    html! {
        div #tail data-stream=(stream) {
            div.actions {
                button type="button" #pause aria-pressed="false" { "Pause" }
                button type="button" #clear { "Clear" }
                p.note #counts { "Connecting" }
            }
            p.hidden #said role="status" aria-live="polite" {}
            div.scroll.tall role="region" aria-label="Events, the newest first" tabindex="0" {
                table.tail {
                    caption.hidden { "Events, the newest first" }
                    thead { tr {
                        th scope="col" { "Received" } th scope="col" { "Type" } th scope="col" { "Player" }
                        th scope="col" { "Game" } th scope="col" { "Data" }
                    } }
                    tbody #events {}
                }
            }
        }
    }
}

/// GET `/tail/stream`: server-sent events.
///
/// `event` is an event; `counts` says each second what became of all that came: `seen`, of these `shown`,
/// `other` (not asked for), and `left_out` (too many at once).
pub(crate) async fn stream(look: Look) -> Response {
    let filter = match Filter::of(&look.fields) {
        Ok(filter) => filter,
        Err(problem) => return problem.into_response(),
    };
    let Some(receiver) = look.app.live.look() else {
        let wait = Duration::from_secs(10);
        return Problem::unavailable(format!("{VIEWERS_MAX} look at the live tail, which is the limit"), wait)
            .into_response();
    };
    let mut response =
        Body::from_stream(stream::unfold(Viewing::new(look, filter, receiver), Viewing::next)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Or proxies would hold events back until there are enough of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    guard(headers);
    response
}

/// What became of the events that came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    seen: u64,
    shown: u64,
    other: u64,
    left_out: u64,
}

/// One who looks.
struct Viewing {
    look: Look,
    filter: Filter,
    receiver: Receiver<Seen>,
    counts: Counts,
    room: u32,
    seconds: tokio::time::Interval,
    ends: Instant,
    has_greeted: bool,
}

impl Viewing {
    fn new(look: Look, filter: Filter, receiver: Receiver<Seen>) -> Self {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (counts, room, ends) = (Counts::default(), SHOWN_A_SECOND, Instant::now() + LASTS);
        Self { look, filter, receiver, counts, room, seconds, ends, has_greeted: false }
    }

    /// The next part of the answer; `None` at its end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if !self.has_greeted {
            self.has_greeted = true;
            // How long the browser waits before it comes again.
            return Some((Ok(Bytes::from_static(b"retry: 2000\n\n")), self));
        }
        let stop = self.look.app.live.stop().clone();
        loop {
            let seen = tokio::select! {
                () = stop.cancelled() => return None,
                _ = self.seconds.tick() => {
                    if Instant::now() >= self.ends {
                        return None;
                    }
                    self.room = SHOWN_A_SECOND;
                    let Counts { seen, shown, other, left_out } = self.counts;
                    let counts = json!({"seen": seen, "shown": shown, "other": other, "left_out": left_out});
                    return Some((Ok(message("counts", &counts)), self));
                }
                seen = self.receiver.recv() => seen,
            };
            match seen {
                Ok(Seen::Event(record, cut)) => {
                    if let Some(event) = self.take(&record, cut) {
                        return Some((Ok(message("event", &event)), self));
                    }
                }
                Ok(Seen::Jumped(missed)) | Err(RecvError::Lagged(missed)) => {
                    self.counts.seen += missed;
                    self.counts.left_out += missed;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The event as this viewer may see it, if they want to and there is room.
    fn take(&mut self, record: &Record, cut: Option<usize>) -> Option<Value> {
        self.counts.seen += 1;
        if !self.filter.takes_type(record.headers.get_str(headers::TYPE).unwrap_or_default()) {
            self.counts.other += 1;
            return None;
        }
        if self.room == 0 {
            self.counts.left_out += 1;
            return None;
        }
        let event = shown(&self.look, record, cut, &self.look.who.principal);
        // What is hidden from them can't be found out by looking for it, either.
        if !self.filter.takes(&event) {
            self.counts.other += 1;
            return None;
        }
        self.room -= 1;
        self.counts.shown += 1;
        Some(event)
    }
}

fn shown(look: &Look, record: &Record, cut: Option<usize>, viewer: &Principal) -> Value {
    let mut event = look.app.source.event(record, viewer);
    if let (Some(bytes), Some(event)) = (cut, event.as_object_mut()) {
        event.insert("data".into(), format!("{}, too large to be shown here", size(bytes as u64)).into());
    }
    event
}

/// A message of server-sent events; JSON has no line breaks.
fn message(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_types_by_name_or_beginning_and_text_in_any_case() {
        let read = |query: &str| Filter::of(&Fields::read(query.as_bytes()).unwrap());
        let filter = |query: &str| read(query).unwrap();
        assert!(filter("").takes_type("a.b") && filter("").takes(&json!({})));
        assert!(filter("type=a.b").takes_type("a.b") && !filter("type=a.b").takes_type("a.bc"));
        assert!(filter("type=a.*").takes_type("a.b") && !filter("type=a.*").takes_type("b.a"));
        assert!(filter("text=AhRi").takes(&json!({"data": {"champion": "Ahri"}})));
        assert!(!filter("text=zed").takes(&json!({"data": {"champion": "Ahri"}})));
        assert!(read("type=*.b").is_err() && read("type=a**").is_err() && read("type=*").is_ok());
    }
}
