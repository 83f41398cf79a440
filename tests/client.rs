//! The client SDK before a real server: whatever happens to either or to the network between them, each event is in its
//! table once, a player's events in their order, and memory stays within its bound.

#[path = "../ingest/client/tests/proxy.rs"]
mod proxy;

use crate::support::{Home, PATIENCE, Server, text};
use killfeed_client::{Client, Config, Delivery, Event, OnFull, Reason, Sent, Stats};
use proxy::{Proxy, Weather};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Threads of the game that send, and players of each.
const THREADS: u64 = 2;
const PLAYERS: u64 = 4;
/// Memory that the client may use for events, in bytes.
const MEMORY: usize = 16 << 20;
/// The server is away for so long at least, in seconds; `KILLFEED_CLIENT_OUTAGE` asks for another time.
const OUTAGE: u64 = 1;
/// Tries that fail meanwhile: the waits between them have grown to their cap, and the circuit is open.
const OUTAGE_FAILURES: u64 = 8;
/// Times that the client process is killed.
const KILLS: u64 = 6;
/// Says to this binary that it is the client that is to be killed: where the server is, the store, and its number.
const CHILD: &str = "KILLFEED_CLIENT_CHILD";

fn config(url: String) -> Config {
    let mut config = Config::new(url, "/game");
    config.batch_time = Duration::from_millis(50);
    (config.backoff_first, config.backoff_cap) = (Duration::from_millis(20), Duration::from_millis(300));
    config.request_timeout = Duration::from_secs(2);
    (config.queue_bytes, config.queue_events) = (MEMORY, 100_000);
    config.loss_report = None;
    config
}

fn address(server: &Server) -> std::net::SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Plays until it is enough: how many events each player sent.
fn play(client: &Client, thread: u64, enough: &AtomicBool) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for n in 0_u64.. {
        if enough.load(Ordering::SeqCst) {
            break;
        }
        let player = format!("p{thread}-{}", n % PLAYERS);
        let number = sent.entry(player.clone()).or_insert(0);
        let event = Event::new("sdk.step").player(player).data(&std::collections::BTreeMap::from([("n", *number)]));
        assert_eq!(client.send(event), Sent::Taken);
        *number += 1;
        assert!(client.stats().memory_bytes <= MEMORY as u64);
        std::thread::sleep(Duration::from_millis(3));
    }
    sent
}

/// What each player's events say, in the order in which the server took them.
async fn numbers(server: &Server, table: &str) -> BTreeMap<String, Vec<u64>> {
    server.flush().await;
    let sql = format!("SELECT player_id, n FROM {table} ORDER BY player_id, _incarnation, _partition, _raw_offset");
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in server.sql(&sql).await {
        let Value::String(player) = &row["player_id"] else { panic!("{row}") };
        numbers.entry(player.clone()).or_default().push(row["n"].as_u64().unwrap());
    }
    numbers
}

fn is_felt(stats: &Stats, before: &Stats) -> bool {
    stats.failures >= before.failures + 2
}

/// Closes the client, with all the time that it needs.
async fn close(client: &Client) -> Stats {
    let closing = client.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close(PATIENCE)).await.unwrap();
    let stats = client.stats();
    assert!(closed, "{stats:?}");
    stats
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_in_its_table_once_and_in_order_through_all_accidents() {
    let outage = std::env::var("KILLFEED_CLIENT_OUTAGE").map_or(OUTAGE, |seconds| seconds.parse().unwrap());
    let outage = Duration::from_secs(outage);
    let home = Home::new();
    let mut server = home.up(&[]);
    let proxy = Proxy::start(address(&server)).unwrap();
    let client = Client::start(config(proxy.url())).unwrap();
    let enough = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (client, enough) = (client.clone(), enough.clone());
            std::thread::spawn(move || play(&client, thread, &enough))
        })
        .collect();

    for _ in 0..2 {
        for weather in [
            Weather::Cut,
            Weather::CutAnswers,
            Weather::HalfOpen,
            Weather::Slow(4_000),
            Weather::Garbage,
            Weather::Busy,
            Weather::Fair,
        ] {
            let (before, begun) = (client.stats(), Instant::now());
            proxy.set(weather);
            // Slow is slow enough if nothing breaks by it.
            let is_enough = |stats: &Stats| match weather {
                Weather::Slow(_) | Weather::Fair => begun.elapsed() > Duration::from_secs(2),
                _ => is_felt(stats, &before),
            };
            while !is_enough(&client.stats()) {
                assert!(begun.elapsed() < PATIENCE, "{weather:?} was not felt: {:?}", client.stats());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            proxy.set(Weather::Cut);
            proxy.set(Weather::Fair);
        }
        let before = client.stats();
        server.kill();
        let away = Instant::now();
        while away.elapsed() < outage || client.stats().failures < before.failures + OUTAGE_FAILURES {
            assert!(away.elapsed() < outage + PATIENCE, "{:?}", client.stats());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let held = client.stats();
        assert!(held.circuit_open && held.pending > 0, "{held:?}");
        println!("away for {:?}: {held:?}", away.elapsed());
        server = home.up(&[]);
        proxy.lead_to(address(&server));
        // What was held goes out, until less than a request of it is left.
        let back = Instant::now();
        while client.stats().pending > 500 {
            assert!(back.elapsed() < PATIENCE, "{:?}", client.stats());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("caught up in {:?}", back.elapsed());
    }
    assert!(proxy.accepted() > 20, "{} connections were all it took", proxy.accepted());
    enough.store(true, Ordering::SeqCst);
    let mut sent = BTreeMap::new();
    threads.into_iter().for_each(|thread| sent.extend(thread.join().unwrap()));
    let stats = close(&client).await;
    assert!(stats.lost.is_empty(), "{stats:?}");
    let total: u64 = sent.values().sum();
    assert_eq!((stats.sent, stats.delivered, stats.acknowledged), (total, total, total), "{stats:?}");

    let seen = numbers(&server, "sdk_step").await;
    for (player, events) in &sent {
        assert_eq!(seen[player], (0..*events).collect::<Vec<_>>(), "{player}");
    }
    assert_eq!(seen.len(), sent.len());
    server.balanced().await;
}

fn stored(url: &str, store: &Path) -> Config {
    let mut config = config(url.to_owned());
    config.store = Some(store.to_owned());
    config.delivery_default = Delivery::Stored;
    config
}

/// The client that is killed; in the normal run of this test nothing happens. It says how many events are in its store.
#[test]
fn a_client_that_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut told = told.split('|');
    let (url, store, child) = (told.next().unwrap(), told.next().unwrap(), told.next().unwrap());
    let client = Client::start(stored(url, Path::new(store))).unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0_u64.. {
        let data = BTreeMap::from([("n", n), ("child", child.parse().unwrap())]);
        assert_eq!(client.send(Event::new("sdk.stored").player(format!("p{child}")).data(&data)), Sent::Taken);
        if n % 20 == 19 {
            // What memory no longer holds is in the store, or with the server.
            while client.stats().memory_bytes > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            writeln!(out, "\nstored {}", n + 1).unwrap();
            out.flush().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_client_had_stored_is_in_its_table_once_and_in_order() {
    let home = Home::new();
    let server = home.up(&[]);
    let proxy = Proxy::start(address(&server)).unwrap();
    let store = home.path("store");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut stored_at_least = BTreeMap::new();
    for child in 0..KILLS {
        // Every other one meets a network that is gone, so that the store fills up.
        proxy.set([Weather::Fair, Weather::Cut, Weather::CutAnswers][usize::try_from(child % 3).unwrap()]);
        let told = format!("{}|{}|{child}", proxy.url(), store.display());
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "client::a_client_that_is_killed", "--nocapture"])
            .env(CHILD, told)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let words = random.random_range(1..30);
        let stored = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("stored ")?.parse::<u64>().ok());
        let last = stored.take(words).last();
        process.kill().unwrap();
        process.wait().unwrap();
        stored_at_least.insert(format!("p{child}"), last.expect("it stored nothing"));
    }

    proxy.set(Weather::Fair);
    let client = Client::start(stored(&proxy.url(), &store)).unwrap();
    let stats = close(&client).await;
    assert!(stats.lost.is_empty() && stats.recovered > 0, "{stats:?}");
    let seen = numbers(&server, "sdk_stored").await;
    assert_eq!(seen.len(), stored_at_least.len());
    for (player, least) in stored_at_least {
        let events = seen[&player].len() as u64;
        assert!(events >= least, "{player}: {events} of {least}");
        assert_eq!(seen[&player], (0..events).collect::<Vec<_>>(), "{player}");
    }
    server.balanced().await;
}

/// Waits until the client knows what the server wants of it.
async fn configured(client: &Client) {
    let begun = Instant::now();
    while !client.stats().configured {
        assert!(begun.elapsed() < PATIENCE, "{:?}", client.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_says_what_never_left_the_clients() {
    let home = Home::new();
    let server = home.up(&["--sampling", "sdk.frame=1000000000"]);
    let proxy = Proxy::start(address(&server)).unwrap();
    let mut config = config(proxy.url());
    (config.queue_events, config.on_full, config.event_bytes) = (10, OnFull::Newest, 1_000);
    config.loss_report = Some(Duration::from_secs(600));
    let client = Client::start(config).unwrap();
    configured(&client).await;
    // Nothing leaves it, so that what memory can't hold is lost.
    proxy.set(Weather::Cut);
    let send = |event_type: &'static str, bytes: usize| {
        client.send(Event::new(event_type).player("p").data(&BTreeMap::from([("text", "x".repeat(bytes))])))
    };
    for n in 0..14 {
        let sent = send("sdk.step", 1);
        assert_eq!(sent == Sent::Taken, n < 10, "{n}: {sent:?}");
    }
    assert_eq!(send("sdk.step", 2_000), Sent::Lost(Reason::TooLarge));
    for _ in 0..3 {
        assert_eq!(send("sdk.frame", 1), Sent::Lost(Reason::Sampled));
    }
    proxy.set(Weather::Fair);
    let stats = close(&client).await;
    assert_eq!((stats.delivered, stats.lost.values().sum::<u64>()), (10, 8), "{stats:?}");

    server.flush().await;
    let audit = server.balanced().await;
    let losses = serde_json::json!({"queue_full": 4, "sampled": 3, "too_large": 1});
    assert_eq!((&audit["client_losses"]["events"], &audit["delivered"]), (&losses, &11.into()), "{audit:#}");
    let said = text(&server.run(&["audit"]));
    assert!(said.contains("never left the clients: 8 (queue full 4, sampled 3, too large 1)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_no_events_is_sent_none() {
    let home = Home::new();
    let server = home.up(&["--clients-off"]);
    let mut config = config(server.url.clone());
    config.loss_report = Some(Duration::from_secs(600));
    let client = Client::start(config).unwrap();
    configured(&client).await;
    assert_eq!(client.send(Event::new("sdk.step").player("p")), Sent::Lost(Reason::Sampled));
    close(&client).await;
    server.flush().await;
    let audit = server.balanced().await;
    // The report alone.
    assert_eq!((&audit["delivered"], &audit["client_losses"]["events"]["sampled"]), (&1.into(), &1.into()));
}
