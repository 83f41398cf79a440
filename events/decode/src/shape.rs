//! What a payload's values say of their own types: discovery.
//!
//! `null`, the empty object and the empty array say nothing. Integers within 64 bits are int64,
//! other numbers float64, and a field that shows both is float64. An array whose items don't agree
//! has no type, and neither has a number that no column can hold.

use crate::scan::{Cursor, NotJson, Number};
use crate::tree::{Field, Kind};
use std::sync::Arc;

/// A type on its way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Nothing is known yet.
    Unknown,
    /// Items disagree.
    Mixed,
    Int64,
    Float64,
    Boolean,
    Utf8,
    Struct(Vec<(Arc<str>, Shape)>),
    List(Box<Shape>),
}

impl Shape {
    /// The shape of the value at the cursor, which is left behind it.
    pub(crate) fn of(cursor: &mut Cursor<'_>, depth: usize) -> Result<Self, NotJson> {
        Ok(match cursor.peek() {
            b'"' => {
                let text = cursor.string()?;
                if cursor.unescape(text).is_some() { Self::Utf8 } else { Self::Unknown }
            }
            b't' | b'f' => {
                cursor.boolean()?;
                Self::Boolean
            }
            b'n' => {
                cursor.null()?;
                Self::Unknown
            }
            b'{' => {
                let mut fields: Vec<(Arc<str>, Self)> = Vec::new();
                cursor.object(depth, |cursor, key| {
                    let name = cursor.unescape(key).map(|name| Arc::<str>::from(name.as_ref()));
                    let shape = Self::of(cursor, depth + 1)?;
                    if let Some(name) = name
                        && !fields.iter().any(|(known, _)| *known == name)
                    {
                        fields.push((name, shape));
                    }
                    Ok(())
                })?;
                Self::Struct(fields)
            }
            b'[' => {
                let mut items = Self::Unknown;
                cursor.array(depth, |cursor, _| {
                    let item = Self::of(cursor, depth + 1)?;
                    items.merge(item, Disagreement::IsMixed);
                    Ok(())
                })?;
                Self::List(Box::new(items))
            }
            _ => match cursor.number()? {
                Number::Integer(_) => Self::Int64,
                Number::Float(_) => Self::Float64,
                Number::Beyond => Self::Unknown,
            },
        })
    }

    /// Takes in what another value of the same field says.
    pub(crate) fn merge(&mut self, other: Self, disagreement: Disagreement) {
        match (&mut *self, other) {
            (_, Self::Unknown) | (Self::Mixed, Self::Mixed) => {}
            (Self::Unknown, other) => *self = other,
            (Self::Mixed, other) if disagreement == Disagreement::FirstWins => *self = other,
            (Self::Int64 | Self::Float64, Self::Float64) | (Self::Float64, Self::Int64) => *self = Self::Float64,
            (Self::List(mine), Self::List(other)) => mine.merge(*other, disagreement),
            (Self::Struct(mine), Self::Struct(other)) => {
                for (name, shape) in other {
                    match mine.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => known.merge(shape, disagreement),
                        None => mine.push((name, shape)),
                    }
                }
            }
            (mine, other) if *mine == other => {}
            (mine, _) => {
                if disagreement == Disagreement::IsMixed {
                    *mine = Self::Mixed;
                }
            }
        }
    }

    /// The kind of column that holds it, before names and limits; `None` if there is nothing to
    /// make a column of.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Unknown | Self::Mixed => None,
            Self::Int64 => Some(Kind::Int64),
            Self::Float64 => Some(Kind::Float64),
            Self::Boolean => Some(Kind::Boolean),
            Self::Utf8 => Some(Kind::Utf8),
            Self::List(items) => Some(Kind::List(Box::new(items.kind()?))),
            Self::Struct(fields) => {
                let known = |(name, shape): &(Arc<str>, Self)| {
                    Some(Field { name: name.clone(), column: name.clone(), kind: shape.kind()?, widen: false })
                };
                let fields: Vec<Field> = fields.iter().filter_map(known).collect();
                (!fields.is_empty()).then_some(Kind::Struct(fields))
            }
        }
    }
}

/// What becomes of a field whose values disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// Within one array: no type holds it.
    IsMixed,
    /// From event to event: the first one gives the type, the others go to `extra`.
    FirstWins,
}
