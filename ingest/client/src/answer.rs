//! What an answer says of each event of its request.

use crate::ports::{Answer, NoAnswer};
use serde::Deserialize;
use std::time::Duration;

/// What becomes of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server has it; `durable` if on every replica.
    Delivered { durable: bool },
    /// Refused for good.
    Refused,
    /// To be sent again; `kept` if the server may have it all the same.
    Again { in_doubt: bool },
}

/// The fates of all events of a request, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) fates: Vec<Fate>,
    /// At least so long before anything is sent again.
    pub(crate) retry_after: Option<Duration>,
    /// What went wrong, for people.
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    results: Vec<Result>,
}

#[derive(Deserialize)]
struct Result {
    status: u16,
    #[serde(default)]
    retry: bool,
    #[serde(default)]
    unknown: bool,
    durability: Option<String>,
    error: Option<String>,
}

/// Refused as they are, and ever will be.
const FOR_GOOD: [u16; 6] = [400, 401, 403, 410, 413, 415];
/// What these refuse was not kept, not a part of it.
const NOT_KEPT: [u16; 3] = [408, 429, 503];

/// Judges the answer to a request of `events` events.
pub(crate) fn judge(answer: std::result::Result<Answer, NoAnswer>, events: usize) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer { sent, error }) => return all(Fate::Again { in_doubt: sent }, events, None, error),
    };
    let status = answer.status;
    let wait = answer.retry_after;
    if let Ok(Body { results }) = serde_json::from_slice::<Body>(&answer.body)
        && results.len() == events
    {
        let fates = results.iter().map(fate).collect();
        let error = results.into_iter().find(|result| result.status != 202).map(|result| {
            let error = result.error.unwrap_or_default();
            format!("status {}: {error}", result.status)
        });
        return Verdict { fates, retry_after: wait, error };
    }
    if FOR_GOOD.contains(&status) {
        return all(Fate::Refused, events, wait, format!("status {status}: {}", detail(&answer.body)));
    }
    if NOT_KEPT.contains(&status) {
        return all(
            Fate::Again { in_doubt: false },
            events,
            wait,
            format!("status {status}: {}", detail(&answer.body)),
        );
    }
    // A proxy that gave up, or something that isn't killfeed: who knows what stands behind it.
    all(Fate::Again { in_doubt: true }, events, wait, format!("status {status}, and no answer to {events} events"))
}

fn fate(result: &Result) -> Fate {
    match (result.status, result.retry) {
        (202, _) => Fate::Delivered { durable: result.durability.as_deref() == Some("all") },
        (_, true) => Fate::Again { in_doubt: result.unknown },
        (_, false) => Fate::Refused,
    }
}

fn all(fate: Fate, events: usize, retry_after: Option<Duration>, error: String) -> Verdict {
    Verdict { fates: vec![fate; events], retry_after, error: Some(error) }
}

/// The sentence of problem details, cut to a line.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let text = serde_json::from_slice::<Problem>(body).map(|problem| problem.detail).unwrap_or_default();
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Vec<Fate> {
        judge(Ok(Answer { status, retry_after: None, body: body.into() }), 2).fates
    }

    #[test]
    fn each_status_has_one_meaning() {
        let sure = Fate::Again { in_doubt: false };
        let doubt = Fate::Again { in_doubt: true };
        for status in 300..=599 {
            let expected = match status {
                400 | 401 | 403 | 410 | 413 | 415 => Fate::Refused,
                408 | 429 | 503 => sure,
                _ => doubt,
            };
            assert_eq!(answer(status, "{}"), [expected; 2], "{status}");
        }
        assert_eq!(answer(202, ""), [doubt; 2], "no word on the events is no word");
        assert_eq!(answer(202, r#"{"results": [{"status": 202}]}"#), [doubt; 2], "a result too few");
        assert_eq!(judge(Err(NoAnswer { sent: false, error: String::new() }), 1).fates, [sure]);
        assert_eq!(judge(Err(NoAnswer { sent: true, error: String::new() }), 1).fates, [doubt]);
    }

    #[test]
    fn results_count_whatever_stands_over_them() {
        let body =
            r#"{"results": [{"status": 202, "durability": "all"}, {"status": 503, "retry": true, "unknown": true}]}"#;
        for status in [200, 400, 503] {
            assert_eq!(answer(status, body), [Fate::Delivered { durable: true }, Fate::Again { in_doubt: true }]);
        }
        let body = r#"{"results": [{"status": 202, "durability": "leader"}, {"status": 413, "error": "large"}]}"#;
        assert_eq!(answer(200, body), [Fate::Delivered { durable: false }, Fate::Refused]);
    }
}
