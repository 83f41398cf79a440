//! Schedules from outside: the laws of time zones, the configuration, deliveries to real sockets, and a
//! simulated world in which replicas die and the store lies.

mod config;
mod http;
mod local;
mod mails;
mod replicas;
mod simulation;
mod support;
mod timetable;
mod webhooks;
