//! A crowd of headless clients: plays through the SDK against any server, and measures what it meets.
//!
//! ```text
//!            who plays                        when                          how                  what came of it
//!  Playbook ──▶ World ──▶ events ──▶ rate: k is due at k / rate  ──▶ Lane: SDK client ──▶ Tally ──▶ Report, truth
//!  (gamegen)   players              crowd: as the players please      Measured transport
//! ```
//!
//! | in order | what it does |
//! |---|---|
//! | `playbook` | matches of ten, planned by [`gamegen`], with the names of our players |
//! | [`World`] | players who log in, queue, play, chat, crash, come back, log out: a state machine in virtual time |
//! | [`Plan`] | what to run: stages of requests per second, or so many players |
//! | `rate` | the open model: a request is due at its time, whatever became of the ones before |
//! | `crowd` | players at their own pace |
//! | `lane` | one SDK client with its connection; all events of one ordering key take one lane |
//! | `ledger`, `measured` | what is under way, and what each answer says of it |
//! | [`Tally`] | counts and histograms of one stage |
//! | [`Report`] | the same for people and programs; files that can be merged |
//! | [`Truth`] | what the server said it took, to be held against its tables |
//!
//! Time, chance and the way to the server are handed in.

mod crowd;
mod lane;
mod ledger;
mod measured;
mod plan;
mod playbook;
mod rate;
mod report;
mod run;
mod tally;
#[cfg(test)]
mod tests;
mod truth;
mod verdict;
mod world;

pub use killfeed_client::Invalid;
pub use plan::{Mode, Plan, Target};
pub use report::{Counts, FileError, Latency, Report, Stage};
pub use run::{Failure, Progress, run};
pub use tally::{Histogram, Tally};
pub use truth::Truth;
pub use world::{Deed, World, WorldOptions};
