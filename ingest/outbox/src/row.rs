//! A row of the outbox, and the event that it becomes.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// One committed row, as a claim gives it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Taken from the table's sequence when the row was inserted.
    pub seq: i64,
    /// The event's id, a UUID. It never changes, so that what is sent again is deduplicated.
    pub id: String,
    /// What is kept in order: the row's `key`, or its id where it has none.
    pub order: String,
    /// How long it has been in doubt before this claim: sent, and no answer said what became of it.
    pub doubt: Option<Duration>,
    /// CloudEvents' `type`.
    pub event_type: String,
    /// CloudEvents' `source`.
    pub source: String,
    /// CloudEvents' `subject`.
    pub subject: Option<String>,
    /// CloudEvents' `time`, in RFC 3339.
    pub time: String,
    /// Further attributes: a JSON object.
    pub attributes: String,
    /// The payload, JSON as the game wrote it; none, or left out because it is larger than was asked for.
    pub data: Option<String>,
    /// Bytes of the payload.
    pub size: u64,
    /// The database's clock at the claim, in RFC 3339: `time` is by the same clock, so the API can tell
    /// how wrong it is.
    pub claimed_at: String,
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentat: Option<&'a str>,
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Row {
    /// The event as one line of JSON, without the line's end. The payload is what the game wrote.
    ///
    /// # Errors
    ///
    /// A sentence, if attributes or payload are not what the table's type and checks make sure of.
    pub fn line(&self) -> Result<String, String> {
        let attributes: BTreeMap<String, Value> = serde_json::from_str(&self.attributes)
            .map_err(|error| format!("attributes are no JSON object: {error}"))?;
        // A line's end can only stand between tokens of JSON, where a blank means the same.
        let data = self.data.as_ref().map(|data| data.replace(['\n', '\r'], " "));
        let data = data.as_deref().map(serde_json::from_str).transpose();
        let event = Event {
            specversion: "1.0",
            id: &self.id,
            source: &self.source,
            event_type: &self.event_type,
            time: &self.time,
            subject: self.subject.as_deref(),
            sentat: (!attributes.contains_key("sentat")).then_some(&self.claimed_at),
            data: data.map_err(|error| format!("data is no JSON: {error}"))?,
            attributes,
        };
        serde_json::to_string(&event).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(attributes: &str, data: Option<&str>) -> Row {
        Row {
            id: "6f3c".into(),
            source: "/shop".into(),
            event_type: "shop.purchase".into(),
            time: "2026-11-21T09:30:00.000001Z".into(),
            attributes: attributes.into(),
            data: data.map(Into::into),
            claimed_at: "2026-11-21T09:30:01.000000Z".into(),
            ..Row::default()
        }
    }

    #[test]
    fn a_row_is_one_line_and_its_payload_is_as_it_was_written() {
        let line = row(r#"{"gameid": "g1", "sampledrate": 4}"#, Some("{\"price\": 1.50,\n \"price\": 2e2}")).line();
        assert_eq!(
            line.unwrap(),
            "{\"specversion\":\"1.0\",\"id\":\"6f3c\",\"source\":\"/shop\",\"type\":\"shop.purchase\",\
             \"time\":\"2026-11-21T09:30:00.000001Z\",\"sentat\":\"2026-11-21T09:30:01.000000Z\",\"gameid\":\"g1\",\
             \"sampledrate\":4,\"data\":{\"price\": 1.50,  \"price\": 2e2}}"
        );
    }

    #[test]
    fn what_is_absent_is_left_out_and_a_sentat_of_the_games_own_counts() {
        let line = row(r#"{"sentat": "2026-11-21T09:29:00Z"}"#, None).line().unwrap();
        assert_eq!(line.matches("sentat").count(), 1);
        assert!(line.contains("09:29:00Z") && !line.contains("subject") && !line.contains("data"), "{line}");
        assert!(row("[]", None).line().is_err());
        assert!(row("{}", Some("{")).line().is_err());
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_stands(source in "\\PC*", subject in proptest::option::of("\\PC*"), text in ".*") {
            let data = serde_json::to_string_pretty(&serde_json::json!({ "text": text })).unwrap();
            let row = Row { source, subject, ..row("{}", Some(&data)) };
            let line = row.line().unwrap();
            prop_assert!(!line.contains(['\n', '\r']));
            let event: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(event["source"].as_str(), Some(row.source.as_str()));
            prop_assert_eq!(event["subject"].as_str(), row.subject.as_deref());
            prop_assert_eq!(event["data"]["text"].as_str(), Some(text.as_str()));
        }
    }
}
