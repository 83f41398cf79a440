//! Who gets outputs, and by which server: `[[schedules.deliver]]`, `[mail]` and `[webhooks]`.

use super::fields::Fields;
use super::{check_name, within};
use crate::deliver::{Delivery, Secret, Target};
use crate::mail::{self, MailServer, Security};
use crate::webhook;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::message::Mailbox;
use std::path::{Path, PathBuf};
use toml::Value;
use url::Url;

/// Deliveries of one schedule.
const DELIVERIES_MAX: usize = 20;

/// The deliveries of a schedule that can be read.
pub(super) fn read_deliveries(entries: Vec<Value>, faults: &mut Vec<String>) -> Vec<Delivery> {
    if entries.len() > DELIVERIES_MAX {
        faults.push(format!("deliver: {} of them, the limit is {DELIVERIES_MAX}", entries.len()));
        return Vec::new();
    }
    let mut deliveries: Vec<Delivery> = Vec::new();
    for (place, entry) in (1..).zip(entries) {
        within(&format!("deliver {place}"), faults, |found| {
            let delivery = read_delivery(entry, place, found)?;
            if deliveries.iter().any(|other| other.name == delivery.name) {
                found.push(format!("the name {:?} is used twice", delivery.name));
            }
            deliveries.push(delivery);
            Some(())
        });
    }
    deliveries
}

fn read_delivery(entry: Value, place: usize, faults: &mut Vec<String>) -> Option<Delivery> {
    let mut fields = Fields::of(entry, faults)?;
    let name: Option<String> = fields.optional("name");
    if let Some(name) = &name {
        let checked = check_name(name);
        fields.keep(&format!("name {name:?}"), checked);
    }
    // What is there counts, also if it can't be read.
    let (is_webhook, is_mail) = (fields.has("webhook"), fields.has("mail"));
    let webhook: Option<String> = fields.optional("webhook");
    let to: Option<Vec<String>> = fields.optional("mail");
    let has_secret = fields.has("secret") || fields.has("secret-file");
    let secret = fields.secret("secret", "secret-file");
    let (kind, target) = match (is_webhook, is_mail) {
        (true, false) => {
            if !has_secret {
                fields.faults.push("a webhook needs secret or secret-file".into());
            }
            let secret = secret.and_then(|secret| fields.keep("secret", check_secret(&secret).map(|()| secret)));
            let url = webhook.and_then(|text| read_url(&text, &mut fields));
            ("webhook", url.zip(secret).map(|(url, secret)| Target::Webhook { url, secret }))
        }
        (false, true) => {
            if has_secret {
                fields.faults.push("mail has no secret".into());
            }
            ("mail", to.and_then(|to| read_readers(to, &mut fields)).map(|to| Target::Mail { to }))
        }
        _ => {
            fields.faults.push("give either webhook or mail".into());
            ("", None)
        }
    };
    fields.finish();
    Some(Delivery { name: name.unwrap_or_else(|| format!("{kind}-{place}")), target: target? })
}

/// Paths and users of URLs are secrets to some receivers: nothing says more than the host.
fn read_url(text: &str, fields: &mut Fields<'_>) -> Option<Url> {
    let parsed = text.parse::<Url>().map_err(|error| error.to_string());
    let url = fields.keep("webhook", parsed)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    fields.keep(&format!("webhook to {host:?}"), webhook::check_url(&url))?;
    Some(url)
}

fn read_readers(to: Vec<String>, fields: &mut Fields<'_>) -> Option<Vec<String>> {
    if to.is_empty() {
        fields.fault("mail", "an empty list reaches nobody");
    }
    for address in &to {
        let parsed = address.parse::<Address>().map_err(|error| error.to_string());
        fields.keep(&format!("mail {address:?}"), parsed);
    }
    Some(to)
}

/// The section `[mail]`.
pub(super) fn read_mail(value: Value, faults: &mut Vec<String>) -> Option<MailServer> {
    let mut fields = Fields::of(value, faults)?;
    let host: Option<String> = fields.required("server");
    let port: Option<u16> = fields.optional("port");
    let security: Option<String> = fields.optional("security");
    let is_loopback = host.as_deref().is_none_or(mail::is_loopback);
    let (security, usual) = match security.as_deref() {
        None | Some("tls") => (Security::Tls, 465),
        Some("starttls") => (Security::StartTls, 587),
        Some("plain") => {
            if !is_loopback {
                fields.faults.push("security \"plain\": only loopback may do without TLS".into());
            }
            (Security::Plain, 25)
        }
        Some(other) => {
            fields.faults.push(format!("security {other:?}: is none of tls, starttls, plain"));
            (Security::Tls, 465)
        }
    };
    let from: Option<String> = fields.required("from");
    let from = from.and_then(|text| {
        let parsed = text.parse::<Mailbox>().map_err(|error| error.to_string());
        fields.keep(&format!("from {text:?}"), parsed)
    });
    let has_password = fields.has("password") || fields.has("password-file");
    let user: Option<String> = fields.optional("user");
    let password = fields.secret("password", "password-file");
    if user.is_some() != has_password {
        fields.faults.push("give user and password both, or neither".into());
    }
    let authorities = fields.file("ca-file");
    let server = host.zip(from).map(|(host, from)| MailServer {
        host,
        port: port.unwrap_or(usual),
        security,
        login: user.zip(password),
        from,
        authorities,
    });
    let sound = server.and_then(|server| {
        let made = crate::SmtpMailer::new(&server).map(|_| server);
        fields.keep("ca-file", made)
    });
    fields.finish();
    sound
}

/// The section `[webhooks]`: the authorities that it names.
pub(super) fn read_webhooks(value: Value, faults: &mut Vec<String>) -> Option<Vec<u8>> {
    let mut fields = Fields::of(value, faults)?;
    let authorities = fields.file("ca-file");
    let made = crate::HttpWebhooks::new(authorities.as_deref()).map(drop);
    fields.keep("ca-file", made);
    fields.finish();
    authorities
}

impl Fields<'_> {
    /// A secret that stands in the file, or in a file of its own.
    fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let is_twice = self.has(key) && self.has(file_key);
        let (given, file) = (self.optional::<String>(key), self.file(file_key));
        if is_twice {
            self.faults.push(format!("give {key} or {file_key}, not both"));
            return None;
        }
        if let Some(text) = given {
            return Some(Secret::new(text));
        }
        let text = String::from_utf8(file?).map_err(|_| "is no text".to_owned());
        self.keep(file_key, text).map(|text| Secret::new(text.trim()))
    }

    /// The bytes of the file that a key names.
    fn file(&mut self, key: &'static str) -> Option<Vec<u8>> {
        let path: PathBuf = self.optional(key)?;
        let read = read_file(&path);
        self.keep(key, read)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// As Standard Webhooks has it; the message never shows it.
fn check_secret(secret: &Secret) -> Result<(), String> {
    let key = secret.reveal().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    match key.map(|key| key.len()) {
        Some(24..=64) => Ok(()),
        Some(bytes) => Err(format!("has {bytes} bytes, and must have 24 to 64")),
        None => Err("must be whsec_ followed by 24 to 64 bytes in base64".into()),
    }
}
