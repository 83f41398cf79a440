//! Who gets in: nobody while draining, and no more bytes than memory is set aside for.

use edge::Problem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Counts requests in work, and closes behind them.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    requests: TaskTracker,
    closed: CancellationToken,
}

impl Gate {
    /// Lets a request in; it is in work until the token is dropped.
    pub(crate) fn enter(&self, retry_after: Duration) -> Result<TaskTrackerToken, Problem> {
        // First the token, then the look: who closes the gate in between waits for this request.
        let token = self.requests.token();
        if self.is_closed() {
            return Err(Problem::unavailable("this process is shutting down; send to another, or later", retry_after));
        }
        Ok(token)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Is ready once the gate is closed.
    pub(crate) fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    /// Lets nobody in any more, and waits for those inside.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.requests.close();
        self.requests.wait().await;
    }
}

/// Bytes of the requests in work.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    max: usize,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used() < self.max
    }
}

/// What one request holds of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn of(memory: &Arc<Memory>) -> Self {
        Self { memory: memory.clone(), bytes: 0 }
    }

    /// Takes `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize, retry_after: Duration) -> Result<(), Problem> {
        let before = self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before.saturating_add(bytes) > self.memory.max {
            let max = self.memory.max;
            let detail = format!("{before} bytes of requests are in work, of {max} at most; send later");
            return Err(Problem::unavailable(detail, retry_after));
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reservation_gives_everything_back() {
        let memory = Arc::new(Memory::new(100));
        let mut first = Reservation::of(&memory);
        first.grow(60, Duration::ZERO).unwrap();
        let mut second = Reservation::of(&memory);
        let problem = second.grow(41, Duration::from_secs(2)).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.retry_after), (503, Some(Duration::from_secs(2))));
        assert!(!memory.has_room());
        drop(second);
        assert!(memory.has_room());
        drop(first);
        assert_eq!(memory.used(), 0);
    }
}
