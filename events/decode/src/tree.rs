//! The tree of a table's payload columns: which field of the payload goes to which column, and as
//! what. It is read from a table's Arrow schema, and written to one.

use crate::names::column_name;
use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields};
use events::limits;
use std::collections::HashMap;
use std::sync::Arc;

/// Key of a column's metadata: the field's original name in the payload.
pub const NAME_KEY: &str = "killfeed.name";
/// Key of a column's metadata: `json` for a text column that holds a value's JSON text.
pub const FORMAT_KEY: &str = "killfeed.format";
/// Key of a column's metadata: the type that it is to be widened to, [`WIDEN_TO`].
pub const WIDEN_KEY: &str = "killfeed.widen";
/// What stands under [`WIDEN_KEY`].
pub const WIDEN_TO: &str = "float64";
/// What stands under [`FORMAT_KEY`].
const JSON_FORMAT: &str = "json";
/// The name that Parquet and Delta give to a list's items.
const ELEMENT: &str = "element";

/// A payload field that has a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As it stands in the payload.
    pub name: Arc<str>,
    /// As it stands in the table.
    pub column: Arc<str>,
    /// What it holds.
    pub kind: Kind,
    /// Set on an int64 column, or a list of them, that float64 would hold more of: values that wait
    /// for that are in `extra`, and results that read the column carry a warning.
    pub widen: bool,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// JSON integers within 64 bits.
    Int64,
    /// JSON numbers.
    Float64,
    /// `true` and `false`.
    Boolean,
    /// Strings.
    Utf8,
    /// Any value, as its JSON text.
    Json,
    /// Objects.
    Struct(Vec<Field>),
    /// Arrays of one kind.
    List(Box<Kind>),
    /// A type that somebody else gave to the column: never written, its values go to `extra`.
    Foreign(DataType),
}

impl Kind {
    /// Its Arrow type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Utf8 | Self::Json => DataType::Utf8,
            Self::Struct(fields) => DataType::Struct(arrow_fields(fields)),
            Self::List(item) => DataType::List(element(item)),
            Self::Foreign(data_type) => data_type.clone(),
        }
    }

    fn of_arrow(field: &ArrowField) -> Self {
        match field.data_type() {
            DataType::Int64 => Self::Int64,
            DataType::Float64 => Self::Float64,
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let is_json = field.metadata().get(FORMAT_KEY).is_some_and(|format| format == JSON_FORMAT);
                if is_json { Self::Json } else { Self::Utf8 }
            }
            DataType::Struct(fields) => Self::Struct(of_arrow(fields)),
            DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
                Self::List(Box::new(Self::of_arrow(item)))
            }
            other => Self::Foreign(other.clone()),
        }
    }

    /// Columns that it brings along below itself.
    pub fn columns(&self) -> usize {
        match self {
            Self::Struct(fields) => count(fields),
            Self::List(item) => item.columns(),
            _ => 0,
        }
    }

    /// The objects inside: a struct's fields, or those of the struct that a list holds.
    pub fn fields(&self) -> Option<&[Field]> {
        match self {
            Self::Struct(fields) => Some(fields),
            Self::List(item) => item.fields(),
            _ => None,
        }
    }

    /// The kind with int64 as float64, through lists but not through structs; `None` if there is no
    /// int64 to widen.
    pub fn widened(&self) -> Option<Self> {
        match self {
            Self::Int64 => Some(Self::Float64),
            Self::List(item) => Some(Self::List(Box::new(item.widened()?))),
            _ => None,
        }
    }

    pub(crate) fn fields_mut(&mut self) -> Option<&mut Vec<Field>> {
        match self {
            Self::Struct(fields) => Some(fields),
            Self::List(item) => item.fields_mut(),
            _ => None,
        }
    }

    /// The word for it in messages and docs.
    pub fn word(&self) -> String {
        match self {
            Self::Int64 => "int64".to_owned(),
            Self::Float64 => "float64".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Utf8 => "string".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Struct(_) => "struct".to_owned(),
            Self::List(item) => format!("list of {}", item.word()),
            Self::Foreign(data_type) => data_type.to_string(),
        }
    }
}

pub(crate) fn element(item: &Kind) -> FieldRef {
    Arc::new(ArrowField::new(ELEMENT, item.data_type(), true))
}

/// The Arrow fields of payload fields, with their original names in the metadata.
pub fn arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(arrow_field).collect()
}

fn arrow_field(field: &Field) -> ArrowField {
    let mut metadata = HashMap::from([(NAME_KEY.to_owned(), field.name.to_string())]);
    if field.kind == Kind::Json {
        metadata.insert(FORMAT_KEY.to_owned(), JSON_FORMAT.to_owned());
    }
    if field.widen {
        metadata.insert(WIDEN_KEY.to_owned(), WIDEN_TO.to_owned());
    }
    ArrowField::new(field.column.as_ref(), field.kind.data_type(), true).with_metadata(metadata)
}

/// The payload fields behind Arrow fields; a column without its original name has its own.
pub fn of_arrow(fields: &Fields) -> Vec<Field> {
    let field = |field: &FieldRef| Field {
        name: field.metadata().get(NAME_KEY).map_or(field.name().as_str(), String::as_str).into(),
        column: field.name().as_str().into(),
        kind: Kind::of_arrow(field),
        widen: field.metadata().contains_key(WIDEN_KEY),
    };
    fields.iter().map(field).collect()
}

/// Columns of these fields, nested ones included.
pub fn count(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + field.kind.columns()).sum()
}

/// What keeps a table's columns within bounds while fields are added to it.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    /// What is left beside columns that exist.
    pub(crate) fn beside(fields: &[Field]) -> Self {
        Self { left: limits::COLUMNS_MAX.saturating_sub(count(fields)) }
    }

    /// Adds a field beside `siblings`, or a part of it: names are given, and what finds no name, no
    /// room or lies too deep is left out. Says whether a column was added.
    pub(crate) fn add(&mut self, siblings: &mut Vec<Field>, name: &str, kind: &Kind, place: Place<'_>) -> bool {
        if self.left == 0 || place.depth > limits::COLUMN_DEPTH_MAX || name.len() > limits::COLUMN_NAME_BYTES_MAX {
            return false;
        }
        let taken =
            |column: &str| place.reserved.contains(&column) || siblings.iter().any(|s| s.column.as_ref() == column);
        let Some(column) = column_name(name, taken) else { return false };
        self.left -= 1;
        let Some(kind) = self.fitted(kind, place.depth) else {
            self.left += 1;
            return false;
        };
        siblings.push(Field { name: name.into(), column: column.into(), kind, widen: false });
        true
    }

    /// The part of `kind` that there is room for at `depth`.
    fn fitted(&mut self, kind: &Kind, depth: usize) -> Option<Kind> {
        match kind {
            Kind::Struct(fields) => {
                let mut kept = Vec::with_capacity(fields.len());
                for field in fields {
                    self.add(&mut kept, &field.name, &field.kind, Place { depth: depth + 1, reserved: &[] });
                }
                (!kept.is_empty()).then_some(Kind::Struct(kept))
            }
            Kind::List(item) if depth < limits::COLUMN_DEPTH_MAX => {
                Some(Kind::List(Box::new(self.fitted(item, depth + 1)?)))
            }
            Kind::List(_) => None,
            other => Some(other.clone()),
        }
    }
}

/// Where a field is added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// 1 at the top.
    pub(crate) depth: usize,
    /// Names that are taken beside the siblings' own.
    pub(crate) reserved: &'a [&'a str],
}
