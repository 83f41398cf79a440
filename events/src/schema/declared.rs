//! The `x-killfeed` object of a schema file: what it may say, and the rules that it must keep.

use super::{DEDUPE_WINDOW_DEFAULT, Mode, Schema};
use crate::limits;
use crate::log::Durability;
use crate::streams::{DEFAULT_STREAM, Stream};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// The keyword of a schema document that killfeed reads for itself.
pub const KEYWORD: &str = "x-killfeed";
/// The longest dedupe window: state must be kept twice as long.
pub const DEDUPE_WINDOW_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Attributes that differ from one sending of an event to the next, or that everybody has alike.
const NO_KEYS: [&str; 11] = [
    "specversion",
    "type",
    "time",
    "sentat",
    "receivedat",
    "originaltime",
    "redriveof",
    "traceparent",
    "sampledrate",
    "clientaddress",
    "datacontenttype",
];

/// One rule that a document breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer to the place.
    pub place: String,
    /// Which rule is broken, with value and limit.
    pub rule: String,
}

/// Reads the schema of one file.
///
/// # Errors
/// Every rule that it breaks.
pub fn read(event_type: &str, version: i32, document: Value) -> Result<Schema, Vec<Fault>> {
    let mut faults = Vec::new();
    check_document(&document, &mut faults);
    let empty = Map::new();
    let declared = match document.get(KEYWORD) {
        None => &empty,
        Some(Value::Object(declared)) => declared,
        Some(_) => {
            faults.push(fault("", "is no object"));
            &empty
        }
    };
    let mut reader = Reader { faults };
    reader.known_keys("", declared, &["stream", "dedupe", "partition_by", "personal", "mode", "durability", "key"]);
    let stream = reader.stream(declared.get("stream"));
    let (dedupe_key, dedupe_window) = reader.dedupe(declared.get("dedupe"));
    let partition_by = reader.attributes("/partition_by", declared.get("partition_by"));
    let partition_by = reader.computable(dedupe_key.as_deref(), partition_by);
    let personal = reader.names("/personal", declared.get("personal")).unwrap_or_default();
    for path in personal.iter().filter(|path| *path != "playerid" && !declares(&document, path)) {
        reader.fault("/personal", &format!("names {path:?}, which is no property of the schema (nor playerid)"));
    }
    let mode = reader.word("/mode", declared.get("mode"), &[("lenient", Mode::Lenient), ("strict", Mode::Strict)]);
    let durability = reader.word(
        "/durability",
        declared.get("durability"),
        &[("all", Durability::All), ("leader", Durability::Leader), ("none", Durability::None)],
    );
    let key = reader.names("/key", declared.get("key")).unwrap_or_default();
    let Some(stream) = stream.filter(|_| reader.faults.is_empty()) else { return Err(reader.faults) };
    let event_type = event_type.into();
    let document = Arc::new(document);
    Ok(Schema {
        event_type,
        version,
        stream,
        dedupe_key,
        dedupe_window,
        partition_by,
        personal,
        mode,
        durability,
        key,
        document,
    })
}

/// The document itself: the dialect, its meta-schema, and references that can be followed here.
fn check_document(document: &Value, faults: &mut Vec<Fault>) {
    const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
    if let Some(dialect) = document.get("$schema")
        && dialect.as_str().map(|uri| uri.trim_end_matches('#')) != Some(DIALECT)
    {
        let rule = format!("is {dialect}, and killfeed reads {DIALECT}");
        faults.push(Fault { place: "/$schema".to_owned(), rule });
        return;
    }
    if let Err(error) = jsonschema::draft202012::meta::validate(document) {
        faults.push(Fault { place: error.instance_path().to_string(), rule: error.to_string() });
        return;
    }
    let mut outside = Vec::new();
    references_outside(document, &mut String::new(), &mut outside);
    if outside.is_empty()
        && let Err(error) = jsonschema::draft202012::new(document)
    {
        outside.push(Fault { place: error.instance_path().to_string(), rule: error.to_string() });
    }
    faults.append(&mut outside);
}

fn references_outside(value: &Value, place: &mut String, faults: &mut Vec<Fault>) {
    let mut below = |name: &str, value: &Value, faults: &mut Vec<Fault>| {
        let length = place.len();
        place.push('/');
        place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        if name == "$ref"
            && let Some(target) = value.as_str()
            && !target.starts_with('#')
        {
            let rule = format!("{target:?} leads out of the file; only references that begin with # are followed");
            faults.push(Fault { place: place.clone(), rule });
        }
        references_outside(value, place, faults);
        place.truncate(length);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value, faults)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value, faults));
        }
        _ => {}
    }
}

/// Whether the document declares the property at this dotted path; arrays have no step of their own.
fn declares(document: &Value, path: &str) -> bool {
    let mut schema = resolve(document, document);
    for name in path.split('.') {
        while let Some(items) = schema.get("items") {
            schema = resolve(document, items);
        }
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => schema = resolve(document, property),
            None => return false,
        }
    }
    true
}

/// Follows local references, as far as columns may nest.
pub(super) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..limits::COLUMN_DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        match target.and_then(|pointer| document.pointer(pointer)) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

fn fault(place: &str, rule: &str) -> Fault {
    Fault { place: format!("/{KEYWORD}{place}"), rule: rule.to_owned() }
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, place: &str, rule: &str) {
        self.faults.push(fault(place, rule));
    }

    fn known_keys(&mut self, place: &str, object: &Map<String, Value>, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.fault(&format!("{place}/{key}"), &format!("is unknown; known are {}", known.join(", ")));
        }
    }

    fn stream(&mut self, value: Option<&Value>) -> Option<Stream> {
        let name = match value {
            None => DEFAULT_STREAM,
            Some(Value::String(name)) => name,
            Some(_) => {
                self.fault("/stream", "is no string");
                DEFAULT_STREAM
            }
        };
        match Stream::new(name) {
            Ok(stream) => Some(stream),
            Err(rule) => {
                self.fault("/stream", &rule);
                None
            }
        }
    }

    fn dedupe(&mut self, value: Option<&Value>) -> (Option<Vec<String>>, Duration) {
        let dedupe = match value {
            None => return (None, DEDUPE_WINDOW_DEFAULT),
            Some(Value::Object(dedupe)) => dedupe,
            Some(_) => {
                self.fault("/dedupe", "is no object with key and window");
                return (None, DEDUPE_WINDOW_DEFAULT);
            }
        };
        self.known_keys("/dedupe", dedupe, &["key", "window"]);
        let key = self.attributes("/dedupe/key", dedupe.get("key"));
        let window = match dedupe.get("window").map(|window| window.as_str().map(parse_duration)) {
            None => DEDUPE_WINDOW_DEFAULT,
            Some(Some(Some(window))) if (Duration::from_secs(1)..=DEDUPE_WINDOW_MAX).contains(&window) => window,
            Some(Some(Some(_))) => {
                self.fault("/dedupe/window", "is not between 1s and 90d");
                DEDUPE_WINDOW_DEFAULT
            }
            Some(_) => {
                self.fault("/dedupe/window", "is no whole number with a unit of s, m, h or d, such as \"24h\"");
                DEDUPE_WINDOW_DEFAULT
            }
        };
        (key, window)
    }

    /// Strings, one or a list of them; no empty ones, none twice.
    fn names(&mut self, place: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let names: Option<Vec<String>> = match value? {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(several) => several.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let Some(names) = names.filter(|names| !names.is_empty() && names.iter().all(|name| !name.is_empty())) else {
            self.fault(place, "is neither a name nor a list of at least one");
            return None;
        };
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                self.fault(place, &format!("names {name:?} twice"));
            }
        }
        Some(names)
    }

    /// Names of attributes that can be a key.
    fn attributes(&mut self, place: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let names = self.names(place, value)?;
        for name in &names {
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
                let rule = format!("names {name:?}: keys name attributes (a-z, 0-9), never payload fields");
                self.fault(place, &rule);
            } else if NO_KEYS.contains(&name.as_str()) {
                let rule = format!("names {name:?}, which doesn't tell one event from another, or not each time alike");
                self.fault(place, &rule);
            }
        }
        Some(names)
    }

    /// The partition key must be computable from the dedupe key: else two sendings of one event may
    /// go to different partitions, where nobody sees both. The default dedupe key contains the
    /// partition key. A declared one that names `gameid` fixes the partition key to it.
    fn computable(&mut self, dedupe: Option<&[String]>, partition_by: Option<Vec<String>>) -> Option<Vec<String>> {
        let Some(dedupe) = dedupe else { return partition_by };
        match partition_by {
            Some(attributes) => {
                if let Some(missing) = attributes.iter().find(|attribute| !dedupe.contains(attribute)) {
                    let rule = format!(
                        "names {missing:?}, which the dedupe key lacks: the partition key must be computable from the dedupe key"
                    );
                    self.fault("/partition_by", &rule);
                }
                Some(attributes)
            }
            None if dedupe.iter().any(|attribute| attribute == "gameid") => Some(vec!["gameid".to_owned()]),
            None => {
                let rule = "names no gameid, so the default partition key can't be computed from it: declare partition_by, of attributes that the dedupe key names";
                self.fault("/dedupe/key", rule);
                None
            }
        }
    }

    fn word<T: Copy + Default>(&mut self, place: &str, value: Option<&Value>, words: &[(&str, T)]) -> T {
        let Some(value) = value else { return T::default() };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, meaning)| *meaning).unwrap_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(place, &format!("is {value}, and must be one of {}", known.join(", ")));
            T::default()
        })
    }
}

/// A whole number and its unit: `90s`, `15m`, `24h`, `30d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => 24 * 60 * 60,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_says_what_its_file_says() {
        let declared = json!({
            "stream": "combat", "dedupe": {"key": ["gameid", "subject"], "window": "30d"}, "partition_by": "gameid",
            "personal": ["playerid", "chat.text"], "mode": "strict", "durability": "leader", "key": ["player_id"],
        });
        let chat = json!({"type": "array", "items": {"$ref": "#/$defs/line"}});
        let line = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        let document = json!({"properties": {"chat": chat}, "$defs": {"line": line}, "x-killfeed": declared});
        let schema = read("game.result", 3, document).unwrap();
        assert_eq!((&*schema.event_type, schema.version, schema.stream.name()), ("game.result", 3, "combat"));
        assert_eq!(schema.dedupe_key.unwrap(), ["gameid", "subject"]);
        assert_eq!(schema.dedupe_window, Duration::from_secs(30 * 86_400));
        assert_eq!(schema.partition_by.unwrap(), ["gameid"]);
        assert_eq!(schema.personal, ["playerid", "chat.text"]);
        assert_eq!((schema.mode, schema.durability), (Mode::Strict, Durability::Leader));
        assert_eq!(schema.key, ["player_id"]);

        let plain = read("t", 1, json!({"type": "object"})).unwrap();
        assert_eq!((plain.stream.name(), plain.dedupe_window), (DEFAULT_STREAM, DEDUPE_WINDOW_DEFAULT));
        assert_eq!((plain.dedupe_key, plain.partition_by, plain.mode), (None, None, Mode::Lenient));
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_its_place() {
        for (declared, place, rule) in [
            (json!(7), "/x-killfeed", "no object"),
            (json!({"windw": 1}), "/x-killfeed/windw", "unknown"),
            (json!({"dedupe": {"keys": 1}}), "/x-killfeed/dedupe/keys", "unknown"),
            (json!({"stream": "Big Stream"}), "/x-killfeed/stream", "Big Stream"),
            (json!({"stream": 1}), "/x-killfeed/stream", "no string"),
            (json!({"mode": "loose"}), "/x-killfeed/mode", "lenient, strict"),
            (json!({"durability": "fsync"}), "/x-killfeed/durability", "all, leader, none"),
            (json!({"dedupe": {"window": "P1D"}}), "/x-killfeed/dedupe/window", "unit of s, m, h or d"),
            (json!({"dedupe": {"window": "91d"}}), "/x-killfeed/dedupe/window", "90d"),
            (json!({"dedupe": {"window": "0s"}}), "/x-killfeed/dedupe/window", "1s"),
            (json!({"dedupe": {"key": []}}), "/x-killfeed/dedupe/key", "at least one"),
            (json!({"dedupe": {"key": ["gameid", "gameid"]}}), "/x-killfeed/dedupe/key", "twice"),
            (json!({"dedupe": {"key": ["gameid", "match.id"]}}), "/x-killfeed/dedupe/key", "never payload fields"),
            (json!({"dedupe": {"key": ["gameid", "time"]}}), "/x-killfeed/dedupe/key", "not each time alike"),
            (json!({"partition_by": ["traceparent"]}), "/x-killfeed/partition_by", "not each time alike"),
            (json!({"personal": ["chat.txt"]}), "/x-killfeed/personal", "no property"),
        ] {
            let document = json!({"properties": {"chat": {"properties": {"text": {}}}}, "x-killfeed": declared});
            let faults = read("t", 1, document).unwrap_err();
            assert!(faults.iter().any(|f| f.place == place && f.rule.contains(rule)), "{declared}: {faults:?}");
        }
    }

    #[test]
    fn a_document_is_checked_by_its_own_dialect() {
        for (document, place) in [
            (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "/$schema"),
            (json!({"type": "integr"}), "/type"),
            (json!({"properties": {"a": {"minimum": "1"}}}), "/properties/a/minimum"),
            (json!({"properties": {"a": {"$ref": "https://example.com/a.json"}}}), "/properties/a/$ref"),
        ] {
            let faults = read("t", 1, document.clone()).unwrap_err();
            assert!(faults.iter().any(|fault| fault.place == place), "{document}: {faults:?}");
        }
        assert!(read("t", 1, json!({"$ref": "#/$defs/nowhere"})).is_err());
        assert!(read("t", 1, json!({"$schema": "https://json-schema.org/draft/2020-12/schema"})).is_ok());
    }

    #[test]
    fn the_partition_key_is_computable_from_the_dedupe_key_or_the_pair_is_refused() {
        for (dedupe, partition_by, fits) in [
            (None, None, Some(None)),
            (None, Some("partitionkey"), Some(Some("partitionkey"))),
            (Some(json!("gameid")), None, Some(Some("gameid"))),
            (Some(json!(["subject", "gameid"])), None, Some(Some("gameid"))),
            (Some(json!(["gameid", "playerid"])), Some("playerid"), Some(Some("playerid"))),
            (Some(json!("playerid")), Some("playerid"), Some(Some("playerid"))),
            (Some(json!("playerid")), None, None),
            (Some(json!("gameid")), Some("playerid"), None),
            (Some(json!("gameid")), Some("partitionkey"), None),
        ] {
            let mut declared = json!({});
            if let Some(key) = &dedupe {
                declared["dedupe"] = json!({"key": key});
            }
            if let Some(attribute) = partition_by {
                declared["partition_by"] = json!([attribute]);
            }
            let read = read("t", 1, json!({"x-killfeed": declared}));
            let found = read.ok().map(|schema| schema.partition_by.map(|by| by.join(",")));
            let expected = fits.map(|by| by.map(str::to_owned));
            assert_eq!(found, expected, "{dedupe:?} {partition_by:?}");
        }
    }

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("24", None),
            ("h", None),
            ("", None),
            ("1.5h", None),
            ("-1h", None),
            ("1 h", None),
            ("99999999999999999999d", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
