//! The relay from outside: in virtual time between a table and an API that fail by a seed, and on a real PostgreSQL.
//!
//! | module | what it tries |
//! |---|---|
//! | `time` | a clock that jumps, and tasks on it |
//! | `model` | a table in memory that keeps the laws of `Store`, and fails and crashes by a seed |
//! | `collector` | an API in memory that loses, delays and refuses by a seed, and knows what arrived first |
//! | `simulation` | relays killed, the database killed, overlapping transactions: once each, in order |
//! | `conduct` | one relay against a script: waits, probes, doubt, refusals, stopping |
//! | `server` | a PostgreSQL of the test's own, and an API over HTTP that cuts connections by a seed |
//! | `table` | the statements: checks, lanes, locks, late commits, doubt, TLS |
//! | `kills` | relays and database killed at random: each committed row once, others never |
//! | `throughput` | rows per second; only when asked for |

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

mod collector;
mod conduct;
mod kills;
mod model;
mod server;
mod simulation;
mod table;
mod throughput;
mod time;
