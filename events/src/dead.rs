//! Why an event became a dead letter: a closed list, so that it can be counted, alarmed on and
//! redriven by reason.

use serde::{Deserialize, Serialize};

/// The reason; its word is what stands in `dead_letters.reason` and in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Same dedupe key as an admitted event and other data: the first one won.
    Conflict,
    /// No schema for this type, and discovery is off.
    UnknownType,
    /// `dataschema` names a version of a known type that killfeed doesn't have.
    UnknownSchemaVersion,
    /// The type's table name is reserved, or belongs to another type.
    TableNameTaken,
    /// A strict type, and the payload breaks its schema.
    SchemaViolation,
    /// The content type says JSON, and the payload isn't, or nests too deep.
    PayloadNotJson,
    /// The record in raw is no CloudEvent: somebody else wrote to the topic.
    EnvelopeInvalid,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Conflict,
        Self::UnknownType,
        Self::UnknownSchemaVersion,
        Self::TableNameTaken,
        Self::SchemaViolation,
        Self::PayloadNotJson,
        Self::EnvelopeInvalid,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::UnknownType => "unknown_type",
            Self::UnknownSchemaVersion => "unknown_schema_version",
            Self::TableNameTaken => "table_name_taken",
            Self::SchemaViolation => "schema_violation",
            Self::PayloadNotJson => "payload_not_json",
            Self::EnvelopeInvalid => "envelope_invalid",
        }
    }

    /// The reason of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn each_word_reads_back_and_equals_its_json() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
    }
}
