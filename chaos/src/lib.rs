//! Chaos on the real parts: Kafka on three nodes, an S3 store, two or more of each role, clients with
//! retries; and one thing after another killed, frozen, restarted or cut off. At the end the books must
//! balance, and another reader of the tables must find every acknowledged event exactly once.
//!
//! | in order | what it is |
//! |---|---|
//! | `schedule` | what happens to whom, drawn from a seed |
//! | `world` | all that is needed, started and stopped: `cluster`, `minio`, `toxiproxy`, `role` |
//! | `clients` | play games, each event again until it is acknowledged; `books` is what they know then |
//! | `faults` | how faults are done, and undone |
//! | `outages` | the named ones, each with its figures, and the rolling restart |
//! | `watch` | metrics and memory of the processes |
//! | `judge` | whether every acknowledged event became exactly one row |
//! | `report` | what a run found |
//! | `reaper` | ends what was started if this program can't |
//!
//! Tests start their Kafka by [`Cluster`], and their store by [`minio::Minio`], too.

mod books;
mod clients;
mod cluster;
mod faults;
mod judge;
pub mod minio;
mod outages;
mod ports;
mod reaper;
mod report;
mod role;
mod run;
mod schedule;
mod scripts;
mod toxiproxy;
mod watch;
mod world;

pub use cluster::Cluster;
pub use judge::{Audit, Read, Verdict};
pub use outages::{Outage, OutageReport, RollingReport};
pub use ports::free as free_ports;
pub use report::{Answers, RandomReport, Report};
pub use run::{Options, run};
pub use scripts::target;
