//! What is known of one type's table before a batch is decoded: its columns, and what the versions
//! of its schema allow.

use crate::columns;
use crate::document;
use crate::names::{NameError, table_name};
use crate::shape::{Disagreement, Shape};
use crate::tree::{self, Budget, Field, Kind, Place};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use events::schema::{Mode, Schema};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The columns of a type's table, and the rules of each version of its schema.
#[derive(Debug, Clone)]
pub struct TableSchema {
    event_type: Arc<str>,
    table: Arc<str>,
    fields: Arc<[Field]>,
    arrow: SchemaRef,
    rules: Arc<HashMap<i32, Rules>>,
}

/// What one version of a schema asks of a payload.
#[derive(Debug)]
pub struct Rules {
    /// Lenient or strict.
    pub mode: Mode,
    closed: HashSet<Vec<String>>,
    validator: Option<jsonschema::Validator>,
}

impl Rules {
    /// Whether the object at this path may have no other members than the schema's.
    pub fn is_closed(&self, path: &[String]) -> bool {
        self.closed.contains(path)
    }

    /// What the payload breaks of a strict schema: one sentence that names the field.
    pub fn violation(&self, payload: &serde_json::Value) -> Option<String> {
        let error = self.validator.as_ref()?.iter_errors(payload).next()?;
        let path = error.instance_path().to_string();
        let field = if path.is_empty() { "the payload" } else { path.as_str() };
        Some(format!("{field}: {error}"))
    }
}

impl TableSchema {
    /// From what the table has (`existing`, none if it is yet to be made) and the versions of the
    /// type's schema (none for a discovered type). The existing columns are the truth; fields that
    /// only the documents know are added behind them.
    ///
    /// # Errors
    /// If the type's table name is reserved.
    pub fn new(event_type: &str, existing: Option<&ArrowSchema>, versions: &[Arc<Schema>]) -> Result<Self, NameError> {
        let table = table_name(event_type)?;
        let mut rules = HashMap::new();
        let mut declared = Vec::new();
        for schema in versions {
            let document = document::read(&schema.document);
            add_all(&mut declared, &document.fields, Existing::No);
            let validator =
                (schema.mode == Mode::Strict).then(|| jsonschema::draft202012::new(&schema.document).ok()).flatten();
            rules.insert(schema.version, Rules { mode: schema.mode, closed: document.closed, validator });
        }
        let mut fields = existing.map(payload_fields).unwrap_or_default();
        add_all(&mut fields, &declared, Existing::Yes);
        Ok(Self::with(event_type.into(), table.into(), fields, Arc::new(rules)))
    }

    fn with(event_type: Arc<str>, table: Arc<str>, fields: Vec<Field>, rules: Arc<HashMap<i32, Rules>>) -> Self {
        let payload = tree::arrow_fields(&fields);
        let all = columns::envelope().iter().cloned().map(Arc::new).chain(payload.iter().cloned());
        let arrow = Arc::new(ArrowSchema::new(all.collect::<Vec<_>>()));
        Self { event_type, table, fields: fields.into(), arrow, rules }
    }

    /// The event type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// All columns: those of the envelope, then the payload's.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The payload's columns.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// What a version's schema says; `None` for a discovered type.
    pub fn rules(&self, version: i32) -> Option<&Rules> {
        self.rules.get(&version)
    }

    /// Whether the metadata of a table with the columns `existing` must be committed anew, because
    /// columns or marks are missing, before it can take these rows.
    pub fn adds_to(&self, existing: &ArrowSchema) -> bool {
        payload_fields(existing) != *self.fields
            || columns::envelope().iter().any(|field| existing.field_with_name(field.name()).is_err())
    }

    /// The same with the int64 columns at these paths marked as to be widened; `None` if they all
    /// are marked already.
    pub fn marked<'a>(&self, widenings: impl IntoIterator<Item = &'a Vec<String>>) -> Option<Self> {
        let mut fields = self.fields.to_vec();
        for path in widenings {
            if let Some((name, above)) = path.split_last()
                && let Some(siblings) = descend(&mut fields, above, &mut 0)
                && let Some(field) = siblings.iter_mut().find(|field| field.name.as_ref() == name.as_str())
            {
                field.widen = field.widen || field.kind.widened().is_some();
            }
        }
        self.changed_to(fields)
    }

    /// The same with every marked column as float64; `None` if none is marked.
    pub fn widened(&self) -> Option<Self> {
        fn widen(fields: &mut [Field]) {
            for field in fields {
                if let Some(wide) = field.kind.widened().filter(|_| field.widen) {
                    field.kind = wide;
                    field.widen = false;
                }
                if let Some(below) = field.kind.fields_mut() {
                    widen(below);
                }
            }
        }
        let mut fields = self.fields.to_vec();
        widen(&mut fields);
        self.changed_to(fields)
    }

    fn changed_to(&self, fields: Vec<Field>) -> Option<Self> {
        let (event_type, table, rules) = (self.event_type.clone(), self.table.clone(), self.rules.clone());
        (fields != *self.fields).then(|| Self::with(event_type, table, fields, rules))
    }
}

/// Where a table has a column of another type than the versions of its type's schema say, as one
/// sentence each: the column stays, and values that don't fit it go to `extra`. int64 under a schema
/// that says number is no such place: the column is marked, and can be widened.
pub fn disagreements(existing: &ArrowSchema, versions: &[Arc<Schema>]) -> Vec<String> {
    let mut found = Vec::new();
    for schema in versions {
        let declared = document::read(&schema.document).fields;
        disagree(&payload_fields(existing), &declared, "", schema.version, &mut found);
    }
    found
}

fn disagree(stands: &[Field], declared: &[Field], above: &str, version: i32, found: &mut Vec<String>) {
    for field in declared {
        let Some(known) = stands.iter().find(|known| known.name == field.name) else { continue };
        let name = format!("{above}{}", field.name);
        match (known.kind.fields(), field.kind.fields()) {
            (Some(stands), Some(declared)) => disagree(stands, declared, &format!("{name}."), version, found),
            (None, None) if known.kind == field.kind || known.kind.widened().as_ref() == Some(&field.kind) => {}
            // An earlier version said integer, and the column was widened since.
            (None, None) if field.kind.widened().as_ref() == Some(&known.kind) => {}
            _ => found.push(format!(
                "field {name} is {} in version {version} and {} in the table: values that don't fit go to extra",
                field.kind.word(),
                known.kind.word()
            )),
        }
    }
}

/// The payload columns of a table, which are those that aren't the envelope's.
pub fn payload_fields(existing: &ArrowSchema) -> Vec<Field> {
    let is_own = |name: &str| columns::envelope().iter().any(|field| field.name() == name);
    let fields = existing.fields().iter().filter(|field| !is_own(field.name())).cloned();
    tree::of_arrow(&fields.collect())
}

fn reserved() -> Vec<&'static str> {
    columns::envelope().iter().map(|field| field.name().as_str()).collect()
}

/// Whether rows with these columns exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Yes,
    No,
}

/// Adds declared fields to those that stand, nested ones too.
fn add_all(fields: &mut Vec<Field>, further: &[Field], existing: Existing) {
    let mut budget = Budget::beside(fields);
    merge(fields, further, &mut budget, 1, &reserved(), existing);
}

fn merge(
    fields: &mut Vec<Field>,
    further: &[Field],
    budget: &mut Budget,
    depth: usize,
    reserved: &[&str],
    existing: Existing,
) {
    for field in further {
        match fields.iter_mut().find(|known| known.name == field.name) {
            None => {
                budget.add(fields, &field.name, &field.kind, Place { depth, reserved });
            }
            Some(known) if known.kind.widened().as_ref() == Some(&field.kind) => match existing {
                Existing::Yes => known.widen = true,
                Existing::No => known.kind = field.kind.clone(),
            },
            Some(known) => merge_kinds(&mut known.kind, &field.kind, budget, depth, existing),
        }
    }
}

fn merge_kinds(known: &mut Kind, further: &Kind, budget: &mut Budget, depth: usize, existing: Existing) {
    match (known, further) {
        (Kind::Struct(known), Kind::Struct(further)) => merge(known, further, budget, depth + 1, &[], existing),
        (Kind::List(known), Kind::List(further)) => merge_kinds(known, further, budget, depth + 1, existing),
        _ => {}
    }
}

/// Fields that were seen without a column, with what they seem to hold.
#[derive(Debug, Default, Clone)]
pub struct Additions {
    seen: BTreeMap<Vec<String>, Vec<(String, Shape)>>,
}

impl Additions {
    /// Whether there is nothing to add. Fields that have no name, room or type to be added with are
    /// left out by [`Self::effective`].
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(crate) fn note(&mut self, path: Vec<String>, name: &str, shape: Shape, disagreement: Disagreement) {
        let fields = self.seen.entry(path).or_default();
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.merge(shape, disagreement),
            None => fields.push((name.to_owned(), shape)),
        }
    }

    /// The additions that change `table`; `None` if none does.
    pub(crate) fn effective(self, table: &TableSchema) -> Option<TableSchema> {
        if self.is_empty() {
            return None;
        }
        let mut fields = table.fields.to_vec();
        self.apply(&mut fields);
        table.changed_to(fields)
    }

    fn apply(&self, fields: &mut Vec<Field>) {
        let mut budget = Budget::beside(fields);
        let reserved = reserved();
        for (path, additions) in &self.seen {
            let mut depth = 1;
            let Some(siblings) = descend(fields, path, &mut depth) else { continue };
            let reserved: &[&str] = if path.is_empty() { &reserved } else { &[] };
            for (name, shape) in additions {
                let is_known = siblings.iter().any(|known| known.name.as_ref() == name.as_str());
                if let Some(kind) = shape.kind().filter(|_| !is_known) {
                    budget.add(siblings, name, &kind, Place { depth, reserved });
                }
            }
        }
    }
}

/// The fields of the object at `path`, and the depth at which they lie.
fn descend<'a>(fields: &'a mut Vec<Field>, path: &[String], depth: &mut usize) -> Option<&'a mut Vec<Field>> {
    let Some((name, rest)) = path.split_first() else { return Some(fields) };
    let field = fields.iter_mut().find(|field| field.name.as_ref() == name.as_str())?;
    let mut kind = &field.kind;
    *depth += 1;
    while let Kind::List(item) = kind {
        *depth += 1;
        kind = item;
    }
    descend(field.kind.fields_mut()?, rest, depth)
}
