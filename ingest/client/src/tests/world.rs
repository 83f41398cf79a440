//! A world without threads, sleeps or sockets.

use crate::client::{Client, Ports};
use crate::config::Config;
use crate::ports::{Answer, Clock, Compression, Done, NoAnswer, Random as _, Request, Seeded, Transport};
use crate::store::tests::unsafe_files::UnsafeFiles;
use crate::worker::Worker;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

/// The wall clock at virtual time 0: 2026-01-01T00:00:00Z.
pub(super) const BEGIN_US: i64 = 1_767_225_600_000_000;

/// A clock that somebody sets.
#[derive(Debug, Default)]
pub(super) struct VirtualClock {
    /// Monotonic time, and how far the wall clock was set since, in microseconds.
    times: Mutex<(Duration, i64)>,
}

impl VirtualClock {
    pub(super) fn set(&self, now: Duration) {
        self.times.lock().0 = now;
    }

    pub(super) fn jump(&self, us: i64) {
        self.times.lock().1 += us;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.times.lock().0
    }

    fn wall_us(&self) -> i64 {
        let (now, jumped) = *self.times.lock();
        BEGIN_US + i64::try_from(now.as_micros()).unwrap() + jumped
    }
}

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) events: Vec<Value>,
}

/// What the server does and has seen.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// For the next requests; when it is empty, all is accepted.
    pub(super) script: VecDeque<Value>,
    pub(super) config_answer: Option<Value>,
    pub(super) seen: Vec<Seen>,
    /// Ids of the events that it took.
    pub(super) taken: BTreeSet<String>,
    /// The events themselves, each once.
    pub(super) events: Vec<Value>,
}

/// The way to a [`Server`].
struct Wire {
    server: Arc<Mutex<Server>>,
    clock: Arc<VirtualClock>,
    timeout: Duration,
    done: Arc<Mutex<Vec<(Duration, Done)>>>,
}

impl Server {
    /// Does as the script says: what comes back, and how much later.
    fn serve(&mut self, at: Duration, events: Vec<Value>) -> (Duration, Result<Answer, NoAnswer>) {
        // A request of reports alone is no business of the scenario.
        let report = events.iter().all(|event| event["type"] == crate::LOSS_TYPE);
        let step = if report { Value::Null } else { self.script.pop_front().unwrap_or_default() };
        let takes = Duration::from_millis(step["takes_ms"].as_u64().unwrap_or(0));
        self.seen.push(Seen { at, events: events.clone() });
        let broken = |sent| Err(NoAnswer { sent, error: "broken".into() });
        let answer = match step["cut"].as_str() {
            Some("connect") => broken(false),
            Some("before") => broken(true),
            Some("after") => {
                events.iter().for_each(|event| self.take(event));
                broken(true)
            }
            _ if step["garbage"] == true => {
                Ok(Answer { status: 200, retry_after: None, body: b"<html>welcome</html>".to_vec() })
            }
            _ => Ok(self.answer(&step, &events)),
        };
        (takes, answer)
    }

    fn answer(&mut self, step: &Value, events: &[Value]) -> Answer {
        let status = u16::try_from(step["status"].as_u64().unwrap_or(202)).unwrap();
        let retry_after = step["retry_after_s"].as_u64().map(Duration::from_secs);
        let all = vec![json!({"status": 202}); events.len()];
        if let Some(seed) = step["mixed"].as_u64() {
            return self.mixed(seed, events);
        }
        let results = match step["results"].as_array() {
            Some(results) => Some(results.clone()),
            None => (status == 202).then_some(all),
        };
        let Some(mut results) = results else {
            return Answer { status, retry_after, body: br#"{"title": "refused"}"#.to_vec() };
        };
        assert_eq!(results.len(), events.len(), "the script has a result for each event");
        for (result, event) in results.iter_mut().zip(events) {
            result["id"] = event["id"].clone();
            if result["status"] == 202 {
                result["durability"] = "all".into();
                self.take(event);
            }
        }
        Answer { status, retry_after, body: json!({ "results": results }).to_string().into_bytes() }
    }

    /// Some are taken, some refused, some to be sent again; of a player, once one has to be, all later ones have.
    fn mixed(&mut self, seed: u64, events: &[Value]) -> Answer {
        // Of each player that has to send again: whether that is unknown, and in truth taken. A partition stands or
        // falls as one.
        let (mut random, mut again) = (Seeded::new(seed), BTreeMap::new());
        let mut results = Vec::new();
        for event in events {
            let player = event["playerid"].to_string();
            let known = self.taken.contains(event["id"].as_str().unwrap());
            let result = match random.next() % 4 {
                _ if known => json!({"status": 202, "durability": "all"}),
                0 => json!({"status": 400}),
                chance if chance == 1 || again.contains_key(&player) => {
                    let fate = random.next();
                    let (unknown, taken) = *again.entry(player).or_insert((fate % 2 == 0, fate % 4 == 0));
                    if taken {
                        self.take(event);
                    }
                    json!({"status": 503, "retry": true, "unknown": unknown})
                }
                _ => {
                    self.take(event);
                    json!({"status": 202, "durability": "all"})
                }
            };
            results.push(result);
        }
        Answer { status: 200, retry_after: None, body: json!({ "results": results }).to_string().into_bytes() }
    }

    fn take(&mut self, event: &Value) {
        if self.taken.insert(event["id"].as_str().unwrap().to_owned()) {
            self.events.push(event.clone());
        }
    }
}

impl Transport for Wire {
    fn start(&mut self, _: Arc<dyn Fn() + Send + Sync>) {}

    fn post(&mut self, request: Request) {
        let body = match request.compression {
            Compression::Zstd => zstd::decode_all(&request.body[..]).unwrap(),
            Compression::Gzip => {
                let mut body = Vec::new();
                flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut body).unwrap();
                body
            }
            Compression::None => request.body,
        };
        let lines = std::str::from_utf8(&body).unwrap().lines();
        let events: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let now = self.clock.now();
        assert!(self.done.lock().iter().all(|(_, done)| !matches!(done, Done::Posted(_))), "two requests at once");
        let (takes, answer) = self.server.lock().serve(now, events);
        let (takes, answer) = if takes > self.timeout {
            (self.timeout, Err(NoAnswer { sent: true, error: "timeout".into() }))
        } else {
            (takes, answer)
        };
        self.done.lock().push((now + takes, Done::Posted(answer)));
    }

    fn fetch_config(&mut self) {
        let answer = match &self.server.lock().config_answer {
            Some(body) => Ok(Answer { status: 200, retry_after: None, body: body.to_string().into_bytes() }),
            None => Err(NoAnswer { sent: false, error: "unreachable".into() }),
        };
        self.done.lock().push((self.clock.now(), Done::Config(answer)));
    }

    fn poll(&mut self) -> Option<Done> {
        let mut done = self.done.lock();
        let due = done.iter().position(|(at, _)| *at <= self.clock.now())?;
        Some(done.remove(due).1)
    }
}

/// A client in it.
pub(super) struct World {
    pub(super) clock: Arc<VirtualClock>,
    pub(super) server: Arc<Mutex<Server>>,
    pub(super) files: UnsafeFiles,
    pub(super) client: Client,
    worker: Worker,
    config: Config,
    has_store: bool,
    seed: u64,
    done: Arc<Mutex<Vec<(Duration, Done)>>>,
    next: Option<Duration>,
}

impl World {
    pub(super) fn new(config: Config, has_store: bool, server: Server, seed: u64) -> Self {
        let clock = Arc::new(VirtualClock::default());
        let server = Arc::new(Mutex::new(server));
        let files = UnsafeFiles::default();
        let (client, worker, done) = begin(&config, has_store, &clock, &server, &files, seed);
        let mut world = Self { clock, server, files, client, worker, config, has_store, seed, done, next: None };
        world.settle();
        world
    }

    /// Everything that is due at this moment happens.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.next = self.worker.step();
            let now = self.clock.now();
            let answered = self.done.lock().iter().any(|(at, _)| *at <= now);
            if !answered && self.next.is_none_or(|next| next > now) {
                return;
            }
        }
        panic!("never comes to rest at {:?}", self.clock.now());
    }

    /// Time passes, from one due moment to the next.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.clock.now() + by;
        loop {
            self.settle();
            let answer = self.done.lock().iter().map(|(at, _)| *at).min();
            let next = [self.next, answer].into_iter().flatten().min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.clock.set(next),
                None => break,
            }
        }
        self.clock.set(until);
        self.settle();
    }

    /// The process is killed, and started again on what is left.
    pub(super) fn restart(&mut self) {
        self.seed += 1;
        let (client, worker, done) =
            begin(&self.config, self.has_store, &self.clock, &self.server, &self.files, self.seed);
        (self.client, self.worker, self.done) = (client, worker, done);
        self.settle();
    }

    /// The client is closed, without waiting.
    pub(super) fn close(&mut self) {
        self.client.close(Duration::ZERO);
        self.worker.finish();
    }
}

type Begun = (Client, Worker, Arc<Mutex<Vec<(Duration, Done)>>>);

fn begin(
    config: &Config,
    has_store: bool,
    clock: &Arc<VirtualClock>,
    server: &Arc<Mutex<Server>>,
    files: &UnsafeFiles,
    seed: u64,
) -> Begun {
    let done = Arc::new(Mutex::new(Vec::new()));
    let wire =
        Wire { server: server.clone(), clock: clock.clone(), timeout: config.request_timeout, done: done.clone() };
    let ports = Ports {
        clock: clock.clone(),
        random: Box::new(Seeded::new(seed)),
        transport: Box::new(wire),
        files: has_store.then(|| Box::new(files.clone()) as _),
    };
    let (client, worker) = Client::assemble(config.clone(), ports).unwrap();
    (client, worker, done)
}
