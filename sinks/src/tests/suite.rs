//! The conformance suite, run by the Delta sink.

use super::{clock, delivered, spec, stream};
use crate::conformance::{Delivered, Subject, Trial, every_record_once};
use crate::{Config, Error, FlushSignal, Maintenance, maintain_once, run};
use async_trait::async_trait;
use events::log::memory::{Faults, MemoryLog};
use events::log::{Log, StreamInfo};
use events::schema::{Registry, SharedRegistry};
use events::{Clock, SharedStreams};
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tables::faults::{FaultyStore, Rates};
use tokio_util::sync::CancellationToken;

struct Delta {
    log: Arc<dyn Log>,
    /// Through which sinks write.
    faulty: Store,
    /// Through which the outcome is read.
    sound: Store,
    info: StreamInfo,
}

#[async_trait]
impl Subject for Delta {
    async fn run(&self, instance: String, flush: FlushSignal, shutdown: CancellationToken) -> Result<(), Error> {
        let config = Config {
            flush_interval: Duration::from_millis(30),
            flush_rows: 300,
            retry_max: Duration::from_millis(10),
            ..Config::new(stream(), instance)
        };
        let registry = SharedRegistry::new(Registry::default());
        let clock: Arc<dyn Clock> = Arc::new(clock());
        run(config, self.log.clone(), self.faulty.clone(), registry, clock, flush, shutdown).await
    }

    async fn delivered(&self) -> Result<Vec<Delivered>, Error> {
        Ok(delivered(&self.sound, &self.info).await)
    }
}

async fn create(log: &Arc<dyn Log>) -> StreamInfo {
    loop {
        if let Ok(info) = log.create_stream(&spec(3)).await {
            return info;
        }
    }
}

async fn conforms(log: MemoryLog, seed: u64, rates: Rates, trial: Trial) {
    let log: Arc<dyn Log> = Arc::new(log);
    let info = create(&log).await;
    let memory: Arc<InMemory> = Arc::default();
    let url = || "memory:///lake".parse().unwrap();
    let faulty = FaultyStore::new(memory.clone(), seed, rates);
    let streams = SharedStreams::new(vec![info.clone()]);
    let subject = Delta {
        log: log.clone(),
        faulty: Store::with_object_store(Arc::new(faulty.clone()), url()).unwrap(),
        sound: Store::with_object_store(memory, url()).unwrap(),
        info,
    };
    let store = subject.faulty.clone();
    let (stop, maintenance_log) = (CancellationToken::new(), log.clone());
    let stopped = stop.clone();
    let maintenance = tokio::spawn(async move {
        let config = Maintenance { small_files: 3, checkpoint_every: 5, ..Maintenance::new(streams, "maintenance") };
        let clock: Arc<dyn Clock> = Arc::new(clock());
        while !stopped.is_cancelled() {
            // What fails by an injected fault is tried again by the next round.
            let _ = maintain_once(&config, &maintenance_log, &store, &clock).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    every_record_once(Arc::new(subject), log, &stream(), trial).await.unwrap();
    stop.cancel();
    maintenance.await.unwrap();
    if rates != Rates::default() {
        assert!(faulty.injected() > 0, "nothing went wrong, so nothing was tried");
    }
}

const CALM: Trial = Trial { rounds: 5, events: 50, sinks: 1, kill_every: 0, patience: Duration::from_secs(60) };

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_good_day() {
    conforms(MemoryLog::new(Arc::new(clock())), 0, Rates::default(), CALM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_while_members_come_and_go() {
    let trial = Trial { rounds: 12, sinks: 3, kill_every: 2, ..CALM };
    conforms(MemoryLog::with_faults(1, Faults::GAPS, Arc::new(clock())), 1, Rates::default(), trial).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_while_the_store_fails() {
    for seed in 1..4 {
        let rates = Rates { puts_failed: 50, puts_in_doubt: 80, reads_failed: 30 };
        let log = MemoryLog::with_faults(seed, Faults::GAPS, Arc::new(clock()));
        conforms(log, seed, rates, Trial { sinks: 2, ..CALM }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_while_everything_fails() {
    for seed in 1..4 {
        let rates = Rates { puts_failed: 30, puts_in_doubt: 50, reads_failed: 10 };
        let log = MemoryLog::with_faults(seed, Faults::STORM, Arc::new(clock()));
        conforms(log, seed, rates, Trial { rounds: 8, sinks: 2, kill_every: 3, ..CALM }).await;
    }
}
