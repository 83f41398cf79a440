//! What to run, against whom.

use killfeed_client::Invalid;
use std::time::Duration;

/// Requests per second of a stage, at most.
const RATE_MAX: u32 = 100_000;
/// Stages of a plan, at most.
const STAGES_MAX: usize = 100;
/// Players of a match: with fewer, none is ever played.
const PLAYERS_MIN: usize = 10;
const PLAYERS_MAX: usize = 1_000_000;
const DURATION_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Events of a request, at most.
const EVENTS_MAX: usize = 2_000;
/// Connections, at most: each is an SDK client with two threads.
const CONNECTIONS_MAX: usize = 1_024;
const SPEED_MAX: u32 = 1_000;

/// What decides when something is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// So many requests per second, one stage after the other. 1 to 100,000 each.
    Rate(Vec<u32>),
    /// So many players at their own pace.
    Players {
        /// Online at the same time. 10 to 1,000,000.
        players: usize,
        /// They arrive evenly over this time; at most the duration.
        ramp: Duration,
        /// Game time runs so many times as fast as the clock. 1 to 1,000.
        speed: u32,
    },
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// By rate or by players.
    pub mode: Mode,
    /// Of each stage. 1 ms to 7 days.
    pub duration: Duration,
    /// The same seed gives the same games.
    pub seed: u64,
    /// Begins the ids of players and games; letters, digits and hyphens, to be another for each run.
    pub run: String,
    /// Events of a request, by rate. 1 to 2,000.
    pub events_per_request: usize,
    /// SDK clients, and so requests that can be under way at the same time. 1 to 1,024.
    pub connections: usize,
    /// A request is given up after this, and the end waits no longer for answers. 10 ms to 5 min.
    pub timeout: Duration,
}

impl Plan {
    /// Connections, unless told otherwise.
    pub const CONNECTIONS: usize = 64;
    /// Events of a request, unless told otherwise.
    pub const EVENTS_PER_REQUEST: usize = 10;

    /// A plan with defaults for all but this; `run` from the operating system's randomness.
    pub fn new(mode: Mode, duration: Duration) -> Self {
        let mut random = killfeed_client::SystemRandom;
        let run = format!("load-{:08x}", killfeed_client::Random::next(&mut random) >> 32);
        Self {
            mode,
            duration,
            seed: 1,
            run,
            events_per_request: Self::EVENTS_PER_REQUEST,
            connections: Self::CONNECTIONS,
            timeout: Duration::from_secs(15),
        }
    }

    /// The first setting that is out of its limits.
    ///
    /// # Errors
    /// Names it, with its value and its limit.
    pub fn check(&self) -> Result<(), Invalid> {
        match &self.mode {
            Mode::Rate(rates) => {
                Invalid::unless("stages", rates.len(), 1, STAGES_MAX)?;
                rates.iter().try_for_each(|rate| Invalid::unless("rate", *rate, 1, RATE_MAX))?;
            }
            Mode::Players { players, ramp, speed } => {
                Invalid::unless("players", *players, PLAYERS_MIN, PLAYERS_MAX)?;
                Invalid::unless("ramp", *ramp, Duration::ZERO, self.duration)?;
                Invalid::unless("speed", *speed, 1, SPEED_MAX)?;
            }
        }
        Invalid::unless("duration", self.duration, Duration::from_millis(1), DURATION_MAX)?;
        Invalid::unless("events per request", self.events_per_request, 1, EVENTS_MAX)?;
        Invalid::unless("connections", self.connections, 1, CONNECTIONS_MAX)?;
        Invalid::unless("timeout", self.timeout, Duration::from_millis(10), Duration::from_secs(300))
    }
}

/// Whom to run it against.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the server is, without a path.
    pub url: String,
    /// API key with scope `ingest`.
    pub key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_its_limits_is_named() {
        let plan = || Plan::new(Mode::Rate(vec![1, 500]), Duration::from_secs(10));
        assert_eq!(plan().check(), Ok(()));
        assert_ne!(plan().run, plan().run);
        for (change, message) in [
            ((|p| p.mode = Mode::Rate(vec![])) as fn(&mut Plan), "stages is 0, allowed is 1 to 100"),
            (|p| p.mode = Mode::Rate(vec![10, 0]), "rate is 0, allowed is 1 to 100000"),
            (
                |p| p.mode = Mode::Players { players: 9, ramp: Duration::ZERO, speed: 1 },
                "players is 9, allowed is 10 to 1000000",
            ),
            (
                |p| p.mode = Mode::Players { players: 10, ramp: Duration::from_secs(11), speed: 1 },
                "ramp is 11s, allowed is 0ns to 10s",
            ),
            (|p| p.connections = 2_000, "connections is 2000, allowed is 1 to 1024"),
            (|p| p.events_per_request = 0, "events per request is 0, allowed is 1 to 2000"),
        ] {
            let mut plan = plan();
            change(&mut plan);
            assert_eq!(plan.check().unwrap_err().to_string(), message);
        }
    }
}
