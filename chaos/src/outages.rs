//! The named outages, each with its figures, and the rolling restart.

use crate::books::{Answer, Books, Note};
use crate::clients::Playing;
use crate::judge::{Verdict, judge};
use crate::report::{Answers, mebibytes};
use crate::role::Kind;
use crate::schedule::Victim;
use crate::toxiproxy::{Cut, Way};
use crate::world::{NODES, World};
use rustix::process::Signal;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio::time::sleep;

/// Load before it begins, to compare with, and after it is over.
const CALM: Duration = Duration::from_secs(8);
/// How long what recovers by itself may take.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How long clients may take until all that they sent is acknowledged.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// What is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Between clients and the API nothing goes through.
    Clients,
    /// One node of Kafka's three is killed.
    Node,
    /// One of them is frozen: connections stay open, and nobody answers.
    Frozen,
    /// All of Kafka is killed.
    Kafka,
    /// The store is killed.
    Store,
}

/// What it was like.
#[derive(Debug, Clone, Serialize)]
pub struct OutageReport {
    /// What was away.
    pub name: &'static str,
    /// For how long, in seconds, until it was there again.
    pub lasted_s: f64,
    /// From its begin to the first answer other than 202, of whatever kind.
    pub first_trouble_s: Option<f64>,
    /// From its begin to the first 503.
    pub first_503_s: Option<f64>,
    /// From its begin to the first process that says that it isn't ready, and what it says.
    pub not_ready_s: Option<f64>,
    /// The same.
    pub not_ready: Option<String>,
    /// From its end to the first 202.
    pub recovered_s: Option<f64>,
    /// The most memory that an ingest took before, during and after, in MiB.
    pub ingest_mib: [u64; 3],
    /// The same of a sink.
    pub sink_mib: [u64; 3],
    /// Events acknowledged while it lasted.
    pub acknowledged_meanwhile: u64,
    /// How requests ended, from its begin to its end.
    pub answers: Answers,
    /// What was found afterwards.
    pub verdict: Verdict,
}

impl Outage {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients cut off",
            Self::Node => "one node of Kafka's three killed",
            Self::Frozen => "one node of Kafka's three frozen",
            Self::Kafka => "all of Kafka killed",
            Self::Store => "store killed",
        }
    }

    async fn begin(self, world: &World) -> anyhow::Result<()> {
        match self {
            Self::Clients => {
                for number in 1..=world.urls.len() {
                    world.cut(Victim::Role(Kind::Ingest, number), Cut::Silence(Way::Back)).await?;
                }
            }
            Self::Node => block_in_place(|| world.cluster.kill(NODES)),
            Self::Frozen => world.signal(Victim::Node(NODES), Signal::STOP)?,
            Self::Kafka => block_in_place(|| world.cluster.kill_all()),
            Self::Store => block_in_place(|| world.minio.kill()),
        }
        Ok(())
    }

    async fn end(self, world: &World) -> anyhow::Result<()> {
        match self {
            Self::Clients => {
                for number in 1..=world.urls.len() {
                    world.heal(Victim::Role(Kind::Ingest, number)).await?;
                }
            }
            Self::Frozen => world.signal(Victim::Node(NODES), Signal::CONT)?,
            Self::Node | Self::Kafka => drop(block_in_place(|| world.cluster.up())),
            Self::Store => drop(block_in_place(|| world.minio.up())),
        }
        Ok(())
    }
}

/// Lets it happen to a world under load, for this long.
pub(crate) async fn outage(
    world: &World,
    playing: Playing,
    all: &mut Books,
    which: Outage,
    lasts: Duration,
) -> anyhow::Result<OutageReport> {
    let first = Instant::now();
    sleep(CALM).await;
    let began = Instant::now();
    which.begin(world).await?;
    let not_ready = first_trouble(world, began, lasts).await;
    sleep(lasts.saturating_sub(began.elapsed())).await;
    which.end(world).await?;
    let ended = Instant::now();
    playing.first(ended, |note| note.answer == Answer::Accepted, RECOVERY_LIMIT).await;
    sleep(CALM).await;
    let last = Instant::now();
    let books = playing.finish(ANSWER_LIMIT).await?;
    let memory = |kind| {
        [(first, began), (began, ended), (ended, last)]
            .map(|(from, to)| mebibytes(world.watch.memory(kind, from, to).1))
    };
    let meanwhile = |note: &Note| (began..ended).contains(&note.at);
    let answers = Answers::of(books.notes.iter().filter(|note| meanwhile(note)));
    let first_answer = |since, is_it: fn(&Note) -> bool| books.first(since, is_it).map(|time| time.as_secs_f64());
    let first_trouble_s = first_answer(began, |note| note.answer != Answer::Accepted);
    let first_503_s = first_answer(began, |note| matches!(note.answer, Answer::Refused | Answer::InDoubt));
    let recovered_s = first_answer(ended, |note| note.answer == Answer::Accepted);
    all.add(books);
    let verdict = judge(world, all, ended).await?;
    Ok(OutageReport {
        name: which.name(),
        lasted_s: (ended - began).as_secs_f64(),
        first_trouble_s,
        first_503_s,
        not_ready_s: not_ready.as_ref().map(|(time, _)| time.as_secs_f64()),
        not_ready: not_ready.map(|(_, said)| said),
        recovered_s,
        ingest_mib: memory("ingest"),
        sink_mib: memory("sink"),
        acknowledged_meanwhile: answers.acknowledged,
        answers,
        verdict,
    })
}

/// The first process that says that it isn't ready.
async fn first_trouble(world: &World, began: Instant, limit: Duration) -> Option<(Duration, String)> {
    while began.elapsed() < limit {
        for role in world.roles.iter() {
            if let Some(said) = role.trouble().await {
                return Some((began.elapsed(), format!("{}: {said}", role.name)));
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    None
}

/// How a rolling restart went.
#[derive(Debug, Clone, Serialize)]
pub struct RollingReport {
    /// Processes restarted, each with the seconds from SIGTERM to ready.
    pub restarted: Vec<(String, f64)>,
    /// How requests ended meanwhile. What isn't a 202 was sent again, and accepted then.
    pub answers: Answers,
    /// What was found afterwards.
    pub verdict: Verdict,
}

/// Restarts every process, one after the other, under load.
pub(crate) async fn rolling(world: &World, playing: Playing, all: &mut Books) -> anyhow::Result<RollingReport> {
    sleep(CALM).await;
    let mut restarted = Vec::new();
    for role in world.roles.iter() {
        let began = Instant::now();
        block_in_place(|| role.stop())?;
        role.start()?;
        role.ready().await?;
        restarted.push((role.name.clone(), began.elapsed().as_secs_f64()));
    }
    let ended = Instant::now();
    let books = playing.finish(ANSWER_LIMIT).await?;
    let answers = Answers::of(books.notes.iter());
    all.add(books);
    let verdict = judge(world, all, ended).await?;
    Ok(RollingReport { restarted, answers, verdict })
}
