//! What a schema may change of the version before it, and what it may not.
//!
//! Allowed are a new optional field, and `integer` to `number`, for which the table must be
//! rewritten (`killfeed schema apply`). Annotations (title, description, examples and the like) and
//! what `x-killfeed` says of window, personal fields, mode and durability may change freely. All
//! else is refused, with a sentence that says why.

use super::Schema;
use super::declared::{KEYWORD, resolve};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};

/// What comes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may stand.
    Compatible,
    /// It may stand; until `killfeed schema apply` the values that need it are in `extra`.
    NeedsApply,
    /// It may not.
    Refused,
}

/// One difference between two versions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// JSON pointer into the newer document.
    pub place: String,
    /// The payload field, dotted; empty for the payload as a whole and for `x-killfeed`.
    pub field: String,
    /// What changed, as a sentence without its end.
    pub what: String,
    /// What comes of it.
    pub verdict: Verdict,
}

/// Keywords that say nothing of values.
const ANNOTATIONS: [&str; 12] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "readOnly",
    "writeOnly",
    KEYWORD,
];

/// All differences between two versions of one type's schema.
pub fn diff(before: &Schema, after: &Schema) -> Vec<Change> {
    let mut changes = diff_documents(&before.document, &after.document);
    let keys = [
        ("stream", before.stream.name().to_owned(), after.stream.name().to_owned(), true),
        ("dedupe/key", named(before.dedupe_key.as_deref()), named(after.dedupe_key.as_deref()), true),
        ("partition_by", named(before.partition_by.as_deref()), named(after.partition_by.as_deref()), true),
        ("key", named(Some(&before.key)), named(Some(&after.key)), true),
        ("dedupe/window", seconds(before), seconds(after), false),
        ("personal", named(Some(&before.personal)), named(Some(&after.personal)), false),
        ("mode", format!("{:?}", before.mode).to_lowercase(), format!("{:?}", after.mode).to_lowercase(), false),
        ("durability", before.durability.as_str().to_owned(), after.durability.as_str().to_owned(), false),
    ];
    for (key, old, new, is_fixed) in keys {
        if old != new {
            let reason = if is_fixed { ", which would send the same event elsewhere or count it anew" } else { "" };
            let what = format!("{} changes from {old} to {new}{reason}", key.replace('/', " "));
            let verdict = if is_fixed { Verdict::Refused } else { Verdict::Compatible };
            changes.push(Change { place: format!("/{KEYWORD}/{key}"), field: String::new(), what, verdict });
        }
    }
    changes
}

/// The changes that keep `after` from following `before`.
pub fn refusals(before: &Schema, after: &Schema) -> Vec<Change> {
    diff(before, after).into_iter().filter(|change| change.verdict == Verdict::Refused).collect()
}

/// The differences between two documents in what they say of payloads.
pub fn diff_documents(before: &Value, after: &Value) -> Vec<Change> {
    let mut walk = Walk { before, after, seen: HashSet::new(), changes: Vec::new() };
    walk.schemas(before, after, &Place::default());
    walk.changes
}

fn named(names: Option<&[String]>) -> String {
    match names {
        None => "the default".to_owned(),
        Some([]) => "nothing".to_owned(),
        Some(names) => names.join(", "),
    }
}

fn seconds(schema: &Schema) -> String {
    format!("{} s", schema.dedupe_window.as_secs())
}

#[derive(Debug, Clone, Default)]
struct Place {
    pointer: String,
    field: String,
}

impl Place {
    fn keyword(&self, keyword: &str) -> Self {
        Self { pointer: format!("{}/{keyword}", self.pointer), field: self.field.clone() }
    }

    fn property(&self, name: &str) -> Self {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        let field = if self.field.is_empty() { name.to_owned() } else { format!("{}.{name}", self.field) };
        Self { pointer: format!("{}/properties/{escaped}", self.pointer), field }
    }
}

struct Walk<'a> {
    before: &'a Value,
    after: &'a Value,
    /// Pairs that were compared: definitions may refer to each other, and to themselves.
    seen: HashSet<(*const Value, *const Value)>,
    changes: Vec<Change>,
}

impl<'a> Walk<'a> {
    fn change(&mut self, place: &Place, verdict: Verdict, what: String) {
        self.changes.push(Change { place: place.pointer.clone(), field: place.field.clone(), what, verdict });
    }

    fn schemas(&mut self, before: &'a Value, after: &'a Value, place: &Place) {
        let (before, after) = (resolve(self.before, before), resolve(self.after, after));
        if !self.seen.insert((before, after)) {
            return;
        }
        let (Value::Object(old), Value::Object(new)) = (before, after) else {
            if before != after {
                self.change(place, Verdict::Refused, format!("the schema changes from {before} to {after}"));
            }
            return;
        };
        self.types(old, new, place);
        self.properties(old, new, place);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.schemas(old, new, &place.keyword("items"));
        }
        self.keywords(old, new, place);
    }

    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, place: &Place) {
        let (was, is) = (types(old), types(new));
        if was == is {
            return;
        }
        let widened: BTreeSet<&str> = was.iter().map(|t| if *t == "integer" { "number" } else { *t }).collect();
        let place = place.keyword("type");
        let what = format!("the type changes from {} to {}", words(&was), words(&is));
        if widened == is {
            self.change(&place, Verdict::NeedsApply, what);
        } else {
            self.change(&place, Verdict::Refused, format!("{what}; only integer to number is allowed"));
        }
    }

    fn properties(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, place: &Place) {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let of = |schema: &'a Map<String, Value>| schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE);
        let (was, is) = (of(old), of(new));
        let (was_required, is_required) = (required(old), required(new));
        for (name, schema) in is {
            let place = place.property(name);
            match was.get(name) {
                Some(before) => self.schemas(before, schema, &place),
                None if is_required.contains(name.as_str()) => {
                    self.change(
                        &place,
                        Verdict::Refused,
                        "a new field is required; events before it lack it".to_owned(),
                    );
                }
                None => self.change(&place, Verdict::Compatible, "a new optional field".to_owned()),
            }
        }
        for name in was.keys().filter(|name| !is.contains_key(*name)) {
            let place = place.property(name);
            self.change(
                &place,
                Verdict::Refused,
                "the field is gone; its column would stay without a meaning".to_owned(),
            );
        }
        let place = place.keyword("required");
        for name in is_required.difference(&was_required).filter(|name| was.contains_key(**name)) {
            self.change(&place, Verdict::Refused, format!("{name:?} becomes required; earlier events may lack it"));
        }
        for name in was_required.difference(&is_required).filter(|name| is.contains_key(**name)) {
            self.change(&place, Verdict::Refused, format!("{name:?} is required no longer; its readers count on it"));
        }
    }

    /// Every other keyword must say the same.
    fn keywords(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, place: &Place) {
        let walked = |keyword: &str| ["type", "properties", "required"].contains(&keyword);
        let both_items = old.contains_key("items") && new.contains_key("items");
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            let is_annotation = ANNOTATIONS.contains(&keyword.as_str());
            if is_annotation || walked(keyword) || (keyword == "items" && both_items) {
                continue;
            }
            let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            let (was, is) = (old.get(keyword), new.get(keyword));
            if was != is {
                let what =
                    format!("{keyword} changes from {} to {}, which changes what is valid", shown(was), shown(is));
                self.change(&place.keyword(keyword), Verdict::Refused, what);
            }
        }
    }
}

fn types(schema: &Map<String, Value>) -> BTreeSet<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn words(types: &BTreeSet<&str>) -> String {
    if types.is_empty() { "any".to_owned() } else { types.iter().copied().collect::<Vec<_>>().join(" or ") }
}

fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::declared;
    use serde_json::json;

    fn schema(properties: Value, declared: Value) -> Value {
        json!({"type": "object", "properties": properties, "x-killfeed": declared})
    }

    /// Each change from `before` as place, verdict and a word of its sentence.
    #[test]
    fn every_change_has_its_verdict_and_its_reason() {
        use Verdict::{Compatible, NeedsApply, Refused};
        let before = schema(
            json!({
                "a": {"type": "integer", "description": "old"}, "s": {"enum": ["x"]}, "n": {"type": ["integer", "null"]},
                "o": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
                "l": {"type": "array", "items": {"type": "integer"}}, "r": {"$ref": "#/$defs/r"},
            }),
            json!({}),
        );
        type Edit = fn(&mut Value);
        type Expected = &'static [(&'static str, Verdict, &'static str)];
        let cases: [(Edit, Expected); 15] = [
            (|_| {}, &[]),
            (|s| s["properties"]["a"]["description"] = json!("new"), &[]),
            (|s| s["properties"]["z"] = json!({"type": "string"}), &[("/properties/z", Compatible, "new optional")]),
            (
                |s| s["properties"]["o"]["properties"]["y"] = json!({}),
                &[("/properties/o/properties/y", Compatible, "new")],
            ),
            (
                |s| s["properties"]["a"]["type"] = json!("number"),
                &[("/properties/a/type", NeedsApply, "integer to number")],
            ),
            (
                |s| s["properties"]["n"]["type"] = json!(["null", "number"]),
                &[("/properties/n/type", NeedsApply, "number")],
            ),
            (
                |s| s["properties"]["l"]["items"]["type"] = json!("number"),
                &[("/properties/l/items/type", NeedsApply, "")],
            ),
            (
                |s| s["properties"]["a"]["type"] = json!("string"),
                &[("/properties/a/type", Refused, "only integer to number")],
            ),
            (|s| s["properties"]["a"]["type"] = json!(["integer", "null"]), &[("/properties/a/type", Refused, "null")]),
            (|s| s["properties"]["s"]["enum"] = json!(["x", "y"]), &[("/properties/s/enum", Refused, "enum changes")]),
            (|s| s["additionalProperties"] = json!(false), &[("/additionalProperties", Refused, "what is valid")]),
            (|s| s["required"] = json!(["a"]), &[("/required", Refused, "becomes required")]),
            (|s| s["properties"]["o"]["required"] = json!([]), &[("/properties/o/required", Refused, "no longer")]),
            (|s| drop(s["properties"].as_object_mut().unwrap().remove("a")), &[("/properties/a", Refused, "gone")]),
            (
                |s| {
                    s["properties"]["z"] = json!({"type": "string"});
                    s["required"] = json!(["z"]);
                },
                &[("/properties/z", Refused, "required")],
            ),
        ];
        for (place, (edit, expected)) in cases.into_iter().enumerate() {
            let mut after = before.clone();
            edit(&mut after);
            let changes = diff_documents(&before, &after);
            assert_eq!(changes.len(), expected.len(), "case {place}: {changes:?}");
            for (place, verdict, word) in expected {
                let fits = |c: &Change| c.place == *place && c.verdict == *verdict && c.what.contains(word);
                assert!(changes.iter().any(fits), "{place}: {changes:?}");
            }
        }
    }

    #[test]
    fn a_definition_is_followed_on_both_sides_even_in_circles() {
        let tree = |leaf: &str| {
            let node = json!({"properties": {"next": {"$ref": "#/$defs/node"}, "other": {"$ref": "#/$defs/node"}, "v": {"type": leaf}}});
            json!({"properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}})
        };
        assert_eq!(diff_documents(&tree("integer"), &tree("integer")), []);
        let changes = diff_documents(&tree("integer"), &tree("number"));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!((changes[0].field.as_str(), changes[0].verdict), ("root.v", Verdict::NeedsApply));
    }

    #[test]
    fn keys_and_streams_are_fixed_and_policies_are_free() {
        let read = |declared: Value| declared::read("t", 1, schema(json!({"a": {}}), declared)).unwrap();
        let before = read(json!({}));
        for (declared, place, verdict) in [
            (json!({"stream": "other"}), "/x-killfeed/stream", Verdict::Refused),
            (json!({"partition_by": "playerid"}), "/x-killfeed/partition_by", Verdict::Refused),
            (json!({"key": "a"}), "/x-killfeed/key", Verdict::Refused),
            (json!({"dedupe": {"window": "7d"}}), "/x-killfeed/dedupe/window", Verdict::Compatible),
            (json!({"mode": "strict"}), "/x-killfeed/mode", Verdict::Compatible),
            (json!({"durability": "none"}), "/x-killfeed/durability", Verdict::Compatible),
            (json!({"personal": "a"}), "/x-killfeed/personal", Verdict::Compatible),
        ] {
            let changes = diff(&before, &read(declared));
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_eq!((changes[0].place.as_str(), changes[0].verdict), (place, verdict));
        }
        let changes = refusals(&before, &read(json!({"dedupe": {"key": "gameid"}})));
        let places: Vec<&str> = changes.iter().map(|change| change.place.as_str()).collect();
        assert_eq!(places, ["/x-killfeed/dedupe/key", "/x-killfeed/partition_by"]);
    }
}
