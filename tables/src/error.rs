//! What can go wrong with tables, split by what the caller can do about it.

/// An error of a table or of the store that holds it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed; the same call may succeed later, and a write may have succeeded already.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The store didn't answer in time; a write may have succeeded already.
    #[error("object store: no answer to {what} within {limit_s} s")]
    TimedOut {
        /// What was asked.
        what: String,
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// Deltalake failed to read or write a table.
    #[error("delta table: {0}")]
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
            Self::Store(_) | Self::TimedOut { .. } => true,
            Self::Delta(error) => !matches!(
                error,
                deltalake::DeltaTableError::InvalidTableLocation(_) | deltalake::DeltaTableError::SchemaMismatch { .. }
            ),
            Self::Parquet(error) => matches!(error, parquet::errors::ParquetError::External(_)),
            Self::Arrow(_) | Self::Location { .. } | Self::Corrupt { .. } => false,
        }
    }
}

/// A result of a table.
pub type Result<T, E = Error> = std::result::Result<T, E>;
