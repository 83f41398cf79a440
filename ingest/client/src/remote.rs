//! What the server asks of its clients: `GET /v1/config`.

use crate::ports::Answer;
use crate::time;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Windows by default, as long as the server has not said: that of the server's own default.
const WINDOW_DEFAULT: Duration = Duration::from_secs(86_400);
/// Types that may have a setting of their own; a longer answer is cut.
const TYPES_MAX: usize = 10_000;

/// As the server writes it; what is missing keeps its default.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Body {
    enabled: bool,
    server_time: Option<String>,
    dedupe: Dedupe,
    limits: Limits,
    sampling: Sampling,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Dedupe {
    window_s: u64,
    window_s_by_type: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Limits {
    event_bytes: Option<usize>,
    batch_events: Option<usize>,
    body_decompressed_bytes: Option<usize>,
}

/// One event in so many, by type.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Sampling {
    one_in: u32,
    one_in_by_type: BTreeMap<String, u32>,
}

impl Default for Body {
    fn default() -> Self {
        let (dedupe, limits, sampling) = Default::default();
        Self { enabled: true, server_time: None, dedupe, limits, sampling }
    }
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { window_s: WINDOW_DEFAULT.as_secs(), window_s_by_type: BTreeMap::new() }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { one_in: 1, one_in_by_type: BTreeMap::new() }
    }
}

impl Sampling {
    /// One event of this type in so many; at least 1.
    pub(crate) fn of(&self, event_type: &str) -> u32 {
        if self.one_in_by_type.is_empty() {
            return self.one_in.max(1);
        }
        self.one_in_by_type.get(event_type).copied().unwrap_or(self.one_in).max(1)
    }
}

/// What the client goes by.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    dedupe: Dedupe,
    limits: Limits,
    pub(crate) sampling: Sampling,
    /// The server wants no events.
    pub(crate) is_off: bool,
    /// The server's clock when it answered, in microseconds since 1970.
    pub(crate) server_us: Option<i64>,
}

impl Remote {
    /// `None` if the answer is none.
    pub(crate) fn read(answer: &Answer) -> Option<Self> {
        if answer.status != 200 {
            return None;
        }
        let Body { enabled, server_time, mut dedupe, limits, mut sampling } =
            serde_json::from_slice(&answer.body).ok()?;
        cut(&mut dedupe.window_s_by_type);
        cut(&mut sampling.one_in_by_type);
        let server_us = server_time.and_then(|text| time::parse(&text));
        Some(Self { dedupe, limits, sampling, is_off: !enabled, server_us })
    }

    /// For how long the server tells a resend from a new event.
    pub(crate) fn window(&self, event_type: &str) -> Duration {
        let window = self.dedupe.window_s_by_type.get(event_type).copied().unwrap_or(self.dedupe.window_s);
        Duration::from_secs(window)
    }

    /// Ours or the server's limit, whichever is lower.
    pub(crate) fn event_bytes(&self, own: usize) -> usize {
        own.min(self.limits.event_bytes.unwrap_or(own))
    }

    pub(crate) fn batch_events(&self, own: usize) -> usize {
        own.min(self.limits.batch_events.unwrap_or(own)).max(1)
    }

    pub(crate) fn batch_bytes(&self, own: usize) -> usize {
        own.min(self.limits.body_decompressed_bytes.unwrap_or(own)).max(1)
    }
}

fn cut<T>(by_type: &mut BTreeMap<String, T>) {
    while by_type.len() > TYPES_MAX {
        by_type.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Option<Remote> {
        Remote::read(&Answer { status, retry_after: None, body: body.into() })
    }

    #[test]
    fn what_is_missing_keeps_its_default_and_the_unknown_is_passed_over() {
        let remote =
            read(200, r#"{"server_time": "2026-01-01T00:00:00Z", "new": 1, "dedupe": {"window_s_by_type": {"a": 5}}}"#);
        let remote = remote.unwrap();
        assert_eq!((remote.window("a"), remote.window("b")), (Duration::from_secs(5), WINDOW_DEFAULT));
        assert_eq!(remote.server_us, Some(1_767_225_600_000_000));
        assert_eq!((remote.event_bytes(7), remote.batch_events(500), remote.sampling.of("a")), (7, 500, 1));
        let remote = read(
            200,
            r#"{"limits": {"event_bytes": 5, "batch_events": 0}, "sampling": {"one_in": 0, "one_in_by_type": {"a": 9}}}"#,
        );
        let remote = remote.unwrap();
        assert_eq!((remote.event_bytes(7), remote.batch_events(500)), (5, 1));
        assert_eq!((remote.sampling.of("a"), remote.sampling.of("b")), (9, 1));
    }

    #[test]
    fn a_server_is_on_unless_it_says_otherwise() {
        let off = |body: &str| read(200, body).unwrap().is_off;
        assert_eq!((off("{}"), off(r#"{"enabled": true}"#), off(r#"{"enabled": false}"#)), (false, false, true));
    }

    #[test]
    fn garbage_changes_nothing() {
        assert!(read(200, "<html>").is_none());
        assert!(read(404, "{}").is_none());
    }
}
