//! The collection API over HTTP.

use crate::api::{Api, Published, Reply, interpret};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, redirect};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
/// The API answers within 10 s, whatever comes of it; the rest is for the way.
const ANSWER: Duration = Duration::from_secs(20);

/// One API to send to.
#[derive(Debug, Clone)]
pub struct HttpApi {
    http: Client,
    base: String,
    key: Option<String>,
}

impl HttpApi {
    /// At this URL, with this key. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A sentence, if it is no URL of HTTP.
    pub fn new(url: &str, key: Option<String>) -> Result<Self, String> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).map_err(|error| format!("--url {base}: {error}"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(format!("--url {base}: begins with neither http:// nor https://"));
        }
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // An event is acknowledged by whom it was sent to.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("killfeed-outbox/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        Ok(Self { http, base, key })
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

impl Api for HttpApi {
    async fn published(&self) -> Result<Published, String> {
        let request = self.with_key(self.http.get(format!("{}/v1/config", self.base)));
        let response = request.send().await.map_err(|error| reason(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{}/v1/config answered {status}", self.base));
        }
        let body = response.bytes().await.map_err(|error| reason(&error))?;
        serde_json::from_slice(&body).map_err(|error| format!("{}/v1/config is none of killfeed: {error}", self.base))
    }

    async fn send(&self, lines: &[String], ids: &[&str]) -> Reply {
        let mut body = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            body.push_str(line);
            body.push('\n');
        }
        let request = self.http.post(format!("{}/v1/batch", self.base)).header(CONTENT_TYPE, "application/x-ndjson");
        let response = match self.with_key(request).body(body).send().await {
            Ok(response) => response,
            // Without a connection nothing was sent; anything else may have arrived.
            Err(error) => {
                return Reply::Failed { why: reason(&error), unknown: !error.is_connect(), retry_after: None };
            }
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        match response.bytes().await {
            Ok(body) => interpret(status, retry_after, &body, ids),
            Err(error) => Reply::Failed { why: reason(&error), unknown: true, retry_after },
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost cause: what the system said.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
