//! The simulation: the real processors, sinks and maintenance on a log and a store in memory, on one
//! thread and a clock that is turned by hand, while a seed decides what goes wrong and when.
//!
//! ```text
//!            plan (seed) ──▶ driver: appends, kills, pauses, clocks, outages
//!                              │
//!   processors ─┐              ▼                      ┌─ memory log
//!   sinks ──────┼─ ask ──▶ turnstile, one a tick ─────┤
//!   maintain ───┘                                     └─ store in memory ─▶ shadow: every commit checked
//!                              at the end: healed, drained, and held against the model
//! ```
//!
//! Time goes in tens of ms. Whatever a process computes, it computes at the start of a ten; log and store
//! change only between two of these, one call a tick, in an order that the seed draws. So nothing
//! depends on which thread was faster, and one seed is one history.
//!
//! | start here | to learn |
//! |---|---|
//! | [`run`] | one seed, from an empty log to its verdict |
//! | `world` | the turnstile, the draws and the history |
//! | `process` | what it means to be killed, paused or slow |
//! | `log`, `store` | the faults of calls to log and store |
//! | `driver` | what happens to the whole |
//! | `model` | what must have become of each record, worked out plainly |
//! | `shadow` | the tables, read from their commits as these happen |
//! | `laws` | what must hold at the end |

mod driver;
mod fleet;
mod ingest;
mod laws;
mod log;
mod model;
mod plan;
mod process;
mod shadow;
mod store;
mod world;

use std::fmt;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Decides everything.
    pub seed: u64,
    /// How often the driver does something, before the end.
    pub steps: u32,
    /// Whether the audit is held as well: it plans queries, which takes as long as the rest.
    pub audit: bool,
    /// Lines of history that are kept.
    pub history: usize,
}

/// A law that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The driver's step at which it was seen; past the last one at the end.
    pub step: u32,
    /// Which law.
    pub law: &'static str,
    /// What was seen.
    pub detail: String,
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of this seed.
    pub seed: u64,
    /// With so many steps.
    pub steps: u32,
    /// The law that did not hold, if one didn't.
    pub broken: Option<Broken>,
    /// What happened.
    pub tally: Tally,
    /// A hash of all that happened, in order: nearly always the same for the same seed (decision 0010).
    pub digest: u64,
    /// The last things that happened, oldest first.
    pub history: Vec<String>,
}

/// Counts of what happened in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records appended to raw.
    pub records: u64,
    /// Rows in event tables at the end.
    pub rows: u64,
    /// Calls to log and store.
    pub calls: u64,
    /// Calls that were made to fail, to lie, or never to answer.
    pub faults: u64,
    /// Processes killed.
    pub kills: u64,
    /// Processes paused past their session, that went on later.
    pub zombies: u64,
    /// Commits to tables.
    pub commits: u64,
    /// Simulated time, in ms.
    pub time_ms: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.rows += other.rows;
        self.calls += other.calls;
        self.faults += other.faults;
        self.kills += other.kills;
        self.zombies += other.zombies;
        self.commits += other.commits;
        self.time_ms += other.time_ms;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(broken) = &self.broken else {
            return write!(f, "seed {}: all laws held, digest {:016x}", self.seed, self.digest);
        };
        writeln!(f, "history of seed {}, its end:", self.seed)?;
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {}, step {}: {} is broken: {}", self.seed, broken.step, broken.law, broken.detail)?;
        write!(f, "again: killfeed simulate --seed {} --seeds 1 --steps {}", self.seed, self.steps)
    }
}

/// Runs one seed to its end.
///
/// # Panics
/// If no runtime can be made.
pub fn run(config: Config) -> Outcome {
    // What blocks is done one after the other: two threads would finish in an order that no seed decides.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build();
    #[expect(clippy::expect_used, reason = "a machine that can't make a runtime can't simulate")]
    let runtime = runtime.expect("a runtime can be made");
    let (mut outcome, scene) = runtime.block_on(driver::drive(config));
    drop(runtime);
    if config.audit && outcome.broken.is_none() {
        outcome.broken = laws::audit(&scene).map(|detail| Broken { step: config.steps, law: laws::AUDIT, detail });
    }
    outcome
}
