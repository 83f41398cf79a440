//! Why a processor stopped. Each of these needs an operator: what time heals is retried inside.

use events::log::Offset;
use events::streams::TopicPartition;
use std::time::Duration;

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log failed in a way that no retry heals.
    #[error(transparent)]
    Log(#[from] events::log::Error),
    /// The stream's topics were never made.
    #[error("stream {0} does not exist in the log")]
    NoStream(String),
    /// `.state` would lose fingerprints that a restart still needs.
    #[error(
        "stream {stream} keeps its state for {state_retention:?}, and dedupe windows of up to {window_max:?} need at least {needed:?}",
        needed = *window_max * 2
    )]
    StateRetention {
        /// The stream.
        stream: String,
        /// How long `.state` is kept.
        state_retention: Duration,
        /// The longest window of any schema.
        window_max: Duration,
    },
    /// The fingerprints in the log don't lead up to the committed position: dedupe could not keep
    /// its promise from here on.
    #[error(
        "state of {of} ends at raw offset {state_to:?}, the committed position is {committed:?}: refusing to go on"
    )]
    StateMismatch {
        /// The raw partition.
        of: TopicPartition,
        /// Where the newest state record (or, without any, the ledger) says the last step ended.
        state_to: Option<Offset>,
        /// The group's position.
        committed: Option<Offset>,
    },
    /// A state record can't be read, or two of them don't join.
    #[error("state of {of}, record {offset}: {detail}")]
    StateBroken {
        /// The state partition.
        of: TopicPartition,
        /// The record's offset.
        offset: Offset,
        /// What is wrong with it.
        detail: String,
    },
    /// The directory for fingerprints past the memory limit fails.
    #[error("fingerprints past the memory limit: {0}")]
    Spill(String),
    /// A ledger entry could not be written as JSON.
    #[error("ledger entry: {0}")]
    Ledger(#[from] serde_json::Error),
    /// A computation died, which is a defect.
    #[error("a step panicked: {0}")]
    Panicked(String),
}
