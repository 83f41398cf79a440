//! Whether every acknowledged event became exactly one row: by the audit, and by a reader that isn't ours.

use crate::books::Books;
use crate::role::Kind;
use crate::scripts::target;
use crate::world::{World, tables};
use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// How long what is on its way may take to its tables once everything runs again.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// How long one audit may take.
const AUDIT_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What the audit says; names are its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Answered with 202, as ingest wrote it down; a killed one takes up to a second's worth with it.
    pub acknowledged: u64,
    /// Read from raw.
    pub accepted: u64,
    /// Rows.
    pub delivered: u64,
    /// Dropped since they had come before.
    pub duplicates: u64,
    /// The same with other data; there are none.
    pub conflicts: u64,
    /// Dead letters; there are none.
    pub dead: u64,
    /// On their way.
    pub in_flight: u64,
    /// Whether nothing is wrong.
    pub balanced: bool,
    /// What is.
    pub problems: Vec<String>,
}

/// What the other reader counts in the tables, and against the clients' books.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Read {
    /// Rows of all tables that clients' events go to.
    pub rows: u64,
    /// The same, counted by another one.
    pub rows_by_delta_rs: u64,
    /// Different ids among them.
    pub ids: u64,
    /// Acknowledged events without a row.
    pub lost: u64,
    /// Rows too many: of an id, or of a place in the log, that has one already.
    pub doubled: u64,
    /// Rows of events that nobody sent.
    pub unknown: u64,
    /// Rows that stand, by partition and offset, behind one that was sent later in their game.
    pub disorder: u64,
    /// Some of each of these, to look into.
    pub examples: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Different events that clients were told are safe, since the start.
    pub acknowledged: u64,
    /// Acknowledgements of events that clients had sent twice on purpose.
    pub repeated: u64,
    /// From the moment when everything ran again to the last row, in seconds.
    pub drained_s: f64,
    /// By the audit.
    pub audit: Audit,
    /// By the other reader.
    pub read: Read,
    /// Everything that is wrong; empty if all is well.
    pub wrongs: Vec<String>,
}

/// Waits until everything that was acknowledged since the start is in its table, and counts.
///
/// # Errors
/// Nobody could be asked; that something is wrong is no error.
pub(crate) async fn judge(world: &World, books: &Books, healed: Instant) -> anyhow::Result<Verdict> {
    let copies = books.acknowledged() + books.repeated;
    let began = Instant::now();
    let mut look = audit(world).await;
    // What was read covers what was acknowledged, and all of it has arrived.
    let is_done = |look: &Audit| look.balanced && look.in_flight == 0 && look.accepted >= copies;
    while !look.as_ref().is_ok_and(is_done) && began.elapsed() < DRAIN_LIMIT {
        tokio::time::sleep(LOOK_EVERY).await;
        look = audit(world).await;
    }
    let (audit, drained) = (look.context("no audit")?, healed.elapsed());
    let read = block_in_place(|| read(world, books))?;
    let mut wrongs = books.wrongs.clone();
    wrongs.truncate(20);
    let mut hold = |is_so: bool, wrong: String| {
        if !is_so {
            wrongs.push(wrong);
        }
    };
    hold(audit.balanced, format!("the books don't balance: {}", audit.problems.join("; ")));
    hold(audit.in_flight == 0, format!("{} events were still on their way after {DRAIN_LIMIT:?}", audit.in_flight));
    hold(audit.accepted >= copies, format!("{copies} were acknowledged, and {} were read", audit.accepted));
    hold(audit.conflicts + audit.dead == 0, format!("{} conflicts, {} dead letters", audit.conflicts, audit.dead));
    hold(audit.delivered == read.rows, format!("the audit has {} rows, the reader {}", audit.delivered, read.rows));
    hold(read.rows == read.rows_by_delta_rs, format!("two readers count {} and {}", read.rows, read.rows_by_delta_rs));
    hold(books.in_doubt() == 0, format!("{} events were never acknowledged", books.in_doubt()));
    for (count, what) in [
        (read.lost, "acknowledged events have no row"),
        (read.doubled, "rows are there twice"),
        (read.unknown, "rows are of events that nobody sent"),
        (read.disorder, "rows stand behind later ones of their game"),
    ] {
        hold(count == 0, format!("{count} {what}: {}", read.examples.join(", ")));
    }
    let (acknowledged, repeated) = (books.acknowledged(), books.repeated);
    Ok(Verdict { acknowledged, repeated, drained_s: drained.as_secs_f64(), audit, read, wrongs })
}

async fn audit(world: &World) -> anyhow::Result<Audit> {
    let query = world.of(Kind::Query).next().context("nobody can be asked")?;
    let (_, body) = query.ask("/v1/audit", AUDIT_LIMIT).await?;
    serde_json::from_str(&body).with_context(|| body)
}

/// Has the tables read by somebody else's reader.
fn read(world: &World, books: &Books) -> anyhow::Result<Read> {
    let file = world.dir().join("books.csv");
    books.write(&file)?;
    let python = target().join("reader-venv/bin/python");
    ensure!(python.exists(), "{} is missing: run `make reader`", python.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/readers/chaos.py");
    let mut command = Command::new(python);
    command.arg(script).arg(tables()).arg(&file).args(crate::clients::TYPES.map(|name| name.replace('.', "_")));
    let output = command.envs(world.reader_environment()).output()?;
    ensure!(output.status.success(), "the reader failed: {}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).context("what the reader printed")?;
    Ok(serde_json::from_value(read)?)
}
