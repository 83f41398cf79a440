//! The whole pipeline, as its users meet it: a child process, HTTP, and files on disk.
//!
//! | module | what it tries |
//! |---|---|
//! | `support` | starts `killfeed up` in a directory of its own, and talks to it |
//! | `modes` | every form in which events come, and malformed lines among good ones |
//! | `truth` | generated games: reports, tables and audit equal what the generator says |
//! | `damage` | a log that lost what the tables hold |
//! | `kills` | SIGKILL at random moments under load: acknowledged is in its table, once |
//! | `client` | the client SDK: servers and clients killed, networks broken, each event in its table once, in order |
//! | `kafka` | the same on Apache Kafka: roles as processes, kills, an outage |
//! | `secured` | a Kafka that speaks TLS and asks for a password |
//! | `growing` | a stream gets more partitions under load, and what no longer fits is refused |
//! | `expired` | records that Kafka deleted unread: found, given up by command, counted |
//! | `s3` | the same with tables on S3: kills, outages, readers that aren't ours |
//! | `fleet` | three nodes of Kafka, a store, two of each role: outages, and faults by a seed |
//! | `stops` | SIGTERM under load, and a second one; port, directory and lock that are somebody else's |
//! | `access` | keys and scopes, personal fields, a player forgotten |
//! | `addresses` | whose word counts for a client's address, as the geo columns show |
//! | `faults` | configurations that a start is refused for, all faults at once |
//! | `edges` | the HTTP API by a client that speaks TCP: half-sent, odd and wrong requests |
//! | `send` | `killfeed send` against a server that fails as it is told |
//! | `tools` | what psql, Grafana, Metabase and DBeaver ask at their start |
//! | `traces` | traces from client to table, and to a collector |
//! | `outbox` | `killfeed outbox` between PostgreSQL and a server, all three killed |
//! | `load` | `killfeed load`: what it says was acknowledged is in the tables; histograms merged |
//! | `limits` | a query's limits |
//! | `metrics` | what `/metrics` says, and that docs/metrics.md says the same |
//! | `schedules` | reports by the clock: every format, deliveries, one output for each tick of a server that is killed |
//! | `schemas` | 1, then 1.5, then `apply`; a version rewritten in place |
//! | `streams` | a stream that a schema brings, and a player forgotten in all of them |
//! | `readers` | tables opened by readers that aren't ours |
//! | `deploy` | dashboards and alert rules name metrics and pages that exist |
//! | `fresh` | events that SQL sees before they are in a table |
//! | `shell` | `killfeed sql` on a terminal and in a pipe |
//! | `sabotage` | rows and records taken or doubled behind its back: the audit names each |
//! | `tidy` | rules of style that a machine can check |

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

mod access;
mod addresses;
mod client;
mod damage;
mod deploy;
mod edges;
mod expired;
mod faults;
mod fleet;
mod fresh;
mod growing;
mod kafka;
mod kills;
mod limits;
mod load;
mod metrics;
mod modes;
mod outbox;
mod postgres;
mod readers;
mod s3;
mod sabotage;
mod schedules;
mod schemas;
mod secured;
mod send;
mod shell;
mod stops;
mod streams;
mod support;
mod tidy;
mod tools;
mod traces;
mod truth;
