//! What an event is, its schema, and the log that it lives in.
//!
//! Every other crate stands on this one, and this one on none of them.
//!
//! | start here | to learn |
//! |---|---|
//! | [`envelope`] | how a CloudEvent comes in, in which forms, and which attributes are refused |
//! | [`headers`] | the names under which attributes travel beside the payload |
//! | [`keys`] | which partition an event goes to, and what makes two events the same |
//! | [`schema`] | JSON Schema files, what `x-killfeed` says, what may change |
//! | [`log`] | the laws of the log, and its implementations |
//! | [`ledger`] | the counts that each stage writes, so that the books balance |
//! | [`dead`] | the closed list of reasons for a dead letter |
//! | [`limits`] | every limit, in one place |
//!
//! The payload that a client sent passes through all of it untouched: whoever needs to decide
//! something reads headers, or hashes bytes. Only `decode` looks inside.

pub mod clock;
pub mod dead;
pub mod envelope;
pub mod headers;
pub mod keys;
mod lag;
pub mod ledger;
pub mod limits;
pub mod log;
pub mod schema;
pub mod streams;

pub use clock::{Clock, ManualClock, SystemClock};
pub use headers::{Headers, HeadersBuilder};
pub use lag::Lag;
pub use streams::{SharedStreams, Stream, TopicPartition};
