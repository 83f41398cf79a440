//! `killfeed load`.

use super::http::Server;
use super::style;
use crate::exit::Failure;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use load::{Mode, Plan, Progress, Report, Stage, Target};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What to run, or what to merge.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Load {
    #[command(subcommand)]
    command: Option<Merge>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Subcommand)]
enum Merge {
    /// Make one report of what several machines measured with --out, running the same stages at the same time. Rates
    /// and counts are added; histograms are merged without loss.
    Merge {
        /// Files of `load --out`.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The report as JSON.
        #[arg(long)]
        json: bool,
        /// Write the merged histograms to this file, which can be merged again.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct How {
    /// Requests per second; several, one stage after the other: 1,10,100,500.
    #[arg(long, value_name = "N[,N...]", value_delimiter = ',', required_unless_present = "players")]
    rate: Vec<u32>,
    /// Players online at the same time, at their own pace; 10 or more.
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    players: Option<usize>,
    /// How long a stage takes, in seconds or with a unit: 30, 10m.
    #[arg(long, value_name = "TIME", required = true, value_parser = parse_seconds)]
    duration: Option<Duration>,
    /// Events in a request, with --rate.
    #[arg(long, value_name = "N", default_value_t = Plan::EVENTS_PER_REQUEST)]
    events_per_request: usize,
    /// SDK clients: with --rate as many requests can be under way, with --players they are shared.
    #[arg(long, value_name = "N", default_value_t = Plan::CONNECTIONS)]
    connections: usize,
    /// With --players, they arrive over this time; a tenth of the duration if not given.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, conflicts_with = "rate")]
    ramp: Option<Duration>,
    /// With --players, game time runs so many times as fast as the clock.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "rate")]
    speed: u32,
    /// The same seed plays the same games; ids are new in each run.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the histograms to this file, for `load merge`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write what the tables must have, by what was acknowledged, to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// A bare number is seconds.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds.or_else(|_| crate::options::parse_time(text))
}

/// Runs it. Ctrl-C ends the stage under way, and what was measured is printed; a second one ends the process.
pub(crate) fn run(command: Load) -> Result<(), Failure> {
    let How { rate, players, duration, ramp, .. } = &command.how;
    if let Some(Merge::Merge { files, json, out }) = command.command {
        return merge(&files, json, out.as_deref());
    }
    let duration = duration.unwrap_or_default();
    let mode = match players {
        Some(players) => {
            Mode::Players { players: *players, ramp: ramp.unwrap_or(duration / 10), speed: command.how.speed }
        }
        None => Mode::Rate(rate.clone()),
    };
    let mut plan = Plan::new(mode, duration);
    plan.seed = command.how.seed;
    plan.events_per_request = command.how.events_per_request;
    plan.connections = command.how.connections;
    let Server { url, key } = command.how.server.clone();
    let stop = stop_on_interrupt()?;
    let bar = progress();
    let ran = load::run(&plan, &Target { url, key }, &stop, &mut |now| show(&bar, &plan, now));
    bar.finish_and_clear();
    let (report, truth) = ran.map_err(Failure::usage)?;
    if let Some(file) = &command.how.truth {
        write(file, &serde_json::to_vec_pretty(&truth).map_err(Failure::usage)?)?;
    }
    finish(&report, command.how.json, command.how.out.as_deref())
}

fn merge(files: &[PathBuf], json: bool, out: Option<&Path>) -> Result<(), Failure> {
    let mut merged: Option<Report> = None;
    for file in files {
        let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
        let text = std::fs::read(file).map_err(|error| wrong(&error))?;
        let report = Report::read(&text).map_err(|error| wrong(&error))?;
        match &mut merged {
            Some(merged) => merged.merge(&report).map_err(|error| wrong(&error))?,
            None => merged = Some(report),
        }
    }
    finish(&merged.unwrap_or_default(), json, out)
}

/// Prints and writes a report; the answer is no if anything was refused, lost or left in doubt.
fn finish(report: &Report, json: bool, out: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = out {
        write(file, report.json(true).map_err(Failure::usage)?.as_bytes())?;
    }
    if json {
        writeln!(std::io::stdout(), "{}", report.json(false).map_err(Failure::usage)?)?;
    } else {
        print(report)?;
    }
    if report.is_good() {
        return Ok(());
    }
    Err(Failure::negative("events were refused, lost or left in doubt"))
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, bytes).map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
}

/// A flag that the first Ctrl-C sets.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot start: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let watch = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(1);
                }
            }
        });
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(watch).map_err(cannot)?;
    Ok(stop)
}

/// A line on a terminal, nothing in a pipe.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match ProgressStyle::with_template("{spinner} {msg}") {
        Ok(style) => ProgressBar::new_spinner().with_style(style),
        Err(_) => ProgressBar::new_spinner(),
    }
}

fn show(bar: &ProgressBar, plan: &Plan, now: Progress) {
    let what = match (now.rate, now.online) {
        (Some(rate), _) => format!("{rate}/s"),
        (None, Some(online)) => format!("{} online", style::thousands(online as u64)),
        (None, None) => String::new(),
    };
    let errors = if now.errors > 0 { format!(", {} errors", style::thousands(now.errors)) } else { String::new() };
    bar.set_message(format!(
        "{what}, {} of {} s: {} requests, {} events acknowledged{errors}",
        now.elapsed.as_secs(),
        plan.duration.as_secs(),
        style::thousands(now.requests),
        style::thousands(now.acknowledged),
    ));
    bar.tick();
}

fn print(report: &Report) -> Result<(), Failure> {
    let head = [
        "stage",
        "req/s",
        "events/s",
        "MB/s",
        "from",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "requests",
        "errors",
        "not sent",
        "acknowledged",
        "refused",
        "lost",
        "unknown",
    ];
    let head = head.map(ToOwned::to_owned);
    let numeric: Vec<bool> = (0..head.len()).map(|column| !matches!(column, 0 | 4)).collect();
    let rows = report.stages.iter().flat_map(rows).collect();
    style::table(&head, &numeric, rows)?;
    let mut out = anstream::stdout().lock();
    for stage in &report.stages {
        for line in remarks(stage) {
            writeln!(out, "{}: {}", stage.name(), style::paint(style::BAD, &line))?;
        }
        if stage.counts.resent > 0 {
            let (again, twice) = (style::thousands(stage.counts.resent), style::thousands(stage.counts.repeated));
            let text = format!("{again} events went again, {twice} of them may have arrived before");
            writeln!(out, "{}: {}", stage.name(), style::paint(style::FAINT, &text))?;
        }
    }
    Ok(())
}

/// Two lines of a stage: latency from when it was due, and from when it was sent.
fn rows(stage: &Stage) -> [Vec<String>; 2] {
    let counts = &stage.counts;
    let latency = |histogram: &load::Histogram| {
        let quantiles = [0.5, 0.95, 0.99].map(|share| histogram.quantile_ms(share));
        let all = quantiles.into_iter().chain([histogram.max_ms()]);
        all.map(|value| format!("{value:.1}")).collect::<Vec<_>>()
    };
    let mut first = vec![
        stage.name(),
        format!("{:.1}", stage.rate()),
        format!("{:.0}", stage.per_second(counts.acknowledged)),
        format!("{:.3}", stage.mb_per_s()),
        "due".to_owned(),
    ];
    first.extend(latency(&stage.from_due));
    let (errors, lost): (u64, u64) = (counts.errors.values().sum(), counts.lost.values().sum());
    let numbers = [counts.requests, errors, counts.not_sent, counts.acknowledged, counts.refused, lost, counts.unknown];
    first.extend(numbers.map(style::thousands));
    let mut second = vec![String::new(); 4];
    second.push("sent".to_owned());
    second.extend(latency(&stage.from_send));
    second.resize(first.len(), String::new());
    [first, second]
}

/// What did not go well, in words.
fn remarks(stage: &Stage) -> Vec<String> {
    let kinds = |what: &str, kinds: &std::collections::BTreeMap<String, u64>| {
        let kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{kind} {}", style::thousands(*n))).collect();
        (!kinds.is_empty()).then(|| format!("{what}: {}", kinds.join(", ")))
    };
    let mut remarks: Vec<String> = Vec::new();
    remarks.extend(kinds("errors", &stage.counts.errors));
    remarks.extend(kinds("lost", &stage.counts.lost));
    if stage.counts.not_sent > 0 {
        let (not_sent, due) = (style::thousands(stage.counts.not_sent), style::thousands(stage.counts.due));
        remarks.push(format!("{not_sent} of {due} requests found no connection in time: latency is worse than shown"));
    }
    if stage.interrupted {
        remarks.push(format!("ended early, after {:.1} s", stage.elapsed_s));
    }
    remarks
}
