//! What a processor knows of one partition: the claims that hold, and how far back they reach.

use crate::error::Error;
use crate::state::{Entry, Page};
use crate::window::{Claim, Verdict, Window};

/// Append times of the latest admission, by window, in ms.
#[derive(Debug, Default)]
struct Reach(Vec<(u64, i64)>);

impl Reach {
    #[inline]
    fn note(&mut self, window_ms: u64, time_ms: i64) {
        match self.0.iter_mut().find(|(window, _)| *window == window_ms) {
            Some((_, latest)) => *latest = time_ms.max(*latest),
            None => self.0.push((window_ms, time_ms)),
        }
    }

    /// Forgets windows under which nothing holds any more, and says the longest that is left.
    fn horizon_ms(&mut self, now_ms: i64) -> u64 {
        self.0.retain(|(window, latest)| latest.saturating_add_unsigned(*window) > now_ms);
        self.0.iter().map(|(window, _)| *window).max().unwrap_or(0)
    }
}

/// The state of one partition; [`crate::recover`] rebuilds it from the log.
#[derive(Debug)]
pub struct Partition {
    window: Window,
    time_ms: i64,
    reach: Reach,
}

impl Partition {
    /// One of which nothing is known.
    pub fn new(window: Window) -> Self {
        Self { window, time_ms: 0, reach: Reach::default() }
    }

    /// The highest append time met, in ms; 0 before the first record.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Everything that still holds was admitted less than this many ms before [`Self::time_ms`].
    pub fn horizon_ms(&mut self) -> u64 {
        self.reach.horizon_ms(self.time_ms)
    }

    /// The claims.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Moves on to a record's append time.
    #[inline]
    pub(crate) fn reach_time(&mut self, time_ms: i64) {
        self.time_ms = self.time_ms.max(time_ms);
    }

    /// Claims an entry's key, if it is free at the time reached.
    #[inline]
    pub(crate) fn admit(&mut self, entry: &Entry) -> Result<Verdict, Error> {
        let verdict = self.window.admit(claim(entry), self.time_ms)?;
        if verdict == Verdict::Admitted {
            self.reach.note(entry.window_ms, entry.time_ms);
        }
        Ok(verdict)
    }

    /// Takes what a state record says, records being handed over in order; `now_ms` is the append
    /// time that the newest of them reached.
    ///
    /// # Errors
    /// If memory is short and the disk fails.
    pub fn restore(&mut self, page: &Page, now_ms: i64) -> Result<(), Error> {
        self.reach_time(page.time_ms);
        page.entries.iter().for_each(|entry| self.reach.note(entry.window_ms, entry.time_ms));
        self.window.restore(page.entries.iter().map(claim), now_ms);
        self.window.settle(now_ms)
    }

    /// Counts memory, and moves claims to disk where it is short.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.window.settle(self.time_ms)
    }
}

#[inline]
fn claim(entry: &Entry) -> Claim {
    Claim {
        fingerprint: entry.fingerprint,
        payload_hash: entry.payload_hash,
        expires_ms: entry.time_ms.saturating_add_unsigned(entry.window_ms),
    }
}
