//! Webhooks over HTTP: to where the configuration says and nowhere else, in bounded time.

use crate::deliver::{Refused, Webhook, Webhooks};
use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, redirect};
use std::time::Duration;
use url::{Host, Url};

/// How long a receiver may take to answer; Standard Webhooks asks for 15 to 30 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long a receiver may take to accept the connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Sends webhooks over HTTP/1.1 and TLS. Follows no redirect, asks no proxy, reads no answer's body.
#[derive(Debug)]
pub struct HttpWebhooks(Client);

impl HttpWebhooks {
    /// Trusts the public certificate authorities, and those of `authorities` (PEM).
    ///
    /// # Errors
    /// If a certificate can't be read.
    pub fn new(authorities: Option<&[u8]>) -> Result<Self, String> {
        Self::with_limit(authorities, ANSWER_LIMIT)
    }

    /// As [`Self::new`], with another limit for an answer.
    ///
    /// # Errors
    /// If a certificate can't be read.
    pub fn with_limit(authorities: Option<&[u8]>, answer_limit: Duration) -> Result<Self, String> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT.min(answer_limit))
            .timeout(answer_limit)
            .user_agent(concat!("killfeed/", env!("CARGO_PKG_VERSION")));
        for certificate in authorities.map_or_else(|| Ok(Vec::new()), Certificate::from_pem_bundle).map_err(said)? {
            builder = builder.add_root_certificate(certificate);
        }
        builder.build().map(Self).map_err(said)
    }
}

#[async_trait]
impl Webhooks for HttpWebhooks {
    async fn send(&self, webhook: &Webhook) -> Result<String, Refused> {
        let request = self
            .0
            .post(webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &webhook.id)
            .header("webhook-timestamp", webhook.timestamp)
            .header("webhook-signature", &webhook.signature)
            .body(webhook.body.clone());
        let response = request.send().await.map_err(|error| Refused::for_now(said(error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(status.to_string());
        }
        let detail =
            if status.is_redirection() { format!("{status}: redirects are not followed") } else { status.to_string() };
        // Gone is the one answer by which a receiver says: never again.
        let is_final = status == StatusCode::GONE;
        Err(Refused { detail, is_final, retry_after: retry_after(&response) })
    }
}

/// How long the receiver wants to be left alone, if it says so in seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes, in one line.
fn said(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text.lines().collect::<Vec<_>>().join(" ")
}

/// Whether webhooks may be sent there: by TLS, or to this machine.
///
/// # Errors
/// Why not.
pub(crate) fn check_url(url: &Url) -> Result<(), String> {
    let is_loopback = match url.host() {
        None => return Err("it names no host".into()),
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => Err("it carries a user or a password".into()),
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err("it must begin with https://; only loopback may do without".into()),
        other => Err(format!("its scheme {other} is not https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_leaves_the_machine() {
        for good in ["https://a.example/x", "http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost/"] {
            assert_eq!(check_url(&good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "http://a.example/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest",
            "http://localhost.example/",
            "http://[::2]/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "https://user:pass@a.example/",
            "data:text/plain,x",
        ] {
            assert!(check_url(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}
