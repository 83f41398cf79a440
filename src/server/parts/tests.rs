//! The parts of `killfeed up` together, in this process, on a clock that a test turns.

use super::*;
use crate::cli::Cli;
use axum::body::Body;
use axum::http::Request;
use clap::{CommandFactory as _, FromArgMatches as _};
use events::log::Log as _;
use events::log::embedded::{self, EmbeddedLog};
use events::{ManualClock, Stream, TopicPartition};
use serde_json::{Value, json};
use std::path::Path;
use tower::ServiceExt as _;

/// 2020-01-01T00:00:00Z. However far a test moves it, this clock stays behind the file system's: maintenance would
/// take the tables' new files for old ones that nobody committed, and delete them.
const START_US: i64 = 1_577_836_800_000_000;
const DAY_US: i64 = 86_400_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Up {
    parts: Parts,
    router: Router,
}

impl Up {
    async fn start(dir: &Path, clock: &ManualClock, args: &[&str]) -> Self {
        let dir = dir.to_str().unwrap();
        let line = ["up", "--data-dir", dir, "--partitions", "2", "--flush-interval", "100ms"];
        let command = Cli::command().find_subcommand("up").unwrap().clone();
        let matches = command.get_matches_from(line.iter().chain(args));
        let options = Options::from_arg_matches(&matches).unwrap();
        let clock = Arc::new(clock.clone());
        let file = FromFile { keys: Keys::none(), schedules: schedules::Config::default() };
        let started = Parts::start(Role::Up, &options, (file, None), Readiness::default(), clock).await;
        let (parts, router) = started.unwrap_or_else(|failure| panic!("{failure:?}"));
        Self { parts, router }
    }

    fn embedded(&self) -> &EmbeddedLog {
        match &self.parts.log {
            OpenLog::Embedded(log) => log,
            OpenLog::Kafka(..) => panic!("no test here has another log"),
        }
    }

    async fn stop(mut self) {
        self.parts.drain(PATIENCE).await;
        self.parts.stop(PATIENCE).await;
    }

    async fn call(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> (u16, Value) {
        self.call(Request::post(path).header("content-type", content_type).body(body.into()).unwrap()).await
    }

    /// Sends events of a type, each with an id of its own, and waits until they are in their table.
    async fn send(&self, event_type: &str, ids: std::ops::Range<u32>) {
        let event = |id| {
            let data = json!({ "n": id });
            json!({ "specversion": "1.0", "id": format!("{id}"), "source": "/t", "type": event_type, "data": data })
        };
        let lines = ids.map(|id| format!("{}\n", event(id))).collect();
        let (status, answer) = self.post("/v1/batch", "application/x-ndjson", lines).await;
        assert_eq!(status, 202, "{answer}");
        self.flush().await;
    }

    async fn flush(&self) {
        let (status, answer) = self.post("/v1/flush", "application/json", String::new()).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn number(&self, sql: &str) -> u64 {
        let (status, answer) = self.post("/v1/sql", "application/json", json!({ "sql": sql }).to_string()).await;
        assert_eq!(status, 200, "{sql}: {answer}");
        answer[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap()
    }

    async fn audit(&self) -> Value {
        let (_, audit) = self.call(Request::get("/v1/audit").body(Body::empty()).unwrap()).await;
        assert_eq!(audit["balanced"], true, "{audit:#}");
        audit
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

fn write_schema(dir: &Path, event_type: &str, declared: &Value) {
    let folder = dir.join("schemas").join(event_type);
    std::fs::create_dir_all(&folder).unwrap();
    let schema = json!({ "type": "object", "x-killfeed": declared });
    std::fs::write(folder.join("1.json"), schema.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_past_their_keep_go_from_every_stream_and_the_books_balance() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(START_US);
    write_schema(dir.path(), "fight.hit", &json!({ "stream": "combat" }));
    let up = Up::start(dir.path(), &clock, &["--keep-days", "7"]).await;
    up.send("game.over", 0..10).await;
    up.send("fight.hit", 0..5).await;
    up.stop().await;
    clock.advance_us(7 * DAY_US);
    let up = Up::start(dir.path(), &clock, &["--keep-days", "7"]).await;
    up.send("game.over", 10..14).await;
    let all = "SELECT (SELECT count(*) FROM game_over) + (SELECT count(*) FROM fight_hit)";
    assert_eq!(up.number(all).await, 19, "seven days are kept");
    up.stop().await;

    clock.advance_us(DAY_US);
    let up = Up::start(dir.path(), &clock, &["--keep-days", "7"]).await;
    until("the old rows are gone", async || up.number(all).await == 4).await;
    up.send("game.over", 14..15).await;
    let removed = |stream: &str| {
        format!("SELECT sum(records) FROM killfeed_ledger WHERE stage = 'removal' AND stream = '{stream}'")
    };
    assert_eq!((up.number(&removed("events")).await, up.number(&removed("combat")).await), (10, 5));
    let causes = "SELECT count(*) FROM killfeed_ledger WHERE stage = 'removal' AND detail NOT LIKE '%\"retention\"%'";
    assert_eq!(up.number(causes).await, 0);
    let audit = up.audit().await;
    assert_eq!((&audit["accepted"], &audit["delivered"], &audit["in_flight"]), (&json!(20), &json!(20), &json!(0)));
    for (stream, gone) in [("events", 10), ("combat", 5)] {
        let partitions = audit["partitions"].as_array().unwrap().iter();
        let of = partitions.filter(|partition| partition["stream"] == stream);
        assert_eq!(of.map(|partition| partition["removed"].as_u64().unwrap()).sum::<u64>(), gone, "{stream}");
    }
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_kept_for_the_longer_window_that_a_later_schema_brings() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(START_US);
    let up = Up::start(dir.path(), &clock, &[]).await;
    write_schema(dir.path(), "game.result", &json!({ "dedupe": { "window": "30d" } }));
    until("the schema is known", async || {
        let (_, types) = up.call(Request::get("/v1/schemas").body(Body::empty()).unwrap()).await;
        types["types"].as_array().unwrap().iter().any(|known| known["type"] == "game.result")
    })
    .await;
    up.send("game.result", 0..1).await;
    clock.advance_us(20 * DAY_US);
    up.embedded().enforce_retention().await.unwrap();
    up.stop().await;
    // A new owner knows only what stands in `.state`.
    let up = Up::start(dir.path(), &clock, &[]).await;
    up.send("game.result", 0..2).await;
    assert_eq!(up.number("SELECT count(*) FROM game_result").await, 2, "the window of 30 days still holds");
    assert_eq!(up.audit().await["duplicates"], 1);
    let state = Stream::new("events").unwrap().state();
    clock.advance_us(50 * DAY_US);
    up.embedded().enforce_retention().await.unwrap();
    let mut started = Vec::new();
    for partition in 0..2 {
        started.push(up.embedded().ends(&TopicPartition::new(state.clone(), partition)).await.unwrap().start);
    }
    assert!(started.iter().any(|start| *start > 0), "state is not kept for ever");
    up.stop().await;
}

async fn only_a_log(dir: &Path) -> Parts {
    let log = EmbeddedLog::open(dir, embedded::Config::default(), Arc::new(events::SystemClock)).unwrap();
    let flusher =
        Flusher { log: Arc::new(log.clone()), streams: events::SharedStreams::default(), ingest: None, sinks: None };
    let (_, further) = unbounded_channel();
    Parts {
        tasks: JoinSet::new(),
        further,
        stop: CancellationToken::new(),
        watching: CancellationToken::new(),
        log: OpenLog::Embedded(log),
        ingest: None,
        flusher,
    }
}

#[tokio::test]
async fn any_end_of_a_part_is_a_fault_that_says_which_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = only_a_log(dir.path()).await;
    let stop = parts.stop.clone();
    parts.spawn(Part::new("log", parts.log.clone().keep(stop)));
    parts.spawn(Part::new("sinks", async { Err::<(), _>("no such store") }));
    assert_eq!(parts.fault().await, "sinks stopped: no such store");
    parts.spawn(Part::new("queries", async { Ok::<_, String>(()) }));
    assert_eq!(parts.fault().await, "queries stopped without being told to");
    parts.spawn(Part::new("processors", async { panicking().await }));
    assert_eq!(parts.fault().await, "a part panicked: the table is on its head");
    // The log's writer is a thread of its own.
    parts.log.close(PATIENCE).await;
    assert_eq!(parts.fault().await, "log stopped: its writer has stopped; what was acknowledged is on disk");
}

async fn panicking() -> Result<(), String> {
    tokio::task::yield_now().await;
    panic!("the table is on its {}", "head");
}
