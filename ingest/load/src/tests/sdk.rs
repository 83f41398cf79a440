//! The real SDK, its threads and the real clock, before a made-up server: the accounting of whole runs.

use super::{ms, s};
use crate::plan::{Mode, Plan, Target};
use crate::report::Report;
use crate::run::{Failure, run_with};
use crate::truth::Truth;
use killfeed_client::{Answer, Clock, Compression, Done, NoAnswer, Request, SystemClock, Transport};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What the server does with a request: the how-manieth it is of all.
type Behaviour = fn(u64) -> Does;

enum Does {
    /// Takes it, after this time.
    Take(Duration),
    /// Takes it, and the answer is lost.
    TakeSilently,
    /// Answers this status, and takes nothing.
    Status(u16),
}

#[derive(Default)]
struct Server {
    requests: u64,
    /// Ids that it has, and how many events of each type that makes.
    ids: BTreeSet<String>,
    tables: BTreeMap<String, u64>,
    seen_again: BTreeSet<String>,
}

impl Server {
    fn take(&mut self, request: &Request) -> usize {
        let body = match request.compression {
            Compression::Zstd => zstd::decode_all(&request.body[..]).unwrap(),
            _ => request.body.clone(),
        };
        let lines: Vec<serde_json::Value> =
            String::from_utf8(body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            let id = line["id"].as_str().unwrap().to_owned();
            if self.ids.insert(id.clone()) {
                *self.tables.entry(line["type"].as_str().unwrap().replace('.', "_")).or_default() += 1;
            } else {
                self.seen_again.insert(id);
            }
        }
        lines.len()
    }
}

struct Way {
    server: Arc<Mutex<Server>>,
    behaviour: Behaviour,
    config: u16,
    done: Arc<Mutex<VecDeque<Done>>>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

fn answer(status: u16, body: String) -> Answer {
    Answer { status, retry_after: None, body: body.into_bytes() }
}

impl Transport for Way {
    fn start(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.wake = Some(wake);
    }

    fn post(&mut self, request: Request) {
        let mut server = self.server.lock();
        server.requests += 1;
        let accepted = |events: usize| {
            let one = r#"{"status":202,"durability":"all"}"#;
            Ok(answer(202, format!("{{\"results\":[{}]}}", vec![one; events].join(","))))
        };
        let (after, said) = match (self.behaviour)(server.requests) {
            Does::Take(after) => (after, accepted(server.take(&request))),
            Does::TakeSilently => {
                server.take(&request);
                (ms(1), Err(NoAnswer { sent: true, error: "connection reset by peer".into() }))
            }
            Does::Status(status) => (ms(1), Ok(answer(status, String::new()))),
        };
        let (done, wake) = (self.done.clone(), self.wake.clone().unwrap());
        std::thread::spawn(move || {
            std::thread::sleep(after);
            done.lock().push_back(Done::Posted(said));
            wake();
        });
    }

    fn fetch_config(&mut self) {
        self.done.lock().push_back(Done::Config(Ok(answer(self.config, "{}".into()))));
        (self.wake.clone().unwrap())();
    }

    fn poll(&mut self) -> Option<Done> {
        self.done.lock().pop_front()
    }
}

type Ran = Result<(Report, Truth), Failure>;

fn run(plan: &Plan, config: u16, behaviour: Behaviour) -> (Ran, Arc<Mutex<Server>>) {
    let server: Arc<Mutex<Server>> = Arc::default();
    let way = || {
        let (server, done) = (server.clone(), Arc::default());
        Box::new(Way { server, behaviour, config, done, wake: None }) as Box<dyn Transport>
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let target = Target { url: "http://made-up".into(), key: None };
    let ran = run_with(plan, &target, &clock, &way, &AtomicBool::new(false), &mut |_| {});
    (ran, server)
}

fn by_rate(rates: Vec<u32>, duration: Duration) -> Plan {
    Plan { connections: 8, events_per_request: 7, timeout: s(5), ..Plan::new(Mode::Rate(rates), duration) }
}

#[test]
fn every_event_is_counted_as_what_became_of_it() {
    // Each fourth answer is lost, each fifth request refused for now, and the next goes through.
    let behaviour = |n: u64| match n {
        n if n.is_multiple_of(4) => Does::TakeSilently,
        n if n.is_multiple_of(5) => Does::Status(503),
        _ => Does::Take(ms(2)),
    };
    let (ran, server) = run(&by_rate(vec![20, 40], s(1)), 200, behaviour);
    let (report, truth) = ran.unwrap();
    let server = server.lock();
    assert!(report.is_good(), "{:?}", report.stages);
    assert_eq!(truth.tables, server.tables);
    assert!(truth.unknown.is_empty());
    let counts: Vec<_> = report.stages.iter().map(|stage| &stage.counts).collect();
    assert_eq!(
        counts.iter().map(|one| (one.due, one.not_sent, one.answered)).collect::<Vec<_>>(),
        [(20, 0, 20), (40, 0, 40)]
    );
    assert_eq!(counts.iter().map(|one| one.acknowledged).sum::<u64>(), 60 * 7);
    assert_eq!(counts.iter().map(|one| one.requests).sum::<u64>(), server.requests);
    assert_eq!(counts.iter().map(|one| one.repeated).sum::<u64>(), server.seen_again.len() as u64);
    let errors = |kind: &str| counts.iter().map(|one| one.errors.get(kind).copied().unwrap_or(0)).sum::<u64>();
    assert!(errors("503") > 0 && errors("connection reset") > 0);
    assert_eq!(report.stages[1].from_due.count(), 40);
}

#[test]
fn a_stall_shows_from_when_requests_were_due() {
    // The tenth request stalls; one connection, so that all wait for it, and none is lost.
    let behaviour = |n: u64| Does::Take(if n == 10 { ms(800) } else { ms(1) });
    let plan = Plan { connections: 1, ..by_rate(vec![50], s(2)) };
    let (ran, _) = run(&plan, 200, behaviour);
    let (report, _) = ran.unwrap();
    let stage = &report.stages[0];
    assert_eq!((stage.counts.due, stage.counts.not_sent, stage.from_due.count()), (100, 0, 100));
    assert!(
        stage.from_due.max_ms() >= 799.0 && stage.from_due.quantile_ms(0.8) >= 250.0,
        "{:?}",
        stage.from_due.quantile_ms(0.8)
    );
}

#[test]
fn refused_for_good_and_never_answered_are_no_success() {
    let (ran, _) = run(&by_rate(vec![10], s(1)), 200, |_| Does::Status(400));
    let (report, truth) = ran.unwrap();
    assert!(!report.is_good());
    assert_eq!((report.stages[0].counts.refused, report.stages[0].counts.errors["400"]), (70, 10));
    assert_eq!(truth, Truth::default());

    let plan = Plan { timeout: ms(50), ..by_rate(vec![10], ms(300)) };
    let (ran, server) = run(&plan, 200, |_| Does::TakeSilently);
    let (report, truth) = ran.unwrap();
    assert!(!report.is_good());
    let counts = &report.stages[0].counts;
    assert_eq!((counts.acknowledged, counts.unknown), (0, truth.unknown.values().sum()));
    assert_eq!(truth.unknown, server.lock().tables, "all of it arrived, and nobody knows");
}

#[test]
fn players_share_clients_and_every_event_arrives() {
    let mode = Mode::Players { players: 40, ramp: ms(500), speed: 300 };
    let plan = Plan { connections: 4, timeout: s(5), ..Plan::new(mode, s(3)) };
    let (ran, server) = run(&plan, 200, |n| if n.is_multiple_of(3) { Does::TakeSilently } else { Does::Take(ms(2)) });
    let (report, truth) = ran.unwrap();
    let server = server.lock();
    assert!(report.is_good(), "{:?}", report.stages[0].counts);
    assert_eq!(truth.tables, server.tables);
    assert!(truth.tables["lol_champion_kill"] > 0 && truth.tables["session_start"] >= 40, "{:?}", truth.tables);
    assert_eq!(report.stages[0].from_due.count(), report.stages[0].counts.acknowledged);
    assert_eq!((report.stages[0].counts.due, report.stages[0].players), (0, Some(40)));
}

#[test]
fn a_server_that_does_not_know_the_key_ends_it_before_it_begins() {
    let (ran, server) = run(&by_rate(vec![10], s(1)), 401, |_| Does::Take(ms(1)));
    assert_eq!(ran.unwrap_err().to_string(), "cannot reach http://made-up: it answered 401: another --key");
    assert_eq!(server.lock().requests, 0);
}
