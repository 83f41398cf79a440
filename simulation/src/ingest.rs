//! What comes in: events of a few games, sent by a client that sends again whatever was not
//! acknowledged, and now and then what was; appends in doubt may stand in part, or twice.

use crate::model::{CHAT, MATCH_END, SCORE, SHOT};
use crate::process::SkewedClock;
use crate::world::World;
use chrono::{DateTime, SecondsFormat};
use events::ledger::{Count, Entry};
use events::log::memory::MemoryLog;
use events::log::{Append, Durability, Log, NewRecord, Offset, StreamInfo};
use events::streams::TopicPartition;
use events::{Clock, Headers, headers};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Games that are played at once.
const GAMES: u64 = 6;
/// How far back the client remembers what it sent.
const REMEMBERED: usize = 40;

/// An append that was acknowledged: where, from which offset on, and the ids of its events.
pub(crate) type Acknowledged = (TopicPartition, Offset, Vec<String>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Ingest {
    world: Arc<World>,
    log: MemoryLog,
    clock: SkewedClock,
    info: StreamInfo,
    sent: u64,
    records: u64,
    recent: VecDeque<(i32, NewRecord)>,
    /// Not acknowledged yet: to be sent again.
    pending: VecDeque<(i32, Vec<NewRecord>)>,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

impl Ingest {
    pub(crate) fn new(world: &Arc<World>, log: &MemoryLog, clock: &SkewedClock, info: &StreamInfo) -> Self {
        Self {
            world: world.clone(),
            log: log.clone(),
            clock: clock.clone(),
            info: info.clone(),
            sent: 0,
            records: 0,
            recent: VecDeque::new(),
            pending: VecDeque::new(),
            acknowledged: Vec::new(),
        }
    }

    /// Records appended so far, as far as ingest knows.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// A request: what was in doubt first, or something new.
    pub(crate) async fn append(&mut self, rng: &mut ChaCha8Rng) {
        let again = if rng.random_bool(0.5) { self.pending.pop_front() } else { None };
        let (partition, records) = match again {
            Some(again) => again,
            None => self.request(rng),
        };
        if self.world.is_faulty() && rng.random_bool(0.03) {
            // An outage in the middle: a part of it stands, and nobody knows.
            let part = rng.random_range(0..=records.len());
            if part > 0 {
                self.put(partition, records[..part].to_vec()).await;
            }
            self.pending.push_back((partition, records));
            return;
        }
        let twice = self.world.is_faulty() && rng.random_bool(0.02);
        self.try_put(partition, records.clone()).await;
        if twice {
            self.put(partition, records).await;
        }
    }

    fn request(&mut self, rng: &mut ChaCha8Rng) -> (i32, Vec<NewRecord>) {
        let game = rng.random_range(0..GAMES);
        let partition = i32::try_from(game).unwrap_or(0) % self.info.partitions;
        let count = rng.random_range(1..=6);
        let records: Vec<NewRecord> = (0..count).map(|_| self.event(game, partition, rng)).collect();
        (partition, records)
    }

    /// An event: a new one, one that was sent before, or another under the key of one that was.
    fn event(&mut self, game: u64, partition: i32, rng: &mut ChaCha8Rng) -> NewRecord {
        let plan = &self.world.plan;
        let before: Vec<&NewRecord> =
            self.recent.iter().filter(|(of, _)| *of == partition).map(|(_, record)| record).collect();
        if !before.is_empty() {
            let drawn = rng.random_range(0..1_000);
            let mut again = before[rng.random_range(0..before.len())].clone();
            if drawn < plan.resent {
                return again;
            }
            if drawn < plan.resent + plan.conflicting {
                self.sent += 1;
                again.payload = Some(format!("{{\"points\":{}}}", self.sent).into());
                return again;
            }
        }
        let record = self.fresh(game, rng);
        self.recent.push_back((partition, record.clone()));
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        record
    }

    fn fresh(&mut self, game: u64, rng: &mut ChaCha8Rng) -> NewRecord {
        self.sent += 1;
        let number = self.sent;
        let (event_type, payload) = match rng.random_range(0..100) {
            0..40 => (SHOT, format!("{{\"n\":{number},\"weapon\":\"w{}\"}}", number % 3)),
            40..65 => (CHAT, chat(number, rng)),
            65..75 => (SCORE, format!("{{\"points\":\"{number}\"}}")),
            75..90 => (SCORE, format!("{{\"points\":{number}}}")),
            _ => (MATCH_END, format!("{{\"winner\":{}}}", number % 2)),
        };
        let (key, id) = (format!("g{game}"), format!("e{number}"));
        let received = DateTime::from_timestamp_micros(self.clock.now_us()).unwrap_or_default();
        let received = received.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut attributes = vec![
            (headers::SPECVERSION, "1.0"),
            (headers::SOURCE, "/sim/server"),
            (headers::TYPE, event_type),
            (headers::GAMEID, key.as_str()),
            (headers::CONTENT_TYPE, "application/json"),
            (headers::RECEIVEDAT, received.as_str()),
        ];
        if !rng.random_bool(0.02) {
            attributes.push((headers::ID, id.as_str()));
        }
        if event_type == SHOT && rng.random_bool(0.04) {
            attributes.push((headers::DATASCHEMA, "urn:schemas/sim.shot/9"));
        }
        NewRecord { key: key.clone().into(), headers: Headers::of(attributes), payload: Some(payload.into()) }
    }

    /// Appends; what is not acknowledged is sent again later.
    async fn try_put(&mut self, partition: i32, records: Vec<NewRecord>) {
        if !self.put(partition, records.clone()).await {
            self.pending.push_back((partition, records));
        }
    }

    /// Appends; whether it was acknowledged.
    async fn put(&mut self, partition: i32, records: Vec<NewRecord>) -> bool {
        let to = TopicPartition::new(self.info.stream.raw(), partition);
        let id = |record: &NewRecord| record.headers.get_str(headers::ID).unwrap_or_default().to_owned();
        let ids: Vec<String> = records.iter().map(id).collect();
        let appends = vec![Append { to: to.clone(), records }];
        let result = self.log.append(appends, Durability::All).await.pop();
        match result {
            Some(Ok(appended)) => {
                self.world.note("ingest", &format!("{} to {to} at {}", ids.len(), appended.first));
                self.records += ids.len() as u64;
                self.acknowledged.push((to, appended.first, ids));
                true
            }
            Some(Err(error)) => {
                self.world.injected();
                self.world.note("ingest", &format!("{} to {to}: {error}", ids.len()));
                false
            }
            None => false,
        }
    }

    /// Sends what is left, and enters in the ledger what was acknowledged.
    pub(crate) async fn finish(&mut self) {
        while let Some((partition, records)) = self.pending.pop_front() {
            self.try_put(partition, records).await;
        }
        let mut acknowledged: BTreeMap<i32, u64> = BTreeMap::new();
        for (of, _, ids) in &self.acknowledged {
            *acknowledged.entry(of.partition).or_default() += ids.len() as u64;
        }
        for (partition, acknowledged) in acknowledged {
            let entry = Entry {
                id: format!("ingest-{partition}"),
                time_us: self.clock.now_us(),
                instance: "ingest".into(),
                stream: self.info.stream.name().to_owned(),
                incarnation: self.info.incarnation.to_string(),
                partition,
                count: Count::Ingest { acknowledged, unacknowledged: 0 },
            };
            if let Ok(record) = entry.to_record() {
                let append = Append { to: entry.destination(&self.info.stream), records: vec![record] };
                self.log.append(vec![append], Durability::All).await;
            }
        }
    }
}

/// A payload whose fields come and go, so that columns are discovered while sinks race.
fn chat(number: u64, rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..8) {
        0 => format!("{{\"n\":{number},\"to\":\"team\"}}"),
        1 => format!("{{\"n\":{number},\"words\":{}}}", number % 9),
        2 => format!("{{\"n\":{number},\"tone\":{}.5}}", number % 5),
        3 => format!("{{\"n\":{number},\"at\":{{\"x\":{number}}}}}"),
        _ => format!("{{\"n\":{number}}}"),
    }
}
