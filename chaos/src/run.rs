//! A run: the named outages, the rolling restart, random faults; then what was found.

use crate::books::Books;
use crate::clients::{Load, Playing};
use crate::judge::judge;
use crate::outages::{ANSWER_LIMIT, Outage, outage, rolling};
use crate::report::{Answers, COUNTERS, RandomReport, Report, clock};
use crate::schedule::{Schedule, Step};
use crate::world::{NODES, World};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The random part is never shorter.
const RANDOM_MIN: Duration = Duration::from_secs(30);

/// What a run consists of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub killfeed: PathBuf,
    /// Chooses the faults, and the clients' games.
    pub seed: u64,
    /// Processes of each role.
    pub of_each: usize,
    /// Clients that play at the same time.
    pub clients: usize,
    /// Events/s of all clients together, as long as all is well.
    pub rate: f64,
    /// The outages to have, each with how long it lasts.
    pub outages: Vec<(Outage, Duration)>,
    /// Whether to restart every process once under load.
    pub rolling: bool,
    /// Whether faults happen at random, for the rest of the time.
    pub random: bool,
    /// How long it all takes, but for starting and the last waiting; the random part lasts at least half a
    /// minute.
    pub total: Duration,
    /// No random fault lasts longer.
    pub longest: Duration,
}

/// Starts everything, has it all happen, judges, and ends everything. `say` is given the timeline, line by
/// line.
///
/// # Errors
/// Not everything could be started. What is wrong from then on stands in the report.
pub async fn run(options: &Options, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
    let began = Instant::now();
    let tell = |line: &str| say(&format!("{}  {line}", clock(began.elapsed())));
    tell("starting Kafka, store, proxies, and killfeed's roles");
    let world = World::start(&options.killfeed, options.of_each).await?;
    let mut run = Run { world: &world, options, all: Books::default(), loads: 0, tell: &tell };
    let mut report = Report { seed: options.seed, ..Report::default() };
    let ended = run.parts(&mut report).await;
    world.watch.ask(&world.roles).await;
    report.deaths = world.deaths();
    report.counters = COUNTERS.iter().map(|name| ((*name).to_owned(), world.watch.counter(name))).collect();
    // What was found until then is worth more than a bare error.
    report.broken_off = ended.err().map(|error| format!("{error:#}"));
    if !report.wrongs().is_empty() {
        tell(&format!("what processes said is kept in {}", world.keep_logs()?.display()));
    }
    Ok(report)
}

struct Run<'a> {
    world: &'a World,
    options: &'a Options,
    /// What all clients of all parts know.
    all: Books,
    loads: u64,
    tell: &'a (dyn Fn(&str) + Sync),
}

impl Run<'_> {
    async fn parts(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let began = Instant::now();
        for (which, lasts) in &self.options.outages {
            (self.tell)(&format!("outage: {}, for {} s", which.name(), lasts.as_secs()));
            let playing = self.play()?;
            report.outages.push(outage(self.world, playing, &mut self.all, *which, *lasts).await?);
        }
        if self.options.rolling {
            (self.tell)("rolling restart");
            let playing = self.play()?;
            report.rolling = Some(rolling(self.world, playing, &mut self.all).await?);
        }
        if self.options.random {
            let rest = self.options.total.saturating_sub(began.elapsed()).max(RANDOM_MIN);
            (self.tell)(&format!("random faults for {} s, seed {}", rest.as_secs(), self.options.seed));
            report.random = Some(self.random(rest).await?);
        }
        Ok(())
    }

    fn play(&mut self) -> anyhow::Result<Playing> {
        self.loads += 1;
        let load = Load {
            urls: self.world.urls.clone(),
            clients: self.options.clients,
            rate: self.options.rate,
            seed: self.options.seed.wrapping_add(self.loads),
            name: format!("p{}", self.loads),
        };
        load.start()
    }

    async fn random(&mut self, lasts: Duration) -> anyhow::Result<RandomReport> {
        let (began, playing) = (Instant::now(), self.play()?);
        let what = (NODES, self.options.of_each);
        let mut faults: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let mut bad_stops = Vec::new();
        for step in Schedule::new(self.options.seed, what, self.options.longest) {
            if began.elapsed() >= lasts {
                break;
            }
            *faults.entry(step.victim.kind().into()).or_default().entry(step.fault.name().into()).or_default() += 1;
            bad_stops.extend(self.step(&playing, step).await?);
        }
        (self.tell)("faults are over: waiting until all is delivered");
        let lasted_s = began.elapsed().as_secs_f64();
        self.world.ready().await?;
        let healed = Instant::now();
        let books = playing.finish(ANSWER_LIMIT).await?;
        let answers = Answers::of(books.notes.iter());
        self.all.add(books);
        let verdict = judge(self.world, &self.all, healed).await?;
        Ok(RandomReport { lasted_s, faults, answers, bad_stops, verdict })
    }

    /// One fault, and the rest after it; gives what did not stop well.
    async fn step(&self, playing: &Playing, step: Step) -> anyhow::Result<Option<String>> {
        let (Step { victim, fault, rest }, began) = (step, Instant::now());
        let ended = self.world.inflict(victim, fault).await;
        let took = began.elapsed();
        tokio::time::sleep(rest).await;
        let answers = playing.look(|books| {
            // Notes stand in the order of their times, all but a little.
            let since = books.notes.iter().rev().take_while(|note| note.at >= began);
            Answers::of(since)
        });
        let name = fault.to_string();
        let (asked, took) = (fault.lasts().as_secs_f64(), took.as_secs_f64());
        let line = format!(
            "{:<10} {name:<13} {asked:>5.1} s, took {took:>5.1} s   {:>6} events: {}",
            victim.to_string(),
            answers.acknowledged,
            answers.line()
        );
        (self.tell)(&line);
        match ended {
            // A process that ends badly when it is told to end is killfeed's fault, and no end of the run.
            Err(error) if fault.is_restart() => {
                (self.tell)(&format!("{error:#}"));
                self.world.start_again(victim)?;
                Ok(Some(format!("{error:#}")))
            }
            ended => ended.with_context(|| format!("{victim}: {fault}")).map(|()| None),
        }
    }
}
