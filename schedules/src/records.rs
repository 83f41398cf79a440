//! What stands in the store about a tick. Objects of these are created once and never changed.

use crate::report::Request;
use crate::tick::Tick;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was decided about a tick, once and for all: `decision.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The schedule's name.
    pub schedule: String,
    /// The tick.
    pub tick: Tick,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// The process that decided.
    pub by: String,
    /// When, by the shared clock.
    pub at: Timestamp,
}

/// What becomes of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Fate {
    /// The report is run. All that follows goes by this plan, whatever the configuration says later.
    Run(Plan),
    /// This tick and those after it up to `through` are left out.
    Skip {
        /// The last that is left out.
        through: Timestamp,
        /// How many, both ends included.
        ticks: u64,
        /// Why, in words.
        why: String,
    },
}

/// How a tick is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The report, its parameters and format.
    pub request: Request,
    /// The tick on the wall clock of the schedule's zone.
    pub shown: String,
    /// Where the output lies, below the root of all outputs.
    pub output: String,
    /// Names of the deliveries.
    pub deliveries: Vec<String>,
}

/// Who goes on with a tick whose owner has gone silent: `claim-0001.json` and on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

/// How the runs of a tick end: `end.json`. Created once, by whoever would store an output or give up first,
/// so a tick that somebody gave up has no output, and what has one is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "lowercase")]
pub(crate) enum End {
    /// With an output, sooner or later.
    Stored,
    /// Without: the report failed too often.
    Failed,
}

/// What a run gave: `run-<sha256>.json`. Stands before the output does; that of the stored output is the
/// one with its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// SHA-256 of the output, in hex.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// When the run began.
    pub started: Timestamp,
    /// How long it took, in ms.
    pub took_ms: u64,
    /// The process that ran it.
    pub by: String,
}

/// A run, or a try to deliver, that is over: `failure-0001.json`, `sent-<delivery>.0001.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in ms.
    pub took_ms: u64,
    /// It succeeded.
    pub ok: bool,
    /// What came of it, in one line.
    pub detail: String,
    /// Seconds until the next try; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_s: Option<u64>,
    /// The process that tried.
    pub by: String,
}

impl Attempt {
    /// Nothing follows it.
    pub(crate) fn is_over(&self) -> bool {
        self.ok || self.retry_in_s.is_none()
    }

    /// When the next one is due, to the second: the pause begins when this one has ended.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let pause = Duration::from_secs(self.retry_in_s?) + Duration::from_millis(self.took_ms);
        self.at.checked_add(pause).ok()?.round(Unit::Second).ok()
    }
}

/// Up to where a timetable is decided, at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) decided: Timestamp,
    pub(crate) cron: String,
    pub(crate) zone: String,
}
