//! Proxies that can be told to hold up, slow down or cut what goes through them.

use crate::{ports, reaper, scripts};
use anyhow::{Context as _, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// How long the server may take to come up.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The name of the one fault that a proxy has at a time.
const TOXIC: &str = "fault";

/// A toxiproxy server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Toxiproxy {
    dir: PathBuf,
    child: Child,
    url: String,
    http: Client,
}

/// Which way a fault works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What clients send.
    There,
    /// What servers answer.
    Back,
}

/// What a proxy does to what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing arrives any more; connections stay open.
    Silence(Way),
    /// Connections are reset.
    Reset(Way),
    /// Everything arrives late, and little of it.
    Slow(Way),
    /// A connection ends after so many bytes, be it in the middle of a word.
    Torn(Way, u32),
}

impl Toxiproxy {
    /// Starts it, for proxies between processes of this folder.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let home = scripts::target().join("toxiproxy");
        let binary = scripts::run(scripts::script("toxiproxy/fetch").env("TOXIPROXY_HOME", home));
        let port = ports::free(1)?.start;
        let mut command = Command::new(binary);
        command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
        let child = reaper::spawn(dir, "toxiproxy", &mut command)?;
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let this = Self { dir: dir.to_owned(), child, url: format!("http://127.0.0.1:{port}"), http };
        let began = tokio::time::Instant::now();
        while this.call(Method::GET, "/version", None).await.is_err() {
            ensure!(began.elapsed() < START_LIMIT, "toxiproxy is not up after {START_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(this)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<()> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.context("toxiproxy")?;
        let status = response.status();
        ensure!(status.is_success(), "toxiproxy: {path}: {status}: {}", response.text().await.unwrap_or_default());
        Ok(())
    }

    /// A proxy from one port to another.
    pub(crate) async fn put(&self, name: &str, from: u16, to: u16) -> anyhow::Result<()> {
        let (listen, upstream) = (format!("127.0.0.1:{from}"), format!("127.0.0.1:{to}"));
        let body = json!({ "name": name, "listen": listen, "upstream": upstream, "enabled": true });
        self.call(Method::POST, "/proxies", Some(body)).await
    }

    /// Cuts what goes through a proxy, until it is healed.
    pub(crate) async fn cut(&self, proxy: &str, cut: Cut) -> anyhow::Result<()> {
        let (kind, way, attributes) = match cut {
            Cut::Silence(way) => ("timeout", way, json!({ "timeout": 0 })),
            Cut::Reset(way) => ("reset_peer", way, json!({ "timeout": 0 })),
            Cut::Slow(way) => ("latency", way, json!({ "latency": 800, "jitter": 700 })),
            Cut::Torn(way, bytes) => ("limit_data", way, json!({ "bytes": bytes })),
        };
        let stream = if way == Way::There { "upstream" } else { "downstream" };
        let body = json!({ "name": TOXIC, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes });
        self.call(Method::POST, &format!("/proxies/{proxy}/toxics"), Some(body)).await
    }

    /// Lets everything through again.
    pub(crate) async fn heal(&self, proxy: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, &format!("/proxies/{proxy}/toxics/{TOXIC}"), None).await
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        reaper::end(&self.dir, &mut self.child);
    }
}

impl Cut {
    /// Its name, as a timeline shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silence(_) => "silence",
            Self::Reset(_) => "reset",
            Self::Slow(_) => "slow",
            Self::Torn(..) => "torn",
        }
    }
}
