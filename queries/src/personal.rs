//! What is hidden from those without the scope `personal`: which columns and parts of columns of a
//! table, by the schemas' `x-killfeed.personal`.
//!
//! A hidden value reads as NULL of the column's own type, so that SQL that works with the scope
//! works without it. The hiding stands below everything else in the plan: filters, joins and
//! statistics see the NULL, never the value.

use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use decode::snake_case;
use events::schema::Registry;
use std::collections::{BTreeMap, BTreeSet};

/// A path into a payload: the fields' names in snake case, outermost first.
pub(crate) type Path = Vec<String>;

/// Attributes that may be declared personal, with the column that each one stands in.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("playerid", "player_id"),
    ("sessionid", "session_id"),
    ("gameid", "game_id"),
    ("subject", "subject"),
    ("source", "source"),
];

/// What is personal in the events of one or more types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Personal {
    /// Envelope columns.
    pub(crate) columns: BTreeSet<&'static str>,
    /// Attributes, by the name that a CloudEvent has for them.
    pub(crate) attributes: BTreeSet<String>,
    /// Payload fields.
    pub(crate) paths: BTreeSet<Path>,
}

/// How one column is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// All of it is NULL.
    Null,
    /// These fields of its structs are NULL, in lists of structs too.
    Fields(Vec<Path>),
    /// JSON text as in `extra`: these members are taken out.
    Extra,
}

impl Personal {
    /// What is declared of a type, over all versions of its schema: a field that was personal once
    /// stays so in the rows of that time.
    fn declare(&mut self, personal: &[String]) {
        for declared in personal {
            let declared = declared.strip_prefix("data.").unwrap_or(declared);
            let plain = declared.replace('_', "").to_lowercase();
            if let Some((attribute, column)) = ATTRIBUTES.into_iter().find(|(attribute, _)| *attribute == plain) {
                self.columns.insert(column);
                self.attributes.insert(attribute.to_owned());
            } else {
                self.attributes.insert(declared.to_lowercase());
            }
            self.paths.insert(declared.split('.').map(snake_case).collect());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.columns.is_empty()
    }

    /// How the columns of an event table are to be read, where not as they are.
    pub(crate) fn rules(&self, schema: &ArrowSchema) -> BTreeMap<String, Rule> {
        let mut rules = BTreeMap::new();
        let envelope: Vec<&str> = decode::columns::envelope().iter().map(|field| field.name().as_str()).collect();
        for field in schema.fields() {
            let name = field.name().as_str();
            if self.is_empty() {
                break;
            } else if name == "extra" {
                rules.insert(name.to_owned(), Rule::Extra);
            } else if envelope.contains(&name) {
                if self.columns.contains(name) {
                    rules.insert(name.to_owned(), Rule::Null);
                }
            } else if let Some(rule) = self.rule(field) {
                rules.insert(name.to_owned(), rule);
            }
        }
        rules
    }

    fn rule(&self, field: &Field) -> Option<Rule> {
        let mut within = Vec::new();
        for path in &self.paths {
            let Some((first, rest)) = path.split_first() else { continue };
            if !is_called(field, first) {
                continue;
            }
            if rest.is_empty() || !has_fields(field.data_type()) {
                return Some(Rule::Null);
            }
            within.push(rest.to_vec());
        }
        (!within.is_empty()).then_some(Rule::Fields(within))
    }
}

/// Whether the column or struct field holds the payload field of this name (in snake case).
pub(crate) fn is_called(field: &Field, name: &str) -> bool {
    let column = field.name();
    column == name
        || column.strip_prefix("data_") == Some(name)
        || field.metadata().get(decode::NAME_KEY).is_some_and(|original| snake_case(original) == *name)
}

fn has_fields(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_fields(item.data_type())
        }
        _ => false,
    }
}

/// What is personal, by table and by type, as the schemas say it at one moment.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    tables: BTreeMap<String, Personal>,
    types: BTreeMap<String, Personal>,
}

impl Declared {
    pub(crate) fn of(registry: &Registry) -> Self {
        let mut declared = Self::default();
        for schema in registry.iter().filter(|schema| !schema.personal.is_empty()) {
            declared.types.entry(schema.event_type.to_string()).or_default().declare(&schema.personal);
            if let Ok(table) = decode::table_name(&schema.event_type) {
                declared.tables.entry(table).or_default().declare(&schema.personal);
            }
        }
        declared
    }

    /// What is personal in an event table, and in the `<table>_latest` made of it.
    pub(crate) fn table(&self, name: &str) -> Option<&Personal> {
        self.tables.get(crate::latest::table_of(name).unwrap_or(name))
    }

    /// What is personal in events of each type, for the table of dead letters.
    pub(crate) const fn types(&self) -> &BTreeMap<String, Personal> {
        &self.types
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn declared_fields_become_rules_for_columns() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let named = |column: &str, name: &str| {
            text(column).with_metadata([(decode::NAME_KEY.to_owned(), name.to_owned())].into())
        };
        let place = DataType::Struct(vec![text("city"), text("map")].into());
        let schema = ArrowSchema::new(vec![
            text("player_id"),
            text("session_id"),
            text("extra"),
            text("real_name"),
            named("data_subject", "subject"),
            Field::new("home", place.clone(), true),
            Field::new("homes", DataType::List(Arc::new(Field::new("element", place, true))), true),
            text("contact"),
            text("champion"),
        ]);
        let mut personal = Personal::default();
        personal
            .declare(&["playerid", "realName", "subject", "home.city", "homes.city", "contact.mail"].map(Into::into));
        let city = Rule::Fields(vec![vec!["city".into()]]);
        let expected: BTreeMap<String, Rule> = [
            ("player_id", Rule::Null),
            ("extra", Rule::Extra),
            ("real_name", Rule::Null),
            ("data_subject", Rule::Null),
            ("home", city.clone()),
            ("homes", city),
            ("contact", Rule::Null),
        ]
        .map(|(name, rule)| (name.to_owned(), rule))
        .into();
        assert_eq!(personal.rules(&schema), expected);
        assert_eq!(Personal::default().rules(&schema), BTreeMap::new());
    }
}
