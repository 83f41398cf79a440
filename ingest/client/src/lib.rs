//! killfeed's client SDK: what a game sends its events with.
//!
//! ```no_run
//! use killfeed_client::{Client, Config, Delivery, Event};
//! use std::time::Duration;
//!
//! let mut config = Config::new("https://events.example.com", "/my-game/client");
//! config.key = Some("kf_...".into());
//! config.store = Some("/home/player/.my-game/events".into());
//! config.delivery.insert("match.end".into(), Delivery::Stored);
//! let client = Client::start(config)?;
//! client.start_session(Some("p1"));
//! client.send(Event::new("chat.message").player("p1").game("g1").data(&[("text", "gg")]));
//! client.close(Duration::from_secs(2));
//! # Ok::<(), killfeed_client::StartError>(())
//! ```
//!
//! [`Client::send`] hands an event over and returns; a background thread writes it to the store, makes batches, sends
//! them one at a time, and tries again for as long as it takes. Every event is delivered or counted by [`Reason`], and
//! what was lost is told to the server as an event of its own. How a client behaves on the wire is said by the files in
//! `ingest/client/scenarios`.

mod answer;
mod backoff;
mod client;
mod config;
mod event;
mod http;
mod line;
mod loss;
mod ports;
mod remote;
mod session;
mod shared;
mod stats;
pub mod store;
#[cfg(test)]
mod tests;
mod time;
mod worker;

pub use client::{Client, Ports, StartError};
pub use config::{Config, Delivery, Hook, Invalid, OnFull, Sync};
pub use event::{Event, LOSS_TYPE};
pub use http::Http;
pub use loss::Reason;
pub use ports::{
    ANSWER_BYTES_MAX, Answer, Clock, Compression, Done, NoAnswer, Random, Request, Seeded, SystemClock, SystemRandom,
    Transport,
};
pub use session::{SESSION_END, SESSION_START};
pub use shared::Sent;
pub use stats::Stats;
