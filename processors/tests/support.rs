//! A stream on a memory log, events for it, and a processor that can be killed.

use events::clock::{Clock, ManualClock};
use events::dead::Reason;
use events::headers::{self, Headers};
use events::ledger::{Count, Entry};
use events::log::memory::MemoryLog;
use events::log::{Append, Durability, Log, NewRecord, Offset, ReadLimit, Record, StreamInfo, StreamSpec};
use events::schema::{Mode, Registry, Schema, SharedRegistry};
use events::streams::{PROCESSOR_GROUP, Stream, TopicPartition};
use processors::state::{Page, unpack};
use processors::{Config, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const START_US: i64 = 1_700_000_000_000_000;
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Events of this type are the same for a second only.
pub(crate) const BRIEF: &str = "test.brief";
/// Happens once a game.
pub(crate) const ONCE: &str = "test.once";

/// A stream, and what a processor of it needs.
pub(crate) struct Ground {
    pub(crate) log: MemoryLog,
    pub(crate) clock: ManualClock,
    pub(crate) info: StreamInfo,
    pub(crate) config: Config,
    pub(crate) registry: SharedRegistry,
    _dir: tempfile::TempDir,
}

pub(crate) fn schema(event_type: &str, window: Duration, key: Option<&[&str]>) -> Schema {
    Schema {
        event_type: event_type.into(),
        version: 1,
        stream: Stream::new("events").unwrap(),
        dedupe_key: key.map(|key| key.iter().map(|attribute| (*attribute).to_owned()).collect()),
        dedupe_window: window,
        partition_by: None,
        personal: Vec::new(),
        mode: Mode::Lenient,
        durability: Durability::All,
        key: Vec::new(),
        document: Arc::new(serde_json::json!({})),
    }
}

pub(crate) fn registry() -> SharedRegistry {
    SharedRegistry::new(Registry::of([
        schema(BRIEF, Duration::from_secs(1), None),
        schema(ONCE, Duration::from_secs(60), Some(&["gameid"])),
    ]))
}

impl Ground {
    pub(crate) async fn new(partitions: i32, log: impl FnOnce(Arc<dyn Clock>) -> MemoryLog) -> Self {
        let clock = ManualClock::at(START_US);
        let log = log(Arc::new(clock.clone()));
        let stream = Stream::new("events").unwrap();
        let spec = StreamSpec { stream: stream.clone(), partitions, retention: 7 * DAY, state_retention: 4 * DAY };
        let info = log.create_stream(&spec).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(stream, "test", dir.path().join("scratch"));
        config.state_retention = (4 * DAY).into();
        config.backoff_max = Duration::from_millis(2);
        config.linger = Duration::from_millis(1);
        Self { log, clock, info, config, registry: registry(), _dir: dir }
    }

    pub(crate) fn raw(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.info.stream.raw(), partition)
    }

    pub(crate) fn state(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.info.stream.state(), partition)
    }

    /// Appends, again and again until the log says that it stands (so it may stand twice).
    pub(crate) async fn append(&self, to: TopicPartition, records: Vec<NewRecord>) {
        for _ in 0..1_000 {
            let append = Append { to: to.clone(), records: records.clone() };
            if self.log.append(vec![append], Durability::All).await[0].is_ok() {
                return;
            }
        }
        panic!("a thousand appends failed");
    }

    pub(crate) async fn send(&self, partition: i32, records: Vec<NewRecord>) {
        self.append(self.raw(partition), records).await;
    }

    pub(crate) fn start(&self) -> Running {
        let shutdown = CancellationToken::new();
        let run = processors::run(
            self.config.clone(),
            Arc::new(self.log.clone()),
            self.registry.clone(),
            Arc::new(self.clock.clone()),
            shutdown.clone(),
        );
        Running { shutdown, task: tokio::spawn(run) }
    }

    /// Waits until everything in raw is processed.
    pub(crate) async fn settled(&self) {
        Self::settled_in(&self.log, &self.info).await;
    }

    /// The same of any generation.
    pub(crate) async fn settled_in(log: &MemoryLog, info: &StreamInfo) {
        for _ in 0..30_000 {
            let mut done = true;
            for partition in 0..info.partitions {
                let raw = TopicPartition::new(info.stream.raw(), partition);
                let last = log.records(&raw).last().map_or(0, |record| record.offset + 1);
                let committed = log.committed(PROCESSOR_GROUP, &raw).await.unwrap();
                done &= committed.is_some_and(|committed| committed >= last);
            }
            if done {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("not processed after half a minute");
    }

    /// Waits until the partition's state has more than `pages` records.
    pub(crate) async fn state_grown_past(&self, partition: i32, pages: usize) {
        for _ in 0..30_000 {
            if self.log.records(&self.state(partition)).len() > pages {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no state record after half a minute");
    }

    /// Everything readable in a partition.
    pub(crate) async fn read(&self, of: &TopicPartition) -> Vec<Record> {
        let mut records = Vec::new();
        let mut idle = 0;
        let mut position = self.log.ends(of).await.unwrap().start;
        while idle < 20 {
            let batch = self.log.read(of, position, ReadLimit::default()).await.unwrap();
            idle = if batch.next == position { idle + 1 } else { 0 };
            position = batch.next;
            records.extend(batch.records);
        }
        records
    }

    pub(crate) async fn clean(&self, partition: i32) -> Vec<Record> {
        self.read(&TopicPartition::new(self.info.stream.clean(), partition)).await
    }

    pub(crate) async fn dead(&self, partition: i32) -> Vec<Record> {
        self.read(&TopicPartition::new(self.info.stream.dead(), partition)).await
    }

    pub(crate) async fn pages(&self, partition: i32) -> Vec<Page> {
        let records = self.read(&self.state(partition)).await;
        records.iter().map(|record| unpack(record.payload.as_ref().unwrap()).unwrap()).collect()
    }

    pub(crate) async fn entries(&self, partition: i32) -> Vec<Count> {
        let records = self.read(&TopicPartition::new(self.info.stream.ledger(), partition)).await;
        records.iter().map(|record| Entry::from_payload(record.payload.as_ref().unwrap()).unwrap().count).collect()
    }
}

/// A processor at work.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn of(shutdown: CancellationToken, task: JoinHandle<Result<(), Error>>) -> Self {
        Self { shutdown, task }
    }

    /// Pulls the plug.
    pub(crate) async fn kill(self) {
        self.task.abort();
        _ = self.task.await;
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        self.task.await.unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn failed(self) -> Error {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.task).await;
        ended.expect("it goes on working").unwrap().unwrap_err()
    }
}

pub(crate) fn event(event_type: &str, id: &str, game: &str, data: &str) -> NewRecord {
    let headers = [
        (headers::SPECVERSION, "1.0"),
        (headers::ID, id),
        (headers::SOURCE, "/game/server"),
        (headers::TYPE, event_type),
        (headers::GAMEID, game),
        (headers::CLIENTADDRESS, "203.0.113.7"),
        (headers::CONTENT_TYPE, "application/json"),
    ];
    NewRecord {
        key: game.as_bytes().to_vec().into(),
        headers: Headers::of(headers),
        payload: Some(data.as_bytes().to_vec().into()),
    }
}

pub(crate) fn text(record: &Record, name: &str) -> String {
    record.headers.get_str(name).unwrap_or_default().to_owned()
}

pub(crate) fn raw_offset(record: &Record) -> Offset {
    text(record, headers::RAW_OFFSET).parse().unwrap()
}

pub(crate) fn reason(record: &Record) -> Reason {
    Reason::parse(&text(record, headers::DEAD_REASON)).unwrap()
}
