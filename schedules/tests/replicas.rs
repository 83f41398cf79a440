//! What replicas do about each other's ticks, and about what comes in faster than it is run: on a clock that
//! stands still while there is work, in a store in memory.

use crate::support::{SECRET, schedule};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use schedules::{
    Attempt, CATCH_UP_MAX, Decision, Fate, Mail, Mailer, Outcome, Output, Parts, Progress, RUNS_MAX, Refused, Request,
    Result, Run, Runner, Schedule, Scheduler, SharedClock, Tick, Timetable, Webhook, Webhooks,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const TICK: &str = "2026-03-01T05:00:00Z";
const HOOK: &str = "[[schedules.deliver]]\nname = 'hook'\nwebhook = 'https://a.example/'\n";
const HOUR: Duration = Duration::from_secs(3_600);

/// Where they lie, and what they hold.
type Objects = Vec<(Path, Vec<u8>)>;

/// Tells the time that passes in the test.
#[derive(Debug)]
struct Passing(Timestamp, Instant, Arc<Around>);

#[async_trait]
impl SharedClock for Passing {
    async fn now(&self) -> Result<Timestamp> {
        let due = {
            let mut at_time = self.2.at_time.lock();
            at_time.0 = at_time.0.saturating_sub(1);
            if at_time.0 == 0 { std::mem::take(&mut at_time.1) } else { Vec::new() }
        };
        self.2.put_all(due).await;
        Ok(self.0 + self.1.elapsed())
    }
}

/// What is around a scheduler: a store, a report, and a receiver of everything.
#[derive(Debug)]
struct Around {
    store: Arc<InMemory>,
    takes: Duration,
    /// What others put into the store during the first run.
    meanwhile: Mutex<Objects>,
    /// What they put there when the time is asked for this often.
    at_time: Mutex<(usize, Objects)>,
    is_broken: bool,
    runs: Mutex<usize>,
    /// How receivers take what is sent, the last one first (`None`: they panic), and gladly from then on.
    answers: Mutex<Vec<Option<Refused>>>,
    sent: Mutex<Vec<String>>,
}

impl Around {
    fn new() -> Self {
        let (store, takes) = (Arc::new(InMemory::new()), Duration::from_secs(2));
        let (meanwhile, at_time) = (Mutex::default(), Mutex::default());
        let (runs, answers, sent) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { store, takes, meanwhile, at_time, is_broken: false, runs, answers, sent }
    }

    fn take(&self, what: &str) -> Result<String, Refused> {
        self.sent.lock().push(what.to_owned());
        let answer = self.answers.lock().pop();
        match answer {
            Some(None) => panic!("a bug in a sender"),
            Some(Some(refused)) => Err(refused),
            None => Ok("200 OK".into()),
        }
    }

    async fn put_all(&self, objects: Objects) {
        for (path, body) in objects {
            self.store.put(&path, body.into()).await.unwrap();
        }
    }

    async fn put(&self, path: &str, value: &impl Serialize) {
        let body = serde_json::to_vec(value).unwrap();
        self.store.put(&at(path), body.into()).await.unwrap();
    }

    async fn has(&self, path: &str) -> bool {
        self.store.head(&at(path)).await.is_ok()
    }

    async fn decisions(&self) -> Vec<Decision> {
        let found: Vec<_> = self.store.list(Some(&at("_history"))).try_collect().await.unwrap();
        let mut decisions = Vec::new();
        for meta in found.into_iter().filter(|meta| meta.location.filename() == Some("decision.json")) {
            let body = self.store.get(&meta.location).await.unwrap().bytes().await.unwrap();
            decisions.push(serde_json::from_slice::<Decision>(&body).unwrap());
        }
        decisions.sort_by_key(|decision| decision.tick);
        decisions
    }
}

#[async_trait]
impl Runner for Around {
    async fn run(&self, _: &Request) -> Result<Output, String> {
        *self.runs.lock() += 1;
        sleep(self.takes).await;
        let meanwhile = std::mem::take(&mut *self.meanwhile.lock());
        self.put_all(meanwhile).await;
        if self.is_broken {
            return Err("no such table".into());
        }
        Ok(Output { bytes: Bytes::from_static(b"ours"), rows: 1 })
    }
}

#[async_trait]
impl Webhooks for Around {
    async fn send(&self, webhook: &Webhook) -> Result<String, Refused> {
        self.take(&String::from_utf8_lossy(&webhook.body))
    }
}

#[async_trait]
impl Mailer for Around {
    async fn send(&self, mail: &Mail) -> Result<String, Refused> {
        self.take(&mail.id)
    }
}

fn at(path: &str) -> Path {
    Path::from(format!("_reports/{path}"))
}

/// A replica that begins at this time.
fn replica(around: &Arc<Around>, schedule: &Schedule, now: &str, seed: u64) -> Scheduler {
    let parts = Parts {
        store: around.store.clone(),
        root: Path::from("_reports"),
        clock: Arc::new(Passing(now.parse().unwrap(), Instant::now(), around.clone())),
        runner: around.clone(),
        webhooks: around.clone(),
        mailer: around.clone(),
        look_every: Duration::from_secs(60),
        random: Box::new(rand_chacha::ChaCha8Rng::seed_from_u64(seed)),
    };
    Scheduler::new([schedule.clone()], parts)
}

/// Lets it run for a while.
async fn live(scheduler: &Scheduler, time: Duration) {
    let stop = CancellationToken::new();
    let (running, told) = (scheduler.clone(), stop.clone());
    let task = tokio::spawn(async move { running.run(told).await });
    sleep(time).await;
    stop.cancel();
    task.await.unwrap();
}

fn tick() -> Tick {
    Tick::scheduled(TICK.parse().unwrap())
}

fn attempt(retry_in_s: Option<u64>) -> Attempt {
    let (detail, by) = ("no such table".into(), "other".into());
    Attempt { at: tick().at, took_ms: 1, ok: false, detail, retry_in_s, by }
}

/// A tick of another replica, whose report failed so often that the next time is the last.
async fn almost_given_up(around: &Around, lines: &str) -> Schedule {
    let schedule = schedule(&format!("report = 'first_blood'\n{lines}"));
    let plan = schedules::Plan {
        request: schedule.request(tick().at).unwrap(),
        shown: "then".into(),
        output: format!("morning/{}.csv", tick()),
        deliveries: schedule.deliveries.iter().map(|delivery| delivery.name.clone()).collect(),
    };
    let (name, by) = ("morning".into(), "other".into());
    let decision = Decision { schedule: name, tick: tick(), fate: Fate::Run(plan), by, at: tick().at };
    around.put(&format!("_history/morning/{}/decision.json", tick()), &decision).await;
    for number in 1..RUNS_MAX {
        around.put(&format!("_history/morning/{}/failure-{number:04}.json", tick()), &attempt(Some(1))).await;
    }
    around.put(&format!("_open/morning/{}", tick()), &()).await;
    schedule
}

fn of_others(path: &str, body: &str) -> (Path, Vec<u8>) {
    (at(path), body.as_bytes().to_vec())
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_stores_while_the_last_run_fails_is_delivered() {
    let around = Arc::new(Around { is_broken: true, ..Around::new() });
    let schedule = almost_given_up(&around, &format!("{HOOK}secret = '{SECRET}'")).await;
    *around.meanwhile.lock() = vec![
        of_others(&format!("_history/morning/{}/end.json", tick()), r#"{"end": "stored"}"#),
        of_others(&format!("morning/{}.csv", tick()), "theirs"),
    ];
    let replica = replica(&around, &schedule, TICK, 1);
    live(&replica, 3 * HOUR).await;
    let entry = replica.entry("morning", tick()).await.unwrap().unwrap();
    assert_eq!(entry.deliveries[0].progress, Progress::Delivered, "{entry:?}");
    assert!(around.sent.lock()[0].contains("theirs"));
    assert!(!around.has(&format!("_open/morning/{}", tick())).await);
}

/// The bytes of a webhook are the same, whoever sends it, and whenever they learnt of the output.
#[tokio::test(start_paused = true)]
async fn an_output_that_appears_while_a_replica_looks_is_told_of_with_its_rows() {
    let around = Arc::new(Around::new());
    let schedule = schedule(&format!("report = 'first_blood'\n{HOOK}secret = '{SECRET}'"));
    let replica = replica(&around, &schedule, TICK, 1);
    let tick = replica.run_now("morning").await.unwrap();
    let sha256 = "4c55a8552a2c7261f61f798c2265e6f13358f326ae5b934096ff16bd15e62c33";
    let run = Run { sha256: sha256.into(), bytes: 6, rows: 77, started: tick.at, took_ms: 1, by: "other".into() };
    let folder = format!("_history/morning/{tick}");
    // The time is asked for by the loop, which looks twice since somebody asked, and then by the work on the tick,
    // between its looks at state and output.
    *around.at_time.lock() = (
        3,
        vec![
            of_others(&format!("{folder}/end.json"), r#"{"end": "stored"}"#),
            of_others(&format!("{folder}/run-{}.json", &sha256[..16]), &serde_json::to_string(&run).unwrap()),
            of_others(&format!("morning/{tick}.csv"), "theirs"),
        ],
    );
    live(&replica, HOUR).await;
    assert_eq!((around.sent.lock().len(), *around.runs.lock()), (1, 0));
    assert!(around.sent.lock()[0].contains("\"rows\":77"), "{:?}", around.sent.lock());
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_gave_up_while_it_ran_has_no_output() {
    let around = Arc::new(Around::new());
    let schedule = almost_given_up(&around, "").await;
    *around.meanwhile.lock() =
        vec![of_others(&format!("_history/morning/{}/end.json", tick()), r#"{"end": "failed"}"#)];
    let replica = replica(&around, &schedule, TICK, 1);
    live(&replica, 3 * HOUR).await;
    let entry = replica.entry("morning", tick()).await.unwrap().unwrap();
    assert_eq!((entry.outcome, *around.runs.lock()), (Outcome::Failed, 1));
    assert!(!around.has(&format!("morning/{}.csv", tick())).await);
    assert!(!around.has(&format!("_open/morning/{}", tick())).await);
}

#[tokio::test(start_paused = true)]
async fn runs_that_outlast_their_period_are_thinned_out_and_not_put_off() {
    let around = Arc::new(Around { takes: Duration::from_secs(9 * 60), ..Around::new() });
    let mut schedule = schedule("report = 'first_blood'");
    schedule.timetable = Timetable::new("* * * * *", "UTC").unwrap();
    let replica = replica(&around, &schedule, TICK, 1);
    live(&replica, 6 * HOUR).await;
    let decisions = around.decisions().await;
    let is_run = |decision: &Decision| matches!(decision.fate, Fate::Run(_));
    let (run, skipped): (Vec<_>, Vec<_>) = decisions.into_iter().partition(is_run);
    // Two at a time make 80 in six hours.
    assert!((70..=86).contains(&run.len()) && !skipped.is_empty(), "{} runs", run.len());
    let mut waiting = 0;
    for decision in &run {
        let entry = replica.entry("morning", decision.tick).await.unwrap().unwrap();
        waiting += usize::from(entry.outcome != Outcome::Stored);
    }
    assert!(waiting <= 4, "{waiting} wait");
}

#[tokio::test(start_paused = true)]
async fn a_year_without_anybody_is_caught_up_on_within_limits() {
    let around = Arc::new(Around::new());
    let mut schedule = schedule("report = 'first_blood'\nmissed = 'run-all'");
    schedule.timetable = Timetable::new("* * * * *", "UTC").unwrap();
    live(&replica(&around, &schedule, TICK, 1), Duration::from_secs(30)).await;
    assert!(around.decisions().await.is_empty());
    // The minutes of two hours come beside those of the year.
    live(&replica(&around, &schedule, "2027-03-01T05:00:30Z", 2), 2 * HOUR).await;
    let runs = *around.runs.lock();
    assert!((CATCH_UP_MAX..=CATCH_UP_MAX + 121).contains(&runs), "{runs} runs");
    let skipped = around.decisions().await.into_iter().map(|decision| match decision.fate {
        Fate::Skip { ticks, .. } => ticks,
        Fate::Run(_) => 0,
    });
    let skipped: u64 = skipped.sum();
    assert!((525_400..525_700).contains(&skipped), "{skipped} skipped");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_panics_has_failed_once() {
    let around = Arc::new(Around { answers: Mutex::new(vec![None]), ..Around::new() });
    let schedule = schedule("report = 'first_blood'\n[[schedules.deliver]]\nmail = ['a@example.com']");
    let replica = replica(&around, &schedule, TICK, 1);
    let tick = replica.run_now("morning").await.unwrap();
    live(&replica, Duration::from_secs(60)).await;
    let entry = replica.entry("morning", tick).await.unwrap().unwrap();
    let [first, second] = &entry.deliveries[0].attempts[..] else { panic!("{entry:?}") };
    assert_eq!((first.ok, first.detail.as_str(), second.ok), (false, "the sender panicked", true));
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_delivered_or_gave_up_another_one_sends_no_more() {
    for (ok, progress) in [(true, Progress::Delivered), (false, Progress::GivenUp)] {
        let around = Arc::new(Around { answers: Mutex::new(vec![Some(Refused::for_now("503"))]), ..Around::new() });
        let schedule = schedule(&format!("report = 'first_blood'\n{HOOK}secret = '{SECRET}'"));
        let replica = replica(&around, &schedule, TICK, 1);
        let tick = replica.run_now("morning").await.unwrap();
        live(&replica, Duration::from_secs(4)).await;
        let folder = format!("_history/morning/{tick}");
        assert!(around.has(&format!("{folder}/sent-hook.0001.json")).await);
        // Two tried at the same time; the other one's word stands first.
        around.put(&format!("{folder}/sent-hook.0000.json"), &Attempt { ok, ..attempt(None) }).await;
        live(&replica, HOUR).await;
        let entry = replica.entry("morning", tick).await.unwrap().unwrap();
        assert_eq!((entry.deliveries[0].progress, around.sent.lock().len()), (progress, 1), "{entry:?}");
        assert!(!around.has(&format!("_open/morning/{tick}")).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_nobody_decided_about_and_an_output_that_was_deleted_hold_nothing_open() {
    let answers = std::iter::repeat_n(Some(Refused::for_now("503")), 20).collect();
    let around = Arc::new(Around { answers: Mutex::new(answers), ..Around::new() });
    let schedule = schedule(&format!("report = 'first_blood'\n{HOOK}secret = '{SECRET}'"));
    let mark = format!("_open/morning/{}", tick());
    around.put(&mark, &()).await;
    let replica = replica(&around, &schedule, "2026-03-01T12:00:00Z", 1);
    let asked = replica.run_now("morning").await.unwrap();
    live(&replica, Duration::from_secs(60)).await;
    let output = format!("morning/{asked}.csv");
    assert!(around.has(&output).await && around.has(&mark).await);
    around.store.delete(&at(&output)).await.unwrap();
    live(&replica, 25 * HOUR).await;
    assert!(!around.has(&output).await && !around.has(&format!("_open/morning/{asked}")).await);
    assert!(!around.has(&mark).await);
}

#[tokio::test(start_paused = true)]
async fn the_history_is_told_newest_first_however_far_it_reaches_back() {
    let around = Arc::new(Around::new());
    let schedule = schedule("report = 'first_blood'");
    let days = ["2025-01-01", "2026-01-20", "2026-02-25", "2026-03-01"];
    for day in days {
        let tick = Tick::scheduled(format!("{day}T05:00:00Z").parse().unwrap());
        let fate = Fate::Skip { through: tick.at, ticks: 1, why: "missed".into() };
        let decision = Decision { schedule: "morning".into(), tick, fate, by: "other".into(), at: tick.at };
        around.put(&format!("_history/morning/{tick}/decision.json"), &decision).await;
    }
    let replica = replica(&around, &schedule, "2026-03-01T12:00:00Z", 1);
    for count in 1..=5 {
        let told = replica.history(None, count).await.unwrap();
        let told: Vec<String> = told.iter().map(|entry| entry.tick.to_string()[..10].to_owned()).collect();
        let expected: Vec<&str> = days.into_iter().rev().take(count).collect();
        assert_eq!(told, expected);
    }
}
