//! Dedupe's promise, held against a model: whatever goes wrong, every raw record ends as exactly one
//! of clean, duplicate and dead, by a plain map's judgement, and the books say so.

use crate::support::{BRIEF, Ground, ONCE, event, raw_offset, reason};
use events::dead::Reason;
use events::headers;
use events::ledger::Count;
use events::log::memory::{Faults, MemoryLog};
use events::log::{Log, Offset, Record};
use events::streams::PROCESSOR_GROUP;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const PARTITIONS: i32 = 2;

/// What a day brings.
#[derive(Debug, Clone)]
enum Happening {
    Send {
        partition: i32,
        kind: u8,
        id: u8,
        data: u8,
        copies: u8,
    },
    /// The log's clock moves on.
    Pass {
        ms: i64,
    },
    /// The processor gets to work.
    Work {
        ms: u64,
    },
    Kill,
    Upset,
    Crash,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0..PARTITIONS, 0u8..6, 0u8..8, 0u8..3, 1u8..4)
            .prop_map(|(partition, kind, id, data, copies)| Happening::Send { partition, kind, id, data, copies }),
        3 => (1i64..1_500).prop_map(|ms| Happening::Pass { ms }),
        1 => (1i64..90_000).prop_map(|ms| Happening::Pass { ms }),
        3 => (1u64..80).prop_map(|ms| Happening::Work { ms }),
        1 => Just(Happening::Kill),
        1 => Just(Happening::Upset),
        1 => Just(Happening::Crash),
    ]
}

fn record(partition: i32, kind: u8, id: u8, data: u8) -> events::log::NewRecord {
    let (id, game, data) = (id.to_string(), format!("g{partition}-{}", id % 3), format!("{{\"n\":{data}}}"));
    match kind {
        0 | 1 => event(BRIEF, &id, &game, &data),
        2 => event(ONCE, &id, &game, &data),
        3 => event("test.discovered", &id, &game, &data),
        4 => {
            let mut redriven = event(BRIEF, &id, &game, &data);
            let marked = redriven
                .headers
                .iter()
                .map(|(name, value)| (std::str::from_utf8(name).unwrap(), std::str::from_utf8(value).unwrap()));
            redriven.headers = events::Headers::of(marked.chain([(headers::REDRIVEOF, "conflict")]));
            redriven
        }
        _ => {
            events::log::NewRecord { headers: events::Headers::of([("who", "else")]), ..event("x", "1", &game, &data) }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Clean,
    Redriven,
    Duplicate,
    Dead(Reason),
}

/// Type, partition key, id.
type Key = (String, Vec<u8>, String);

/// The judgement, in as few words as possible.
fn judge(raw: &[Record]) -> BTreeMap<Offset, Fate> {
    let mut held: HashMap<Key, (Vec<u8>, i64)> = HashMap::new();
    let mut fates = BTreeMap::new();
    for record in raw {
        let header = |name| record.headers.get_str(name).unwrap_or_default().to_owned();
        let event_type = header(headers::TYPE);
        let (window_ms, id) = match event_type.as_str() {
            BRIEF => (1_000, header(headers::ID)),
            ONCE => (60_000, String::new()),
            _ => (86_400_000, header(headers::ID)),
        };
        let data = record.payload.clone().unwrap().to_vec();
        let key = (event_type.clone(), record.key.to_vec(), id);
        let fate = if event_type.is_empty() {
            Fate::Dead(Reason::EnvelopeInvalid)
        } else if record.headers.get(headers::REDRIVEOF).is_some() {
            Fate::Redriven
        } else {
            match held.get(&key) {
                Some((first, expires_ms)) if record.time_ms < *expires_ms && *first == data => Fate::Duplicate,
                Some((_, expires_ms)) if record.time_ms < *expires_ms => Fate::Dead(Reason::Conflict),
                _ => {
                    held.insert(key, (data, record.time_ms + window_ms));
                    Fate::Clean
                }
            }
        };
        fates.insert(record.offset, fate);
    }
    fates
}

/// Holds one partition's outputs against the judgement.
async fn check(ground: &Ground, partition: i32) {
    let raw = ground.read(&ground.raw(partition)).await;
    let fates = judge(&raw);
    let wanted = |which: fn(&Fate) -> bool| -> Vec<Offset> {
        fates.iter().filter(|(_, fate)| which(fate)).map(|(offset, _)| *offset).collect()
    };
    let clean = ground.clean(partition).await;
    let offsets: Vec<_> = clean.iter().map(raw_offset).collect();
    assert_eq!(offsets, wanted(|fate| matches!(fate, Fate::Clean | Fate::Redriven)), "clean, in raw order");
    let dead = ground.dead(partition).await;
    let offsets: Vec<_> = dead.iter().map(|record| (raw_offset(record), Fate::Dead(reason(record)))).collect();
    let buried = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Dead(_)));
    assert_eq!(offsets, buried.map(|(offset, fate)| (*offset, *fate)).collect::<Vec<_>>());
    for record in clean.iter().chain(&dead) {
        let original = raw.iter().find(|raw| raw.offset == raw_offset(record)).unwrap();
        assert_eq!(record.payload, original.payload, "bytes pass through");
        assert_eq!(record.headers.get(headers::CLIENTADDRESS), None);
    }

    let committed = ground.log.committed(PROCESSOR_GROUP, &ground.raw(partition)).await.unwrap();
    let mut position = 0;
    for count in ground.entries(partition).await {
        let Count::Process { from, to, accepted, clean, duplicates, dead, redriven } = count else {
            panic!("only processors wrote entries");
        };
        assert_eq!(from, position, "entries tile");
        position = to;
        let of = |which: fn(&Fate) -> bool| fates.range(from..to).filter(|(_, fate)| which(fate)).count() as u64;
        assert_eq!(accepted, of(|_| true));
        assert_eq!(clean, of(|fate| matches!(fate, Fate::Clean | Fate::Redriven)));
        assert_eq!(duplicates, of(|fate| *fate == Fate::Duplicate));
        assert_eq!(redriven, of(|fate| *fate == Fate::Redriven));
        assert_eq!(dead.values().sum::<u64>(), of(|fate| matches!(fate, Fate::Dead(_))));
    }
    assert_eq!(Some(position), committed, "up to the position");
    let mut position = 0;
    for page in ground.pages(partition).await {
        assert_eq!(page.from, position, "state tiles");
        position = page.to;
    }
    assert_eq!(Some(position), committed, "up to the position");
}

async fn live_through(seed: u64, faults: Faults, day: Vec<Happening>) {
    let ground = Ground::new(PARTITIONS, |clock| MemoryLog::with_faults(seed, faults, clock)).await;
    let mut running = ground.start();
    for happening in day {
        match happening {
            Happening::Send { partition, kind, id, data, copies } => {
                let records = (0..copies).map(|_| record(partition, kind, id, data)).collect();
                ground.send(partition, records).await;
            }
            Happening::Pass { ms } => ground.clock.advance_us(ms * 1_000),
            Happening::Work { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Happening::Kill => {
                running.kill().await;
                running = ground.start();
            }
            Happening::Upset => ground.log.upset_group(PROCESSOR_GROUP),
            Happening::Crash => ground.log.crash(),
        }
    }
    ground.settled().await;
    running.stop().await.unwrap();
    for partition in 0..PARTITIONS {
        check(&ground, partition).await;
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn on_a_bad_day_the_books_balance(seed: u64, day in prop::collection::vec(happening(), 1..60)) {
        block_on(live_through(seed, Faults::STORM, day));
    }

    #[test]
    fn over_gaps_the_books_balance(seed: u64, day in prop::collection::vec(happening(), 1..60)) {
        block_on(live_through(seed, Faults::GAPS, day));
    }
}

#[tokio::test]
async fn two_members_share_the_partitions_and_nothing_is_counted_twice() {
    let mut ground = Ground::new(4, MemoryLog::new).await;
    let first = ground.start();
    for number in 0..200u8 {
        ground.send(i32::from(number % 4), vec![record(i32::from(number % 4), 0, number % 50, 0)]).await;
        if number == 60 {
            "another".clone_into(&mut ground.config.instance);
            ground.config.scratch_dir.push("another");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = ground.start();
    for number in 0..200u8 {
        ground.send(i32::from(number % 4), vec![record(i32::from(number % 4), 0, number % 60, 0)]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.stop().await.unwrap();
    ground.settled().await;
    second.stop().await.unwrap();
    for partition in 0..4 {
        check(&ground, partition).await;
    }
}
