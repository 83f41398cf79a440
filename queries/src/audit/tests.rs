//! The audit must be able to fail: each way in which books can be wrong is tried, and named.

use super::{Audit, Books, audit};
use crate::tests::support::{Fixture, config, dead_schema, event, event_schema, ledger, letter};
use async_trait::async_trait;
use events::dead::Reason;
use events::headers::RAW_OFFSET;
use events::ledger::{Count, Entry};
use events::log::{
    Append, Appended, Batch, Durability, Ends, Error, Log, Member, Offset, ReadLimit, Record, Result, StreamInfo,
    StreamSpec, Transactor,
};
use events::streams::{PROCESSOR_GROUP, SINK_GROUP};
use events::{Headers, SharedStreams, Stream, TopicPartition};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A log that stands still: positions and records as a test sets them.
#[derive(Debug, Default)]
pub(crate) struct FakeLog {
    streams: BTreeMap<String, StreamInfo>,
    committed: BTreeMap<(String, TopicPartition), Offset>,
    records: BTreeMap<TopicPartition, Vec<Record>>,
}

impl FakeLog {
    fn add(&mut self, topic: &str, offset: Offset, raw: Option<Offset>, payload: &str) {
        let headers = raw.map(|raw| Headers::of([(RAW_OFFSET, raw.to_string().as_str())])).unwrap_or_default();
        let payload = Some(payload.to_owned().into());
        let record = Record { offset, time_ms: 0, key: Default::default(), headers, payload };
        self.records.entry(TopicPartition::new(topic, 0)).or_default().push(record);
    }

    fn commit(&mut self, group: &str, topic: &str, position: Offset) {
        self.committed.insert((group.into(), TopicPartition::new(topic, 0)), position);
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::Refused("the audit only reads".into()))
}

#[async_trait]
impl Log for FakeLog {
    async fn create_stream(&self, _: &StreamSpec) -> Result<StreamInfo> {
        unused()
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        Ok(self.streams.get(stream.name()).cloned())
    }

    async fn append(&self, appends: Vec<Append>, _: Durability) -> Vec<Result<Appended>> {
        appends.iter().map(|_| unused()).collect()
    }

    /// Two records at a time, so that reading on is tried.
    async fn read(&self, from: &TopicPartition, position: Offset, _: ReadLimit) -> Result<Batch> {
        let all = self.records.get(from).map(Vec::as_slice).unwrap_or_default();
        let records: Vec<Record> = all.iter().filter(|record| record.offset >= position).take(2).cloned().collect();
        let next = records.last().map_or(position, |record| record.offset + 1);
        Ok(Batch { from: from.clone(), position, records, next })
    }

    async fn ends(&self, _: &TopicPartition) -> Result<Ends> {
        Ok(Ends { start: 0, last_stable: 1_000, end: 1_000 })
    }

    async fn offset_at(&self, _: &TopicPartition, _: i64) -> Result<Offset> {
        unused()
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        Ok(self.committed.get(&(group.to_owned(), of.clone())).copied())
    }

    async fn join(&self, _: &str, _: &[Arc<str>], _: &str) -> Result<Box<dyn Member>> {
        unused()
    }

    async fn transactor(&self, _: &str) -> Result<Box<dyn Transactor>> {
        unused()
    }
}

/// A pipeline at rest, which each case damages in its own way. Raw offset 4, clean offset 3 and dead
/// offset 1 are gaps. What was read of raw: a duplicate at 3 and 9, a conflict at 8; the sink refused
/// the clean record of 7.
struct World {
    log: FakeLog,
    carried: Vec<Entry>,
    chat: Vec<Value>,
    fights: Vec<Value>,
    letters: Vec<Value>,
    removals: Vec<(&'static str, &'static str)>,
    /// Rows of the ledger, from its first on, that are written again.
    doubled: usize,
}

fn entry(id: &str, count: Count) -> Entry {
    Entry {
        id: id.into(),
        time_us: 0,
        instance: "test".into(),
        stream: "events".into(),
        incarnation: "inc".into(),
        partition: 0,
        count,
    }
}

fn process(from: Offset, to: Offset, accepted: u64, clean: u64, duplicates: u64, conflicts: u64) -> Count {
    let dead = if conflicts > 0 { [(Reason::Conflict, conflicts)].into() } else { BTreeMap::new() };
    Count::Process { from, to, accepted, clean, duplicates, dead, redriven: 0 }
}

fn sink(topic: &str, from: Offset, to: Offset, rows: &[(&str, u64)]) -> Count {
    let rows: BTreeMap<String, u64> = rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect();
    Count::Sink { topic: topic.into(), from, to, records: rows.values().sum(), rows }
}

impl World {
    fn new() -> Self {
        let mut log = FakeLog::default();
        let info = StreamInfo {
            stream: Stream::new("events").unwrap(),
            partitions: 1,
            incarnation: "inc".into(),
            retention: Duration::from_secs(1),
            ended: None,
        };
        log.streams.insert("events".into(), info);
        log.commit(PROCESSOR_GROUP, "events.raw", 10);
        log.commit(SINK_GROUP, "events.clean", 8);
        log.commit(SINK_GROUP, "events.dead", 2);
        log.commit(SINK_GROUP, "events.ledger", 3);
        // On the topic past what the sinks carried: one entry, which also stands in the table.
        let sunk = entry("s2", sink("events.clean", 4, 8, &[("chat", 1), ("fight", 1), ("dead_letters", 1)]));
        let letters = entry("s3", sink("events.dead", 0, 2, &[("dead_letters", 1)]));
        for (offset, entry) in [(3, &letters), (4, &sunk)] {
            log.add("events.ledger", offset, None, &serde_json::to_string(entry).unwrap());
        }
        let carried = vec![
            entry("i1", Count::Ingest { acknowledged: 9, unacknowledged: 0 }),
            entry("p1", process(0, 5, 4, 3, 1, 0)),
            entry("p2", process(5, 10, 5, 3, 1, 1)),
            entry("s1", sink("events.clean", 0, 4, &[("chat", 2), ("fight", 1)])),
            sunk,
        ];
        Self {
            log,
            carried,
            chat: vec![event(0, 0, json!({})), event(1, 1, json!({})), event(5, 4, json!({}))],
            fights: vec![event(2, 2, json!({})), event(6, 5, json!({}))],
            letters: vec![
                letter(7, 6, json!({"_topic": "events.clean", "stage": "sink"})),
                letter(8, 0, json!({"reason": "conflict"})),
            ],
            removals: Vec::new(),
            doubled: 0,
        }
    }

    /// One more step, of which the sinks have nothing yet.
    fn further_step(&mut self) {
        self.log.commit(PROCESSOR_GROUP, "events.raw", 20);
        self.log.add("events.clean", 9, Some(12), "");
        self.log.add(
            "events.ledger",
            5,
            None,
            &serde_json::to_string(&entry("p3", process(10, 20, 3, 2, 1, 0))).unwrap(),
        );
    }

    fn without(&mut self, id: &str) {
        self.carried.retain(|entry| entry.id != id);
    }

    async fn audit(self) -> Audit {
        let fixture = Fixture::new();
        let schema = event_schema(&[]);
        fixture.append("chat", &schema, &self.chat).await;
        fixture.append("fight", &schema, &self.fights).await;
        fixture.append("dead_letters", &dead_schema(), &self.letters).await;
        ledger(&fixture, &self.carried).await;
        if self.doubled > 0 {
            ledger(&fixture, &self.carried[..self.doubled]).await;
        }
        for (table, removal) in self.removals {
            fixture.txn(table, &tables::removal_app_id(removal)).await;
        }
        let engine = fixture.engine(config());
        let streams = SharedStreams::new(self.log.streams.values().cloned().collect());
        let books = Books { log: Arc::new(self.log), streams };
        audit(&engine, &books).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_books_balance_and_look_as_the_contract_says() {
    let audit = World::new().audit().await;
    let shown = serde_json::to_value(&audit).unwrap();
    let sums = json!({"acknowledged": 9, "accepted": 9, "delivered": 5, "duplicates": 2, "conflicts": 1, "dead": 1,
        "in_flight": 0, "expired": 0, "balanced": true});
    for (name, value) in sums.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}: {shown}");
        assert_eq!(&shown["partitions"][0][name], value, "{name}: {shown}");
    }
    assert_eq!(shown["partitions"][0]["stream"], "events");
    assert_eq!(shown["partitions"][0]["partition"], 0);
    assert_eq!(shown["problems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_in_flight() {
    let mut world = World::new();
    world.further_step();
    // Already in a table, but its position is not committed.
    world.chat.push(event(12, 9, json!({})));
    let audit = world.audit().await;
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!((audit.sums.accepted, audit.sums.in_flight, audit.sums.delivered), (12, 3, 5));
    assert_eq!(audit.partitions[0].cut, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_on_purpose_are_part_of_the_books() {
    let removal = |table: &str, rows: &[(&str, u64)]| {
        let rows = rows.iter().map(|(what, rows)| ((*what).to_owned(), *rows)).collect();
        Count::Removal { removal: "r".into(), cause: "forget".into(), table: table.into(), rows }
    };
    let mut world = World::new();
    world.carried.push(entry("r1", removal("chat", &[("row", 2)])));
    world.carried.push(entry("r2", removal("dead_letters", &[("conflict", 1)])));
    world.removals = vec![("chat", "r"), ("dead_letters", "r")];
    world.chat.truncate(1);
    world.letters.truncate(1);
    let audit = world.audit().await;
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!((audit.sums.delivered, audit.sums.conflicts, audit.partitions[0].removed), (5, 1, 3));

    // Taken from past the cut: the event counts as in flight. Written by who serves another stream.
    let mut world = World::new();
    world.further_step();
    world.carried.push(Entry { stream: "others".into(), ..entry("r1", removal("chat", &[("row", 1)])) });
    world.removals = vec![("chat", "r")];
    let audit = world.audit().await;
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!((audit.sums.delivered, audit.sums.in_flight, audit.partitions.len()), (5, 3, 1));

    // Written down, but the table never saw it: the rows are simply gone.
    let mut world = World::new();
    world.carried.push(entry("r1", removal("chat", &[("row", 1)])));
    world.chat.truncate(2);
    assert!(!world.audit().await.balanced);
    // Seen by the table, but more is gone than was written down.
    let mut world = World::new();
    world.carried.push(entry("r1", removal("chat", &[("row", 1)])));
    world.removals = vec![("chat", "r")];
    world.chat.truncate(1);
    let problems = world.audit().await.problems.join("\n");
    assert!(problems.contains("1 rows are missing (1 more were removed on purpose)"), "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_incarnation_stays_in_the_books() {
    let mut world = World::new();
    let old = |id: &str, count| Entry { incarnation: "old".into(), ..entry(id, count) };
    world.carried.push(old("o1", process(0, 3, 2, 2, 0, 0)));
    world.carried.push(old("o2", sink("events.clean", 0, 3, &[("chat", 2)])));
    world.chat.push(event(0, 0, json!({"_incarnation": "old"})));
    world.chat.push(event(1, 1, json!({"_incarnation": "old"})));
    let good = World { chat: world.chat.clone(), carried: world.carried.clone(), ..World::new() };
    let audit = good.audit().await;
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!((audit.sums.accepted, audit.partitions.len()), (11, 2));
    world.chat.pop();
    let problems = world.audit().await.problems.join("\n");
    assert!(problems.contains("incarnation old") && problems.contains("1 of 2 from raw offsets 0 to 3"), "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_is_found_and_named() {
    type Damage = fn(&mut World);
    let cases: [(&str, Damage, &[&str]); 22] = [
        (
            "a row deleted",
            |world| drop(world.chat.remove(1)),
            &["1 of 3 from raw offsets 0 to 5", "into table chat, it has 2"],
        ),
        (
            "a row doubled",
            |world| world.chat.push(event(5, 4, json!({}))),
            &["1 rows stand twice: raw offset 5 in table chat"],
        ),
        (
            "one doubled, one deleted in the same step",
            |world| world.chat[1] = event(0, 0, json!({})),
            &["raw offset 0 in table chat", "1 of 3 from raw offsets 0 to 5"],
        ),
        (
            "one doubled in another table, one deleted",
            |world| {
                world.chat.remove(1);
                world.fights.push(event(0, 0, json!({})));
            },
            &["1 rows stand twice", "into table fight, it has 3", "into table chat, it has 2"],
        ),
        (
            "a row moved to another table",
            |world| {
                let row = world.chat.remove(0);
                world.fights.push(row);
            },
            &["table chat, it has 2", "table fight, it has 3"],
        ),
        (
            "a row of no event",
            |world| world.chat.push(event(4, 3, json!({}))),
            &["1 more than 3 from raw offsets 0 to 5"],
        ),
        (
            "a row of a foreign partition",
            |world| world.chat.push(event(4, 3, json!({"_partition": 7}))),
            &["incarnation inc, partition 7"],
        ),
        (
            "a row without a place",
            |world| world.chat.push(event(4, 3, json!({"_raw_offset": null}))),
            &["table chat: 1 rows lack"],
        ),
        ("a dead letter deleted", |world| drop(world.letters.remove(0)), &["into table dead_letters, it has 1"]),
        (
            "a conflict deleted",
            |world| drop(world.letters.remove(1)),
            &["1 dead letters for conflict, table dead_letters has 0"],
        ),
        (
            "a conflict with another reason",
            |world| world.letters[1] = letter(8, 0, json!({})),
            &["1 dead letters for conflict, table dead_letters has 0"],
        ),
        (
            "a raw record lost before it was read",
            |world| world.carried[0] = entry("i1", Count::Ingest { acknowledged: 10, unacknowledged: 0 }),
            &["acknowledged 10 events, but only 9 were read from raw and 0 are there to read: 1 are lost"],
        ),
        (
            "the first entry of the processor",
            |world| world.without("p1"),
            &["leave out offsets 0 to 5 of events.raw", "no ledger entry covers"],
        ),
        (
            "the last entry of the processor",
            |world| world.without("p2"),
            &["end at offset 5 of events.raw, but its position is 10"],
        ),
        (
            "an entry of the sink",
            |world| world.without("s1"),
            &["leave out offsets 0 to 4 of events.clean", "sinks counted 1 rows into table chat, it has 3"],
        ),
        (
            "an entry that the topic still has",
            |world| {
                world.log.commit(SINK_GROUP, "events.ledger", 6);
                world.log.add("events.ledger", 5, None, "ingest's");
            },
            &["1 entries are missing in table killfeed_ledger: offset 5 of events.ledger/0 is the first"],
        ),
        (
            "a row of the ledger doubled",
            |world| world.doubled = 1,
            &["1 entries stand twice in table killfeed_ledger: offset 0 of partition 0, incarnation inc, is the first"],
        ),
        (
            "entries that overlap",
            |world| world.carried.push(entry("p9", process(0, 5, 4, 3, 1, 0))),
            &["count offsets 0 to 5 of events.raw twice"],
        ),
        (
            "an entry that counts too few duplicates",
            |world| world.carried[1] = entry("p1", process(0, 5, 4, 3, 0, 0)),
            &["9 accepted are not 5 delivered + 1 duplicates"],
        ),
        ("a table gone", |world| world.fights.clear(), &["into table fight, it has 0"]),
        (
            "a removal that took nothing",
            |world| {
                let rows = [("row".to_owned(), 1)].into();
                let count = Count::Removal { removal: "r".into(), cause: "forget".into(), table: "chat".into(), rows };
                world.carried.push(entry("r1", count));
                world.removals = vec![("chat", "r")];
            },
            &["1 rows were removed on purpose, but only 0 are gone"],
        ),
        (
            "a record of the ledger that is no entry",
            |world| world.log.add("events.ledger", 9, None, "?"),
            &["record 9 of events.ledger/0 is no entry"],
        ),
    ];
    for (name, damage, parts) in cases {
        let mut world = World::new();
        damage(&mut world);
        let audit = world.audit().await;
        assert!(!audit.balanced, "{name} was not found");
        let problems = audit.problems.join("\n");
        for part in parts {
            assert!(problems.contains(part), "{name}: {part:?} is not in\n{problems}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_raw_but_unread_is_not_lost() {
    let mut world = World::new();
    world.carried[0] = entry("i1", Count::Ingest { acknowledged: 12, unacknowledged: 0 });
    for offset in 10..13 {
        world.log.add("events.raw", offset, None, "");
    }
    let audit = world.audit().await;
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!((audit.sums.acknowledged, audit.sums.accepted), (12, 9));
}

/// The same books in one pass and in many: windows must not lose or double what lies on a border.
#[tokio::test(flavor = "multi_thread")]
async fn many_passes_count_like_one() {
    const ROWS: i64 = 200_000;
    let fixture = Fixture::new();
    let rows: Vec<Value> = (0..ROWS).step_by(997).map(|raw| event(raw, raw, json!({}))).collect();
    let count = rows.len() as u64;
    fixture.append("chat", &event_schema(&[]), &rows).await;
    let engine = fixture.engine(config());
    let key = super::cut::Key { stream: "events".into(), partition: 0, incarnation: "inc".into() };
    for bytes_max in [u64::MAX, 1] {
        let step = |from, to, rows| super::entries::Processed {
            from,
            to,
            accepted: rows,
            clean: rows,
            duplicates: 0,
            dead: BTreeMap::new(),
            found: 0,
        };
        let half = (0..ROWS).step_by(997).filter(|raw| *raw < 100_000).count() as u64;
        let mut account = super::cut::Account {
            key: key.clone(),
            positions: None,
            entries: super::entries::Entries {
                processed: vec![step(0, 100_000, half), step(100_000, ROWS, count - half)],
                ..Default::default()
            },
            cut: ROWS,
            clean: ROWS,
            dead: 0,
            removed: Vec::new(),
            unread: 0,
            counted: Default::default(),
        };
        let strays = super::rows::count_within(&engine, std::slice::from_mut(&mut account), bytes_max).await.unwrap();
        assert_eq!(strays, Vec::<String>::new());
        assert_eq!((account.counted.delivered, account.counted.distinct, account.counted.doubled), (count, count, 0));
        assert!(account.entries.processed.iter().all(|step| step.found == step.rows()));
    }
}
