//! Time, handed in.

use std::future::Future;
use std::time::{Duration, Instant};

/// A clock that never goes back. Tests turn one by hand.
pub trait Clock: Clone + Send + Sync {
    /// Time since a moment that never changes.
    fn now(&self) -> Duration;

    /// Returns when this much time has passed.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
