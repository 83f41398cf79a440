//! Schedules from outside: the laws of time zones, the configuration, deliveries to real sockets, and a
//! simulated world in which replicas die and the store lies.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests stand outside of them")]

mod config;
mod http;
mod local;
mod mails;
mod replicas;
mod simulation;
mod support;
mod timetable;
mod webhooks;
