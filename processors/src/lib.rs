//! 2. Make trustworthy: dedupe, enrich, take addresses away, dead-letter what cannot pass.
//!
//! Reads `<stream>.raw` and writes, partition p to partition p and in one transaction per step,
//! `.clean`, `.dead`, `.state` (what dedupe remembers), `.ledger` (what was counted) and the
//! position it reached. A processor may be killed at any instant and another goes on where the last
//! transaction ended: all that it knows is in the log.
//!
//! | start here | to learn |
//! |---|---|
//! | [`step`] | what becomes of a batch: a function without IO, from records to records |
//! | [`fingerprint`] | what makes two events the same, and what makes them conflict |
//! | [`window`] | the table of fingerprints; [`spill`] is where it goes when memory ends |
//! | [`state`] | the format in which fingerprints stand in the log |
//! | [`recover`] | how a new owner takes a partition over, and when it refuses to |
//! | `ended`, `inherit` | where a generation of the stream ends, and how the next one takes up what it knew |
//! | [`enrich`] | MaxMind databases, from an address to headers; [`address`] is what is left of it |
//! | [`route`] | schema version, or why there is none |
//! | [`run`] | the loop around all that, the only one that does IO |

pub mod address;
mod config;
mod ended;
pub mod enrich;
mod error;
pub mod fingerprint;
mod inherit;
mod losses;
mod observe;
pub mod partition;
pub mod recover;
pub mod route;
mod run;
pub mod spill;
pub mod state;
pub mod step;
pub mod window;
mod worker;

pub use config::{AddressPolicy, Config, StateRetention};
pub use error::Error;
pub use losses::{accept_losses, losses};
pub use run::run;
