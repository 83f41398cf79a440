//! The step by itself: what each kind of record becomes, to the last header.

use crate::support::{BRIEF, ONCE, START_US, event, reason, registry, schema};
use events::dead::Reason;
use events::headers::{self, Headers};
use events::log::{Batch, NewRecord, Record};
use events::schema::{Registry, SharedRegistry};
use events::streams::TopicPartition;
use processors::AddressPolicy;
use processors::enrich::{Databases, Enricher};
use processors::partition::Partition;
use processors::route::Router;
use processors::spill::Scratch;
use processors::step::{Output, Stage, process};
use processors::window::{Budget, Claim, Verdict, Window};
use std::collections::HashMap;
use std::time::Duration;

struct Bench {
    partition: Partition,
    stage: Stage,
    next: i64,
    time_ms: i64,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(registry: SharedRegistry, discovery: bool, policy: AddressPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let window = Window::new("raw/0", Budget::new(1 << 30), Scratch::new(dir.path().join("s")).unwrap());
        let enricher = Enricher::new(Databases::open(&[]), policy, 100);
        let stage = Stage::new(Router::new(registry, discovery), enricher);
        Self { partition: Partition::new(window), stage, next: 0, time_ms: START_US / 1_000, _dir: dir }
    }

    fn process(&mut self, records: Vec<NewRecord>) -> Output {
        let position = self.next;
        let records = records.into_iter().map(|record| {
            // Every other offset, as a log with gaps may give them.
            let offset = self.next + 1;
            self.next = offset + 1;
            let NewRecord { key, headers, payload } = record;
            Record { offset, time_ms: self.time_ms, key, headers, payload }
        });
        let records = records.collect();
        let batch = Batch { from: TopicPartition::new("events.raw", 0), position, records, next: self.next };
        process(batch, "inc", &mut self.partition, &mut self.stage).unwrap()
    }
}

fn bench() -> Bench {
    Bench::new(registry(), true, AddressPolicy::Drop)
}

fn pairs(record: &NewRecord) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    record.headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn dead(record: &NewRecord) -> Record {
    let NewRecord { key, headers, payload } = record.clone();
    Record { offset: 0, time_ms: 0, key, headers, payload }
}

fn with(mut record: NewRecord, more: &[(&str, &str)]) -> NewRecord {
    let mut builder = events::HeadersBuilder::default();
    builder.extend_packed(record.headers.packed());
    more.iter().for_each(|(name, value)| builder.push(name, value.as_bytes()));
    record.headers = builder.build();
    record
}

#[test]
fn a_clean_record_keeps_its_headers_in_order_but_the_address_and_what_poses_as_ours() {
    let mut bench = bench();
    let posing = with(event(BRIEF, "2", "g", "{}"), &[("kf_country", "XX"), ("ce_clientaddress", "198.51.100.1")]);
    let two_addresses = with(event(BRIEF, "3", "g", "{}"), &[("ce_clientaddress", "198.51.100.1")]);
    let output = bench.process(vec![event(BRIEF, "1", "g", "{}"), posing, two_addresses]);
    let expected = |id: &str, raw: &str| {
        let pairs = [
            ("ce_specversion", "1.0"),
            ("ce_id", id),
            ("ce_source", "/game/server"),
            ("ce_type", BRIEF),
            ("ce_gameid", "g"),
            ("content-type", "application/json"),
            ("kf_schema", "1"),
            ("kf_raw_offset", raw),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    assert_eq!(pairs(&output.clean[0]), expected("1", "1"));
    assert_eq!(pairs(&output.clean[1]), expected("2", "3"));
    assert_eq!(pairs(&output.clean[2]), expected("3", "5"));
    assert_eq!((output.clean[0].key.as_ref(), output.clean[0].payload.as_deref()), (&b"g"[..], Some(&b"{}"[..])));
    assert_eq!((output.from, output.to), (0, 6));
}

#[test]
fn a_key_of_two_attributes_is_both_of_them() {
    let pair = schema("test.pair", Duration::from_secs(60), Some(&["gameid", "playerid"]));
    let mut bench = Bench::new(SharedRegistry::new(Registry::of([pair])), false, AddressPolicy::Drop);
    let of = |id: &str, player: &str| with(event("test.pair", id, "g", "{}"), &[("ce_playerid", player)]);
    let output = bench.process(vec![of("1", "ann"), of("2", "bob"), of("3", "ann")]);
    assert_eq!((output.clean.len(), output.counts.duplicates), (2, 1));
}

#[test]
fn each_kind_of_dead_letter_says_why_and_keeps_what_it_brought() {
    let unknown_version = with(event(BRIEF, "v", "g", "{}"), &[(headers::DATASCHEMA, "http://x/test.brief/9")]);
    let no_game = NewRecord {
        headers: Headers::of([(headers::ID, "1"), (headers::SOURCE, "/s"), (headers::TYPE, ONCE)]),
        ..event(ONCE, "1", "", "{}")
    };
    let empty_type = NewRecord {
        headers: Headers::of([(headers::ID, "1"), (headers::SOURCE, "/s"), (headers::TYPE, "")]),
        ..event(ONCE, "1", "", "{}")
    };
    let cases = [
        (event("un.known", "1", "g", "{}"), Reason::UnknownType, "discovery is off"),
        (unknown_version, Reason::UnknownSchemaVersion, "version 9"),
        (no_game, Reason::EnvelopeInvalid, "dedupe key"),
        (empty_type, Reason::EnvelopeInvalid, "no ce_type"),
        (NewRecord::default(), Reason::EnvelopeInvalid, "no ce_id"),
        (event(BRIEF, "c", "g", "{\"other\":1}"), Reason::Conflict, "same dedupe key"),
    ];
    let mut bench = Bench::new(registry(), false, AddressPolicy::Drop);
    bench.process(vec![event(BRIEF, "c", "g", "{}")]);
    for (record, expected, detail) in cases {
        let output = bench.process(vec![record.clone()]);
        assert_eq!((output.clean.len(), output.dead.len()), (0, 1), "{expected}");
        assert_eq!(output.counts.dead, [(expected, 1)].into());
        let letter = dead(&output.dead[0]);
        assert_eq!(reason(&letter), expected);
        let header = |name| letter.headers.get_str(name).unwrap_or_default().to_owned();
        assert!(header(headers::DEAD_DETAIL).contains(detail), "{}", header(headers::DEAD_DETAIL));
        assert_eq!(header(headers::DEAD_STAGE), "process");
        assert_eq!(header(headers::RAW_OFFSET), (output.from + 1).to_string());
        assert_eq!(header(headers::CLIENTADDRESS), "");
        assert_eq!((&letter.payload, &letter.key), (&record.payload, &record.key));
        let kept = record.headers.iter().filter(|(name, _)| *name != b"ce_clientaddress");
        assert!(kept.zip(letter.headers.iter()).all(|(before, after)| before == after), "{expected}");
    }
}

#[test]
fn a_dead_letter_claims_its_key_too_and_redrive_is_the_way_back() {
    let mut bench = Bench::new(registry(), false, AddressPolicy::Drop);
    let event = event("un.known", "1", "g", "{}");
    assert_eq!(bench.process(vec![event.clone(), event.clone()]).counts.duplicates, 1);
    let found_before = with(event.clone(), &[(headers::REDRIVEOF, "unknown_type")]);
    let geo = [("kf_country", "DE"), ("kf_reason", "unknown_type"), ("kf_raw_offset", "1")];
    let mut redriven = with(found_before, &geo);
    redriven.headers = Headers::of(
        pairs(&redriven).iter().filter(|(n, _)| n != headers::CLIENTADDRESS).map(|(n, v)| (n.as_str(), v.as_str())),
    );
    let schemas = registry();
    schemas.replace(Registry::of([schema("un.known", Duration::from_secs(9), None)]));
    bench.stage =
        Stage::new(Router::new(schemas, false), Enricher::new(Databases::open(&[]), AddressPolicy::Drop, 100));
    let output = bench.process(vec![redriven]);
    assert_eq!((output.counts.clean, output.counts.redriven), (1, 1));
    let headers = pairs(&output.clean[0]);
    let own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("kf_")).collect();
    let own: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(own, [("kf_country", "DE"), ("kf_schema", "1"), ("kf_raw_offset", "5")]);
}

#[test]
fn a_truncated_address_stays_where_that_is_asked_for() {
    let mut bench = Bench::new(registry(), true, AddressPolicy::Truncate);
    let mut conflicting = event(BRIEF, "1", "g", "[]");
    conflicting.key = "g".into();
    let output = bench.process(vec![event(BRIEF, "1", "g", "{}"), conflicting]);
    for record in [&output.clean[0], &output.dead[0]] {
        assert_eq!(record.headers.get_str(headers::CLIENTADDRESS), Some("203.0.113.0"));
    }
}

#[test]
fn the_window_is_measured_on_append_time_to_the_millisecond() {
    let mut bench = bench();
    let event = || vec![event(BRIEF, "1", "g", "{}")];
    assert_eq!(bench.process(event()).counts.clean, 1);
    bench.time_ms += 999;
    assert_eq!(bench.process(event()).counts.duplicates, 1);
    bench.time_ms += 1;
    assert_eq!(bench.process(event()).counts.clean, 1, "the window is over, a duplicate didn't prolong it");
    bench.time_ms += 999;
    assert_eq!(bench.process(event()).counts.duplicates, 1);
}

#[test]
fn a_batch_larger_than_any_chunk_loses_nothing() {
    let mut bench = bench();
    for count in [0u64, 1, 31, 32, 33, 64, 1_000] {
        let before = bench.next;
        let records = (0..count).map(|n| event("t", &format!("{before}-{}", n / 2), "g", "{}")).collect();
        let counts = bench.process(records).counts;
        assert_eq!((counts.accepted, counts.clean, counts.duplicates), (count, count.div_ceil(2), count / 2));
    }
}

#[test]
fn claims_past_the_memory_limit_go_to_disk_and_hold_there() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(dir.path().join("scratch")).unwrap();
    let budget = Budget::new(3 << 20);
    let mut window = Window::new("raw/0", budget.clone(), scratch.clone());
    let mut model: HashMap<u128, (u64, i64)> = HashMap::new();
    let fingerprint = |n: u64| u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let (mut verdicts, mut now_ms) = ([0u64; 3], 0i64);
    for round in 0..300u64 {
        for n in 0..1_000u64 {
            now_ms += i64::from(n % 4 == 0);
            // Mostly new keys, some of the near past, some of the far.
            let key = match n % 10 {
                0 => (round * 1_000 + n) / 2,
                1 => (round * 1_000 + n).saturating_sub(5_000),
                _ => round * 1_000 + n,
            };
            let payload_hash = u64::from(n % 30 == 0);
            let expires_ms = now_ms + 40_000;
            let claim = Claim { fingerprint: fingerprint(key), payload_hash, expires_ms };
            let verdict = window.admit(claim, now_ms).unwrap();
            let expected = match model.get(&claim.fingerprint) {
                Some((first, expires_ms)) if *expires_ms > now_ms && *first == payload_hash => Verdict::Duplicate,
                Some((_, expires_ms)) if *expires_ms > now_ms => Verdict::Conflict,
                _ => {
                    model.insert(claim.fingerprint, (payload_hash, expires_ms));
                    Verdict::Admitted
                }
            };
            assert_eq!(verdict, expected, "round {round}, event {n}");
            verdicts[verdict as usize] += 1;
        }
        window.settle(now_ms).unwrap();
        assert!(budget.bytes() <= 3 << 20, "{} bytes", budget.bytes());
    }
    assert!(verdicts.iter().all(|count| *count > 1_000), "{verdicts:?}");
    assert!(window.spilled() > 100_000, "{} on disk", window.spilled());
    window.settle(now_ms + 80_000).unwrap();
    assert_eq!(window.spilled(), 0, "segments go when their last claim has expired");
    drop(window);
    assert_eq!(budget.bytes(), 0);
}
