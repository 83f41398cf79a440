//! What happens to the whole: records come in, processes come and go, clocks jump, the store is away.
//! At the end all is healed and left alone until everything has arrived, and the laws are looked at.

use crate::fleet::{Fleet, Role};
use crate::ingest::Ingest;
use crate::laws::{self, Scene};
use crate::model;
use crate::plan::Plan;
use crate::process::SkewedClock;
use crate::shadow::Shadow;
use crate::store::Bucket;
use crate::world::{TEN, World};
use crate::{Config, Outcome, Tally};
use events::log::memory::{Faults, MemoryLog};
use events::log::{Log, Offset, StreamInfo, StreamSpec};
use events::schema::SharedRegistry;
use events::streams::{PROCESSOR_GROUP, SINK_GROUP, Stream, TopicPartition};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The law by which readers move.
const POSITIONS: &str = "\"a position never goes back\"";
/// The law by which a healed pipeline comes to its end.
const ARRIVES: &str = "\"once all is well, everything arrives\"";
/// Virtual time that a healed pipeline may take, in ms.
const PATIENCE_MS: u64 = 240_000;
/// How far all clocks may jump at once: less than a quarter of the time for which state is kept.
const JUMP_MS: u64 = 11 * 3_600 * 1_000;

/// One run.
struct Driver {
    world: Arc<World>,
    rng: ChaCha8Rng,
    log: MemoryLog,
    log_clock: SkewedClock,
    bucket: Arc<Bucket>,
    info: StreamInfo,
    fleet: Fleet,
    ingest: Ingest,
    positions: BTreeMap<(&'static str, TopicPartition), Offset>,
    store_back_ms: Option<u64>,
    jumps: u32,
}

/// Runs one seed; the scene is what is left of it.
pub(crate) async fn drive(config: Config) -> (Outcome, Scene) {
    let mut driver = Driver::new(config).await;
    for step in 1..=config.steps {
        driver.world.set_step(step);
        let tens = driver.rng.random_range(1..=6);
        driver.pass(tens).await;
        driver.act().await;
        driver.look().await;
        if driver.world.broken().is_some() {
            return driver.finish(config);
        }
    }
    driver.world.set_step(config.steps + 1);
    driver.heal().await;
    driver.drain().await;
    if driver.world.broken().is_none() {
        laws::check(&driver.world, &driver.scene(), &driver.ingest).await;
    }
    driver.finish(config)
}

impl Driver {
    async fn new(config: Config) -> Self {
        let world = World::new(Plan::of(config.seed), config.history);
        let log_clock = SkewedClock::new(&world);
        let log = MemoryLog::with_faults(config.seed, Faults::default(), Arc::new(log_clock.clone()));
        let spec = StreamSpec {
            stream: stream(),
            partitions: world.plan.partitions,
            retention: Duration::from_secs(7 * 24 * 3_600),
            state_retention: Duration::from_secs(48 * 3_600),
        };
        let info = match log.create_stream(&spec).await {
            Ok(info) => info,
            Err(error) => panic!("the stream can't be made: {error}"),
        };
        log.set_faults(world.plan.log);
        let bucket = Bucket::new(Shadow::new(&log, &info.stream, &info.incarnation));
        let registry = SharedRegistry::new(model::registry());
        let mut fleet = Fleet::new(&world, &log, &bucket, &registry, &info);
        (0..world.plan.processors).for_each(|_| fleet.start(Role::Processor, false));
        (0..world.plan.sinks).for_each(|_| fleet.start(Role::Sink, false));
        if world.plan.maintains {
            fleet.start(Role::Maintainer, false);
        }
        let ingest = Ingest::new(&world, &log, &log_clock, &info);
        Self {
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            world,
            log,
            log_clock,
            bucket,
            info,
            fleet,
            ingest,
            positions: BTreeMap::new(),
            store_back_ms: None,
            jumps: 0,
        }
    }

    /// Lets time pass, and calls through as they come due.
    async fn pass(&self, tens: u64) {
        let until = (self.world.now_ms() / TEN + tens) * TEN + 1;
        // Whatever the driver has just set going computes before anything else changes.
        self.world.sleep_until(self.world.now_ms() + 1).await;
        loop {
            let now = self.world.now_ms();
            let computing = now.is_multiple_of(TEN);
            if now >= until && !computing {
                return;
            }
            let target = if !computing && self.world.grant() {
                now + 1
            } else {
                self.world.next_due_ms().unwrap_or(until).min(until).max(now + 1)
            };
            let target = if target.is_multiple_of(TEN) { target + 1 } else { target };
            tokio::select! {
                biased;
                () = self.world.sleep_until(target) => {}
                () = self.world.came.notified() => {}
            }
        }
    }

    /// Does one thing.
    async fn act(&mut self) {
        self.fleet.look_after(false).await;
        if self.store_back_ms.is_some_and(|at_ms| at_ms <= self.world.now_ms()) {
            self.store_back_ms = None;
            self.bucket.is_down.store(false, Ordering::SeqCst);
            self.world.note("store", "is back");
        }
        self.recruit();
        let plan = self.world.plan.clone();
        let weights = [
            plan.appends,
            plan.kills,
            plan.pauses,
            plan.upsets,
            plan.crashes,
            plan.clocks,
            plan.outages,
            plan.flushes,
            2,
        ];
        let mut drawn = self.rng.random_range(0..weights.iter().sum::<u32>());
        let mut what = 0;
        while drawn >= weights[what] {
            drawn -= weights[what];
            what += 1;
        }
        match what {
            1 => self.kill(),
            2 => self.pause(),
            3 => self.upset(),
            4 => {
                self.world.note("log", "crashes");
                self.log.crash();
            }
            5 => self.turn_clocks(),
            6 => self.take_store_away(),
            7 => self.fleet.request_flush(),
            8 => _ = self.log.enforce_retention(),
            _ => self.ingest.append(&mut self.rng).await,
        }
    }

    /// Starts processes where some are missing, sooner or later.
    fn recruit(&mut self) {
        let wanted = [
            (Role::Processor, self.world.plan.processors),
            (Role::Sink, self.world.plan.sinks),
            (Role::Maintainer, usize::from(self.world.plan.maintains)),
        ];
        for (role, wanted) in wanted {
            if self.fleet.active(role) < wanted && self.rng.random_bool(0.2) {
                let same = self.rng.random_bool(0.6);
                self.fleet.start(role, same);
            }
        }
    }

    fn kill(&mut self) {
        if self.fleet.count() > 0 {
            let place = self.rng.random_range(0..self.fleet.count());
            if self.rng.random_bool(0.15) { self.fleet.stop(place) } else { self.fleet.kill(place) }
        }
    }

    fn pause(&mut self) {
        if self.fleet.count() > 0 {
            let place = self.rng.random_range(0..self.fleet.count());
            let for_ms = self.rng.random_range(10..4_000);
            let evicted = self.rng.random_bool(0.7);
            self.fleet.pause(place, for_ms, evicted);
        }
    }

    fn upset(&mut self) {
        let group = if self.rng.random_bool(0.5) { PROCESSOR_GROUP } else { SINK_GROUP };
        self.world.note("log", &format!("a new generation of {group}"));
        self.log.upset_group(group);
    }

    /// A process's clock or the log's goes wrong, or time passes while nobody looks.
    fn turn_clocks(&mut self) {
        let ms = self.rng.random_range(-20_000..60_000);
        match self.rng.random_range(0..5) {
            0 if self.jumps < 8 => {
                self.jumps += 1;
                let ms = self.rng.random_range(1_000..JUMP_MS);
                self.world.all_clocks_ms.fetch_add(ms, Ordering::SeqCst);
                self.world.note("clocks", &format!("{ms} ms pass"));
            }
            1 | 2 => {
                self.log_clock.jump(ms);
                self.world.note("log", &format!("its clock jumps by {ms} ms"));
            }
            _ if self.fleet.count() > 0 => {
                let place = self.rng.random_range(0..self.fleet.count());
                self.fleet.jump(place, ms);
            }
            _ => {}
        }
    }

    fn take_store_away(&mut self) {
        self.bucket.is_down.store(true, Ordering::SeqCst);
        self.store_back_ms = Some(self.world.now_ms() + self.rng.random_range(10..3_000));
        self.world.note("store", "is away");
    }

    /// Looks at what can be looked at while everything runs.
    async fn look(&mut self) {
        let stream = self.info.stream.clone();
        let read = [
            (PROCESSOR_GROUP, stream.raw()),
            (SINK_GROUP, stream.clean()),
            (SINK_GROUP, stream.dead()),
            (SINK_GROUP, stream.ledger()),
        ];
        for (group, topic) in read {
            for partition in 0..self.info.partitions {
                let of = TopicPartition::new(topic.clone(), partition);
                let Ok(Some(position)) = self.log.committed(group, &of).await else { continue };
                if group == SINK_GROUP
                    && let Err((law, detail)) = self.bucket.shadow.lock().reached(&of, position)
                {
                    self.world.breaks(law, detail);
                }
                let before = self.positions.insert((group, of.clone()), position).unwrap_or(0);
                if before > position {
                    self.world.breaks(POSITIONS, format!("{group} in {of}: from {before} to {position}"));
                }
            }
        }
    }

    /// Ends all that goes wrong, and brings in what is still to come.
    async fn heal(&mut self) {
        self.world.note("world", "is healed");
        self.world.heal();
        self.log.set_faults(Faults::default());
        self.bucket.is_down.store(false, Ordering::SeqCst);
        self.fleet.set_clocks_right();
        self.fleet.look_after(true).await;
        self.ingest.finish().await;
        self.fleet.request_flush();
    }

    /// Waits until all that was appended has arrived.
    async fn drain(&mut self) {
        let deadline = self.world.now_ms() + PATIENCE_MS;
        let mut rounds = 0;
        while self.world.broken().is_none() {
            self.fleet.look_after(true).await;
            for role in [Role::Processor, Role::Sink] {
                if self.fleet.active(role) == 0 {
                    self.fleet.start(role, true);
                }
            }
            self.pass(15).await;
            self.look().await;
            let late = self.world.last_straggler_ms.load(Ordering::SeqCst) > self.world.now_ms();
            let behind = match self.behind().await {
                Some(behind) => behind,
                None if late => "calls are still on their way".to_owned(),
                None => return,
            };
            rounds += 1;
            if rounds % 4 == 1 {
                self.fleet.request_flush();
            }
            if self.world.now_ms() > deadline {
                self.world.breaks(ARRIVES, format!("after {PATIENCE_MS} ms {behind}"));
            }
        }
    }

    /// The first reader that has not read everything.
    async fn behind(&self) -> Option<String> {
        let stream = &self.info.stream;
        for partition in 0..self.info.partitions {
            let read = [
                (PROCESSOR_GROUP, stream.raw()),
                (SINK_GROUP, stream.clean()),
                (SINK_GROUP, stream.dead()),
                (SINK_GROUP, stream.ledger()),
            ];
            for (group, topic) in read {
                let of = TopicPartition::new(topic, partition);
                let end = self.log.records(&of).last().map_or(0, |record| record.offset + 1);
                let position = self.log.committed(group, &of).await.ok().flatten().unwrap_or(0);
                if position < end {
                    return Some(format!("{group} stands at {position} of {of}, which ends at {end}"));
                }
            }
        }
        None
    }

    fn scene(&self) -> Scene {
        Scene { log: self.log.clone(), info: self.info.clone(), bucket: self.bucket.clone() }
    }

    fn finish(self, config: Config) -> (Outcome, Scene) {
        let shadow = self.bucket.shadow.lock();
        let tally = Tally {
            records: self.ingest.records(),
            rows: shadow.event_rows(),
            calls: self.world.calls(),
            faults: self.world.faults.load(Ordering::SeqCst),
            kills: self.fleet.kills,
            zombies: self.fleet.zombies,
            commits: shadow.commits,
            time_ms: self.world.now_ms(),
        };
        drop(shadow);
        let outcome = Outcome {
            seed: config.seed,
            steps: config.steps,
            broken: self.world.broken(),
            tally,
            digest: self.world.digest(),
            history: self.world.history(),
        };
        (outcome, self.scene())
    }
}

/// The one stream of the simulation.
fn stream() -> Stream {
    match Stream::new("events") {
        Ok(stream) => stream,
        Err(error) => panic!("{error}"),
    }
}
