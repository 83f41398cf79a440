//! Every report beside DuckDB: the same question, to the same Parquet files, in the same run, by turns.
//!
//! Ours is the engine that servers have, in this process and without the log's tail: from the report's text
//! to its last batch, the look at the table's newest version included. DuckDB's is a process of its own that is
//! told which files the tables have, and reads the same text, but for a few words ([`duck::translated`]). Both
//! have as many threads and as much memory, and keep their answer in memory. The answers are compared: a
//! faster one that says something else would be no figure.

mod data;
mod duck;

use crate::table::grouped;
use anyhow::{Context, ensure};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use duck::Duck;
use events::schema::SharedRegistry;
use parquet::arrow::ArrowWriter;
use queries::reports::Report;
use queries::{Config, Engine, Parameters, Viewer};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tables::Store;

/// Threads of each.
const THREADS: usize = 2;
/// What each may hold for joins, sorts and groups, in MiB.
const MEMORY_MIB: usize = 1_024;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How many events are generated: this many, or up to a game more.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How often each report is run by each, by turns, after one run that isn't counted.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only reports whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Keeps the tables here, and takes those that are here already; they are removed unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Python with DuckDB; the one that `make reader` makes unless given.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Prints our plans instead, with what each operator took.
    #[arg(long)]
    profile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 1_000_000, runs: 5, only: String::new(), dir: None, python: None, profile: false }
    }
}

/// How a report went.
struct Timed<'a> {
    report: &'a Report,
    rows: usize,
    ours: Duration,
    /// `None` where DuckDB can't be asked.
    duck: Option<Duration>,
}

/// Makes the tables if they aren't there, and runs each report.
pub(crate) fn run(killfeed: &Path, options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let made = tempfile::tempdir()?;
    let dir = options.dir.as_deref().unwrap_or(made.path());
    let tables = dir.join("tables");
    if !tables.exists() {
        data::make(killfeed, dir, options.events)?;
    }
    let store = Store::open(tables.to_str().context("path is no UTF-8")?)?;
    runtime.block_on(data::settle(&store))?;
    let asked = Asked { engine: engine(store.clone(), dir)?, viewer: Viewer { name: "bench".into(), personal: true } };
    if options.profile {
        return runtime.block_on(profile(&asked, &options.only));
    }
    let rows = runtime.block_on(data::rows(&store))?;
    let mut duck = Duck::start(options.python.as_deref(), &runtime.block_on(data::files(&store))?)?;
    let mut timed = Vec::new();
    for report in queries::reports::all().values().filter(|report| report.name.contains(&options.only)) {
        timed.push(runtime.block_on(beside(&asked, &mut duck, report, options.runs, dir))?);
    }
    let messages = runtime.block_on(asked.count("SELECT count(text) FROM chat_message"))?;
    print(&timed, rows, messages, options.runs);
    Ok(())
}

fn engine(store: Store, dir: &Path) -> anyhow::Result<Engine> {
    let spill_dir = Some(dir.join("spill"));
    let config = Config { threads: THREADS, memory_bytes: MEMORY_MIB << 20, spill_dir, ..Config::default() };
    Ok(Engine::new(store, SharedRegistry::default(), config)?)
}

/// Our engine, and who asks it.
struct Asked {
    engine: Engine,
    viewer: Viewer,
}

impl Asked {
    /// Runs a report as the server does, and says how long it took.
    async fn report(&self, report: &Report) -> anyhow::Result<(Vec<RecordBatch>, Duration)> {
        let start = Instant::now();
        let (question, _) = report.asked(&[], &self.viewer)?;
        let answer = self.engine.ask(question).await?;
        let batches = answer.collect().await?;
        Ok((batches, start.elapsed()))
    }

    async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        let batches = self.engine.query(sql, Parameters::new(), &self.viewer).await?.collect().await?;
        let first = batches.iter().find(|batch| batch.num_rows() > 0).context("no row")?;
        let counts = first.column(0).as_primitive_opt::<Int64Type>().context("no count")?;
        Ok(counts.value(0))
    }
}

/// One report by both, by turns; medians.
async fn beside<'a>(
    asked: &Asked,
    duck: &mut Duck,
    report: &'a Report,
    runs: usize,
    dir: &Path,
) -> anyhow::Result<Timed<'a>> {
    let sql = duck::translated(report);
    let (mut ours, mut theirs, mut rows) = (Vec::new(), Vec::new(), 0);
    for round in 0..=runs {
        let (batches, took) = asked.report(report).await.with_context(|| report.name.clone())?;
        rows = batches.iter().map(RecordBatch::num_rows).sum();
        let answered = sql.as_ref().map(|sql| duck.time(sql)).transpose().with_context(|| report.name.clone())?;
        if round == 0 {
            if sql.is_some() {
                duck.compare(&written(&batches, dir)?).with_context(|| report.name.clone())?;
            }
            continue;
        }
        ours.push(took);
        theirs.extend(answered);
    }
    let duck = (!theirs.is_empty()).then(|| median(theirs)).transpose()?;
    Ok(Timed { report, rows, ours: median(ours)?, duck })
}

fn median(mut times: Vec<Duration>) -> anyhow::Result<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("no run")
}

/// The answer as a file that DuckDB can read.
fn written(batches: &[RecordBatch], dir: &Path) -> anyhow::Result<PathBuf> {
    let schema = batches.first().context("no batch")?.schema();
    let path = dir.join("answer.parquet");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path)?, schema, None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(path)
}

fn print(timed: &[Timed], rows: u64, messages: i64, runs: usize) {
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
    let total = grouped(rows as f64);
    println!("\n### Reports beside DuckDB: {total} events, {THREADS} threads, {MEMORY_MIB} MiB, median of {runs}\n");
    println!("| report | rows | killfeed, ms | DuckDB, ms | ratio |");
    println!("|---|---:|---:|---:|---:|");
    let mut ratios = Vec::new();
    for Timed { report, rows, ours, duck } in timed {
        let Some(duck) = duck else { continue };
        let ratio = ours.as_secs_f64() / duck.as_secs_f64();
        ratios.push(ratio);
        println!("| {} | {} | {} | {} | {ratio:.2} |", report.name, grouped(*rows as f64), ms(*ours), ms(*duck));
    }
    if !ratios.is_empty() {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        println!("| geometric mean | | | | {mean:.2} |");
    }
    println!("\nWithout DuckDB, which has no such function; {} messages\n", grouped(messages as f64));
    println!("| report | rows | killfeed, ms | messages/s |");
    println!("|---|---:|---:|---:|");
    for Timed { report, rows, ours, .. } in timed.iter().filter(|timed| timed.duck.is_none()) {
        let of_chat = report.sql.contains("chat_message");
        let rate = if of_chat { grouped(messages as f64 / ours.as_secs_f64()) } else { String::new() };
        println!("| {} | {} | {} | {rate} |", report.name, grouped(*rows as f64), ms(*ours));
    }
}

/// Prints each report's plan, run once before.
async fn profile(asked: &Asked, only: &str) -> anyhow::Result<()> {
    let wanted = queries::reports::all().values().filter(|report| report.name.contains(only));
    let mut count = 0;
    for report in wanted {
        asked.report(report).await?;
        let (question, _) = report.asked(&[], &asked.viewer)?;
        println!("\n### {}\n\n{}", report.name, asked.engine.profile(question).await?);
        count += 1;
    }
    ensure!(count > 0, "no report is called so");
    Ok(())
}
