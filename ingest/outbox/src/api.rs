//! What the relay asks of the collection API, and how its answers read.

use serde::Deserialize;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

/// What the API publishes (`GET /v1/config`), as far as a relay needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// How long what is sent again is deduplicated.
    pub dedupe: Windows,
    /// What it takes at once.
    pub limits: Limits,
}

/// Dedupe windows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Windows {
    /// Of types that declare none, in seconds.
    pub window_s: u64,
    /// Of types that declare one.
    #[serde(default)]
    pub window_s_by_type: HashMap<String, u64>,
}

/// Limits of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// Of one event.
    pub event_bytes: u64,
    /// Events in a request.
    pub batch_events: usize,
    /// Of a request's body.
    pub body_bytes: u64,
}

impl Published {
    /// The dedupe window of a type.
    #[must_use]
    pub fn window(&self, event_type: &str) -> Duration {
        let by_type = self.dedupe.window_s_by_type.get(event_type);
        Duration::from_secs(by_type.copied().unwrap_or(self.dedupe.window_s))
    }
}

/// What one event's result says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 202: it is durable.
    Accepted,
    /// It will never be taken.
    Refused(String),
    /// Send it again. `kept` is whether it may have been taken all the same.
    Again {
        /// The result's error.
        why: String,
        /// It may have been.
        unknown: bool,
    },
}

/// What one request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A verdict for each event, in the order of the request.
    Answered {
        /// One for each event.
        verdicts: Vec<Verdict>,
        /// How long the API asks to wait.
        retry_after: Option<Duration>,
    },
    /// Too much for one request; nothing was kept.
    TooLarge(String),
    /// No verdicts.
    Failed {
        /// In one line.
        why: String,
        /// Something of it may have been kept.
        unknown: bool,
        /// How long the API asks to wait.
        retry_after: Option<Duration>,
    },
}

/// The collection API.
pub trait Api: Send {
    /// Asks what it publishes.
    fn published(&self) -> impl Future<Output = Result<Published, String>> + Send;

    /// Sends events, each a line, in this order. `ids` are theirs.
    fn send(&self, lines: &[String], ids: &[&str]) -> impl Future<Output = Reply> + Send;
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    id: Option<String>,
    status: u16,
    #[serde(default)]
    retry: bool,
    #[serde(default)]
    unknown: bool,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
}

/// Reads an answer to events with these ids.
#[must_use]
pub fn interpret(status: u16, retry_after: Option<Duration>, body: &[u8], ids: &[&str]) -> Reply {
    if let Ok(Answer { results }) = serde_json::from_slice::<Answer>(body) {
        let ours = results.len() == ids.len()
            && results.iter().zip(ids).all(|(result, id)| result.id.as_deref().is_none_or(|of| of == *id));
        if ours {
            return Reply::Answered { verdicts: results.into_iter().map(verdict).collect(), retry_after };
        }
        let why = format!("the answer ({status}) is to other events than were sent");
        return Reply::Failed { why, unknown: true, retry_after };
    }
    // Only the API says problems; what stands before it may have lost the answer of a request that was kept.
    let problem = serde_json::from_slice::<Problem>(body).ok().filter(|problem| !problem.detail.is_empty());
    let was_refused = (400..500).contains(&status) || (status == 503 && problem.is_some());
    let unknown = !was_refused;
    let why = match problem {
        Some(problem) => format!("{status}: {}", one_line(&problem.detail)),
        None => format!("the answer was {status}, without results"),
    };
    match status {
        413 => Reply::TooLarge(why),
        _ => Reply::Failed { why, unknown, retry_after },
    }
}

fn verdict(result: EventResult) -> Verdict {
    let EventResult { status, retry, unknown, error, .. } = result;
    let why = match error {
        Some(error) => format!("{status}: {}", one_line(&error)),
        None => format!("{status}, without a reason"),
    };
    match status {
        202 => Verdict::Accepted,
        400..500 if !retry => Verdict::Refused(why),
        // What is neither a yes nor a no as the API says them is sent again.
        _ => Verdict::Again { why, unknown: unknown || !retry },
    }
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: u16, body: &str) -> Reply {
        interpret(status, None, body.as_bytes(), &["a", "b"])
    }

    #[test]
    fn only_a_result_of_202_is_accepted() {
        let body = json!({ "results": [
            { "id": "a", "status": 202, "retry": false, "unknown": false, "durability": "all", "error": null },
            { "id": "b", "status": 200, "retry": false, "error": null },
        ]});
        let Reply::Answered { verdicts, .. } = read(200, &body.to_string()) else { panic!() };
        assert_eq!(verdicts[0], Verdict::Accepted);
        assert!(matches!(verdicts[1], Verdict::Again { unknown: true, .. }), "{verdicts:?}");
    }

    #[test]
    fn results_count_whatever_the_status_over_all() {
        let body = json!({ "detail": "none was taken", "results": [
            { "id": "a", "status": 400, "retry": false, "unknown": false, "error": "type is\nempty" },
            { "id": "b", "status": 503, "retry": true, "unknown": true, "error": "in doubt" },
        ]});
        let Reply::Answered { verdicts, .. } = read(503, &body.to_string()) else { panic!() };
        assert_eq!(verdicts[0], Verdict::Refused("400: type is empty".into()));
        assert_eq!(verdicts[1], Verdict::Again { why: "503: in doubt".into(), unknown: true });
    }

    #[test]
    fn an_answer_to_others_and_one_of_a_proxy_leave_doubt() {
        for (status, body) in [
            (202, json!({ "results": [] }).to_string()),
            (202, json!({ "results": [{ "id": "b", "status": 202 }, { "id": "a", "status": 202 }] }).to_string()),
            (202, String::from("<html>")),
            (502, String::from("bad gateway")),
            (503, String::from("busy")),
            (504, json!({ "detail": "too late" }).to_string()),
        ] {
            let reply = read(status, &body);
            assert!(matches!(reply, Reply::Failed { unknown: true, .. }), "{status} {body}: {reply:?}");
        }
    }

    #[test]
    fn a_refused_request_leaves_none() {
        for (status, body) in [(401, "{}"), (404, "<html>"), (429, "{}"), (503, r#"{"detail": "shutting down"}"#)] {
            let reply = read(status, body);
            assert!(matches!(reply, Reply::Failed { unknown: false, .. }), "{status}: {reply:?}");
        }
        assert!(matches!(read(413, "{}"), Reply::TooLarge(_)));
    }

    #[test]
    fn what_the_api_publishes_is_read() {
        let published: Published = serde_json::from_value(json!({
            "server_time": "2026-11-21T09:30:00.000000Z",
            "dedupe": { "window_s": 86_400, "window_s_by_type": { "lol.game_result": 604_800 } },
            "limits": { "event_bytes": 1_000_000, "batch_events": 10_000, "body_bytes": 8_388_608 },
        }))
        .unwrap();
        assert_eq!(published.window("chat"), Duration::from_secs(86_400));
        assert_eq!(published.window("lol.game_result"), Duration::from_secs(604_800));
    }
}
