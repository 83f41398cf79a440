//! One server to talk to: its address, the key, and what its errors mean for the exit code.

use crate::exit::Failure;
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Which server.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "KILLFEED_URL")]
    pub(crate) url: String,
    /// API key, where the server asks for one.
    #[arg(long, value_name = "KEY", env = "KILLFEED_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

/// A connection to it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Server {
    /// Opens it, without talking yet.
    pub(crate) fn client(self) -> Result<Client, Failure> {
        let base = self.url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).map_err(|error| Failure::usage(format!("--url {base}: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Failure::usage(format!("--url {base}: begins with neither http:// nor https://")));
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("killfeed/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage(format!("cannot make an HTTP client: {error}")))?;
        Ok(Client { http, base, key: self.key })
    }
}

impl Client {
    /// Its address, as it was given.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request for `path`, with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends it, and takes any answer but a good one as a failure.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(refusal(status, &body))
    }

    /// Sends it, and reads the answer as JSON.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| Failure::usage(format!("{} answered what is no JSON: {error}", self.base)))
    }

    /// The failure of a request that got no answer.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::usage(format!("cannot reach {}: {}", self.base, reason(error)))
    }
}

/// What servers say in the words of HTTP, and what commands say in its place.
const IN_OUR_WORDS: [(&str, &str); 2] = [
    ("GET /v1/reports lists them", "`killfeed report list` names them"),
    ("GET /v1/schemas lists what there is", "`killfeed schema list` shows what there is"),
];

/// The innermost cause: what the system said.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The failure that an answer's status and body mean: a wrong key is wrong usage, the rest is a no.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let line = detail(status, body);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::usage(line),
        _ => Failure::negative(line),
    }
}

/// What an answer says went wrong, in one line.
pub(crate) fn detail(status: StatusCode, body: &[u8]) -> String {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str()).unwrap_or_default();
    if detail.is_empty() {
        return format!("the server answered {status}");
    }
    let line = detail.lines().collect::<Vec<_>>().join(" ");
    let ours = IN_OUR_WORDS.iter().find_map(|(theirs, ours)| Some(format!("{}{ours}", line.strip_suffix(theirs)?)));
    ours.unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_commands_and_no_paths() {
        let report = queries::Error::NoReport("nope".into()).to_string();
        assert_eq!(said(&report), "no report \"nope\"; `killfeed report list` names them");
        assert_eq!(said("two\nlines"), "two lines");
    }

    fn said(text: &str) -> String {
        detail(StatusCode::NOT_FOUND, serde_json::json!({ "detail": text }).to_string().as_bytes())
    }
}
