//! What is delivered, and to whom: webhooks after Standard Webhooks, and mail. How bytes get there is
//! handed in.

use crate::records::{Plan, Run};
use crate::tick::Tick;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use std::fmt;
use std::time::Duration;
use url::Url;

/// Bytes of an output that a webhook carries with it; of a larger one it says where it lies.
const INLINE_MAX: usize = 256 << 10;
/// Bytes of an output that a mail carries with it.
const ATTACHED_MAX: usize = 10 << 20;

/// Something that no log and no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides this.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Where outputs of a schedule go.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its name, unique in its schedule.
    pub name: String,
    /// Whom it reaches.
    pub target: Target,
}

/// Whom a delivery reaches.
#[derive(Clone)]
pub enum Target {
    /// A URL that takes Standard Webhooks.
    Webhook {
        /// Where to.
        url: Url,
        /// Signs: `whsec_` and 24 to 64 bytes in base64.
        secret: Secret,
    },
    /// People.
    Mail {
        /// Their addresses.
        to: Vec<String>,
    },
}

impl fmt::Debug for Target {
    /// Of a URL only the host: its path may be all that protects the receiver.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { url, .. } => write!(f, "Webhook({})", url.host_str().unwrap_or_default()),
            Self::Mail { to } => write!(f, "Mail({to:?})"),
        }
    }
}

/// A webhook, ready to be sent: `POST` of `body` with these headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// `webhook-id`: the same for each try of a tick.
    pub id: String,
    /// `webhook-timestamp`: when this try was signed, in s since the epoch.
    pub timestamp: i64,
    /// `webhook-signature`: `v1,` and the HMAC in base64.
    pub signature: String,
    /// JSON; the same for each try of a tick.
    pub body: Bytes,
}

/// A mail, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `Message-ID`, the same for each try of a tick.
    pub id: String,
    /// Addresses of its readers.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// Name, media type and bytes of what is attached.
    pub attached: Option<(String, &'static str, Bytes)>,
}

/// Why something was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// In one line.
    pub detail: String,
    /// Trying again is no use.
    pub is_final: bool,
    /// When the receiver wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// To be tried again.
    pub fn for_now(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), is_final: false, retry_after: None }
    }

    /// Not to be tried again.
    pub fn for_good(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), is_final: true, retry_after: None }
    }
}

/// Sends webhooks.
#[async_trait]
pub trait Webhooks: fmt::Debug + Send + Sync + 'static {
    /// Sends one; what the receiver said, if it took it.
    ///
    /// # Errors
    /// Why it was not taken, as far as is known: it may have been.
    async fn send(&self, webhook: &Webhook) -> Result<String, Refused>;
}

/// Sends mail.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Sends one; what the server said, if it took it.
    ///
    /// # Errors
    /// As [`Webhooks::send`].
    async fn send(&self, mail: &Mail) -> Result<String, Refused>;
}

/// One stored output with what is known about it.
pub(crate) struct Stored<'a> {
    pub(crate) schedule: &'a str,
    pub(crate) tick: Tick,
    pub(crate) plan: &'a Plan,
    pub(crate) run: Option<&'a Run>,
    /// Where it lies in the store.
    pub(crate) path: String,
    pub(crate) output: Bytes,
}

impl Stored<'_> {
    /// The id of all deliveries of this tick, by which receivers know a repetition.
    pub(crate) fn id(&self) -> String {
        format!("killfeed_{}_{}", self.schedule, self.tick)
    }

    fn file_name(&self) -> String {
        format!("{}-{}.{}", self.schedule, self.tick, self.plan.request.format.extension())
    }

    /// The webhook, signed now.
    pub(crate) fn webhook(&self, url: &Url, secret: &Secret, now: Timestamp) -> Result<Webhook, Refused> {
        let body = self.body();
        let (id, timestamp) = (self.id(), now.as_second());
        let signature = standardwebhooks::Webhook::new(secret.reveal())
            .and_then(|key| key.sign(&id, timestamp, &body))
            .map_err(|error| Refused::for_good(format!("cannot sign: {error}")))?;
        Ok(Webhook { url: url.clone(), id, timestamp, signature, body })
    }

    /// The same bytes for each try: nothing in here depends on when or by whom it is sent.
    fn body(&self) -> Bytes {
        let request = &self.plan.request;
        let params: serde_json::Map<_, _> =
            request.params.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let mut data = json!({
            "schedule": self.schedule,
            "report": request.report,
            "params": params,
            "tick": self.tick.at,
            "manual": self.tick.manual,
            "rows": self.run.map(|run| run.rows),
            "bytes": self.output.len(),
            "media_type": request.format.media_type(),
            "location": self.path,
        });
        if self.output.len() <= INLINE_MAX {
            match std::str::from_utf8(&self.output) {
                Ok(text) => data["content"] = text.into(),
                Err(_) => data["content_base64"] = STANDARD.encode(&self.output).into(),
            }
        }
        let event = json!({ "type": "report.stored", "timestamp": self.tick.at, "data": data });
        Bytes::from(event.to_string())
    }

    /// The mail.
    pub(crate) fn mail(&self, to: &[String]) -> Mail {
        let request = &self.plan.request;
        let mut text = format!("Report {} of {}", request.report, self.plan.shown);
        for (name, value) in &request.params {
            text += &format!("\n  {name} = {value}");
        }
        if let Some(run) = self.run {
            text += &format!("\nRows: {}", run.rows);
        }
        let fits = self.output.len() <= ATTACHED_MAX;
        if !fits {
            text += &format!("\nThe output has {} bytes, too many for a mail.", self.output.len());
        }
        text += &format!("\nIt lies in the store at {}\n", self.path);
        let attached = (self.file_name(), request.format.media_type(), self.output.clone());
        Mail {
            id: format!("<{}@killfeed>", self.id()),
            to: to.to_owned(),
            subject: format!("{}: {} of {}", self.schedule, request.report, self.plan.shown),
            text,
            attached: fits.then_some(attached),
        }
    }
}
