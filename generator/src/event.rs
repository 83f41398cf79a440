//! One event on its way to a line of NDJSON: a CloudEvent in structured mode.

use chrono::{DateTime, SecondsFormat};
use events::clock::Micros;
use serde::Serialize;
use serde_json::Value;

/// A CloudEvent. The order of the fields is the order on the line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    pub(crate) specversion: &'static str,
    pub(crate) id: String,
    pub(crate) source: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) time: String,
    pub(crate) datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gameid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) playerid: Option<String>,
    pub(crate) region: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clientaddress: Option<String>,
    pub(crate) data: Value,
}

impl Event {
    /// The event as one line, without its line feed.
    pub(crate) fn line(&self) -> Vec<u8> {
        // Only maps with keys that are no strings, or failing writers, make this fail: neither is here.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The same event telling another story: same attributes, other data. It takes the first number
    /// or truth value it finds and changes it; where there is none, it adds a field.
    pub(crate) fn contradiction(&self) -> Self {
        let mut other = self.clone();
        if !contradict(&mut other.data)
            && let Value::Object(fields) = &mut other.data
        {
            fields.insert("revision".to_owned(), Value::from(2));
        }
        other
    }
}

fn contradict(value: &mut Value) -> bool {
    match value {
        Value::Bool(flag) => {
            *flag = !*flag;
            true
        }
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                *value = Value::from(whole + 1);
            } else if let Some(fraction) = number.as_f64() {
                *value = Value::from(fraction + 1.0);
            }
            true
        }
        Value::Array(values) => values.iter_mut().any(contradict),
        Value::Object(fields) => fields.values_mut().any(contradict),
        Value::Null | Value::String(_) => false,
    }
}

/// RFC 3339 in UTC with milliseconds, as game servers write it.
pub(crate) fn rfc3339(time_us: Micros) -> String {
    DateTime::from_timestamp_micros(time_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
