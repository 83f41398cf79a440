//! One table of the config file, read key by key: a fault in one of them hides no other.

use serde::de::DeserializeOwned;
use std::time::Duration;
use toml::{Table, Value};

/// The table, and the faults that were found in it.
pub(super) struct Fields<'a> {
    table: Table,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    pub(super) faults: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    /// The keys of this table; `None` if it is no table, which is a fault.
    pub(super) fn of(value: Value, faults: &'a mut Vec<String>) -> Option<Self> {
        match value {
            Value::Table(table) => Some(Self { table, known: Vec::new(), faults }),
            other => {
                faults.push(format!("must be a table, not {}", kind(&other)));
                None
            }
        }
    }

    /// Notes what is wrong with a key.
    pub(super) fn fault(&mut self, key: &str, fault: &str) {
        self.faults.push(format!("{key}: {fault}"));
    }

    /// The value, or its fault among the others.
    pub(super) fn keep<T>(&mut self, key: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|fault| self.fault(key, &fault)).ok()
    }

    /// Whether the key is there and was not read yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key; `None` if it isn't there, or is wrong.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        let read = value.try_into().map_err(|error: toml::de::Error| one_line(error.message()));
        self.keep(key, read)
    }

    /// The same of one that has to be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.fault(key, "is missing");
            return None;
        }
        self.optional(key)
    }

    /// A time of a key, such as `30s`.
    pub(super) fn time(&mut self, key: &'static str) -> Option<Duration> {
        let text: String = self.optional(key)?;
        self.keep(key, duration(&text))
    }

    /// Takes every key that nobody asked for as a fault.
    pub(super) fn finish(self) {
        let known = self.known.join(", ");
        self.faults.extend(self.table.keys().map(|key| format!("{key}: no such key; there are {known}")));
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &Value) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
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
