//! The client in virtual time: a clock that is set, a server that follows a script, files that fail.

mod client;
mod lives;
mod scenarios;
mod world;
