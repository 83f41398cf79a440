//! Why a sink stopped, or will try again.

use events::log::{self, Offset};
use events::streams::TopicPartition;

/// What went wrong in a sink.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error("log: {0}")]
    Log(#[from] log::Error),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] tables::Error),
    /// A batch could not be decoded at all.
    #[error("decode: {0}")]
    Decode(#[from] decode::Error),
    /// Rows could not be put together.
    #[error("rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// An entry of the ledger could not be written.
    #[error("ledger: {0}")]
    Ledger(#[from] serde_json::Error),
    /// A record follows a schema version that this sink doesn't have. The row depends on it, so it
    /// waits until the file is back.
    #[error("schema {event_type}/{version} is in records of {topic}, and not in the schemas' directory: put it back")]
    SchemaMissing {
        /// The record's type.
        event_type: String,
        /// The version that the processor stamped.
        version: i32,
        /// Where the record stands.
        topic: String,
    },
    /// The stream was not made yet.
    #[error("stream {0} does not exist: start ingest or make its topics first")]
    NoStream(String),
    /// The log ends below what a table holds of it: it lost records, or is an older copy.
    #[error(
        "{of} ends at offset {end}, and table {table} holds its events up to offset {txn}: the log lost records after they were \
         delivered, and going on would deliver them twice"
    )]
    LogBehind {
        /// The partition.
        of: TopicPartition,
        /// Where the log ends.
        end: Offset,
        /// The table.
        table: String,
        /// Up to where the table holds it.
        txn: Offset,
    },
    /// What is stored contradicts itself, or asks for an operator.
    #[error("{0}")]
    Refused(String),
    /// A task ended by a panic or was cancelled.
    #[error("task: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::Tables(error) => error.is_retryable(),
            Self::SchemaMissing { .. } => true,
            _ => false,
        }
    }

    /// Whether the partition went to somebody else.
    pub const fn is_fenced(&self) -> bool {
        matches!(self, Self::Log(log::Error::Fenced(_)))
    }
}
