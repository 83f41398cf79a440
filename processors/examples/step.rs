//! The pure step on one core: 0.3 KB events, 10 million live fingerprints, addresses met before.
//!
//! `cargo run --release -p processors --example step [MILLIONS_OF_FINGERPRINTS]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may fail")]

use bytes::Bytes;
use events::headers::HeadersBuilder;
use events::log::{Batch, Record};
use events::schema::SharedRegistry;
use events::streams::TopicPartition;
use processors::AddressPolicy;
use processors::enrich::{Databases, Enricher};
use processors::partition::Partition;
use processors::route::Router;
use processors::spill::Scratch;
use processors::state::unpack;
use processors::step::{Stage, process};
use processors::window::{Budget, Window};
use std::time::{Duration, Instant};

const BATCH: usize = 4_096;

/// Batches of distinct events, with 5 % of each a repetition of what came before.
fn batch(first: u64, addresses: u64) -> Batch {
    let mut builder = HeadersBuilder::with_capacity(BATCH * 300);
    let payload = Bytes::from(vec![b'7'; BATCH * 120]);
    let records = (0..BATCH as u64).map(|place| {
        let number = first + place;
        let id = if number % 20 == 19 { number - 19 } else { number };
        let game = format!("NA1_{}", id / 40);
        builder.push("ce_specversion", b"1.0");
        builder.push("ce_id", format!("{id:020}").as_bytes());
        builder.push("ce_source", b"/game/server/17");
        builder.push("ce_type", b"lol.champion_kill");
        builder.push("ce_time", b"2026-11-21T10:00:00.123Z");
        builder.push("ce_gameid", game.as_bytes());
        builder.push("ce_playerid", b"player-12345678");
        builder.push("content-type", b"application/json");
        builder.push("ce_receivedat", b"2026-11-21T10:00:00.123456Z");
        let address = number % addresses;
        builder.push(
            "ce_clientaddress",
            format!("198.{}.{}.{}", 18 + address / 65_536, address / 256 % 256, address % 256).as_bytes(),
        );
        let at = usize::try_from(place).unwrap() * 120;
        Record {
            offset: i64::try_from(number).unwrap(),
            time_ms: 1_700_000_000_000,
            key: game.into_bytes().into(),
            headers: builder.split(),
            payload: Some(payload.slice(at..at + 120)),
        }
    });
    let records: Vec<_> = records.collect();
    let position = i64::try_from(first).unwrap();
    Batch { from: TopicPartition::new("events.raw", 0), position, records, next: position + BATCH as i64 }
}

fn main() {
    let millions: u64 = std::env::args().nth(1).map_or(10, |text| text.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("killfeed-step-{}", std::process::id()));
    let scratch = Scratch::new(&dir).unwrap();
    let mut partition = Partition::new(Window::new("raw/0", Budget::new(usize::MAX), scratch));
    let geoip: Vec<_> = std::env::var_os("GEOIP").into_iter().map(Into::into).collect();
    let enricher = Enricher::new(Databases::open(&geoip), AddressPolicy::Drop, 131_072);
    let mut stage = Stage::new(Router::new(SharedRegistry::default(), true), enricher);

    let sample = batch(0, 1_000);
    let bytes: usize =
        sample.records.iter().map(|r| r.headers.len() + r.key.len() + r.payload.as_ref().map_or(0, Bytes::len)).sum();
    println!("{} bytes an event", bytes / BATCH);

    let (mut first, mut pages) = (0, Vec::new());
    let filling = Instant::now();
    while partition.window().len() < usize::try_from(millions * 1_000_000).unwrap() {
        pages.extend(process(batch(first, 1_000), "inc", &mut partition, &mut stage).unwrap().state);
        first += BATCH as u64;
    }
    let live = partition.window().len();
    println!(
        "filled with {live} fingerprints in {:.1?} (making the events included): {} MB",
        filling.elapsed(),
        partition.window().bytes() >> 20
    );

    let forgetful = Enricher::new(Databases::open(&geoip), AddressPolicy::Drop, 1_000);
    let mut forgetful = Stage::new(Router::new(SharedRegistry::default(), true), forgetful);
    for (what, addresses, stage) in
        [("addresses met before", 1_000, &mut stage), ("each address a new one", 131_072, &mut forgetful)]
    {
        let (mut took, mut events) = (Duration::ZERO, 0u64);
        while took < Duration::from_secs(3) {
            let batch = batch(first, addresses);
            first += BATCH as u64;
            let started = Instant::now();
            let output = process(batch, "inc", &mut partition, stage).unwrap();
            took += started.elapsed();
            events += output.counts.accepted;
        }
        println!("{what}: {:.0} events/s", events as f64 / took.as_secs_f64());
    }

    let window = Window::new("raw/1", Budget::new(usize::MAX), Scratch::new(dir.join("x")).unwrap());
    let mut taken = Partition::new(window);
    let started = Instant::now();
    for page in &pages {
        taken.restore(&unpack(page).unwrap(), 1_700_000_000_000).unwrap();
    }
    println!("take-over without the log's reading: {} fingerprints in {:.2?}", taken.window().len(), started.elapsed());
}
