//! The loop: rows from the table, to the API, and what became of them back into the table.
//!
//! One round is one claim, one request and one settlement. Nothing is remembered between rounds but the pace: a
//! relay that is killed at any point is followed by any other.
//!
//! Why an order (a key) is kept, whatever dies: of one order a relay sends rows in the order of `seq`, begins at the
//! first that isn't settled, and waits for the answer to all of them before it takes more. A relay that lost its place
//! without knowing can only repeat, late, what began at the same row or before. So each event's *first* arrival comes
//! after the first arrival of all before it, and dedupe makes the first arrival the one that counts.

use crate::api::{Api, Published, Reply, Verdict};
use crate::clock::Clock;
use crate::pace::{Chance, Pace};
use crate::row::Row;
use crate::status::{Status, add};
use crate::store::{Settled, Store, StoreError, Want};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How long what the API publishes is believed.
const PUBLISHED_FOR: Duration = Duration::from_secs(300);
/// Kept away from the end of the dedupe window: a request under way, and clocks that don't run alike.
const WINDOW_MARGIN: Duration = Duration::from_secs(120);

/// How a relay works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Rows in a request at most.
    pub batch: usize,
    /// Bytes of attributes and payloads in a request at most.
    pub batch_bytes: u64,
    /// How long to wait for rows when there are none and nobody tells of new ones.
    pub poll: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 500, batch_bytes: 4 << 20, poll: Duration::from_millis(200) }
    }
}

/// Tells relays to stop: they finish the round they are in.
pub type Stop = watch::Receiver<bool>;

/// What to do after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Again,
    /// There was nothing.
    Idle,
    /// Something failed.
    Wait(Duration),
}

/// One relay.
#[derive(Debug)]
pub struct Relay<S, A, K, C> {
    store: S,
    api: A,
    clock: K,
    chance: C,
    settings: Settings,
    pace: Pace,
    published: Option<(Duration, Published)>,
    status: Arc<Status>,
    /// The last failure told, so that an outage is one line and not thousands.
    told: Option<Told>,
    /// The table answered at least once.
    began: bool,
}

#[derive(Debug)]
struct Told {
    what: &'static str,
    since: Duration,
    times: u64,
}

impl<S: Store, A: Api, K: Clock, C: Chance> Relay<S, A, K, C> {
    /// Between this table and this API.
    pub fn new(store: S, api: A, clock: K, chance: C, settings: Settings, status: Arc<Status>) -> Self {
        let pace = Pace::new(settings.batch);
        Self { store, api, clock, chance, settings, pace, published: None, status, told: None, began: false }
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    ///
    /// Only at the start: the table can't be used as it is set up.
    pub async fn run(&mut self, mut stop: Stop) -> Result<(), StoreError> {
        while !*stop.borrow_and_update() {
            match self.round().await? {
                Next::Again => {}
                Next::Idle => {
                    tokio::select! {
                        biased;
                        () = self.store.idle(self.settings.poll) => {}
                        changed = stop.changed() => if changed.is_err() { return Ok(()) },
                    }
                }
                Next::Wait(pause) => {
                    tokio::select! {
                        biased;
                        () = self.clock.sleep(pause) => {}
                        changed = stop.changed() => if changed.is_err() { return Ok(()) },
                    }
                }
            }
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<Next, StoreError> {
        let Some(published) = self.published().await else {
            return Ok(Next::Wait(self.pace.refused(None, &mut self.chance)));
        };
        let want = Want {
            rows: self.pace.rows().min(published.limits.batch_events),
            bytes: self.settings.batch_bytes.min(published.limits.body_bytes / 2),
            row_bytes: published.limits.event_bytes,
            blocked: self.pace.blocked(self.clock.now()),
        };
        let rows = match self.store.claim(&want).await {
            Ok(rows) => rows,
            Err(StoreError::Setup(why)) if !self.began => return Err(StoreError::Setup(why)),
            Err(error) => return Ok(self.database_failed(&error)),
        };
        self.began = true;
        self.well("database");
        self.status.database_ready.store(true, Ordering::Relaxed);
        if rows.is_empty() {
            return Ok(Next::Idle);
        }
        let Triage { send, mut settled, held } = triage(rows, &published);
        let next = self.exchange(&send, &mut settled).await;
        if let Err(error) = self.store.settle(&settled).await {
            return Ok(self.database_failed(&error));
        }
        add(&self.status.delivered, settled.delivered.len());
        add(&self.status.held, held);
        add(&self.status.refused, settled.refused.len() - held);
        for (seq, why) in settled.refused.iter().take(3) {
            tracing::warn!(seq, why, refused = settled.refused.len(), "rows stay in the outbox, refused for good");
        }
        Ok(next)
    }

    /// What the API publishes, asked anew once in a while; nothing is sent before it was heard once.
    async fn published(&mut self) -> Option<Published> {
        if let Some((at, published)) = &self.published
            && self.clock.now() < *at + PUBLISHED_FOR
        {
            return Some(published.clone());
        }
        match self.api.published().await {
            Ok(published) => {
                self.well("api");
                self.status.api_ready.store(true, Ordering::Relaxed);
                self.published = Some((self.clock.now(), published));
            }
            Err(why) => self.api_failed(&why),
        }
        self.published.as_ref().map(|(_, published)| published.clone())
    }

    /// Sends rows, and adds to `settled` what became of them.
    async fn exchange(&mut self, send: &[(Row, String)], settled: &mut Settled) -> Next {
        if send.is_empty() {
            return Next::Again;
        }
        let lines: Vec<String> = send.iter().map(|(_, line)| line.clone()).collect();
        let ids: Vec<&str> = send.iter().map(|(row, _)| row.id.as_str()).collect();
        add(&self.status.requests, 1);
        match self.api.send(&lines, &ids).await {
            Reply::Answered { verdicts, retry_after } => self.take_down(send, verdicts, retry_after, settled),
            Reply::TooLarge(why) => {
                add(&self.status.requests_failed, 1);
                if let [(row, _)] = send {
                    settled.refused.push((row.seq, why));
                } else {
                    self.pace.too_large(send.len());
                    settled.cleared.extend(undoubted(send));
                }
                Next::Again
            }
            Reply::Failed { why, unknown, retry_after } => {
                add(&self.status.requests_failed, 1);
                if !unknown {
                    settled.cleared.extend(undoubted(send));
                }
                self.api_failed(&why);
                let pause = self.pace.failed(retry_after, &mut self.chance);
                // Perhaps it is this one row: the next probe is made with another.
                if let [(row, _)] = send {
                    self.pace.block(&row.order, self.clock.now() + pause, &mut self.chance);
                }
                Next::Wait(pause)
            }
        }
    }

    fn take_down(
        &mut self,
        send: &[(Row, String)],
        verdicts: Vec<Verdict>,
        retry_after: Option<Duration>,
        settled: &mut Settled,
    ) -> Next {
        let mut again = Vec::new();
        let mut reason = None;
        for ((row, _), verdict) in send.iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted => {
                    settled.delivered.push(row.seq);
                    self.pace.passed(&row.order);
                }
                Verdict::Refused(why) => {
                    settled.refused.push((row.seq, why));
                    self.pace.passed(&row.order);
                }
                Verdict::Again { why, unknown } => {
                    if !unknown && row.doubt.is_none() {
                        settled.cleared.push(row.seq);
                    }
                    again.push(&row.order);
                    reason.get_or_insert(why);
                }
            }
        }
        add(&self.status.retried, again.len());
        let progress = again.len() < send.len();
        let next = if progress {
            self.pace.progressed();
            self.well("api");
            self.status.api_ready.store(true, Ordering::Relaxed);
            if let Some(why) = reason {
                tracing::warn!(why, rows = again.len(), "some rows have to be sent again");
            }
            retry_after.map_or(Next::Again, Next::Wait)
        } else {
            self.api_failed(&reason.unwrap_or_default());
            Next::Wait(self.pace.refused(retry_after, &mut self.chance))
        };
        let from = self.clock.now() + if let Next::Wait(pause) = next { pause } else { Duration::ZERO };
        // An order waits once, however many rows of it were sent.
        again.dedup();
        for order in again {
            self.pace.block(order, from, &mut self.chance);
        }
        next
    }

    fn api_failed(&mut self, why: &str) {
        self.status.api_ready.store(false, Ordering::Relaxed);
        self.tell("api", why);
    }

    fn database_failed(&mut self, error: &StoreError) -> Next {
        self.status.database_ready.store(false, Ordering::Relaxed);
        add(&self.status.database_failures, 1);
        self.tell("database", &error.to_string());
        // The pace of requests is no matter of the database's.
        Next::Wait(self.pace.refused(None, &mut self.chance))
    }

    /// One line when something begins to fail, and one for each tenfold of failures after.
    fn tell(&mut self, what: &'static str, why: &str) {
        let now = self.clock.now();
        let told = self.told.take().filter(|told| told.what == what);
        let mut told = told.unwrap_or(Told { what, since: now, times: 0 });
        told.times += 1;
        if 10_u64.pow(told.times.ilog10()) == told.times {
            let failures = self.pace.failures() + 1;
            tracing::warn!(what, why, failures, times = told.times, "the relay can't go on; it tries again");
        }
        self.told = Some(told);
    }

    fn well(&mut self, what: &'static str) {
        if let Some(told) = self.told.take_if(|told| told.what == what) {
            let seconds = self.clock.now().saturating_sub(told.since).as_secs_f64();
            tracing::info!(what, times = told.times, seconds, "the relay goes on");
            if what == "database" {
                self.pace.progressed();
            }
        }
    }
}

/// A claim's rows, sorted by what to do with them.
struct Triage {
    /// To be sent, each with its line.
    send: Vec<(Row, String)>,
    /// What is settled without.
    settled: Settled,
    /// How many of these are held back because of their doubt.
    held: usize,
}

fn triage(rows: Vec<Row>, published: &Published) -> Triage {
    let mut settled = Settled::default();
    let mut send = Vec::with_capacity(rows.len());
    let mut held = 0;
    for row in rows {
        let window = published.window(&row.event_type);
        let limit = published.limits.event_bytes;
        let refusal = match row.doubt {
            // If it was kept back then, the API would no longer know, and the table would have it twice.
            Some(doubt) if doubt + WINDOW_MARGIN > window => {
                held += 1;
                Some(format!(
                    "in doubt for {} s, longer than it would be deduplicated ({} s): look for the id in the table of \
                     its type; if it isn't there, set error and doubt_since to null",
                    doubt.as_secs(),
                    window.as_secs()
                ))
            }
            _ if row.size > limit => {
                Some(format!("413: data has {} bytes, the limit of an event is {limit}", row.size))
            }
            _ => None,
        };
        match refusal.map_or_else(|| row.line(), Err) {
            Ok(line) => send.push((row, line)),
            Err(why) => settled.refused.push((row.seq, why)),
        }
    }
    Triage { send, settled, held }
}

/// Rows that nothing but this claim has brought into doubt.
fn undoubted(send: &[(Row, String)]) -> impl Iterator<Item = i64> {
    send.iter().filter(|(row, _)| row.doubt.is_none()).map(|(row, _)| row.seq)
}
