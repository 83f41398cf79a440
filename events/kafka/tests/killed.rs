//! Processors that die or freeze in the middle of a transaction.

use crate::copier::{assert_copied, copy, fill};
use crate::{say, shared, spec};
use chaos::Cluster;
use events::log::Log as _;
use kafka_log::{Config, KafkaLog};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PARTITIONS: i32 = 2;
/// A copier that nobody ended by then ends itself.
const LIFETIME: Duration = Duration::from_secs(180);

/// A cluster's config with the shortest session that brokers allow.
fn config(cluster: &Cluster) -> Config {
    Config { session_timeout: Duration::from_secs(6), ..crate::config(cluster) }
}

/// The copier in a process of its own: this test binary, running the ignored test below.
struct Copier {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Copier {
    fn start(config: &Config, name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::child", "--ignored", "--nocapture"]);
        command.env("COPIER_BROKERS", &config.brokers).env("COPIER_PREFIX", &config.prefix).env("COPIER_NAME", name);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it has said so many lines that hold this word.
    fn said(&mut self, what: &str, times: usize) {
        let found = self.lines.by_ref().map(Result::unwrap).filter(|line| line.contains(what)).take(times).count();
        assert_eq!(found, times, "the copier ended before it said {what:?} {times} times");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "run as a process of its own, by the tests below"]
fn child() {
    let setting = |name: &str| std::env::var(name).unwrap();
    let config = Config {
        prefix: setting("COPIER_PREFIX"),
        single_node: true,
        session_timeout: Duration::from_secs(6),
        ..Config::new(setting("COPIER_BROKERS"))
    };
    // Whoever waits for a word of it that never comes finds its end instead.
    std::thread::spawn(|| {
        std::thread::sleep(LIFETIME);
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let log = KafkaLog::new(config).unwrap();
    runtime.block_on(copy(log, setting("COPIER_NAME"), &AtomicBool::new(false), say));
}

/// Copies in this process until the guard is stopped.
fn copy_here(log: &KafkaLog, name: &str) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (log, name, stopped) = (log.clone(), name.to_owned(), stop.clone());
    (stop, tokio::spawn(async move { copy(log, name, &stopped, |_| ()).await }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_transaction_it_leaves_nothing_half_done() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(PARTITIONS)).await.unwrap();
    fill(&log, PARTITIONS, "first", 4_000).await;
    for steps in [1, 4] {
        let mut copier = Copier::start(&config, "copier");
        // Steps follow each other without a pause: the next one is begun as this one is told of.
        copier.said("step", steps);
        copier.child.kill().unwrap();
        copier.child.wait().unwrap();
    }
    // The same id ends what the dead one had begun; nobody waits for the transaction's own time limit.
    let (stop, copying) = copy_here(&log, "copier");
    assert_copied(&log, PARTITIONS).await;
    stop.store(true, Ordering::Relaxed);
    copying.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_replaced_it_wakes_up_out_of_its_group() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(PARTITIONS)).await.unwrap();
    fill(&log, PARTITIONS, "first", 4_000).await;
    let mut zombie = Copier::start(&config, "zombie");
    zombie.said("step", 3);
    zombie.signal(Signal::STOP);
    // Another instance, with another transactional id: the group's generation alone keeps them apart.
    let (stop, copying) = copy_here(&log, "heir");
    // The frozen one may have copied all that there was: what comes now only the heir can copy, once the other
    // is out of the group.
    fill(&log, PARTITIONS, "meanwhile", 500).await;
    assert_copied(&log, PARTITIONS).await;
    zombie.signal(Signal::CONT);
    // Fenced or in doubt if it froze in the middle of a step, revoked if between two.
    zombie.said("is out", 1);
    fill(&log, PARTITIONS, "second", 500).await;
    assert_copied(&log, PARTITIONS).await;
    stop.store(true, Ordering::Relaxed);
    copying.await.unwrap();
}
