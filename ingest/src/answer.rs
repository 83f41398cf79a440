//! One result for each event, and a status over all of them.

use crate::append::Text;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use edge::Problem;
use events::log::Durability;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// Bytes of a result, about.
const RESULT_BYTES: usize = 112;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// HTTP status of this event alone.
    pub(crate) status: u16,
    /// Whether sending the same event again may help.
    pub(crate) retry: bool,
    /// Whether it may have been kept all the same.
    pub(crate) unknown: bool,
    /// What it waited for, if it was accepted (or still waits).
    pub(crate) durability: Option<Durability>,
    pub(crate) error: Option<Text>,
    /// Why it was not accepted, as one word for the metrics.
    pub(crate) reason: &'static str,
}

impl Outcome {
    /// Wrong, and stays so.
    pub(crate) fn refused(status: u16, reason: &'static str, error: impl Into<Text>) -> Self {
        Self { status, retry: false, unknown: false, durability: None, error: Some(error.into()), reason }
    }

    /// Not kept; to be sent again.
    pub(crate) fn retryable(status: u16, reason: &'static str, error: impl Into<Text>) -> Self {
        Self { retry: true, ..Self::refused(status, reason, error) }
    }

    /// Kept or not; to be sent again.
    pub(crate) fn unknown(error: impl Into<Text>) -> Self {
        Self { unknown: true, ..Self::retryable(503, "in_doubt", error) }
    }

    /// On its way to the log.
    pub(crate) fn pending(durability: Durability) -> Self {
        Self { durability: Some(durability), ..Self::unknown("not appended") }
    }

    /// The log has it; gives the durability that it asked for.
    pub(crate) fn accept(&mut self) -> Durability {
        let durability = self.durability.unwrap_or_default();
        *self =
            Self { status: 202, retry: false, unknown: false, durability: Some(durability), error: None, reason: "" };
        durability
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.status == 202
    }
}

/// One event of the request.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    /// Its id, if that could be read.
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) outcome: Outcome,
}

/// The status over all: all accepted 202, with a lesser durability 200; mixed 200; none accepted the
/// one that they share, else 400 when none may be retried, else 503.
pub(crate) fn status_over(slots: &[Slot<'_>]) -> StatusCode {
    let accepted = slots.iter().filter(|slot| slot.outcome.is_accepted()).count();
    if accepted == slots.len() {
        let durable = slots.iter().all(|slot| slot.outcome.durability == Some(Durability::All));
        return if durable { StatusCode::ACCEPTED } else { StatusCode::OK };
    }
    if accepted > 0 {
        return StatusCode::OK;
    }
    let first = slots.first().map_or(400, |slot| slot.outcome.status);
    if slots.iter().all(|slot| slot.outcome.status == first) {
        return StatusCode::from_u16(first).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    }
    let retry = slots.iter().any(|slot| slot.outcome.retry);
    if retry { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST }
}

/// The answer. From 400 on it is a problem too, with `results` as an extension member.
pub(crate) fn respond(slots: &[Slot<'_>], retry_after: Duration) -> Response {
    let status = status_over(slots);
    let mut body = String::with_capacity(128 + slots.len() * RESULT_BYTES);
    let mut media_type = "application/json";
    body.push('{');
    if status.as_u16() >= 400 {
        media_type = Problem::MEDIA_TYPE;
        let title = status.canonical_reason().unwrap_or("Error");
        let _ =
            write!(body, "\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"detail\":", status.as_u16());
        write_string(&mut body, &detail(slots));
        body.push(',');
    }
    body.push_str("\"results\":[");
    for (place, slot) in slots.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        write_result(&mut body, slot);
    }
    body.push_str("]}");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

fn detail(slots: &[Slot<'_>]) -> String {
    let first = slots.iter().find_map(|slot| slot.outcome.error.as_deref()).unwrap_or_default();
    match slots.len() {
        1 => first.to_owned(),
        events => format!("none of {events} events was accepted; the first error: {first}"),
    }
}

fn write_result(body: &mut String, Slot { id, outcome }: &Slot<'_>) {
    body.push_str("{\"id\":");
    match id {
        Some(id) => write_string(body, id),
        None => body.push_str("null"),
    }
    if outcome.is_accepted() && outcome.durability == Some(Durability::All) {
        // What nearly all of them are.
        body.push_str(",\"status\":202,\"retry\":false,\"unknown\":false,\"durability\":\"all\",\"error\":null}");
        return;
    }
    let Outcome { status, retry, unknown, .. } = outcome;
    let _ = write!(body, ",\"status\":{status},\"retry\":{retry},\"unknown\":{unknown},\"durability\":");
    match outcome.durability.filter(|_| outcome.is_accepted()) {
        Some(durability) => write_string(body, durability.as_str()),
        None => body.push_str("null"),
    }
    body.push_str(",\"error\":");
    match &outcome.error {
        Some(error) => write_string(body, error),
        None => body.push_str("null"),
    }
    body.push('}');
}

/// As a JSON string.
fn write_string(body: &mut String, text: &str) {
    body.push('"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        body.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' => body.push_str("\\\""),
                '\\' => body.push_str("\\\\"),
                '\n' => body.push_str("\\n"),
                c if u32::from(c) < 0x20 => {
                    let _ = write!(body, "\\u{:04x}", u32::from(c));
                }
                c => body.push(c),
            }
        }
    }
    body.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(status: u16, retry: bool, durability: Option<Durability>) -> Slot<'static> {
        let error = (status != 202).then(|| "e".into());
        Slot { id: None, outcome: Outcome { status, retry, unknown: false, durability, error, reason: "" } }
    }

    #[test]
    fn the_status_over_all_follows_the_contract() {
        let all = || slot(202, false, Some(Durability::All));
        for (slots, status) in [
            (vec![], 202),
            (vec![all(), all()], 202),
            (vec![all(), slot(202, false, Some(Durability::Leader))], 200),
            (vec![slot(202, false, Some(Durability::None))], 200),
            (vec![all(), slot(400, false, None)], 200),
            (vec![all(), slot(503, true, None)], 200),
            (vec![slot(400, false, None), slot(400, false, None)], 400),
            (vec![slot(413, false, None)], 413),
            (vec![slot(413, false, None), slot(400, false, None)], 400),
            (vec![slot(503, true, None), slot(503, true, None)], 503),
            (vec![slot(400, false, None), slot(503, true, None)], 503),
            (vec![slot(500, true, None), slot(503, true, None)], 503),
        ] {
            assert_eq!(status_over(&slots).as_u16(), status, "{slots:?}");
        }
    }

    #[test]
    fn a_result_is_json_whatever_its_id_holds() {
        for id in [None, Some("a"), Some("\"\\\n\u{1}é\u{7f}")] {
            for outcome in [Outcome::unknown("a \"b\""), Outcome::refused(400, "not_json", "é\t"), {
                let mut outcome = Outcome::pending(Durability::Leader);
                outcome.accept();
                outcome
            }] {
                let mut body = String::new();
                write_result(&mut body, &Slot { id: id.map(Cow::Borrowed), outcome: outcome.clone() });
                let value: serde_json::Value = serde_json::from_str(&body).unwrap();
                let expected = serde_json::json!({
                    "id": id, "status": outcome.status, "retry": outcome.retry, "unknown": outcome.unknown,
                    "durability": outcome.durability, "error": outcome.error.as_deref(),
                });
                assert_eq!(value, expected);
            }
        }
    }
}
