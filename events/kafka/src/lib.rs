//! The log on Apache Kafka: the same trait and laws as the embedded log, on a cluster.
//!
//! | start here | to learn |
//! |---|---|
//! | `log` | which part answers which call of the trait |
//! | `config` | the settings of every client, and why each is what it is |
//! | `producer` | appends: one producer for each durability |
//! | `member` | members of groups: assignment, seeks, gaps, positions out of range |
//! | `seats` | which generations may still commit |
//! | `transactor` | a step as one transaction, and what each error means |
//! | `reader` | reads without a group: recovery, audit, bounds |
//! | `streams` | which streams there are: incarnations, numbers of partitions |
//! | `topics` | topics and their settings, and what a fit topic is |
//! | `grow` | how a generation ends and the next one begins |
//! | `plan` | what topics should be and aren't |
//! | `trouble` | why appends fail, for readiness |
//! | `meters` | what is measured, the clients' statistics among it |
//! | `record` | the CloudEvents Kafka binding: headers, key and payload |
//! | `error` | what the client's errors mean for callers |
//!
//! librdkafka's calls block; each of them runs on tokio's threads for blocking work.

mod config;
mod error;
mod grow;
mod log;
mod member;
mod meters;
mod names;
mod plan;
mod producer;
mod reader;
mod record;
mod seats;
mod streams;
mod topics;
mod transactor;
mod trouble;

pub use config::Config;
pub use log::KafkaLog;
pub use plan::Change;
