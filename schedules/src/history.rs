//! What ran, when, for how long, and who got it: read from the store, so every replica tells the same.

use crate::deliver::Target;
use crate::journal::hex;
use crate::records::{Attempt, End, Fate, Run};
use crate::schedule::Schedule;
use crate::scheduler::Scheduler;
use crate::tick::Tick;
use crate::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its report runs, or waits to be run again.
    Running,
    /// Its output is stored.
    Stored,
    /// Its report failed for good.
    Failed,
    /// It was left out.
    Skipped,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The schedule.
    pub schedule: String,
    /// When it was due.
    pub tick: Timestamp,
    /// Somebody asked for it.
    pub manual: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// The report; empty for what was left out.
    pub report: String,
    /// When it was decided.
    pub decided: Timestamp,
    /// How long the run took that gave the output.
    pub took_ms: Option<u64>,
    /// Rows of the output.
    pub rows: Option<u64>,
    /// Bytes of the output.
    pub bytes: Option<u64>,
    /// Where the output lies in the store.
    pub output: Option<String>,
    /// Ticks that this stands for: more than one if several were left out together.
    pub ticks: u64,
    /// Why it was left out, or failed last.
    pub detail: Option<String>,
    /// Runs that failed.
    pub failures: Vec<Attempt>,
    /// Its deliveries, in the order of the configuration.
    pub deliveries: Vec<Delivered>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not tried yet.
    Waiting,
    /// Tried, not taken, and to be tried again.
    Failing,
    /// Taken by its receiver.
    Delivered,
    /// Given up.
    GivenUp,
}

/// A delivery of one tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
    /// Tries that were made.
    pub tries: usize,
    /// Tries that are made at most, as the configuration says now.
    pub tries_max: Option<u32>,
    /// What the last try was told, in one line, unless it was taken.
    pub last_error: Option<String>,
    /// When it is tried again at the earliest, to the second; without it there is no further try.
    pub next_try: Option<Timestamp>,
    /// All tries.
    pub attempts: Vec<Attempt>,
}

impl Delivered {
    /// How far a delivery is after these tries. One that `is_over` is not tried again, whatever they say.
    fn of(name: &str, attempts: Vec<Attempt>, tries_max: Option<u32>, is_over: bool) -> Self {
        let last = attempts.last();
        let progress = match last {
            _ if attempts.iter().any(|attempt| attempt.ok) => Progress::Delivered,
            _ if is_over || attempts.iter().any(Attempt::is_over) => Progress::GivenUp,
            Some(_) => Progress::Failing,
            None => Progress::Waiting,
        };
        let is_failing = progress == Progress::Failing;
        Self {
            name: name.to_owned(),
            progress,
            tries: attempts.len(),
            tries_max,
            last_error: last.filter(|_| progress != Progress::Delivered).map(|last| last.detail.clone()),
            next_try: last.filter(|_| is_failing).and_then(Attempt::next),
            attempts,
        }
    }
}

/// A schedule, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its report.
    pub report: String,
    /// What that is asked with.
    pub params: Vec<(String, String)>,
    /// Its pattern.
    pub cron: String,
    /// Its zone.
    pub zone: String,
    /// When it is due next.
    pub next: Option<Timestamp>,
    /// The same on the zone's wall clock.
    pub next_shown: Option<String>,
    /// Who gets it: names, with what kind they are.
    pub deliveries: Vec<String>,
    /// The newest line of its history.
    pub last: Option<Entry>,
}

impl Scheduler {
    /// All schedules.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self) -> Result<Vec<Summary>> {
        let now = self.inner().clock.now().await?;
        let mut summaries = Vec::new();
        for schedule in self.inner().schedules.values() {
            let next = schedule.timetable.next(now);
            let deliveries = schedule.deliveries.iter().map(|delivery| match delivery.target {
                Target::Webhook { .. } => format!("{} (webhook)", delivery.name),
                Target::Mail { .. } => format!("{} (mail)", delivery.name),
            });
            summaries.push(Summary {
                name: schedule.name.clone(),
                report: schedule.report.clone(),
                params: schedule.params.clone(),
                cron: schedule.timetable.pattern().to_owned(),
                zone: schedule.timetable.zone_name().to_owned(),
                next,
                next_shown: next.map(|next| schedule.timetable.shown(next)),
                deliveries: deliveries.collect(),
                last: self.entries(self.newest(schedule, 1, now).await?).await?.pop(),
            });
        }
        Ok(summaries)
    }

    /// The newest `count` lines of the history of one schedule, or of all, newest first.
    ///
    /// # Errors
    /// If there is no such schedule, or the store fails.
    pub async fn history(&self, name: Option<&str>, count: usize) -> Result<Vec<Entry>> {
        let now = self.inner().clock.now().await?;
        let schedules = &self.inner().schedules;
        let asked: Vec<&Schedule> = match name {
            Some(name) => vec![schedules.get(name).ok_or_else(|| Error::NoSchedule(name.to_owned()))?],
            None => schedules.values().collect(),
        };
        let mut ticks = Vec::new();
        for schedule in asked {
            ticks.extend(self.newest(schedule, count, now).await?);
        }
        ticks.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        ticks.truncate(count);
        self.entries(ticks).await
    }

    async fn newest(&self, schedule: &Schedule, count: usize, now: Timestamp) -> Result<Vec<(String, Tick)>> {
        let ticks = self.inner().journal.newest(&schedule.name, count, now).await?;
        Ok(ticks.into_iter().map(|tick| (schedule.name.clone(), tick)).collect())
    }

    async fn entries(&self, ticks: Vec<(String, Tick)>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (schedule, tick) in ticks {
            entries.extend(self.entry(&schedule, tick).await?);
        }
        Ok(entries)
    }

    /// What stands about one tick; `None` if nothing does.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn entry(&self, schedule: &str, tick: Tick) -> Result<Option<Entry>> {
        let journal = &self.inner().journal;
        let Some(state) = journal.state(schedule, tick).await? else { return Ok(None) };
        let mut entry = Entry {
            schedule: schedule.to_owned(),
            tick: tick.at,
            manual: tick.manual,
            outcome: Outcome::Skipped,
            report: String::new(),
            decided: state.decision.at,
            took_ms: None,
            rows: None,
            bytes: None,
            output: None,
            ticks: 1,
            detail: state.failures.last().map(|failure| failure.detail.clone()),
            failures: state.failures.clone(),
            deliveries: Vec::new(),
        };
        let plan = match &state.decision.fate {
            Fate::Skip { ticks, why, .. } => {
                (entry.ticks, entry.detail) = (*ticks, Some(why.clone()));
                return Ok(Some(entry));
            }
            Fate::Run(plan) => plan,
        };
        entry.report.clone_from(&plan.request.report);
        entry.outcome = if state.end == Some(End::Failed) { Outcome::Failed } else { Outcome::Running };
        if let Some(run) = self.stored(&plan.output, &state.runs).await? {
            entry.outcome = Outcome::Stored;
            entry.detail = None;
            entry.output = Some(journal.output_path(&plan.output).to_string());
            if let Some(run) = run {
                (entry.took_ms, entry.rows, entry.bytes) = (Some(run.took_ms), Some(run.rows), Some(run.bytes));
            }
        } else if state.end == Some(End::Stored) && !journal.is_open(schedule, tick).await? {
            // It was stored; somebody has deleted it since.
            (entry.outcome, entry.detail) = (Outcome::Stored, Some("the output was deleted".into()));
        }
        // What has no output, or has none any more, is delivered to nobody.
        let is_gone = entry.outcome == Outcome::Stored && entry.output.is_none();
        let is_over = is_gone || entry.outcome == Outcome::Failed;
        let tries_max = self.inner().schedules.get(schedule).map(|schedule| schedule.attempts);
        for name in &plan.deliveries {
            let attempts = state.sent.get(name).cloned().unwrap_or_default();
            entry.deliveries.push(Delivered::of(name, attempts, tries_max, is_over));
        }
        Ok(Some(entry))
    }

    /// Whether an output is stored, and which run it is from.
    async fn stored<'a>(&self, output: &str, runs: &'a [Run]) -> Result<Option<Option<&'a Run>>> {
        let journal = &self.inner().journal;
        match runs {
            [] => Ok(None),
            [run] => Ok(journal.output_bytes(output).await?.map(|_| Some(run))),
            // Several ran it: what is stored says which it is.
            _ => Ok(journal.output(output).await?.map(|bytes| {
                let sha256 = hex(&Sha256::digest(&bytes));
                runs.iter().find(|run| run.sha256 == sha256)
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Delivered, Progress};

    fn attempt(ok: bool, retry_in_s: Option<u64>) -> Attempt {
        let at = "2026-03-30T04:30:00.250Z".parse().unwrap();
        Attempt { at, took_ms: 500, ok, detail: "503 Service Unavailable".into(), retry_in_s, by: "a".into() }
    }

    #[test]
    fn a_delivery_says_how_far_it_is() {
        let (again, over, taken) = (attempt(false, Some(5)), attempt(false, None), attempt(true, None));
        let refused = Some("503 Service Unavailable");
        for (attempts, is_over, progress, error, next) in [
            (vec![], false, Progress::Waiting, None, None),
            (vec![], true, Progress::GivenUp, None, None),
            (vec![again.clone()], false, Progress::Failing, refused, Some("2026-03-30T04:30:06Z")),
            (vec![again.clone()], true, Progress::GivenUp, refused, None),
            (vec![again.clone(), over], false, Progress::GivenUp, refused, None),
            (vec![again.clone(), taken.clone()], true, Progress::Delivered, None, None),
            // Somebody else tried at the same time.
            (vec![taken, again], false, Progress::Delivered, None, None),
        ] {
            let tries = attempts.len();
            let delivered = Delivered::of("hook", attempts, Some(10), is_over);
            let next_try = delivered.next_try.map(|at| at.to_string());
            assert_eq!((delivered.progress, delivered.last_error.as_deref()), (progress, error));
            assert_eq!((next_try.as_deref(), delivered.tries, delivered.tries_max), (next, tries, Some(10)));
        }
    }
}
