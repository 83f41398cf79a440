//! What an answer says: of each event, and of the request as one.

use killfeed_client::{Answer, NoAnswer};
use serde::Deserialize;

/// What an answer says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// 202.
    Taken,
    /// Never will be.
    Refused,
    /// Will be sent again; `in_doubt`: the server may have it all the same.
    Again { in_doubt: bool },
}

#[derive(Deserialize)]
struct Body {
    results: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    status: u16,
    #[serde(default)]
    retry: bool,
    #[serde(default)]
    unknown: bool,
}

/// Statuses of a whole request after which the SDK doesn't try again.
const FOR_GOOD: [u16; 6] = [400, 401, 403, 410, 413, 415];
/// Nothing of what these refuse was kept.
const NOT_KEPT: [u16; 3] = [408, 429, 503];

/// The fates of a request's events, and what kind of error it met: a status, or a word for what broke.
pub(crate) fn judge(answer: &Result<Answer, NoAnswer>, events: usize) -> (Vec<Fate>, Option<String>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(none) => return (vec![Fate::Again { in_doubt: none.sent }; events], Some(kind_of(&none.error).to_owned())),
    };
    let status = answer.status;
    let kind = (status >= 300).then(|| status.to_string());
    if let Ok(Body { results }) = serde_json::from_slice::<Body>(&answer.body)
        && results.len() == events
    {
        // A request may be accepted, and one of its events not.
        let worst = results.iter().map(|result| result.status).find(|status| *status != 202);
        let kind = kind.or(worst.map(|status| format!("event {status}")));
        return (results.iter().map(fate).collect(), kind);
    }
    let (all, kind) = match status {
        _ if FOR_GOOD.contains(&status) => (Fate::Refused, kind),
        _ if NOT_KEPT.contains(&status) => (Fate::Again { in_doubt: false }, kind),
        _ => (Fate::Again { in_doubt: true }, kind.or(Some("no results".to_owned()))),
    };
    (vec![all; events], kind)
}

fn fate(result: &EventResult) -> Fate {
    match (result.status, result.retry) {
        (202, _) => Fate::Taken,
        (_, true) => Fate::Again { in_doubt: result.unknown },
        (_, false) => Fate::Refused,
    }
}

/// One word or two for what broke, so that a thousand messages make a few kinds.
pub(crate) fn kind_of(error: &str) -> &'static str {
    let error = error.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&["timeout", "timed out"]) {
        "timeout"
    } else if has(&["refused", "connection failed"]) {
        "connection refused"
    } else if has(&["reset", "broken pipe", "aborted"]) {
        "connection reset"
    } else if has(&["host", "resolve", "dns"]) {
        "name not found"
    } else if has(&["tls", "certificate"]) {
        "tls"
    } else if has(&["disconnected", "closed", "eof"]) {
        "connection closed"
    } else {
        "network"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> (Vec<Fate>, Option<String>) {
        judge(&Ok(Answer { status, retry_after: None, body: body.into() }), 2)
    }

    #[test]
    fn results_come_first_then_the_status_then_doubt() {
        let mixed = r#"{"results": [{"status": 202}, {"status": 400}]}"#;
        assert_eq!(answered(200, mixed), (vec![Fate::Taken, Fate::Refused], Some("event 400".into())));
        let again = r#"{"results": [{"status": 503, "retry": true}, {"status": 503, "retry": true, "unknown": true}]}"#;
        let expected = vec![Fate::Again { in_doubt: false }, Fate::Again { in_doubt: true }];
        assert_eq!(answered(503, again), (expected, Some("503".into())));
        assert_eq!(answered(401, "{}"), (vec![Fate::Refused; 2], Some("401".into())));
        assert_eq!(answered(429, ""), (vec![Fate::Again { in_doubt: false }; 2], Some("429".into())));
        assert_eq!(answered(502, "<html>"), (vec![Fate::Again { in_doubt: true }; 2], Some("502".into())));
        assert_eq!(answered(202, "{}"), (vec![Fate::Again { in_doubt: true }; 2], Some("no results".into())));
        assert_eq!(answered(202, r#"{"results": [{"status": 202}, {"status": 202}]}"#), (vec![Fate::Taken; 2], None));
    }

    #[test]
    fn what_breaks_has_a_name() {
        let none = |sent, error: &str| judge(&Err(NoAnswer { sent, error: error.into() }), 1);
        assert_eq!(none(true, "timeout: global"), (vec![Fate::Again { in_doubt: true }], Some("timeout".into())));
        let refused = (vec![Fate::Again { in_doubt: false }], Some("connection refused".into()));
        assert_eq!(none(false, "io: Connection refused (os error 111)"), refused);
        assert_eq!(kind_of("io: Connection reset by peer"), "connection reset");
        assert_eq!(kind_of("strange"), "network");
    }
}
