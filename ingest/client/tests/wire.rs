//! The client over real sockets, against a server that speaks just enough HTTP.

#![expect(clippy::unwrap_used, reason = "a failed test is a panic")]

mod proxy;

use killfeed_client::{Client, Compression, Config, Delivery, Event, Sent};
use proxy::{Proxy, Weather, read_request};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Heads of requests, and the events that were taken.
#[derive(Debug, Default)]
struct Seen {
    heads: Vec<String>,
    events: Vec<Value>,
}

/// A server that takes everything.
fn server() -> (SocketAddr, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = shared.clone();
            thread::spawn(move || serve(stream, &seen));
        }
    });
    (address, seen)
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) {
    while let Ok((head, body)) = read_request(&mut stream) {
        let answer = if head.starts_with("get /v1/config ") {
            json!({"dedupe": {"window_s": 86_400}})
        } else {
            let lines = if head.contains("content-encoding: zstd") {
                zstd::decode_all(&body[..]).unwrap()
            } else if head.contains("content-encoding: gzip") {
                let mut lines = Vec::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut lines).unwrap();
                lines
            } else {
                body
            };
            let events: Vec<Value> =
                std::str::from_utf8(&lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let result = |event: &Value| json!({"id": event["id"], "status": 202, "retry": false, "durability": "all"});
            let results: Vec<_> = events.iter().map(result).collect();
            seen.lock().unwrap().events.extend(events);
            json!({ "results": results })
        };
        seen.lock().unwrap().heads.push(head);
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        let head = if answer.contains("dedupe") { head.replace("202 Accepted", "200 OK") } else { head };
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn config(url: String) -> Config {
    let mut config = Config::new(url, "/test");
    (config.backoff_first, config.backoff_cap) = (Duration::from_millis(10), Duration::from_millis(100));
    config.request_timeout = Duration::from_millis(500);
    config.loss_report = None;
    config
}

#[test]
fn requests_have_key_type_and_encoding_and_share_a_connection() {
    for (compression, encoding) in
        [(Compression::Zstd, Some("zstd")), (Compression::Gzip, Some("gzip")), (Compression::None, None)]
    {
        let (address, seen) = server();
        let proxy = Proxy::start(address).unwrap();
        let mut config = config(format!("{}/", proxy.url()));
        (config.key, config.compression) = (Some("kf_secret".into()), compression);
        let client = Client::start(config).unwrap();
        for round in 0..5 {
            for n in 0..10 {
                assert_eq!(client.send(Event::new("t").player("p").data(&(round * 10 + n))), Sent::Taken);
            }
            assert!(client.flush(PATIENCE));
        }
        let seen = seen.lock().unwrap();
        let posts: Vec<_> = seen.heads.iter().filter(|head| head.starts_with("post /v1/batch http/1.1")).collect();
        assert_eq!(posts.len(), 5);
        for head in posts {
            assert!(
                head.contains("authorization: bearer kf_secret") && head.contains("content-type: application/x-ndjson")
            );
            let said = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
            assert_eq!(said, encoding);
        }
        let numbers: Vec<_> = seen.events.iter().map(|event| event["data"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        // One for the configuration, which waits for nobody, and one for events.
        assert!(proxy.accepted() <= 2, "{} connections", proxy.accepted());
        let stats = client.stats();
        assert_eq!((stats.delivered, stats.acknowledged, stats.pending, stats.configured), (50, 50, 0, true));
    }
}

#[test]
fn whatever_the_network_does_every_event_arrives_in_order() {
    let (address, seen) = server();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody).unwrap();
    let mut config = config(proxy.url());
    config.batch_time = Duration::from_millis(20);
    let client = Client::start(config).unwrap();
    let mut n = 0_u64;
    for weather in [
        Weather::Fair,
        Weather::Cut,
        Weather::CutAnswers,
        Weather::HalfOpen,
        Weather::Slow(2_000),
        Weather::Garbage,
        Weather::Busy,
    ] {
        proxy.set(weather);
        let failures = client.stats().failures;
        let begun = Instant::now();
        // Until it has been felt.
        while client.stats().failures < failures + 2 || begun.elapsed() < Duration::from_millis(100) {
            assert!(begun.elapsed() < PATIENCE, "{weather:?} was not felt: {:?}", client.stats());
            if matches!(weather, Weather::Fair | Weather::Slow(_)) && begun.elapsed() > Duration::from_secs(1) {
                break;
            }
            client.send(Event::new("t").player("p").data(&n));
            n += 1;
            thread::sleep(Duration::from_millis(2));
        }
        // A connection keeps the weather it was made in, where it answers by itself.
        proxy.set(Weather::Cut);
        proxy.set(Weather::Fair);
        proxy.lead_to(address);
    }
    assert!(client.close(PATIENCE), "{:?}", client.stats());
    let stats = client.stats();
    assert_eq!((stats.delivered, stats.pending, stats.lost.len()), (n, 0, 0), "{stats:?}");
    // At least once: each event's first arrival is in order.
    let seen = seen.lock().unwrap();
    let mut first: Vec<u64> = Vec::new();
    for event in &seen.events {
        let number = event["data"].as_u64().unwrap();
        if !first.contains(&number) {
            first.push(number);
        }
    }
    assert_eq!(first, (0..n).collect::<Vec<_>>());
}

#[test]
fn stored_events_and_those_in_memory_keep_their_order_at_any_pace() {
    let (address, seen) = server();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(format!("http://{address}"));
    (config.batch_time, config.batch_events) = (Duration::from_millis(10), 50);
    (config.queue_events, config.queue_bytes) = (100_000, 100 << 20);
    (config.store, config.store_time) = (Some(dir.path().join("events")), Duration::from_millis(1));
    config.delivery.insert("stored".into(), Delivery::Stored);
    let client = Client::start(config).unwrap();
    for n in 0..10_000_u64 {
        let event_type = if n.is_multiple_of(3) { "stored" } else { "memory" };
        assert_eq!(client.send(Event::new(event_type).player("p").data(&n)), Sent::Taken);
        if n.is_multiple_of(100) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(client.close(PATIENCE), "{:?}", client.stats());
    let seen = seen.lock().unwrap();
    let numbers: Vec<_> = seen.events.iter().map(|event| event["data"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn nobody_waits_longer_than_they_said() {
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::start(config(format!("http://{address}"))).unwrap();
    let begun = Instant::now();
    client.send(Event::new("t"));
    assert!(!client.flush(Duration::from_millis(300)));
    assert!((Duration::from_millis(300)..PATIENCE).contains(&begun.elapsed()));
    assert!(!client.close(Duration::from_millis(300)));
    let stats = client.stats();
    assert_eq!((stats.pending, stats.lost.values().sum::<u64>()), (0, 1), "{stats:?}");
}

#[test]
fn two_clients_cannot_have_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config("http://127.0.0.1:1".into());
    config.store = Some(dir.path().join("events"));
    let first = Client::start(config.clone()).unwrap();
    assert!(Client::start(config.clone()).unwrap_err().to_string().starts_with("store: "));
    first.close(Duration::ZERO);
    drop(first);
    Client::start(config).unwrap();
}
