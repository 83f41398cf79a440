//! The audit: whether every accepted event ended as exactly one of a table row, a counted
//! duplicate, a conflict, or a dead letter.
//!
//! The pipeline doesn't stop for it. So it looks at each partition at a cut, a raw offset X below
//! which everything has arrived:
//!
//! 1. read the sinks' positions in `.clean` and `.dead`, and only then the processors' position Q;
//! 2. the first clean and the first dead record at those positions came from the raw offsets Rc and
//!    Rd; what came from below both is in the tables;
//! 3. X = min(Q, Rc, Rd), lowered to the end of a processor's step, so that its counts apply.
//!
//! Then the ledger says what must have become of the raw records below X, and the tables are asked
//! what has. Rows are counted by `_incarnation`, `_partition` and `_raw_offset` in the tables
//! themselves, and each raw offset once ([`rows`]); the sums and the places where they differ are
//! worked out without IO ([`check`]).

mod bits;
mod check;
mod cut;
mod entries;
mod losses;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

use crate::{Engine, Error, Result};
use events::SharedStreams;
use events::log::Log;
use serde::Serialize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use losses::ClientLosses;

/// What the audit reads beside the tables.
#[derive(Debug, Clone)]
pub struct Books {
    /// The log: positions, what is on its way, and the newest ledger entries.
    pub log: Arc<dyn Log>,
    /// The streams to look at.
    pub streams: SharedStreams,
}

/// What became of the events, counted in records. The same sums stand over a partition and over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Answered by ingest as accepted with durability `all`.
    pub acknowledged: u64,
    /// Read from raw by processors.
    pub accepted: u64,
    /// Rows of event tables below the cut, and rows taken out on purpose.
    pub delivered: u64,
    /// Found to have come before, with the same data.
    pub duplicates: u64,
    /// Found to have come before, with other data; rows of `dead_letters`.
    pub conflicts: u64,
    /// Other rows of `dead_letters`.
    pub dead: u64,
    /// Accepted at or past the cut: on their way.
    pub in_flight: u64,
    /// Deleted by the log's owner before they were read; an upper bound.
    pub expired: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.dead += other.dead;
        self.in_flight += other.in_flight;
        self.expired += other.expired;
    }
}

/// One partition's books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its stream.
    pub stream: String,
    /// Its number.
    pub partition: i32,
    /// Its stream's incarnation; older ones stay in the tables.
    pub incarnation: String,
    /// The cut: everything from below this raw offset is accounted for.
    pub cut: i64,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
    /// Rows taken out on purpose, contained in `delivered`, `conflicts` and `dead`.
    pub removed: u64,
    /// Whether nothing is wrong with it.
    pub balanced: bool,
}

/// The books of all streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Sums over all partitions.
    #[serde(flatten)]
    pub sums: Sums,
    /// Whether there is no problem.
    pub balanced: bool,
    /// What clients reported as not delivered; no part of the equation, for nobody accepted it.
    pub client_losses: ClientLosses,
    /// By stream, partition and incarnation.
    pub partitions: Vec<Partition>,
    /// What is wrong, and where; a sentence each.
    pub problems: Vec<String>,
}

/// How often books that don't balance are looked at again, each time at a new cut: a removal that
/// lands between two reads looks like missing rows.
const LOOKS: usize = 2;

/// Audits the books, on the threads of the engine.
///
/// # Errors
/// If tables or log can't be read; books that don't balance are no error.
pub async fn audit(engine: &Engine, books: &Books) -> Result<Audit> {
    let (runtime, engine, books) = (engine.runtime()?.clone(), engine.clone(), books.clone());
    let task = runtime.spawn(async move {
        let _turn = engine.audit_turn().await;
        let mut audit = look(&engine, &books).await?;
        for _ in 1..LOOKS {
            if audit.balanced {
                break;
            }
            audit = look(&engine, &books).await?;
        }
        metrics::gauge!("killfeed_queries_audit_balanced").set(f64::from(u8::from(audit.balanced)));
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!("killfeed_queries_audit_timestamp_seconds").set(at.as_secs_f64());
        for problem in &audit.problems {
            tracing::warn!(problem, "the books don't balance");
        }
        Ok(audit)
    });
    task.await.map_err(|error| Error::Internal(error.to_string()))?
}

async fn look(engine: &Engine, books: &Books) -> Result<Audit> {
    let positions = cut::positions(books).await?;
    let mut ledger = entries::read(engine, books, &positions).await?;
    let mut problems = std::mem::take(&mut ledger.problems);
    let mut accounts = cut::accounts(positions, ledger, engine).await?;
    problems.extend(rows::count(engine, &mut accounts).await?);
    cut::count_unread(books, &mut accounts).await?;
    let client_losses = losses::count(engine).await?;
    let mut audit = Audit { sums: Sums::default(), balanced: true, client_losses, partitions: Vec::new(), problems };
    for account in &accounts {
        let (partition, problems) = check::balance(account);
        audit.sums.add(partition.sums);
        audit.partitions.push(partition);
        audit.problems.extend(problems);
    }
    audit.balanced = audit.problems.is_empty();
    Ok(audit)
}
