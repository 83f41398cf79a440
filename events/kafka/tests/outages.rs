//! Nodes that die while records are appended.

use crate::{alone, config, put, raw, read_all, spec, text};
use events::log::{Append, Durability, Error, Log as _, NewRecord};
use kafka_log::{Config, KafkaLog};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WRITERS: usize = 6;
const PARTITIONS: i32 = 3;
/// An append's time limit in these tests.
const DELIVERY: Duration = Duration::from_secs(3);
/// What a busy machine may take on top.
const GRACE: Duration = Duration::from_secs(2);

/// How long writers may take to get going.
const START: Duration = Duration::from_secs(30);
/// How long two nodes may take to go on without the third.
const FAIL_OVER: Duration = Duration::from_secs(60);

/// What became of the appends of one writer.
#[derive(Default)]
struct Written {
    /// Partition and first offset of what was acknowledged, and the name that stands there.
    acknowledged: Vec<(i32, i64, String)>,
    /// Names of what was answered with "nothing was written".
    refused: Vec<String>,
    in_doubt: usize,
    longest: Duration,
}

/// What a writer has been told so far, for those who wait for it.
#[derive(Default)]
struct Told {
    acknowledged: AtomicUsize,
    not: AtomicUsize,
}

async fn write(log: KafkaLog, writer: usize, told: Arc<[Told; WRITERS]>, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let partition = i32::try_from(writer).unwrap() % PARTITIONS;
    for sequence in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{writer} {sequence}");
        let texts: Vec<String> = (0..20).map(|n| format!("{name} {n}")).collect();
        let began = Instant::now();
        match put(&log, &raw(partition), &texts).await {
            Ok(first) => {
                written.acknowledged.push((partition, first, name));
                told[writer].acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(Error::InDoubt(_)) => written.in_doubt += 1,
            Err(Error::Unavailable(_)) => written.refused.push(name),
            Err(error) => panic!("an append met {error}"),
        }
        told[writer].not.store(written.in_doubt + written.refused.len(), Ordering::SeqCst);
        written.longest = written.longest.max(began.elapsed());
    }
    written
}

/// Every acknowledged record stands where it was said to, nothing that was refused stands, nothing stands
/// twice, and one writer's records are in the order in which they were sent.
async fn assert_kept(log: &KafkaLog, written: &[Written]) {
    let (mut stands, mut seen, mut last) = (HashMap::new(), HashMap::new(), HashMap::new());
    for partition in 0..PARTITIONS {
        for record in read_all(log, &raw(partition)).await {
            let name = text(&record).to_owned();
            *seen.entry(name.clone()).or_insert(0) += 1;
            let numbers: Vec<u64> = name.split(' ').map(|number| number.parse().unwrap()).collect();
            let (writer, place) = (numbers[0], (numbers[1], numbers[2]));
            let before = last.insert(writer, place);
            assert!(before < Some(place), "writer {writer} sent {place:?} after {before:?}");
            stands.insert((partition, record.offset), name);
        }
    }
    assert!(seen.values().all(|times| *times == 1), "the producer is idempotent: nothing stands twice");
    for written in written {
        for (partition, first, name) in &written.acknowledged {
            for n in 0..20 {
                let found = stands.get(&(*partition, first + n));
                assert_eq!(found, Some(&format!("{name} {n}")), "offset {} of {partition}", first + n);
            }
        }
        for name in &written.refused {
            assert!((0..20).all(|n| !seen.contains_key(&format!("{name} {n}"))), "{name} was refused, and stands");
        }
    }
}

async fn writing<T>(log: &KafkaLog, during: impl AsyncFnOnce(&[Told; WRITERS]) -> T) -> (Vec<Written>, T) {
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::<[Told; WRITERS]>::default());
    let start = |writer| tokio::spawn(write(log.clone(), writer, told.clone(), stop.clone()));
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    let found = during(&told).await;
    stop.store(true, Ordering::Relaxed);
    let written = futures::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
    (written, found)
}

/// Waits until each writer was acknowledged ten times more than it is by now.
async fn all_go_on(told: &[Told; WRITERS], limit: Duration) {
    let by_now = |writer: &Told| writer.acknowledged.load(Ordering::SeqCst);
    let before: Vec<usize> = told.iter().map(by_now).collect();
    let all = || told.iter().zip(&before).all(|(writer, before)| by_now(writer) >= before + 10);
    until("each writer is acknowledged", limit, all).await;
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Five hundred appends at once, 50 MB together: none is acknowledged, each is answered in time.
async fn flood(log: &KafkaLog) {
    let record = NewRecord { payload: Some(vec![b'x'; 100_000].into()), ..NewRecord::default() };
    let appends = (0..500).map(|_| async {
        let (append, began) = (Append { to: raw(0), records: vec![record.clone()] }, Instant::now());
        let answer = log.append(vec![append], Durability::All).await.remove(0);
        assert!(matches!(answer, Err(Error::InDoubt(_) | Error::Unavailable(_))), "Kafka is away: {answer:?}");
        let took = began.elapsed();
        assert!(took < DELIVERY + GRACE, "answered after {took:?}");
    });
    futures::future::join_all(appends).await;
}

async fn until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_kafka_killed_and_restarted_loses_nothing_acknowledged() {
    let (cluster, _turn) = alone(1).await;
    let config = Config { delivery_timeout: DELIVERY, append_bytes_max: 8 << 20, ..config(&cluster) };
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(PARTITIONS)).await.unwrap();
    assert_eq!(log.trouble(), None);
    let (written, back) = writing(&log, async |told| {
        all_go_on(told, START).await;
        cluster.kill(1);
        until("readiness says that Kafka is away", DELIVERY + GRACE, || log.trouble().is_some()).await;
        let all = || told.iter().all(|writer| writer.not.load(Ordering::SeqCst) > 0);
        until("each writer is told of the outage", DELIVERY + GRACE, all).await;
        cluster.up();
        Instant::now()
    })
    .await;
    // All writers have been answered. With nobody sending, readiness must come back by itself.
    until("readiness comes back", Duration::from_secs(10), || log.trouble().is_none()).await;
    assert_kept(&log, &written).await;
    for (writer, written) in written.iter().enumerate() {
        assert!(written.longest < DELIVERY + GRACE, "writer {writer} waited {:?}", written.longest);
    }
    put(&log, &raw(0), &["on".into()]).await.unwrap();
    assert!(back.elapsed() < Duration::from_secs(15), "took appends again {:?} after Kafka's return", back.elapsed());

    cluster.kill(1);
    flood(&log).await;
    let before = resident();
    for _ in 0..2 {
        flood(&log).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "100 MB were turned away, and memory grew by {grown} bytes");
    cluster.up();
    until("readiness comes back", Duration::from_secs(10), || log.trouble().is_none()).await;
    put(&log, &raw(0), &["on".into()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_keep_the_laws_and_one_of_them_may_die() {
    let (cluster, _turn) = alone(3).await;
    crate::conformance::keeps_the_laws(&cluster).await;
    let log = crate::log(&cluster);
    log.create_stream(&spec(PARTITIONS)).await.unwrap();
    let (written, ()) = writing(&log, async |told| {
        all_go_on(told, START).await;
        cluster.kill(2);
        // The others take a silent node for dead after some seconds, and choose new leaders.
        all_go_on(told, FAIL_OVER).await;
    })
    .await;
    assert_kept(&log, &written).await;
}
