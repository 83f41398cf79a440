//! `killfeed simulate`: seed after seed, on as many threads as there are cores, until all have run, time
//! is up, or a law is broken.

use crate::cli::Simulate;
use crate::exit::Failure;
use indicatif::ProgressBar;
use serde_json::json;
use simulation::{Config, Outcome, Tally};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What all threads share.
struct Run<'a> {
    options: &'a Simulate,
    until: Option<Instant>,
    next: AtomicU64,
    ran: AtomicU64,
    stop: AtomicBool,
    tally: Mutex<Tally>,
    broken: Mutex<Vec<Outcome>>,
    bar: ProgressBar,
}

/// Runs the command to its end.
pub(crate) fn run(options: &Simulate) -> Result<(), Failure> {
    let started = Instant::now();
    let run = Run {
        options,
        until: options.r#for.map(|time| started + time),
        next: AtomicU64::new(options.seed),
        ran: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        tally: Mutex::default(),
        broken: Mutex::default(),
        bar: progress(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..options.threads.unwrap_or(cores).max(1)).for_each(|_| drop(scope.spawn(|| run.work())))
    });
    run.bar.finish_and_clear();
    run.tell(started.elapsed())
}

impl Run<'_> {
    fn work(&self) {
        let end = match (self.options.seeds, self.until) {
            (Some(seeds), _) => self.options.seed.saturating_add(seeds),
            (None, Some(_)) => u64::MAX,
            (None, None) => self.options.seed.saturating_add(1_000),
        };
        while !self.stop.load(Ordering::SeqCst) && self.until.is_none_or(|until| Instant::now() < until) {
            let seed = self.next.fetch_add(1, Ordering::SeqCst);
            if seed >= end {
                return;
            }
            let outcome = simulation::run(Config {
                seed,
                steps: self.options.steps,
                audit: !self.options.no_audit,
                history: self.options.history,
            });
            let ran = self.ran.fetch_add(1, Ordering::SeqCst) + 1;
            self.bar.set_position(ran);
            if let Ok(mut tally) = self.tally.lock() {
                tally.add(&outcome.tally);
            }
            if outcome.broken.is_some() {
                self.stop.store(true, Ordering::SeqCst);
                if let Ok(mut broken) = self.broken.lock() {
                    broken.push(outcome);
                }
            }
        }
    }

    /// What was found: the broken law of the lowest seed, if there is one.
    fn tell(self, took: Duration) -> Result<(), Failure> {
        let ran = self.ran.load(Ordering::SeqCst);
        let rate = rate(ran, took);
        let tally = self.tally.into_inner().unwrap_or_default();
        let broken = self.broken.into_inner().unwrap_or_default().into_iter().min_by_key(|outcome| outcome.seed);
        let mut out = std::io::stdout().lock();
        if self.options.json {
            let found = broken.as_ref().and_then(|outcome| {
                let broken = outcome.broken.as_ref()?;
                Some(json!({
                    "seed": outcome.seed, "step": broken.step, "law": broken.law.trim_matches('"'), "detail": broken.detail,
                    "history": outcome.history,
                }))
            });
            let summary = json!({
                "seeds": ran, "seconds": took.as_secs_f64(), "seeds_per_second": rate, "steps": self.options.steps,
                "records": tally.records, "rows": tally.rows, "calls": tally.calls, "faults": tally.faults,
                "kills": tally.kills, "zombies": tally.zombies, "commits": tally.commits, "broken": found,
            });
            writeln!(out, "{summary}")?;
        } else {
            if let Some(outcome) = &broken {
                writeln!(out, "{outcome}")?;
            }
            writeln!(
                out,
                "{ran} seeds of {} steps in {:.1} s, {rate:.1} a second: {} records, {} rows, {} commits, {} calls, {} faults, \
                 {} kills, {} zombies",
                self.options.steps,
                took.as_secs_f64(),
                tally.records,
                tally.rows,
                tally.commits,
                tally.calls,
                tally.faults,
                tally.kills,
                tally.zombies
            )?;
        }
        match broken {
            Some(outcome) => Err(Failure::negative(format!("seed {} breaks a law", outcome.seed))),
            None => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn rate(ran: u64, took: Duration) -> f64 {
    ran as f64 / took.as_secs_f64().max(0.001)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{spinner} {pos} seeds, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner()))
}
