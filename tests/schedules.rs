//! Reports by the clock: outputs under the store, their history, deliveries to a receiver on this machine; and a
//! server that is killed again and again.

use crate::support::{Home, Server, text};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::time::sleep;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Another process takes a tick for abandoned after the time limit and three minutes.
const PATIENCE: Duration = Duration::from_secs(420);

/// What arrived, by its id: the bodies in their order.
#[derive(Clone, Default)]
struct Receiver {
    arrived: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    /// It takes what comes, and never says so.
    is_silent: Arc<Mutex<bool>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(receive)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn bodies(&self, id: &str) -> Vec<Value> {
        self.arrived.lock().unwrap().get(id).cloned().unwrap_or_default()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) {
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers).unwrap();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let event = serde_json::from_slice(&body).unwrap();
    receiver.arrived.lock().unwrap().entry(id).or_default().push(event);
    if *receiver.is_silent.lock().unwrap() {
        std::future::pending::<()>().await;
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn run(server: &Server, args: &[&str]) -> String {
    let ran = server.run(args);
    assert!(ran.status.success(), "{args:?}: {}", text(&ran));
    String::from_utf8(ran.stdout).unwrap()
}

async fn history(server: &Server, schedule: &str) -> Vec<Value> {
    let history = server.get(&format!("/v1/schedules/history?limit=1000&schedule={schedule}")).await;
    history.as_array().unwrap_or_else(|| panic!("{history}")).clone()
}

fn outputs(home: &Home, schedule: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(home.tables().join("_reports").join(schedule));
    let mut found: Vec<PathBuf> = found.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The rows of an answer without the column that changes from one run to the next: how fresh they are.
fn rows(format: &str, text: &str) -> Vec<String> {
    let without = |mut row: Value| {
        assert!(row.as_object_mut().unwrap().remove("freshness").is_some(), "{row}");
        row.to_string()
    };
    match format {
        "json" => serde_json::from_str::<Vec<Value>>(text).unwrap().into_iter().map(without).collect(),
        "ndjson" => text.lines().map(|line| without(serde_json::from_str(line).unwrap())).collect(),
        "csv" => text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect(),
        _ => {
            let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            let rows = text.lines().filter(|line| line.starts_with('|') && !line.contains("--")).map(cells);
            rows.map(|cells: Vec<String>| cells[..cells.len() - 1].join(" ")).collect()
        }
    }
}

#[tokio::test]
async fn outputs_are_what_report_run_prints_in_every_format() {
    let home = Home::new();
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let formats = ["csv", "json", "ndjson", "parquet", "markdown", "html", "table"];
    let endings = ["csv", "json", "ndjson", "parquet", "md", "html", "txt"];
    let mut config = String::new();
    for format in formats {
        config += &format!(
            "[[schedules]]\nname = \"{format}\"\nreport = \"first_blood\"\nparams = {{ min_games = 1 }}\n\
             cron = \"@yearly\"\nzone = \"Asia/Tokyo\"\nformat = \"{format}\"\n\
             [[schedules.deliver]]\nname = \"hook\"\nwebhook = \"{url}\"\nsecret = \"{SECRET}\"\n"
        );
    }
    let config = home.write("killfeed.toml", &config);
    let server = home.up(&["--config", config.to_str().unwrap()]);
    run(&server, &["generate", "--games", "3", "--url", &server.url]);
    server.flush().await;
    let listed = run(&server, &["report", "schedule", "list"]);
    assert!(listed.contains("-01-01 00:00 Asia/Tokyo") && listed.contains("hook (webhook)"), "{listed}");
    for format in formats {
        run(&server, &["report", "schedule", "run", format]);
    }
    for (format, ending) in formats.into_iter().zip(endings) {
        until(format, async || {
            let told = history(&server, format).await;
            assert_ne!(told[0]["outcome"], "failed", "{told:?}");
            told[0]["deliveries"][0]["progress"] == "delivered"
        })
        .await;
        let found = outputs(&home, format);
        let [output] = &found[..] else { panic!("{found:?}") };
        assert_eq!(output.extension().unwrap(), ending);
        let stored = std::fs::read(output).unwrap();
        let told = history(&server, format).await;
        assert_eq!(told[0]["bytes"].as_u64(), Some(stored.len() as u64));
        // A table on a terminal is drawn by the command itself: that of HTTP is the one.
        let printed = if format == "table" {
            let url = format!("{}/v1/reports/first_blood?min_games=1&format=table", server.url);
            server.http.get(url).send().await.unwrap().bytes().await.unwrap().to_vec()
        } else {
            server.run(&["report", "run", "first_blood", "--param", "min_games=1", "--format", format]).stdout
        };
        let name = output.file_stem().unwrap().to_str().unwrap();
        let bodies = receiver.bodies(&format!("killfeed_{format}_{name}"));
        let [event] = &bodies[..] else { panic!("{bodies:?}") };
        if format == "parquet" {
            assert!(stored.starts_with(b"PAR1") && printed.starts_with(b"PAR1"));
            assert!(event["data"]["content_base64"].is_string(), "{event}");
            continue;
        }
        let [stored, printed] = [stored, printed].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(stored.contains("freshness"), "{stored}");
        assert_eq!(event["data"]["content"], stored.as_str());
        if format == "html" {
            assert!(stored.contains("<svg") && printed.contains("<svg"), "{stored}");
            continue;
        }
        assert!(rows(format, &stored).len() > 3, "{stored}");
        assert_eq!(rows(format, &stored), rows(format, &printed), "{format}");
    }
    let told = run(&server, &["report", "schedule", "history", "csv"]);
    assert!(told.contains("(by hand)") && told.contains("delivered, try 1 of 10"), "{told}");
    let wrong = server.run(&["report", "schedule", "run", "nobody"]);
    assert!(!wrong.status.success() && text(&wrong).contains("there is no schedule"), "{}", text(&wrong));
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_stores_one_output_for_each_tick() {
    let home = Home::new();
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let config = home.write(
        "killfeed.toml",
        &format!(
            "[[schedules]]\nname = \"minutely\"\nreport = \"freshness\"\ncron = \"* * * * *\"\nzone = \"UTC\"\n\
             missed = \"run-all\"\ntime-limit = \"5s\"\n\
             [[schedules.deliver]]\nname = \"hook\"\nwebhook = \"{url}\"\nsecret = \"{SECRET}\"\n"
        ),
    );
    let up = || home.up(&["--config", config.to_str().unwrap()]);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(6);
    // It dies between the output and the word of its receiver.
    *receiver.is_silent.lock().unwrap() = true;
    let mut server = up();
    let arrived = async || !receiver.arrived.lock().unwrap().is_empty();
    until("the first delivery", arrived).await;
    server.kill();
    *receiver.is_silent.lock().unwrap() = false;
    let found = outputs(&home, "minutely");
    let [first] = &found[..] else { panic!("{found:?}") };
    let bytes = std::fs::read(first).unwrap();
    server = up();
    let id = format!("killfeed_minutely_{}", first.file_stem().unwrap().to_str().unwrap());
    let start = Instant::now();
    while receiver.bodies(&id).len() < 2 {
        assert!(start.elapsed() < PATIENCE, "the delivery was not made again: {}", home.stderr());
        // Long enough to get on: who takes over wants to see three minutes of silence.
        let life = if start.elapsed().as_secs() < 60 { random.random_range(200..9_000) } else { 240_000 };
        let end = Instant::now() + Duration::from_millis(life);
        while Instant::now() < end && receiver.bodies(&id).len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        if Instant::now() >= end {
            server.kill();
            server = up();
        }
    }
    let is_done = |entry: &Value| entry["deliveries"][0]["progress"] == "delivered";
    until("all is delivered", async || history(&server, "minutely").await.iter().all(is_done)).await;
    assert_eq!(std::fs::read(first).unwrap(), bytes, "what is stored stays");
    let told = history(&server, "minutely").await;
    let ticks: Vec<&str> = told.iter().map(|entry| entry["tick"].as_str().unwrap()).collect();
    assert!(ticks.len() >= 3, "{ticks:?}");
    // Each minute from the first to the last has one output, delivered as often as one likes, but always the same.
    assert!(ticks.windows(2).all(|pair| minute(pair[0]) == minute(pair[1]) + 1), "{ticks:?}");
    let stored = outputs(&home, "minutely");
    assert_eq!(stored.len(), ticks.len());
    for output in stored {
        let name = output.file_stem().unwrap().to_str().unwrap();
        let bodies = receiver.bodies(&format!("killfeed_minutely_{name}"));
        assert!(!bodies.is_empty() && bodies.iter().all(|body| *body == bodies[0]), "{name}: {bodies:?}");
        assert_eq!(bodies[0]["data"]["content"], std::fs::read_to_string(&output).unwrap());
    }
}

/// The minute of an instant, since the day began; a new day follows on the old one.
fn minute(tick: &str) -> u64 {
    let part = |from: usize| tick[from..from + 2].parse::<u64>().unwrap();
    (part(8) * 24 + part(11)) * 60 + part(14)
}
