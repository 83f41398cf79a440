//! Plausible games, and the truth about them.
//!
//! A generated stream of events looks like the telemetry of a live game: players with a home
//! region, city and provider play matches of ten; they kill, chat, crash, rebind keys and buy
//! skins. On request the stream is also as bad as live telemetry: resent, contradicted, broken and
//! late. Because the generator knows its plan, it can say what every report must answer, without
//! asking our SQL.
//!
//! | in order | what it does |
//! |---|---|
//! | [`Options`] | how many games, which seed, how much disorder |
//! | `world` | the fixed parts: regions, cities, providers, champions |
//! | `players` | who plays: a pool drawn from the seed |
//! | `plan` | what happens in each game |
//! | `render` | the plan as CloudEvents, with the fields that a real game server sends |
//! | `disorder` | duplicates, conflicts, malformed lines, late events |
//! | [`Truth`] | what reports and tables must say, tallied from the plan |
//! | [`write_geoip`] | a MaxMind database of the players' address ranges |
//!
//! ```
//! let mut games = gamegen::Generator::new(gamegen::Options { games: 2, ..Default::default() })?;
//! let lines: Vec<Vec<u8>> = games.by_ref().collect();
//! let truth = games.truth();
//! assert_eq!(lines.len() as u64, truth.tables.values().sum::<u64>());
//! # Ok::<(), gamegen::Error>(())
//! ```
//!
//! The same options give the same bytes: all randomness comes from the seed, all times from
//! [`Options::start_us`], and no floating-point function is used whose last digit a platform may
//! choose. Memory is bounded by the pool of players and by the lines held back, but for some 200 bytes a
//! game that the truth needs.

mod activity;
mod chat;
mod chatter;
mod disorder;
mod event;
mod geoip;
mod malformed;
mod options;
mod plan;
mod players;
mod render;
mod support;
mod truth;
mod world;

pub use disorder::Generator;
pub use geoip::write_geoip;
pub use options::{Options, START_US};
pub use truth::Truth;

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rate lies outside 0 to 0.5.
    #[error("rate of {what} is {rate}, it must lie between 0 and {max}", max = options::RATE_MAX)]
    Rate {
        /// Which of the four.
        what: &'static str,
        /// What was asked for.
        rate: f64,
    },
    /// More games than ids are set aside for.
    #[error("{games} games were asked for, the most is {max}", max = options::GAMES_MAX)]
    Games {
        /// What was asked for.
        games: u64,
    },
    /// The MaxMind database could not be written.
    #[error("the geoip database {path} could not be written: {reason}")]
    Geoip {
        /// The file.
        path: String,
        /// The operating system's or the writer's reason.
        reason: String,
    },
}
