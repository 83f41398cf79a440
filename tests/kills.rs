//! SIGKILL at random moments under load: what was acknowledged is in its table, exactly once.

use crate::support::{Home, PATIENCE, Server, event};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Kills in the normal run. `KILLFEED_CHAOS_SECONDS` asks for as many as fit, and at least fifty;
/// `KILLFEED_CHAOS_SEED` chooses other moments.
const KILLS: u32 = 8;
const CHAOS_KILLS_MIN: u32 = 50;
/// A server lives at most this long before it is killed, in ms; some die while they recover.
const LIFE_MS_MAX: u64 = 1_500;
/// Events in one request.
const BATCH: u64 = 25;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, no number")))
}

/// Sends events in order, each again until it is acknowledged; gives how many were.
async fn send(mut url: watch::Receiver<String>, enough: Arc<AtomicBool>) -> u64 {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let mut acknowledged = 0;
    while !enough.load(Ordering::SeqCst) {
        let mut left: Vec<u64> = (acknowledged..acknowledged + BATCH).collect();
        while !left.is_empty() {
            let line = |n: &u64| {
                let mut event = event("chaos.event", &format!("e{n}"), &json!({ "n": n }));
                event["gameid"] = json!(format!("game-{}", n % 97));
                format!("{event}\n")
            };
            let body: String = left.iter().map(line).collect();
            let to = format!("{}/v1/batch", *url.borrow_and_update());
            let request = http.post(to).header("content-type", "application/x-ndjson").body(body);
            let Ok(response) = request.send().await else {
                // The server is gone: go on with the next one, or look again soon if it is still starting.
                let _ = tokio::time::timeout(Duration::from_millis(100), url.changed()).await;
                continue;
            };
            let Ok(answer) = response.json::<Value>().await else { continue };
            let Some(results) = answer["results"].as_array() else { continue };
            let mut again = Vec::new();
            for (n, result) in left.into_iter().zip(results) {
                match result["status"].as_u64() {
                    Some(202) => {}
                    _ => {
                        assert_eq!(result["retry"], true, "{n}: {result}");
                        again.push(n);
                    }
                }
            }
            left = again;
        }
        acknowledged += BATCH;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kills_exactly_once() {
    let seed = setting("KILLFEED_CHAOS_SEED").unwrap_or(1);
    let until = setting("KILLFEED_CHAOS_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = Home::new();
    let mut server = home.up(&[]);
    let (urls, url) = watch::channel(server.url.clone());
    let enough = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(send(url, enough.clone()));

    let mut kills = 0;
    while kills < until.map_or(KILLS, |_| CHAOS_KILLS_MIN) || until.is_some_and(|until| Instant::now() < until) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..LIFE_MS_MAX))).await;
        assert!(!sender.is_finished(), "the sender gave up\n{}", home.stderr());
        server.kill();
        server = home.up(&[]);
        urls.send(server.url.clone()).unwrap();
        kills += 1;
    }
    enough.store(true, Ordering::SeqCst);
    let acknowledged = tokio::time::timeout(PATIENCE, sender).await.expect("the sender hangs").unwrap();
    assert!(acknowledged > u64::from(kills), "only {acknowledged} events were acknowledged in {kills} lives");
    check(&server, acknowledged).await;
    println!("seed {seed}: {kills} kills, {acknowledged} events acknowledged, each in its table once");
}

async fn check(server: &Server, acknowledged: u64) {
    server.flush().await;
    let rows = server.sql("SELECT n, count(*) AS times FROM chaos_event GROUP BY n ORDER BY n").await;
    let doubled: Vec<&Value> = rows.iter().filter(|row| row["times"] != 1).collect();
    assert_eq!(doubled, Vec::<&Value>::new(), "rows that stand more than once");
    let found: BTreeSet<u64> = rows.iter().map(|row| row["n"].as_u64().unwrap()).collect();
    let lost: Vec<u64> = (0..acknowledged).filter(|n| !found.contains(n)).collect();
    assert_eq!(lost, Vec::<u64>::new(), "acknowledged events that are in no table");
    assert_eq!(found.len() as u64, acknowledged);
    let audit = server.balanced().await;
    assert_eq!(audit["in_flight"], 0);
    assert_eq!((&audit["conflicts"], &audit["dead"]), (&json!(0), &json!(0)));
}
