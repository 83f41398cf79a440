//! Mail over SMTP: with TLS, or plain to this machine.

use crate::deliver::{Mail, Mailer, Refused, Secret};
use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use std::time::Duration;

/// How long the whole conversation with a server may take. The transport's own limit is one of connecting only.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// How the connection to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (port 465).
    Tls,
    /// TLS before anything is said about the mail (port 587); refused without.
    StartTls,
    /// None; to this machine only.
    Plain,
}

/// The server that takes mail.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Its name, which its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// Who the mail is from.
    pub from: Mailbox,
    /// Certificate authorities that are trusted beside the public ones (PEM).
    pub authorities: Option<Vec<u8>>,
}

/// Sends mail by SMTP.
#[derive(Debug)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    limit: Duration,
}

impl SmtpMailer {
    /// Sends by this server; asks nobody yet.
    ///
    /// # Errors
    /// If a certificate can't be read.
    pub fn new(server: &MailServer) -> Result<Self, String> {
        Self::with_limit(server, SEND_LIMIT)
    }

    /// As [`Self::new`], with another limit for sending.
    ///
    /// # Errors
    /// If a certificate can't be read.
    pub fn with_limit(server: &MailServer, limit: Duration) -> Result<Self, String> {
        let tls = match server.security {
            Security::Plain => Tls::None,
            Security::Tls => Tls::Wrapper(parameters(server)?),
            Security::StartTls => Tls::Required(parameters(server)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .timeout(Some(limit));
        if let Some((user, password)) = &server.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(Self { transport: builder.build(), from: server.from.clone(), limit })
    }

    fn message(&self, mail: &Mail) -> Result<Message, Refused> {
        let wrong = |what: &str, detail: String| Refused::for_good(format!("{what}: {detail}"));
        let mut builder = Message::builder().from(self.from.clone()).subject(&mail.subject);
        builder = builder.message_id(Some(mail.id.clone()));
        for to in &mail.to {
            builder = builder.to(to.parse().map_err(|error| wrong(to, format!("{error}")))?);
        }
        let text = SinglePart::plain(mail.text.clone());
        let built = match &mail.attached {
            None => builder.singlepart(text),
            Some((name, media_type, bytes)) => {
                let kind = ContentType::parse(media_type).map_err(|error| wrong(media_type, error.to_string()))?;
                let attached = Attachment::new(name.clone()).body(bytes.to_vec(), kind);
                builder.multipart(MultiPart::mixed().singlepart(text).singlepart(attached))
            }
        };
        built.map_err(|error| wrong("message", error.to_string()))
    }
}

fn parameters(server: &MailServer) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(pem) = &server.authorities {
        let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<String, Refused> {
        let message = self.message(mail)?;
        let sent = tokio::time::timeout(self.limit, self.transport.send(message)).await;
        match sent {
            Err(_) => Err(Refused::for_now(format!("the server did not finish within {:?}", self.limit))),
            Ok(Ok(response)) => Ok(format!("{} {}", response.code(), response.first_line().unwrap_or_default())),
            Ok(Err(error)) => {
                let detail = causes(&error);
                Err(if error.is_permanent() { Refused::for_good(detail) } else { Refused::for_now(detail) })
            }
        }
    }
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text.lines().collect::<Vec<_>>().join(" ")
}

/// Whether mail may be sent there without TLS.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
