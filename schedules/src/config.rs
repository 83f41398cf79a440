//! Schedules as they stand in the config file: `[[schedules]]`, `[mail]` and `[webhooks]`.
//!
//! Read strictly: what is unknown or wrong is named, all of it at once, each in one line.

use crate::deliver::{Delivery, Secret, Target};
use crate::mail::{self, MailServer, Security};
use crate::policy::Missed;
use crate::report::Format;
use crate::schedule::Schedule;
use crate::timetable::Timetable;
use crate::webhook;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lettre::Address;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};
use url::Url;

/// The keys of the config file that are read here.
pub const SECTIONS: [&str; 3] = ["schedules", "mail", "webhooks"];
/// Characters of a name.
const NAME_MAX: usize = 64;
/// Schedules in one configuration.
const SCHEDULES_MAX: usize = 1_000;
/// Deliveries of one schedule.
const DELIVERIES_MAX: usize = 20;
const GRACE: Duration = Duration::from_secs(300);
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// A run may not take longer: for so long nobody takes it over.
const TIME_LIMIT_MAX: Duration = Duration::from_secs(86_400);
/// Tries of a delivery: the tenth comes about 75 hours after the first.
const ATTEMPTS: u32 = 10;
const ATTEMPTS_MAX: u32 = 20;

/// Says whether there is a report of this name that takes these parameters, and if not why.
pub type CheckReport<'a> = &'a dyn Fn(&str, &[(String, String)]) -> Result<(), String>;

/// What the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The schedules, by name.
    pub schedules: Vec<Schedule>,
    /// The server for mail; there if any schedule needs it.
    pub mail: Option<MailServer>,
    /// Certificate authorities that webhooks trust beside the public ones (PEM).
    pub authorities: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSchedule {
    name: String,
    report: String,
    cron: String,
    zone: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    missed: Missed,
    grace: Option<String>,
    time_limit: Option<String>,
    attempts: Option<u32>,
    #[serde(default)]
    deliver: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawDelivery {
    name: Option<String>,
    webhook: Option<String>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    mail: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMail {
    server: String,
    port: Option<u16>,
    security: Option<String>,
    from: String,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWebhooks {
    ca_file: Option<PathBuf>,
}

impl Config {
    /// Takes its sections out of a config file. `check` knows the reports.
    ///
    /// # Errors
    /// All faults, each in one line that says where.
    pub fn take(file: &mut Table, check: CheckReport<'_>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mail = file.remove("mail").and_then(|value| kept(read_mail(value), "mail", &mut faults));
        let authorities = file.remove("webhooks").and_then(|value| kept(read_webhooks(value), "webhooks", &mut faults));
        let mut config = Self { schedules: Vec::new(), mail, authorities: authorities.flatten() };
        match file.remove("schedules") {
            None => {}
            Some(Value::Array(entries)) if entries.len() <= SCHEDULES_MAX => {
                for (place, entry) in entries.into_iter().enumerate() {
                    config.add(place, entry, check, &mut faults);
                }
            }
            Some(Value::Array(entries)) => {
                faults.push(format!("schedules: {} of them, the limit is {SCHEDULES_MAX}", entries.len()));
            }
            Some(_) => faults.push("schedules: give each as a table [[schedules]]".into()),
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn add(&mut self, place: usize, entry: Value, check: CheckReport<'_>, faults: &mut Vec<String>) {
        let name = entry.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
        let place = name.map_or_else(|| format!("schedule {}", place + 1), |name| format!("schedule {name:?}"));
        let mut found = Vec::new();
        let schedule = read_schedule(entry, check, &mut found);
        let needs_mail =
            |schedule: &Schedule| schedule.deliveries.iter().any(|it| matches!(it.target, Target::Mail { .. }));
        if let Some(schedule) = schedule {
            if self.schedules.iter().any(|other| other.name == schedule.name) {
                found.push("the name is used twice".into());
            }
            if self.mail.is_none() && needs_mail(&schedule) && !faults.iter().any(|fault| fault.starts_with("mail: ")) {
                found.push("it delivers by mail, and there is no section [mail]".into());
            }
            self.schedules.push(schedule);
        }
        faults.extend(found.into_iter().map(|fault| format!("{place}: {fault}")));
    }
}

fn read_schedule(entry: Value, check: CheckReport<'_>, faults: &mut Vec<String>) -> Option<Schedule> {
    let raw: RawSchedule = kept(parse(entry), "", faults)?;
    let before = faults.len();
    kept(check_name(&raw.name), "name", faults);
    let timetable = kept(Timetable::new(&raw.cron, &raw.zone), "", faults);
    let grace = raw.grace.map_or(Some(GRACE), |text| kept(duration(&text), "grace", faults));
    let time_limit = raw.time_limit.map_or(Some(TIME_LIMIT), |text| kept(duration(&text), "time-limit", faults));
    if time_limit.is_some_and(|limit| limit.is_zero() || limit > TIME_LIMIT_MAX) {
        faults.push("time-limit: must be above 0 and at most 1d".into());
    }
    let attempts = raw.attempts.unwrap_or(ATTEMPTS);
    if !(1..=ATTEMPTS_MAX).contains(&attempts) {
        faults.push(format!("attempts: must be 1 to {ATTEMPTS_MAX}, not {attempts}"));
    }
    let mut params = Vec::new();
    for (name, value) in raw.params {
        params.extend(kept(scalar(value).map(|text| (name.clone(), text)), &format!("params.{name}"), faults));
    }
    let deliveries = read_deliveries(raw.deliver, faults);
    let schedule = Schedule {
        name: raw.name,
        timetable: timetable?,
        report: raw.report,
        params,
        format: raw.format,
        missed: raw.missed,
        grace: grace?,
        time_limit: time_limit?,
        attempts,
        deliveries,
    };
    if faults.len() == before {
        let asked = schedule.request(Timestamp::UNIX_EPOCH);
        kept(asked.and_then(|request| check(&request.report, &request.params)), "report", faults);
    }
    Some(schedule)
}

fn read_deliveries(entries: Vec<Value>, faults: &mut Vec<String>) -> Vec<Delivery> {
    if entries.len() > DELIVERIES_MAX {
        faults.push(format!("deliver: {} of them, the limit is {DELIVERIES_MAX}", entries.len()));
        return Vec::new();
    }
    let mut deliveries: Vec<Delivery> = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        let at = format!("deliver {}", place + 1);
        let Some(delivery) = kept(parse(entry).and_then(|raw| read_delivery(raw, place + 1)), &at, faults) else {
            continue;
        };
        if deliveries.iter().any(|other| other.name == delivery.name) {
            faults.push(format!("{at}: the name {:?} is used twice", delivery.name));
        }
        deliveries.push(delivery);
    }
    deliveries
}

fn read_delivery(raw: RawDelivery, place: usize) -> Result<Delivery, String> {
    let named = |kind: &str| raw.name.clone().unwrap_or_else(|| format!("{kind}-{place}"));
    let secret = secret(raw.secret, raw.secret_file.as_deref(), "secret")?;
    let delivery = match (raw.webhook, raw.mail) {
        (Some(text), None) => {
            // Paths and users of URLs are secrets to some receivers: nothing says more than the host.
            let url: Url = text.parse().map_err(|error| format!("webhook: {error}"))?;
            let host = url.host_str().unwrap_or_default();
            webhook::check_url(&url).map_err(|error| format!("webhook to {host:?}: {error}"))?;
            let secret = secret.ok_or("a webhook needs secret or secret-file")?;
            check_secret(secret.reveal())?;
            Delivery { name: named("webhook"), target: Target::Webhook { url, secret } }
        }
        (None, Some(to)) => {
            if secret.is_some() {
                return Err("mail has no secret".into());
            }
            if to.is_empty() {
                return Err("mail: an empty list reaches nobody".into());
            }
            for address in &to {
                address.parse::<Address>().map_err(|error| format!("mail {address:?}: {error}"))?;
            }
            Delivery { name: named("mail"), target: Target::Mail { to } }
        }
        _ => return Err("give either webhook or mail".into()),
    };
    check_name(&delivery.name).map_err(|error| format!("name {:?}: {error}", delivery.name))?;
    Ok(delivery)
}

fn read_mail(value: Value) -> Result<MailServer, String> {
    let raw: RawMail = parse(value)?;
    let (security, usual) = match raw.security.as_deref() {
        None | Some("tls") => (Security::Tls, 465),
        Some("starttls") => (Security::StartTls, 587),
        Some("plain") if mail::is_loopback(&raw.server) => (Security::Plain, 25),
        Some("plain") => return Err("security \"plain\": only loopback may do without TLS".into()),
        Some(other) => return Err(format!("security {other:?}: is none of tls, starttls, plain")),
    };
    let password = secret(raw.password, raw.password_file.as_deref(), "password")?;
    let login = match (raw.user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((user, password)),
        _ => return Err("give user and password both, or neither".into()),
    };
    let from = raw.from.parse().map_err(|error| format!("from {:?}: {error}", raw.from))?;
    let authorities = raw.ca_file.as_deref().map(read_file).transpose()?;
    let server = MailServer { host: raw.server, port: raw.port.unwrap_or(usual), security, login, from, authorities };
    crate::SmtpMailer::new(&server).map_err(|error| format!("ca-file: {error}"))?;
    Ok(server)
}

fn read_webhooks(value: Value) -> Result<Option<Vec<u8>>, String> {
    let raw: RawWebhooks = parse(value)?;
    let authorities = raw.ca_file.as_deref().map(read_file).transpose()?;
    crate::HttpWebhooks::new(authorities.as_deref()).map_err(|error| format!("ca-file: {error}"))?;
    Ok(authorities)
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    value.try_into().map_err(|error: toml::de::Error| error.message().lines().collect::<Vec<_>>().join(" "))
}

/// The value, or its fault among the others.
fn kept<T>(read: Result<T, String>, place: &str, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|error| faults.push(if place.is_empty() { error } else { format!("{place}: {error}") })).ok()
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    let begins_well = name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= NAME_MAX && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(format!("must be up to {NAME_MAX} of a-z, 0-9, - and _, the first a letter or a digit"))
}

/// A secret that stands in the file, or in a file of its own.
fn secret(given: Option<String>, file: Option<&Path>, key: &str) -> Result<Option<Secret>, String> {
    match (given, file) {
        (Some(_), Some(_)) => Err(format!("give {key} or {key}-file, not both")),
        (Some(text), None) => Ok(Some(Secret::new(text))),
        (None, Some(path)) => {
            let bytes = read_file(path)?;
            let text = String::from_utf8(bytes).map_err(|_| format!("{}: is no text", path.display()))?;
            Ok(Some(Secret::new(text.trim())))
        }
        (None, None) => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// As Standard Webhooks has it; the message never shows it.
fn check_secret(secret: &str) -> Result<(), String> {
    let key = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    match key.map(|key| key.len()) {
        Some(24..=64) => Ok(()),
        Some(bytes) => Err(format!("secret: has {bytes} bytes, and must have 24 to 64")),
        None => Err("secret: must be whsec_ followed by 24 to 64 bytes in base64".into()),
    }
}

fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(format!("must be a string, a number or true/false, not a {}", other.type_str())),
    }
}

/// A number with `ms`, `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{text:?} is no time such as 30s, 5m or 2h")),
    };
    let parsed = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms));
    parsed.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is no time such as 30s, 5m or 2h"))
}
