//! What can go wrong; all of it is tried again.

/// An error of the store, or of what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed, or didn't answer.
    #[error("store: {0}")]
    Store(#[from] object_store::Error),
    /// The store didn't answer in time.
    #[error("store: no answer within {0:?}")]
    Late(std::time::Duration),
    /// An object isn't what it should be.
    #[error("{what}: {detail}")]
    Corrupt {
        /// Which.
        what: String,
        /// In what way.
        detail: String,
    },
    /// A bug of ours; the log has where.
    #[error("a panic")]
    Panic,
    /// No schedule has this name.
    #[error("there is no schedule {0:?}; `killfeed report schedule list` names them")]
    NoSchedule(String),
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;
