//! A stream that grows: nothing lost, nothing twice, each game in order, whoever dies meanwhile.

use crate::support::{BRIEF, DAY, Ground, Running, event};
use events::keys::partition_of;
use events::ledger::{Count, Entry};
use events::log::memory::{Faults, MemoryLog};
use events::log::{Append, Durability, Error, Log, NewRecord, StreamInfo, StreamSpec, generations, newest};
use events::streams::{PROCESSOR_GROUP, TopicPartition};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Steps of one run; about as many events.
const STEPS: usize = 120;
const GAMES: usize = 7;

/// Who sends, grows, kills and looks.
struct Play {
    ground: Ground,
    rng: ChaCha8Rng,
    /// Events that were sent, game by game, in their order.
    sent: Vec<Vec<String>>,
    /// Those that came into a generation that had ended.
    late: BTreeSet<String>,
    /// What the sender takes for the newest generation: it may be wrong.
    known: StreamInfo,
    running: Vec<Running>,
    started: usize,
}

impl Play {
    async fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ground = Ground::new(rng.random_range(1..=3), |clock| MemoryLog::with_faults(seed, faults, clock)).await;
        let known = ground.info.clone();
        let sent = vec![Vec::new(); GAMES];
        Self { ground, rng, sent, late: BTreeSet::new(), known, running: Vec::new(), started: 0 }
    }

    /// Sends as a client does: until it is taken, wherever the stream is by then.
    async fn send(&mut self, record: NewRecord) {
        for _ in 0..1_000 {
            let to = TopicPartition::new(self.known.stream.raw(), partition_of(&record.key, self.known.partitions));
            let append = Append { to, records: vec![record.clone()] };
            match self.ground.log.append(vec![append], Durability::All).await.remove(0) {
                Ok(_) => return,
                Err(Error::Ended(_)) => self.known = self.newest().await,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
        panic!("never taken");
    }

    async fn newest(&self) -> StreamInfo {
        newest(&self.ground.log, &self.ground.info.stream).await.unwrap().unwrap()
    }

    /// A new event of a game, or one that was sent before.
    async fn play(&mut self) {
        let game = self.rng.random_range(0..GAMES);
        let again = self.rng.random_bool(0.4) && !self.sent[game].is_empty();
        let id = if again {
            self.sent[game][self.rng.random_range(0..self.sent[game].len())].clone()
        } else {
            let id = format!("{game}-{}", self.sent[game].len());
            self.sent[game].push(id.clone());
            id
        };
        self.send(event("a.type", &id, &format!("game{game}"), "{}")).await;
    }

    async fn grow(&mut self) {
        let newest = self.newest().await;
        let partitions = newest.partitions + self.rng.random_range(1..=3);
        let spec =
            StreamSpec { stream: newest.stream.next(), partitions, retention: 7 * DAY, state_retention: 4 * DAY };
        self.ground.log.grow(&spec).await.unwrap();
        if !self.late.is_empty() {
            // Without a fence nobody tells the sender.
            self.known = self.newest().await;
        }
    }

    /// A processor for each generation that is there.
    async fn start(&mut self) {
        for info in generations(&self.ground.log, &self.ground.info.stream).await.unwrap() {
            self.started += 1;
            let config = processors::Config {
                stream: info.stream.clone(),
                instance: format!("p{}", self.started),
                scratch_dir: self.ground.config.scratch_dir.join(self.started.to_string()),
                ..self.ground.config.clone()
            };
            let (log, clock) = (Arc::new(self.ground.log.clone()), Arc::new(self.ground.clock.clone()));
            let shutdown = CancellationToken::new();
            let run = processors::run(config, log, self.ground.registry.clone(), clock, shutdown.clone());
            self.running.push(Running::of(shutdown, tokio::spawn(run)));
        }
    }

    async fn kill(&mut self) {
        if !self.running.is_empty() {
            let place = self.rng.random_range(0..self.running.len());
            self.running.remove(place).kill().await;
        }
    }

    /// Somebody takes the fence away and appends to a generation that has ended.
    async fn come_late(&mut self) {
        let all = generations(&self.ground.log, &self.ground.info.stream).await.unwrap();
        let info = &all[self.rng.random_range(0..all.len())];
        let game = self.rng.random_range(0..GAMES);
        let id = format!("{game}-{}", self.sent[game].len());
        self.ground.log.unfence();
        self.known = self.newest().await;
        let key = format!("game{game}");
        let to = TopicPartition::new(info.stream.raw(), partition_of(key.as_bytes(), info.partitions));
        self.ground.append(to, vec![event("a.type", &id, &key, "{}")]).await;
        self.late.insert(id.clone());
        self.sent[game].push(id);
    }

    /// Waits until everything in every raw topic is processed. Twice, since what came late is sent on.
    async fn settle(&mut self) {
        self.start().await;
        for info in generations(&self.ground.log, &self.ground.info.stream).await.unwrap() {
            for _ in 0..2 {
                Ground::settled_in(&self.ground.log, &info).await;
            }
        }
        for running in self.running.drain(..) {
            running.stop().await.unwrap();
        }
    }

    async fn check(&self, seed: u64) {
        let mut order: Vec<Vec<String>> = vec![Vec::new(); GAMES];
        let mut accepted = 0;
        for info in generations(&self.ground.log, &self.ground.info.stream).await.unwrap() {
            let mut clean_here = 0;
            for number in 0..info.partitions {
                let at = |topic| TopicPartition::new(topic, number);
                for record in self.ground.read(&at(info.stream.clean())).await {
                    let game: usize = std::str::from_utf8(&record.key[4..]).unwrap().parse().unwrap();
                    assert_eq!(partition_of(&record.key, info.partitions), number);
                    order[game].push(record.headers.get_str("ce_id").unwrap().to_owned());
                    clean_here += 1;
                }
                let raw = self.ground.read(&at(info.stream.raw())).await;
                let events = raw.iter().filter(|record| !record.is_end()).count();
                let (clean, counted) = self.books(&info, number).await;
                assert_eq!(counted, events as u64, "seed {seed}: {} of partition {number} are counted", info.stream);
                accepted += counted;
                clean_here -= clean;
            }
            assert_eq!(clean_here, 0, "seed {seed}: clean records as counted");
        }
        assert!(accepted > 0);
        for (game, order) in order.iter().enumerate() {
            let once: BTreeSet<&String> = order.iter().collect();
            assert_eq!(once.len(), order.len(), "seed {seed}: game {game} has something twice: {order:?}");
            let (on_time, sent) = (self.on_time(order), self.on_time(&self.sent[game]));
            assert_eq!(on_time, sent, "seed {seed}: game {game} is out of order, or something is lost");
            assert_eq!(order.len(), self.sent[game].len(), "seed {seed}: game {game}: {:?}", self.late);
        }
    }

    fn on_time<'a>(&self, ids: &'a [String]) -> Vec<&'a String> {
        ids.iter().filter(|id| !self.late.contains(*id)).collect()
    }

    /// A partition's entries tile, and add up: clean records and events read.
    async fn books(&self, info: &StreamInfo, number: i32) -> (i64, u64) {
        let ledger = TopicPartition::new(info.stream.ledger(), number);
        let (mut at, mut clean_all, mut accepted_all) = (0, 0, 0);
        for record in self.ground.read(&ledger).await {
            let entry = Entry::from_payload(record.payload.as_ref().unwrap()).unwrap();
            assert_eq!((entry.stream.as_str(), &*entry.incarnation), ("events", &*info.incarnation));
            let Count::Process { from, to, accepted, clean, duplicates, dead, .. } = entry.count else { continue };
            assert_eq!(from, at, "entries tile");
            assert_eq!(accepted, clean + duplicates + dead.values().sum::<u64>());
            at = to;
            clean_all += i64::try_from(clean).unwrap();
            accepted_all += accepted;
        }
        let raw = TopicPartition::new(info.stream.raw(), number);
        assert_eq!(self.ground.log.committed(PROCESSOR_GROUP, &raw).await.unwrap().unwrap_or(0), at);
        (clean_all, accepted_all)
    }
}

/// One run: everything at random, by the seed.
async fn run(seed: u64, faults: Faults, with_late: bool) {
    let mut play = Play::new(seed, faults).await;
    play.start().await;
    let growths: BTreeSet<usize> = (0..play.rng.random_range(1..=2)).map(|_| play.rng.random_range(20..100)).collect();
    for step in 0..STEPS {
        play.play().await;
        if growths.contains(&step) {
            play.grow().await;
        }
        match play.rng.random_range(0..20) {
            0 => play.kill().await,
            1 => play.start().await,
            2 if with_late && step > 60 => play.come_late().await,
            3..=6 => tokio::time::sleep(Duration::from_millis(play.rng.random_range(1..30))).await,
            _ => {}
        }
    }
    play.settle().await;
    play.check(seed).await;
}

/// Seeds of each of the runs below; more by the environment.
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("KILLFEED_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(12)
}

#[tokio::test]
async fn a_stream_grows_under_load_and_nothing_is_lost_doubled_or_out_of_order() {
    for seed in seeds() {
        run(seed, Faults::GAPS, false).await;
    }
}

#[tokio::test]
async fn it_does_so_while_everything_fails() {
    for seed in seeds() {
        run(seed, Faults::STORM, false).await;
    }
}

#[tokio::test]
async fn what_comes_late_is_sent_on_once() {
    for seed in seeds() {
        run(seed, Faults::GAPS, true).await;
    }
}

async fn grown(ground: &Ground, partitions: i32) -> Ground2 {
    let spec =
        StreamSpec { stream: ground.info.stream.next(), partitions, retention: 7 * DAY, state_retention: 4 * DAY };
    let info = ground.log.grow(&spec).await.unwrap();
    let config = processors::Config {
        stream: info.stream.clone(),
        scratch_dir: ground.config.scratch_dir.join("grown"),
        ..ground.config.clone()
    };
    Ground2 { info, config }
}

/// The second generation of a ground.
struct Ground2 {
    info: StreamInfo,
    config: processors::Config,
}

impl Ground2 {
    fn start(&self, ground: &Ground) -> Running {
        let shutdown = CancellationToken::new();
        let (log, clock) = (Arc::new(ground.log.clone()), Arc::new(ground.clock.clone()));
        let run = processors::run(self.config.clone(), log, ground.registry.clone(), clock, shutdown.clone());
        Running::of(shutdown, tokio::spawn(run))
    }

    async fn send(&self, ground: &Ground, record: NewRecord) {
        let to = TopicPartition::new(self.info.stream.raw(), partition_of(&record.key, self.info.partitions));
        ground.append(to, vec![record]).await;
    }

    async fn clean_ids(&self, ground: &Ground) -> Vec<String> {
        let mut ids = Vec::new();
        for number in 0..self.info.partitions {
            let clean = ground.read(&TopicPartition::new(self.info.stream.clean(), number)).await;
            ids.extend(clean.iter().map(|record| record.headers.get_str("ce_id").unwrap().to_owned()));
        }
        ids.sort();
        ids
    }
}

#[tokio::test]
async fn a_window_that_began_before_the_growth_ends_when_it_would_have() {
    let ground = Ground::new(2, MemoryLog::new).await;
    ground.send(0, vec![event("a.type", "long", "g", "{}"), event(BRIEF, "brief", "g", "{}")]).await;
    let old = ground.start();
    let grown = grown(&ground, 5).await;
    let new = grown.start(&ground);
    for id in ["long", "brief"] {
        grown.send(&ground, event(if id == "brief" { BRIEF } else { "a.type" }, id, "g", "{}")).await;
    }
    Ground::settled_in(&ground.log, &grown.info).await;
    assert_eq!(grown.clean_ids(&ground).await, [""; 0], "both are claimed");
    ground.clock.advance_us(2_000_000);
    grown.send(&ground, event(BRIEF, "brief", "g", "{}")).await;
    grown.send(&ground, event("a.type", "long", "g", "{}")).await;
    Ground::settled_in(&ground.log, &grown.info).await;
    assert_eq!(grown.clean_ids(&ground).await, ["brief"], "its second has passed");
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}

#[tokio::test]
async fn a_new_generation_waits_until_the_old_one_is_read_to_its_end() {
    let ground = Ground::new(2, MemoryLog::new).await;
    ground.send(1, vec![event("a.type", "1", "g", "{}")]).await;
    let grown = grown(&ground, 3).await;
    grown.send(&ground, event("a.type", "1", "g", "{}")).await;
    grown.send(&ground, event("a.type", "2", "g", "{}")).await;
    let new = grown.start(&ground);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(grown.clean_ids(&ground).await, [""; 0], "nobody reads the old one");
    let old = ground.start();
    Ground::settled_in(&ground.log, &grown.info).await;
    assert_eq!(grown.clean_ids(&ground).await, ["2"]);
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}

/// Claims that stand twice, from a splitting that broke off and was done again, are one.
#[tokio::test]
async fn a_splitting_that_broke_off_is_done_again() {
    let ground = Ground::new(2, MemoryLog::new).await;
    let games: Vec<String> = (0..40).map(|game| format!("g{game}")).collect();
    for game in &games {
        ground.send(partition_of(game.as_bytes(), 2), vec![event("a.type", "1", game, "{}")]).await;
    }
    let old = ground.start();
    ground.settled().await;
    let grown = grown(&ground, 3).await;
    let state = |number| TopicPartition::new(grown.info.stream.state(), number);
    let new = grown.start(&ground);
    Ground::settled_in(&ground.log, &grown.info).await;
    new.stop().await.unwrap();
    // As if it had ended before its last record, with claims that a second try writes again.
    let page = |record: &events::log::Record| processors::state::unpack(record.payload.as_ref().unwrap()).unwrap();
    let mut broken: BTreeMap<i32, usize> = BTreeMap::new();
    for number in 0..3 {
        let records = ground.read(&state(number)).await;
        let whole = page(&records[0]);
        assert_eq!((whole.from, whole.to), (-1, 0), "inherited in one go");
        broken.insert(number, whole.entries.len());
        for record in &records {
            ground.log.remove_record(&state(number), record.offset);
        }
        let head = processors::state::Head {
            incarnation: &grown.info.incarnation,
            from: -1,
            to: -1,
            time_ms: whole.time_ms,
            horizon_ms: whole.horizon_ms,
        };
        let half: Vec<_> = whole.entries.iter().take(3).map(|entry| (-1, *entry)).collect();
        let payload = Some(processors::state::pack(head, &half).remove(0));
        ground.append(state(number), vec![NewRecord { payload, ..NewRecord::default() }]).await;
    }
    assert_eq!(broken.values().sum::<usize>(), games.len(), "each claim went to one partition: {broken:?}");
    let new = grown.start(&ground);
    for game in &games {
        grown.send(&ground, event("a.type", "1", game, "{}")).await;
        grown.send(&ground, event("a.type", "2", game, "{}")).await;
    }
    Ground::settled_in(&ground.log, &grown.info).await;
    assert_eq!(grown.clean_ids(&ground).await, vec!["2"; games.len()]);
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}
