//! Errors over HTTP: problem details, RFC 9457.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// An error as a client sees it. Its body is `application/problem+json`:
/// `{"type", "title", "status", "detail", ...extension members}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// HTTP status, repeated in the body.
    pub status: StatusCode,
    /// URI that names the kind of problem; `about:blank` says no more than the status does.
    pub kind: Cow<'static, str>,
    /// The kind in a few words, the same for each of its kind.
    pub title: Cow<'static, str>,
    /// What went wrong this time, and what to do: names the thing, its value and the limit.
    pub detail: String,
    /// How long to wait before trying again; sent as `Retry-After` in whole seconds, at least 1.
    pub retry_after: Option<Duration>,
    /// Extension members of the body.
    pub extensions: Map<String, Value>,
    challenge: bool,
}

impl Problem {
    /// Media type of the body.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// Of this status, with the status' own words as title.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(status.canonical_reason().unwrap_or("Error")),
            detail: detail.into(),
            retry_after: None,
            extensions: Map::new(),
            challenge: false,
        }
    }

    /// 400: the request is wrong, and stays so.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401, with a `WWW-Authenticate` header.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self { challenge: true, ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429, to be tried again after `retry_after`.
    pub fn too_many_requests(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).with_retry_after(retry_after)
    }

    /// 503, to be tried again after `retry_after`.
    pub fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_retry_after(retry_after)
    }

    /// 500: a fault of ours.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// 504: it took longer than the deadline.
    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// Names the kind by a URI (`urn:killfeed:...`) and its title.
    #[must_use]
    pub fn of_kind(mut self, uri: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        self.kind = uri.into();
        self.title = title.into();
        self
    }

    /// With a `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// With an extension member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(member.to_owned(), value.into());
        self
    }

    /// The body. The standard members can't be overwritten by extensions.
    pub fn to_json(&self) -> Value {
        let mut body = self.extensions.clone();
        body.insert("type".into(), json!(self.kind));
        body.insert("title".into(), json!(self.title));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        Value::Object(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"));
        if self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"killfeed\""));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// A router's fallback: 404 that names the path.
pub async fn no_such_path(method: Method, uri: Uri) -> Problem {
    Problem::not_found(format!("no such path: {method} {}; GET / lists what there is", uri.path()))
}

/// A router's fallback for a path that exists: 405 that names the method.
pub async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {method}; GET / lists what there is", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_becomes_a_response_with_its_headers() {
        struct Case {
            problem: Problem,
            retry_after: Option<&'static str>,
            challenged: bool,
        }
        let wait = Duration::from_millis;
        let cases = [
            Case { problem: Problem::bad_request("no"), retry_after: None, challenged: false },
            Case { problem: Problem::unauthorized("no"), retry_after: None, challenged: true },
            Case { problem: Problem::unavailable("no", wait(10)), retry_after: Some("1"), challenged: false },
            Case { problem: Problem::too_many_requests("no", wait(2_001)), retry_after: Some("3"), challenged: false },
            Case { problem: Problem::too_many_requests("no", wait(0)), retry_after: Some("1"), challenged: false },
        ];
        for case in cases {
            let expected = case.problem.to_json();
            let status = case.problem.status;
            let response = case.problem.into_response();
            assert_eq!(response.status(), status);
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!(header("content-type"), Some(Problem::MEDIA_TYPE));
            assert_eq!(header("retry-after"), case.retry_after);
            assert_eq!(header("www-authenticate").is_some(), case.challenged);
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        }
    }

    #[test]
    fn extensions_stand_beside_the_standard_members_and_never_replace_them() {
        let problem = Problem::bad_request("bad column")
            .of_kind("urn:killfeed:sql", "Query refused")
            .with("column", 7)
            .with("status", 200);
        let expected = json!({
            "type": "urn:killfeed:sql", "title": "Query refused", "status": 400, "detail": "bad column", "column": 7,
        });
        assert_eq!(problem.to_json(), expected);
    }
}
