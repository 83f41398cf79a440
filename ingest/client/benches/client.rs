//! The client beside its limits: `cargo bench --package killfeed-client`.
//!
//! What `send` costs the game's thread; what one core of the client gets through, beside the same work without it; and
//! the disk queue, beside appending the same bytes to a file with the same syncs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints figures, or stops")]

use cpu_time::{ProcessTime, ThreadTime};
use killfeed_client::store::{Directory, DiskQueue, Record};
use killfeed_client::{
    Answer, Client, Config, Done, Event, Ports, Random, Request, Seeded, Sent, SystemClock, Transport,
};
use serde::Serialize;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a game says a few times a second.
#[derive(Debug, Clone, Serialize)]
struct Kill {
    killer: u64,
    victim: u64,
    weapon: &'static str,
    x: f32,
    y: f32,
    headshot: bool,
}

fn event(n: u64) -> Event {
    let kill =
        Kill { killer: n % 10, victim: n % 9, weapon: "rifle", x: 10.5, y: -3.25, headshot: n.is_multiple_of(4) };
    Event::new("match.kill").player("player-12345678").game("game-87654321").data(&kill)
}

type Wake = Arc<dyn Fn() + Send + Sync>;

/// A server at no distance, which takes everything.
#[derive(Default)]
struct Nowhere {
    wake: Option<Wake>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl Nowhere {
    fn put(&self, done: Done) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

impl Transport for Nowhere {
    fn start(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn post(&mut self, request: Request) {
        let result = r#"{"id":"0123456789abcdef0123456789abcdef-1234","status":202,"retry":false,"unknown":false,"durability":"all","error":null}"#;
        let body = format!("{{\"results\":[{}]}}", vec![result; request.events].join(","));
        self.put(Done::Posted(Ok(Answer { status: 202, retry_after: None, body: body.into_bytes() })));
    }

    fn fetch_config(&mut self) {
        self.put(Done::Config(Ok(Answer { status: 200, retry_after: None, body: b"{}".to_vec() })));
    }

    fn poll(&mut self) -> Option<Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn client(change: impl FnOnce(&mut Config)) -> Client {
    let mut config = Config::new("http://nowhere", "/bench");
    change(&mut config);
    let (clock, random) = (Arc::new(SystemClock::default()), Box::new(Seeded::new(1)));
    let files = config.store.as_ref().map(|path| Box::new(Directory::open(path).unwrap()) as _);
    let ports = Ports { clock, random, transport: Box::<Nowhere>::default(), files };
    Client::start_with(config, ports).unwrap()
}

/// Nanoseconds of each call: `p50 p99 p99.9 max`.
fn percentiles(mut nanos: Vec<u64>) -> String {
    nanos.sort_unstable();
    let at = |part: usize| nanos[(nanos.len() * part / 1000).min(nanos.len() - 1)];
    format!("{:>7} {:>7} {:>8} {:>9}", at(500), at(990), at(999), nanos[nanos.len() - 1])
}

/// Calls from several threads, each at its pace.
fn send(what: &str, client: &Client, threads: u64, events: u64, pause: Duration) {
    let began = Arc::new(std::sync::Barrier::new(usize::try_from(threads).unwrap()));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (client, began) = (client.clone(), began.clone());
            thread::spawn(move || {
                let mut nanos = Vec::with_capacity(usize::try_from(events).unwrap());
                let mut random = Seeded::new(1);
                began.wait();
                for n in 0..events {
                    let event = event(n);
                    let start = Instant::now();
                    black_box(client.send(event));
                    nanos.push(u64::try_from(start.elapsed().as_nanos()).unwrap());
                    if !pause.is_zero() && n.is_multiple_of(16) {
                        thread::sleep(random.up_to(pause * 32));
                    }
                }
                nanos
            })
        })
        .collect();
    let count = threads.len();
    let nanos = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    println!("{what:<34} {count:>7} {}", percentiles(nanos));
}

fn cost_of_send() {
    println!("send, ns a call                    threads     p50     p99    p99.9       max");
    let nanos = (0..200_000).map(|_| {
        let start = Instant::now();
        black_box(());
        u64::try_from(start.elapsed().as_nanos()).unwrap()
    });
    println!("{:<34} {:>7} {}", "two looks at the clock, in all below", 1, percentiles(nanos.collect()));
    let nanos = (0..200_000).map(|n| {
        let start = Instant::now();
        black_box(event(black_box(n)));
        u64::try_from(start.elapsed().as_nanos()).unwrap()
    });
    println!("{:<34} {:>7} {}", "making the event", 1, percentiles(nanos.collect()));
    let dir = tempfile::tempdir().unwrap();
    for threads in [1, 2, 4] {
        let memory = client(|_| {});
        send("1,000 a second and thread", &memory, threads, 5_000, Duration::from_millis(1));
        send("as fast as it goes", &memory, threads, 200_000, Duration::ZERO);
        memory.close(Duration::from_secs(10));
        let stored = client(|config| {
            config.store = Some(dir.path().join(threads.to_string()));
            config.delivery_default = killfeed_client::Delivery::Stored;
        });
        send("1,000 a second and thread, stored", &stored, threads, 5_000, Duration::from_millis(1));
        stored.close(Duration::from_secs(10));
    }
}

/// The same work without the client: lines, zstd, by the batch.
fn bare(events: &[Event]) -> usize {
    let mut bytes = 0;
    for batch in events.chunks(500) {
        let mut body = String::new();
        for (n, event) in batch.iter().enumerate() {
            use std::fmt::Write as _;
            let _ = writeln!(
                body,
                "{{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef0123456789abcdef-{n}\",\"source\":\"/bench\",\"type\":\"{}\",\"playerid\":\"{}\",\
                 \"gameid\":\"{}\",\"data\":{},\"time\":\"2026-01-01T00:00:00.000000Z\",\"sentat\":\"2026-01-01T00:00:00.000000Z\"}}",
                event.event_type(),
                event.get("playerid").unwrap(),
                event.get("gameid").unwrap(),
                event.payload().unwrap(),
            );
        }
        bytes += body.len();
        black_box(zstd::bulk::compress(body.as_bytes(), 1).unwrap());
    }
    bytes
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn rate(events: usize, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

fn throughput() {
    const EVENTS: usize = 400_000;
    println!("\none core, events a CPU-second        client       bare   ratio  MB/s of NDJSON");
    let events: Vec<_> = (0..EVENTS as u64).map(event).collect();
    for _ in 0..3 {
        let start = ThreadTime::now();
        let bytes = bare(&events);
        let limit = rate(EVENTS, start.elapsed());
        let client = client(|config| (config.queue_events, config.queue_bytes) = (1_000_000, 1 << 30));
        let to_send = events.clone();
        let start = ProcessTime::now();
        for event in to_send {
            assert_eq!(client.send(event), Sent::Taken);
        }
        assert!(client.close(Duration::from_secs(120)));
        let ours = rate(EVENTS, start.elapsed());
        assert_eq!(client.stats().delivered, EVENTS as u64);
        println!(
            "{:<33} {ours:>10.0} {limit:>10.0} {:>7.2} {:>8.0}",
            "send to answer, 0.3 KB an event",
            ours / limit,
            ours * rate(bytes, Duration::from_secs(1)) / rate(EVENTS, Duration::from_secs(1)) / 1e6
        );
    }
}

fn disk() {
    const EVENTS: usize = 200_000;
    const CHUNK: usize = 150;
    println!("\ndisk queue, events a second           queue       bare   ratio");
    let members =
        "\"specversion\":\"1.0\",\"id\":\"0123456789abcdef0123456789abcdef-123456\",\"source\":\"/bench\",\"data\":"
            .to_owned()
            + &"7".repeat(200);
    let records: Vec<_> = (0..EVENTS as u64)
        .map(|order| Record {
            order,
            time_us: 0,
            server_time: true,
            event_type: "match.kill".into(),
            members: members.clone(),
        })
        .collect();
    let bytes: Vec<u8> = vec![b'x'; usize::try_from(records[0].bytes()).unwrap() * CHUNK];
    let dir = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    for (round, synced) in [false, true, false, true].into_iter().enumerate() {
        let what = if synced { "append, a sync for each 7,500" } else { "append, no sync" };
        let mut file = File::create(dir.path().join(format!("bare{round}"))).unwrap();
        let start = Instant::now();
        for (n, _) in records.chunks(CHUNK).enumerate() {
            file.write_all(&bytes).unwrap();
            if synced && n % 50 == 49 {
                file.sync_data().unwrap();
            }
        }
        let limit = rate(EVENTS, start.elapsed());
        let files = Directory::open(dir.path().join(format!("queue{round}"))).unwrap();
        let mut queue = DiskQueue::open(Box::new(files), 1 << 30).unwrap();
        let start = Instant::now();
        for (n, chunk) in records.chunks(CHUNK).enumerate() {
            queue.append(chunk).unwrap();
            if synced && n % 50 == 49 {
                queue.sync().unwrap();
            }
        }
        let ours = rate(EVENTS, start.elapsed());
        println!("{what:<33} {ours:>10.0} {limit:>10.0} {:>7.2}", ours / limit);
        let start = Instant::now();
        let mut read = 0;
        while let Some(stored) = queue.read().unwrap() {
            queue.done(stored.index);
            read += 1;
            if read % 500 == 0 {
                queue.commit().unwrap();
            }
        }
        assert_eq!(read, EVENTS);
        println!("{:<33} {:>10.0}", "read and acknowledge, by the 500", rate(EVENTS, start.elapsed()));
    }
}

fn main() {
    cost_of_send();
    throughput();
    disk();
}
