//! What makes an event no CloudEvent: each error names the attribute, its value and the rule.

use super::json::Broken;
use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, JSON_DEPTH_MAX};

/// Bytes of an offending name or value that an error repeats.
const SHOWN_BYTES_MAX: usize = 80;

/// The rule that an event breaks. The same bytes break it again: there is no use in sending them anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The text is no JSON.
    #[error("not JSON: expected {expected} at byte {at}")]
    Json {
        /// Byte of the event's text, counted from 0.
        at: usize,
        /// What JSON's grammar asks for there.
        expected: &'static str,
    },
    /// The bytes are no UTF-8.
    #[error("not UTF-8 from byte {at} on")]
    Utf8 {
        /// Byte of the event's text, counted from 0.
        at: usize,
    },
    /// JSON, but no object.
    #[error("an event is a JSON object, and this is {found}")]
    NotAnObject {
        /// What it is, with its article.
        found: &'static str,
    },
    /// A required attribute is absent.
    #[error("attribute {name} is missing")]
    Missing {
        /// The attribute.
        name: &'static str,
    },
    /// An attribute that must have a value has an empty one.
    #[error("attribute {name} is empty")]
    Empty {
        /// The attribute.
        name: String,
    },
    /// The same member, or header, twice.
    #[error("{name} appears twice")]
    Twice {
        /// The attribute, or `data`.
        name: String,
    },
    /// A JSON type that the attribute can't have.
    #[error("attribute {name} is {found}, and must be {must}")]
    WrongType {
        /// The attribute.
        name: String,
        /// What it is, with its article.
        found: &'static str,
        /// What it has to be, with its article.
        must: &'static str,
    },
    /// A value that the attribute can't have.
    #[error("attribute {name} is {value:?}, and must be {must}")]
    Value {
        /// The attribute.
        name: String,
        /// Its value, shortened.
        value: String,
        /// What it has to be, with its article.
        must: &'static str,
    },
    /// A value past its limit.
    #[error("attribute {name} has {length} bytes, more than {ATTRIBUTE_VALUE_BYTES_MAX}")]
    TooLong {
        /// The attribute.
        name: String,
        /// Bytes of its value.
        length: usize,
    },
    /// A name that no attribute can have.
    #[error("attribute name {name:?} is not 1 to {ATTRIBUTE_NAME_BYTES_MAX} characters of a-z and 0-9")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// An attribute that only killfeed sets.
    #[error("attribute {name} is set by killfeed, and refused from clients")]
    Reserved {
        /// The attribute.
        name: String,
    },
    /// More extension attributes than the limit.
    #[error("more than {ATTRIBUTES_MAX} extension attributes")]
    TooMany,
    /// `data` and `data_base64` on one event.
    #[error("both data and data_base64 are present, and only one may be")]
    TwoPayloads,
    /// `data_base64` can't be decoded.
    #[error("data_base64 is no base64: {why}")]
    Base64 {
        /// The decoder's reason.
        why: String,
    },
    /// A text that ought to become the payload names half a surrogate pair.
    #[error("data holds an escape that is half a surrogate pair, and can't be written as text")]
    Surrogate,
    /// `data` nests deeper than the limit.
    #[error("data nests {depth} levels deep, more than {JSON_DEPTH_MAX}")]
    TooDeep {
        /// Levels of arrays and objects.
        depth: usize,
    },
}

impl Invalid {
    /// The word for it in metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Json { .. } => "not_json",
            Self::Utf8 { .. } => "not_utf8",
            Self::NotAnObject { .. } => "not_an_object",
            Self::Missing { .. } => "attribute_missing",
            Self::Reserved { .. } => "attribute_reserved",
            Self::Empty { .. }
            | Self::Twice { .. }
            | Self::WrongType { .. }
            | Self::Value { .. }
            | Self::TooLong { .. }
            | Self::Name { .. }
            | Self::TooMany => "attribute_invalid",
            Self::TwoPayloads | Self::Base64 { .. } | Self::Surrogate | Self::TooDeep { .. } => "data_invalid",
        }
    }

    pub(super) fn twice(name: &str) -> Self {
        Self::Twice { name: shorten(name) }
    }

    pub(super) fn value(name: &str, value: &str, must: &'static str) -> Self {
        Self::Value { name: shorten(name), value: shorten(value), must }
    }
}

impl From<Broken> for Invalid {
    fn from(Broken { at, expected }: Broken) -> Self {
        Self::Json { at, expected }
    }
}

/// At most [`SHOWN_BYTES_MAX`] bytes of `text`, and a sign that there was more.
pub(super) fn shorten(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &text[..end])
}
