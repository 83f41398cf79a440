//! Schedules as they stand in the config file: `[[schedules]]`, `[mail]` and `[webhooks]`.
//!
//! Read strictly: what is unknown or wrong is named, all of it at once, each in one line.

mod delivery;
mod fields;

use self::delivery::{read_deliveries, read_mail, read_webhooks};
use self::fields::Fields;
use crate::deliver::Target;
use crate::mail::MailServer;
use crate::policy::Missed;
use crate::report::Format;
use crate::schedule::Schedule;
use crate::timetable::Timetable;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::{Table, Value};

/// The keys of the config file that are read here.
pub const SECTIONS: [&str; 3] = ["schedules", "mail", "webhooks"];
/// Characters of a name.
const NAME_MAX: usize = 64;
/// Schedules in one configuration.
const SCHEDULES_MAX: usize = 1_000;
const GRACE: Duration = Duration::from_secs(300);
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// A run may not take longer: for so long nobody takes it over.
const TIME_LIMIT_MAX: Duration = Duration::from_secs(86_400);
/// Tries of a delivery: the tenth comes about 75 hours after the first.
const ATTEMPTS: u32 = 10;
const ATTEMPTS_MAX: u32 = 20;
/// In place of a pattern and a zone that are missing or wrong: the rest of the schedule is checked all the same.
const STAND_IN: (&str, &str) = ("@daily", "UTC");

/// Says whether there is a report of this name that takes these parameters, and if not all that is wrong.
pub type CheckReport<'a> = &'a dyn Fn(&str, &[(String, String)]) -> Result<(), Vec<String>>;

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

impl Config {
    /// Takes its sections out of a config file. `check` knows the reports.
    ///
    /// # Errors
    /// All faults, each in one line that says where.
    pub fn take(file: &mut Table, check: CheckReport<'_>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let has_mail = file.contains_key("mail");
        let mail = file.remove("mail").and_then(|value| within("mail", &mut faults, |found| read_mail(value, found)));
        let authorities = file
            .remove("webhooks")
            .and_then(|value| within("webhooks", &mut faults, |found| read_webhooks(value, found)));
        let mut config = Self { schedules: Vec::new(), mail, authorities };
        match file.remove("schedules") {
            None => {}
            Some(Value::Array(entries)) if entries.len() <= SCHEDULES_MAX => {
                for (place, entry) in entries.into_iter().enumerate() {
                    let name = entry.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
                    let place =
                        name.map_or_else(|| format!("schedule {}", place + 1), |name| format!("schedule {name:?}"));
                    within(&place, &mut faults, |found| config.add(entry, has_mail, check, found));
                }
            }
            Some(Value::Array(entries)) => {
                faults.push(format!("schedules: {} of them, the limit is {SCHEDULES_MAX}", entries.len()));
            }
            Some(_) => faults.push("schedules: give each as a table [[schedules]]".into()),
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn add(&mut self, entry: Value, has_mail: bool, check: CheckReport<'_>, faults: &mut Vec<String>) -> Option<()> {
        let schedule = read_schedule(entry, check, faults)?;
        if !schedule.name.is_empty() && self.schedules.iter().any(|other| other.name == schedule.name) {
            faults.push("the name is used twice".into());
        }
        if !has_mail && schedule.deliveries.iter().any(|it| matches!(it.target, Target::Mail { .. })) {
            faults.push("it delivers by mail, and there is no section [mail]".into());
        }
        self.schedules.push(schedule);
        Some(())
    }
}

/// A schedule; where something of it is wrong, with something else in its place.
fn read_schedule(entry: Value, check: CheckReport<'_>, faults: &mut Vec<String>) -> Option<Schedule> {
    let mut fields = Fields::of(entry, faults)?;
    let name: Option<String> = fields.required("name");
    if let Some(name) = &name {
        fields.keep("name", check_name(name));
    }
    let name = name.unwrap_or_default();
    let report: Option<String> = fields.required("report");
    let timetable = read_timetable(&mut fields)?;
    let written: BTreeMap<String, Value> = fields.optional("params").unwrap_or_default();
    let format: Format = fields.optional("format").unwrap_or_default();
    let missed: Missed = fields.optional("missed").unwrap_or_default();
    let grace = fields.time("grace").unwrap_or(GRACE);
    let time_limit = fields.time("time-limit").unwrap_or(TIME_LIMIT);
    if time_limit.is_zero() || time_limit > TIME_LIMIT_MAX {
        fields.fault("time-limit", "must be above 0 and at most 1d");
    }
    let attempts: i64 = fields.optional("attempts").unwrap_or_else(|| ATTEMPTS.into());
    let attempts =
        u32::try_from(attempts).ok().filter(|given| (1..=ATTEMPTS_MAX).contains(given)).unwrap_or_else(|| {
            fields.fault("attempts", &format!("must be 1 to {ATTEMPTS_MAX}, not {attempts}"));
            ATTEMPTS
        });
    let entries: Vec<Value> = fields.optional("deliver").unwrap_or_default();
    fields.finish();
    let deliveries = read_deliveries(entries, faults);
    let params = read_params(written, faults);
    let is_known = report.is_some();
    let report = report.unwrap_or_default();
    let schedule =
        Schedule { name, timetable, report, params, format, missed, grace, time_limit, attempts, deliveries };
    if is_known {
        check_question(&schedule, check, faults);
    }
    Some(schedule)
}

/// Pattern and zone, both of which are checked even if the other one isn't there.
fn read_timetable(fields: &mut Fields<'_>) -> Option<Timetable> {
    let (cron, zone): (Option<String>, Option<String>) = (fields.required("cron"), fields.required("zone"));
    let found = Timetable::new(cron.as_deref().unwrap_or(STAND_IN.0), zone.as_deref().unwrap_or(STAND_IN.1));
    match found {
        Ok(timetable) => Some(timetable),
        Err(found) => {
            fields.faults.extend(found);
            Timetable::new(STAND_IN.0, STAND_IN.1).ok()
        }
    }
}

fn read_params(written: BTreeMap<String, Value>, faults: &mut Vec<String>) -> Vec<(String, String)> {
    let mut params = Vec::new();
    for (name, value) in written {
        match scalar(value) {
            Ok(text) => params.push((name, text)),
            Err(error) => faults.push(format!("params.{name}: {error}")),
        }
    }
    params
}

/// Whether the report takes what it is asked with, placeholders filled in.
fn check_question(schedule: &Schedule, check: CheckReport<'_>, faults: &mut Vec<String>) {
    let mut params = Vec::new();
    for (name, value) in &schedule.params {
        match schedule.fill(value, Timestamp::UNIX_EPOCH) {
            Ok(filled) => params.push((name.clone(), filled)),
            Err(error) => faults.push(format!("report: parameter {name:?}: {error}")),
        }
    }
    if let Err(found) = check(&schedule.report, &params) {
        faults.extend(found.into_iter().map(|fault| format!("report: {fault}")));
    }
}

/// Reads something whose faults all lie at this place.
fn within<T>(place: &str, faults: &mut Vec<String>, read: impl FnOnce(&mut Vec<String>) -> Option<T>) -> Option<T> {
    let mut found = Vec::new();
    let value = read(&mut found);
    faults.extend(found.into_iter().map(|fault| format!("{place}: {fault}")));
    value
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    let begins_well = name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= NAME_MAX && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(format!("must be up to {NAME_MAX} of a-z, 0-9, - and _, the first a letter or a digit"))
}

fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(format!("must be a string, a number or true/false, not {}", fields::kind(&other))),
    }
}
