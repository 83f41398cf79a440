//! What the client asks of the world: time, chance, a way to the server. All of it is handed in, so that tests run
//! in virtual time from a seed. The file system is in [`crate::store`].

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two clocks: one that only goes forward, and one that people set.
pub trait Clock: Send + Sync {
    /// Since any fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// What the wall clock says, in microseconds since 1970 UTC.
    fn wall_us(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_us(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
    }
}

/// A duration in microseconds, as clocks count here.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Chance.
pub trait Random: Send {
    /// Any of all numbers of 64 bits.
    fn next(&mut self) -> u64;

    /// Any duration from nothing to `most`, both possible.
    fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        let number = if most == u64::MAX { self.next() } else { self.next() % (most + 1) };
        Duration::from_micros(number)
    }
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next(&mut self) -> u64 {
        rand::random()
    }
}

/// The same numbers for the same seed (SplitMix64): for tests.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Numbers from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random for Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Zstandard, level 1: least time per byte saved.
    #[default]
    Zstd,
    /// gzip, level 1.
    Gzip,
    /// As it is.
    None,
}

impl Compression {
    /// As `Content-Encoding` says it; `None` without one.
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::None => None,
        }
    }
}

/// One request to `POST /v1/batch`.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many events it has.
    pub events: usize,
    /// NDJSON, packed as `compression` says.
    pub body: Vec<u8>,
    /// How the body is packed.
    pub compression: Compression,
}

/// What the server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if it was given in seconds.
    pub retry_after: Option<Duration>,
    /// The body, at most [`ANSWER_BYTES_MAX`] of it.
    pub body: Vec<u8>,
}

/// Of an answer's body no more than this is read, in bytes; a longer one is no answer.
pub const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// There was no answer.
#[derive(Debug, Clone)]
pub struct NoAnswer {
    /// Whether some of the request may have reached the server.
    pub sent: bool,
    /// What broke, for people.
    pub error: String,
}

/// What a [`Transport`] has done.
#[derive(Debug)]
pub enum Done {
    /// The request to `POST /v1/batch`.
    Posted(Result<Answer, NoAnswer>),
    /// `GET /v1/config`.
    Config(Result<Answer, NoAnswer>),
}

/// The way to the server. Nothing here blocks: what was begun is done in the background, and asked for by `poll`.
pub trait Transport: Send {
    /// Called once, before anything else: `wake` is to be called when something is done.
    fn start(&mut self, wake: Arc<dyn Fn() + Send + Sync>);
    /// Begins a request. The client begins none before the last one is done.
    fn post(&mut self, request: Request);
    /// Begins to ask for the configuration; must not delay a request.
    fn fetch_config(&mut self);
    /// What is done since it was last asked.
    fn poll(&mut self) -> Option<Done>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_reaches_both_ends_and_nothing_beyond() {
        let mut random = Seeded::new(1);
        let drawn: Vec<_> = (0..200).map(|_| random.up_to(Duration::from_micros(3)).as_micros()).collect();
        assert!((0..=3).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| *n <= 3));
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
    }
}
