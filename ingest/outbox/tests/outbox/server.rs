//! A PostgreSQL of the test's own, and an API over HTTP that cuts connections by a seed.

use outbox::{Database, Delivered, HttpApi, PgStore, Relay, Settings, Status, Stop, Table};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, NoTls};

/// How long anything may take before a test calls it hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A server with a data directory of its own, killed when dropped.
pub(crate) struct Postgres {
    dir: PathBuf,
    pub(crate) url: String,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev/postgres").join(name)
}

impl Postgres {
    pub(crate) fn start(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("killfeed-postgres-{test}-{}", std::process::id()));
        let mut server = Self { dir, url: String::new() };
        server.url = server.up();
        server
    }

    fn up(&self) -> String {
        let mut command = Command::new(script("up"));
        command.env("POSTGRES_DATA", &self.dir).env("POSTGRES_OWNER", std::process::id().to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn down(&self, how: &[&str]) {
        let status = Command::new(script("down")).args(how).env("POSTGRES_DATA", &self.dir).status().unwrap();
        assert!(status.success());
    }

    /// Kills all of its processes, and starts it again on the same port.
    pub(crate) fn crash(&self) {
        self.down(&["--kill"]);
        assert_eq!(self.up(), self.url);
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A connection, waited for while the server is away.
    pub(crate) async fn client(&self) -> Client {
        let start = Instant::now();
        loop {
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(async move { drop(connection.await) });
                    return client;
                }
                Err(error) => assert!(start.elapsed() < PATIENCE, "no connection to {}: {error}", self.url),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same, with the outbox's table made.
    pub(crate) async fn with_table(&self, table: &Table) -> Client {
        let client = self.client().await;
        client.batch_execute(&table.ddl()).await.unwrap();
        client
    }

    pub(crate) fn store(&self, table: &Table, delivered: Delivered) -> PgStore {
        PgStore::new(Database::parse(&self.url, None).unwrap(), table.clone(), delivered)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.down(&["--kill", "--purge"]);
    }
}

/// The table by its usual name.
pub(crate) fn table() -> Table {
    Table::DEFAULT.parse().unwrap()
}

/// A relay at work as a task: aborting it cuts its connections, as a kill does.
pub(crate) fn relay(
    postgres: &Postgres,
    api: &Collector,
    settings: Settings,
    seed: u64,
    stop: &Stop,
) -> tokio::task::JoinHandle<Arc<Status>> {
    let store = postgres.store(&table(), Delivered::Delete);
    let http = HttpApi::new(&api.url, Some("key".into())).unwrap();
    let status = Arc::new(Status::default());
    let chance = ChaCha8Rng::seed_from_u64(seed);
    let mut relay = Relay::new(store, http, outbox::SystemClock::default(), chance, settings, status.clone());
    let stop = stop.clone();
    tokio::spawn(async move {
        relay.run(stop).await.unwrap();
        status
    })
}

/// The API: what arrived, and how it fails.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Events, each at its first arrival.
    first: Vec<Value>,
    seen: HashMap<String, u32>,
    random: ChaCha8Rng,
    faults: f64,
}

/// What happens to a request: none of it is kept, or all, or some; and whether an answer comes.
enum Fate {
    Well,
    CutBefore,
    CutAfter,
    Unavailable,
    Partial,
    Slow,
}

impl Collector {
    pub(crate) async fn start(seed: u64, faults: f64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let random = ChaCha8Rng::seed_from_u64(seed);
        let state = State { first: Vec::new(), seen: HashMap::new(), random, faults };
        let collector = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { drop(serving.serve(stream).await) });
            }
        });
        collector
    }

    /// Events in the order of their first arrival.
    pub(crate) fn first(&self) -> Vec<Value> {
        self.state.lock().unwrap().first.clone()
    }

    /// How often an event came.
    pub(crate) fn times(&self, id: &str) -> u32 {
        self.state.lock().unwrap().seen.get(id).copied().unwrap_or_default()
    }

    pub(crate) fn set_faults(&self, faults: f64) {
        self.state.lock().unwrap().faults = faults;
    }

    fn fate(&self) -> Fate {
        let mut state = self.state.lock().unwrap();
        let faults = state.faults;
        if !state.random.random_bool(faults) {
            return Fate::Well;
        }
        match state.random.random_range(0..5) {
            0 => Fate::CutBefore,
            1 => Fate::CutAfter,
            2 => Fate::Unavailable,
            3 => Fate::Partial,
            _ => Fate::Slow,
        }
    }

    fn keep(&self, event: &Value) {
        let mut state = self.state.lock().unwrap();
        let times = state.seen.entry(event["id"].as_str().unwrap().to_owned()).or_default();
        *times += 1;
        if *times == 1 {
            state.first.push(event.clone());
        }
    }

    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            assert!(head.contains("authorization: Bearer key"), "{head}");
            let mut body = vec![0; length];
            reader.read_exact(&mut body).await?;
            let answer = if head.starts_with("GET /v1/config ") {
                let limits = json!({ "event_bytes": 1_000_000, "batch_events": 10_000, "body_bytes": 8_388_608 });
                Some((200, json!({ "dedupe": { "window_s": 86_400 }, "limits": limits })))
            } else {
                assert!(head.starts_with("POST /v1/batch "), "{head}");
                self.answer(&String::from_utf8(body).unwrap()).await
            };
            let Some((status, answer)) = answer else { return Ok(()) };
            let answer = answer.to_string();
            let retry_after = if status == 503 { "retry-after: 0\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status} X\r\n{retry_after}content-length: {}\r\n\r\n", answer.len());
            writer.write_all(format!("{head}{answer}").as_bytes()).await?;
        }
    }

    async fn answer(&self, body: &str) -> Option<(u16, Value)> {
        let events: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fate = self.fate();
        match fate {
            Fate::CutBefore => return None,
            Fate::Unavailable => return Some((503, json!({ "status": 503, "detail": "as told" }))),
            Fate::Slow => {
                let pause = self.state.lock().unwrap().random.random_range(20..400);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Fate::Well | Fate::CutAfter | Fate::Partial => {}
        }
        let mut failing: Option<Value> = None;
        let mut results = Vec::new();
        for event in &events {
            let fails = matches!(fate, Fate::Partial) && self.state.lock().unwrap().random.random_bool(0.1);
            if fails && failing.is_none() {
                failing = Some(event["gameid"].clone());
            }
            let again = failing.as_ref().is_some_and(|failing| *failing == event["gameid"]);
            if !again {
                self.keep(event);
            }
            let status = if again { 503 } else { 202 };
            results
                .push(json!({ "id": event["id"], "status": status, "retry": again, "unknown": false, "error": null }));
        }
        if matches!(fate, Fate::CutAfter) {
            return None;
        }
        Some((if failing.is_some() { 200 } else { 202 }, json!({ "results": results })))
    }
}
