//! What can go wrong with tables, split by what the caller can do about it.

/// An error of a table or of the store that holds it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed; the same call may succeed later, and a write may have succeeded already.
    #[error("object store: {}", brief(.0))]
    Store(#[from] object_store::Error),
    /// The store didn't answer in time; a write may have succeeded already.
    #[error("object store: no answer to {what} within {limit_s} s")]
    TimedOut {
        /// What was asked.
        what: String,
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// A table that was just made is not in the store's listing yet.
    #[error("table {0} was just made, and the store doesn't list it yet")]
    NotListed(String),
    /// Deltalake failed to read or write a table.
    #[error("delta table: {}", brief(.0))]
    Delta(#[from] deltalake::DeltaTableError),
    /// Rows could not be brought into the table's columns.
    #[error("columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A file could not be read or written as Parquet.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The location is neither a directory that can be made nor a URL of a known store.
    #[error("store {location:?}: {detail}")]
    Location {
        /// As given.
        location: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The table is another writer's, and is left alone.
    #[error("table {table} in {store} was not made by killfeed: give --store a place of its own")]
    Foreign {
        /// The table.
        table: String,
        /// The store.
        store: String,
    },
    /// What is stored contradicts itself. Stop, and let an operator decide.
    #[error("table {table}: {detail}")]
    Corrupt {
        /// The table.
        table: String,
        /// What was found.
        detail: String,
    },
}

impl Error {
    /// Whether the same call may succeed later: whatever the store says, unless it says that the
    /// request itself is wrong.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(_) | Self::TimedOut { .. } | Self::NotListed(_) => true,
            Self::Delta(error) => !matches!(
                error,
                deltalake::DeltaTableError::InvalidTableLocation(_) | deltalake::DeltaTableError::SchemaMismatch { .. }
            ),
            Self::Parquet(error) => matches!(error, parquet::errors::ParquetError::External(_)),
            Self::Arrow(_) | Self::Location { .. } | Self::Foreign { .. } | Self::Corrupt { .. } => false,
        }
    }
}

/// A result of a table.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in one line. What S3 says in XML is cut to its code and message: the rest names keys and
/// signatures.
pub(crate) fn brief(error: &dyn std::fmt::Display) -> String {
    let mut text = error.to_string();
    while let (Some(from), Some(to)) = (text.find("<?xml").or_else(|| text.find("<Error>")), text.find("</Error>")) {
        if to < from {
            break;
        }
        let said = |tag: &str| {
            let inner = text[from..to].split_once(&format!("<{tag}>"))?.1;
            inner.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.to_owned())
        };
        let code = said("Code").unwrap_or_else(|| "an error without a code".into());
        let meaning = said("Message").map(|message| format!(": {message}")).unwrap_or_default();
        text.replace_range(from..to + "</Error>".len(), &format!("{code}{meaning}"));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_s3_says_in_xml_comes_to_one_line_without_keys() {
        let xml = "Generic S3 error: Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\
            <Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message><AWSAccessKeyId>AKID</AWSAccessKeyId>\
            <StringToSign>AWS4-HMAC\n2026</StringToSign></Error> and more\nlines";
        let said = brief(&xml);
        assert!(said.ends_with("SignatureDoesNotMatch: It does not match. and more lines"), "{said}");
        assert!(!said.contains("AKID"), "{said}");
        assert_eq!(brief(&"plain </Error> <Error>"), "plain </Error> <Error>");
    }
}
