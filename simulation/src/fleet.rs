//! The processes of one run: started as the binary starts its roles, killed, paused and woken.

use crate::log::SimLog;
use crate::process::Process;
use crate::shadow::LAKE;
use crate::store::{Bucket, SimStore};
use crate::world::World;
use events::log::memory::MemoryLog;
use events::log::{Log, ReadLimit, StreamInfo};
use events::schema::SharedRegistry;
use events::{Clock, SharedStreams};
use sinks::FlushSignal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

/// The law by which roles go on.
const STOPS: &str = "\"no role stops by itself\"";

/// How long a process goes on that woke and finds its name taken, in ms.
const DOUBLE_MS: u64 = 700;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Processor,
    Sink,
    Maintainer,
}

/// A process that was started and has not ended.
struct Running {
    role: Role,
    process: Arc<Process>,
    instance: String,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), String>>,
    wakes_at_ms: Option<u64>,
    /// When it ends because another has its name by now.
    dies_at_ms: Option<u64>,
}

/// See the module.
pub(crate) struct Fleet {
    world: Arc<World>,
    pub(crate) log: MemoryLog,
    pub(crate) bucket: Arc<Bucket>,
    registry: SharedRegistry,
    info: StreamInfo,
    running: Vec<Running>,
    flush: FlushSignal,
    started: u32,
    pub(crate) kills: u64,
    pub(crate) zombies: u64,
}

impl Fleet {
    pub(crate) fn new(
        world: &Arc<World>,
        log: &MemoryLog,
        bucket: &Arc<Bucket>,
        registry: &SharedRegistry,
        info: &StreamInfo,
    ) -> Self {
        Self {
            world: world.clone(),
            log: log.clone(),
            bucket: bucket.clone(),
            registry: registry.clone(),
            info: info.clone(),
            running: Vec::new(),
            flush: FlushSignal::default(),
            started: 0,
            kills: 0,
            zombies: 0,
        }
    }

    /// Starts one more of a role, under the name of one that ended or was paused, if `same` and there is
    /// one: who comes back under a name puts out what is left of the one before.
    pub(crate) fn start(&mut self, role: Role, same: bool) {
        let letter = match role {
            Role::Processor => 'p',
            Role::Sink => 's',
            Role::Maintainer => 'm',
        };
        let taken = |name: &str| {
            self.running.iter().any(|other| other.instance == name && !(same && other.wakes_at_ms.is_some()))
        };
        let instance = (0..).map(|number| format!("{letter}{number}")).find(|name| !taken(name)).unwrap_or_default();
        self.started += 1;
        let process = Process::new(&self.world, self.started, format!("{instance}#{}", self.started));
        process.note("starts");
        let shutdown = CancellationToken::new();
        let log: Arc<dyn Log> = Arc::new(SimLog::new(&self.log, &process));
        let task = match role {
            Role::Processor => self.processor(&process, log, &instance, shutdown.clone()),
            Role::Sink => self.sink(&process, log, &instance, shutdown.clone()),
            Role::Maintainer => self.maintainer(&process, log, &instance, shutdown.clone()),
        };
        self.running.push(Running { role, process, instance, shutdown, task, wakes_at_ms: None, dies_at_ms: None });
    }

    fn processor(
        &self,
        process: &Arc<Process>,
        log: Arc<dyn Log>,
        instance: &str,
        shutdown: CancellationToken,
    ) -> JoinHandle<Result<(), String>> {
        let plan = &self.world.plan;
        let scratch = std::env::temp_dir().join(format!("killfeed-simulation-{}-{instance}", std::process::id()));
        let config = processors::Config {
            workers: plan.workers,
            geoip_check_interval: Duration::from_secs(3_600),
            linger: Duration::from_millis(plan.linger_ms),
            linger_records: plan.step_records,
            step_max: ReadLimit { records: plan.step_records, bytes: 1 << 20 },
            state_retention: Duration::from_secs(48 * 3_600).into(),
            backoff_max: Duration::from_millis(400),
            ..processors::Config::new(self.info.stream.clone(), instance, scratch)
        };
        let clock: Arc<dyn Clock> = Arc::new(process.clock.clone());
        let run = processors::run(config, log, self.registry.clone(), clock, shutdown);
        tokio::spawn(async move { run.await.map_err(|error| error.to_string()) })
    }

    fn sink(
        &self,
        process: &Arc<Process>,
        log: Arc<dyn Log>,
        instance: &str,
        shutdown: CancellationToken,
    ) -> JoinHandle<Result<(), String>> {
        let plan = &self.world.plan;
        let config = sinks::Config {
            flush_interval: Duration::from_millis(plan.flush_ms),
            flush_rows: plan.flush_rows,
            tables_at_once: plan.tables_at_once,
            retry_max: Duration::from_millis(400),
            ..sinks::Config::new(self.info.stream.clone(), instance)
        };
        let clock: Arc<dyn Clock> = Arc::new(process.clock.clone());
        let store = self.store(process);
        let (registry, flush, info) = (self.registry.clone(), self.flush.clone(), self.info.clone());
        tokio::spawn(async move {
            loop {
                match sinks::check_log(log.as_ref(), &store, &info).await {
                    Ok(()) => break,
                    Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(100)).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
            sinks::run(config, log, store, registry, clock, flush, shutdown).await.map_err(|error| error.to_string())
        })
    }

    fn maintainer(
        &self,
        process: &Arc<Process>,
        log: Arc<dyn Log>,
        instance: &str,
        shutdown: CancellationToken,
    ) -> JoinHandle<Result<(), String>> {
        let config = sinks::Maintenance {
            every: Duration::from_millis(600),
            small_files: 3,
            checkpoint_every: 6,
            // The clock of the machine and the one that is simulated must not meet here.
            file_retention: Duration::from_secs(400 * 24 * 3_600),
            ..sinks::Maintenance::new(SharedStreams::new(vec![self.info.clone()]), instance)
        };
        let clock: Arc<dyn Clock> = Arc::new(process.clock.clone());
        let run = sinks::maintain(config, log, self.store(process), clock, shutdown);
        tokio::spawn(async move { run.await.map_err(|error| error.to_string()) })
    }

    /// The store as a process sees it, with a cache of its own.
    fn store(&self, process: &Arc<Process>) -> Store {
        lake(Arc::new(SimStore::new(&self.bucket, process)))
    }

    /// Processes of a role that run, those that were told to stop or are paused left out.
    pub(crate) fn active(&self, role: Role) -> usize {
        let is_active = |one: &&Running| one.role == role && one.wakes_at_ms.is_none() && !one.shutdown.is_cancelled();
        self.running.iter().filter(is_active).count()
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Kills a process: nothing of it goes on, but for what is on its way already.
    pub(crate) fn kill(&mut self, place: usize) {
        let one = self.running.remove(place);
        one.process.note("is killed");
        one.process.kill();
        one.task.abort();
        self.kills += 1;
    }

    /// Stops a process for a while; its session ends meanwhile, if `evicted`.
    pub(crate) fn pause(&mut self, place: usize, for_ms: u64, evicted: bool) {
        let one = &mut self.running[place];
        one.process.note(if evicted { "is paused past its session" } else { "is paused" });
        one.process.pause();
        one.wakes_at_ms = Some(self.world.now_ms() + for_ms);
        if evicted {
            self.zombies += 1;
            self.log.evict(&one.instance);
            for worker in 0..self.world.plan.workers {
                let stream = &self.info.stream;
                self.log.evict(&format!("killfeed-process-{stream}-{}-{worker}", one.instance));
            }
        }
    }

    /// Asks a process to finish and leave.
    pub(crate) fn stop(&self, place: usize) {
        self.running[place].process.note("is told to stop");
        self.running[place].shutdown.cancel();
    }

    pub(crate) fn jump(&self, place: usize, ms: i64) {
        self.running[place].process.note(&format!("its clock jumps by {ms} ms"));
        self.running[place].process.clock.jump(ms);
    }

    pub(crate) fn request_flush(&self) {
        self.flush.request();
    }

    /// Wakes who has slept long enough, or everybody; clears away who has ended.
    pub(crate) async fn look_after(&mut self, everybody: bool) {
        let now_ms = self.world.now_ms();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        self.running.iter().for_each(|one| *names.entry(one.instance.clone()).or_default() += 1);
        for one in &mut self.running {
            if one.wakes_at_ms.is_some_and(|at_ms| everybody || at_ms <= now_ms) {
                one.wakes_at_ms = None;
                one.process.note("goes on");
                one.process.wake();
                // Two of one name put each other out for ever: no two running processes may share one.
                one.dies_at_ms = names.get(&one.instance).filter(|count| **count > 1).map(|_| now_ms + DOUBLE_MS);
            }
        }
        while let Some(place) = self.running.iter().position(|one| one.dies_at_ms.is_some_and(|at_ms| at_ms <= now_ms))
        {
            self.kill(place);
        }
        let mut place = 0;
        while place < self.running.len() {
            if !self.running[place].task.is_finished() {
                place += 1;
                continue;
            }
            let one = self.running.remove(place);
            let told = one.shutdown.is_cancelled();
            match one.task.await {
                Ok(Ok(())) if told => one.process.note("has stopped"),
                Ok(Ok(())) => self.world.breaks(STOPS, format!("{} ended without being told", one.process.name)),
                Ok(Err(error)) => self.world.breaks(STOPS, format!("{} stopped: {error}", one.process.name)),
                Err(error) => self.world.breaks(STOPS, format!("{} died: {error}", one.process.name)),
            }
        }
    }

    /// Sets all clocks right.
    pub(crate) fn set_clocks_right(&self) {
        self.running.iter().for_each(|one| one.process.clock.set_right());
    }
}

/// The tables on an object store.
pub(crate) fn lake(objects: Arc<object_store::DynObjectStore>) -> Store {
    let opened = Url::parse(&format!("memory:///{LAKE}/"))
        .map_err(|error| error.to_string())
        .and_then(|url| Store::with_object_store(objects, url).map_err(|error| error.to_string()));
    match opened {
        Ok(store) => store,
        Err(error) => panic!("the store in memory can't be opened: {error}"),
    }
}
