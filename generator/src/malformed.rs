//! Lines that ingest must refuse, each for a reason of its own.

use crate::event::Event;
use events::limits::{ATTRIBUTE_VALUE_BYTES_MAX, EVENT_BYTES_MAX};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// How a line is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformation {
    Torn,
    NotJson,
    NoObject,
    Without(&'static str),
    Attribute(&'static str, Bad),
    BothData,
    Oversized,
}

/// A value that its attribute may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    Text(&'static str),
    Object,
    Long,
}

/// All but the oversized one, which is rare because it is large.
pub(crate) const ALL: [Malformation; 18] = [
    Malformation::Torn,
    Malformation::NotJson,
    Malformation::NoObject,
    Malformation::Without("id"),
    Malformation::Without("source"),
    Malformation::Without("type"),
    Malformation::Without("specversion"),
    Malformation::Attribute("id", Bad::Text("")),
    Malformation::Attribute("source", Bad::Text("")),
    Malformation::Attribute("type", Bad::Text("")),
    Malformation::Attribute("specversion", Bad::Text("0.3")),
    Malformation::Attribute("time", Bad::Text("yesterday evening")),
    Malformation::Attribute("receivedat", Bad::Text("2026-01-05T00:00:00Z")),
    Malformation::Attribute("originaltime", Bad::Text("2026-01-05T00:00:00Z")),
    Malformation::Attribute("gameid", Bad::Object),
    Malformation::Attribute("id", Bad::Object),
    Malformation::Attribute("subject", Bad::Long),
    Malformation::BothData,
];

/// `event`, broken in a way that the dice choose; the first of a stream is oversized.
pub(crate) fn line(event: &Event, first: bool, random: &mut ChaCha8Rng) -> Vec<u8> {
    let how = if first { Malformation::Oversized } else { ALL[random.random_range(0..ALL.len())] };
    broken(event, how)
}

pub(crate) fn broken(event: &Event, how: Malformation) -> Vec<u8> {
    let whole = event.line();
    // An event that was just written can be read.
    let mut fields: Value = serde_json::from_slice(&whole).unwrap_or_default();
    match how {
        Malformation::Torn => {
            let mut torn = whole;
            // Cut inside the attributes, which are ASCII.
            torn.truncate(60);
            return torn;
        }
        Malformation::NotJson => return format!("{};{};{}", event.kind, event.time, event.id).into_bytes(),
        Malformation::NoObject => return json!(event.id).to_string().into_bytes(),
        Malformation::Without(name) => {
            if let Value::Object(fields) = &mut fields {
                fields.remove(name);
            }
        }
        Malformation::Attribute(name, bad) => {
            fields[name] = match bad {
                Bad::Text(text) => Value::from(text),
                Bad::Object => json!({"value": event.id}),
                Bad::Long => Value::from("x".repeat(2 * ATTRIBUTE_VALUE_BYTES_MAX)),
            };
        }
        Malformation::BothData => fields["data_base64"] = Value::from("e30="),
        Malformation::Oversized => fields["data"]["padding"] = Value::from("x".repeat(EVENT_BYTES_MAX)),
    }
    fields.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{ALL, Malformation, broken};
    use crate::options::Options;
    use crate::plan::Planner;
    use crate::render;
    use events::envelope::Event as Envelope;
    use events::limits::EVENT_BYTES_MAX;

    #[test]
    fn each_malformation_is_refused_and_names_what_is_wrong() {
        let mut planner = Planner::new(Options { games: 1, ..Options::default() });
        let game = planner.next_game().unwrap();
        for event in render::events(&game, &planner.pool) {
            assert!(Envelope::from_json_bytes(&event.line()).is_ok(), "{event:?}");
            for how in ALL {
                let line = broken(&event, how);
                let why = Envelope::from_json_bytes(&line).err().map(|refused| refused.why.to_string());
                let names = match how {
                    Malformation::Torn | Malformation::NotJson => "not JSON",
                    Malformation::NoObject => "a string",
                    Malformation::Without(name) | Malformation::Attribute(name, _) => name,
                    Malformation::BothData => "data_base64",
                    Malformation::Oversized => continue,
                };
                assert!(why.as_deref().is_some_and(|why| why.contains(names)), "{how:?}: {why:?}");
            }
            let oversized = broken(&event, Malformation::Oversized);
            assert!((EVENT_BYTES_MAX + 1..EVENT_BYTES_MAX + 10_000).contains(&oversized.len()));
        }
    }
}
