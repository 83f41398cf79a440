//! Killed at any moment: no acknowledged record is lost, no offset given twice, order kept, and a
//! copy made by transactions is exactly what its position says.
//!
//! The child is this test binary, running the ignored test below. It says on standard output what was
//! acknowledged to it; the parent kills it at a moment drawn from the seed, and reads the log.
//! `KILLFEED_CHAOS_SECONDS` makes it longer, `KILLFEED_CHAOS_SEED` makes it another.

use super::*;
use events::SystemClock;
use events::log::{Poll, Step};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

const WRITERS: u32 = 4;
const GROUP: &str = "copy";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

fn reopen(dir: &Path) -> EmbeddedLog {
    let config = Config { memtable_bytes: 4 << 20, ..Config::default() };
    EmbeddedLog::open(dir, config, Arc::new(SystemClock)).unwrap()
}

#[test]
#[ignore = "run as a process of its own, by the test below"]
fn child() {
    let dir = std::env::var("LOG_CRASH_DIR").unwrap();
    let round = number("LOG_CRASH_ROUND", 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = reopen(Path::new(&dir));
        log.create_stream(&spec(2)).await.unwrap();
        let copier = tokio::spawn(copy(log.clone()));
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(log.clone(), format!("{round}.{writer}"), writer)));
        futures::future::join_all(writers).await;
        copier.await.unwrap();
    });
}

async fn write(log: EmbeddedLog, name: String, writer: u32) {
    let to = raw(i32::try_from(writer % 2).unwrap());
    for sequence in 0u64.. {
        let count = 1 + sequence % 5;
        let body = "x".repeat(usize::try_from(sequence * 37 % 3_000).unwrap());
        let records = (0..count).map(|n| record(format!("{name} {} {body}", sequence * 10 + n))).collect();
        let at = log.append(vec![Append { to: to.clone(), records }], Durability::All).await.remove(0).unwrap();
        say(&format!("ack {name} {} {} {count} {}", sequence * 10, to.partition, at.first));
    }
}

async fn copy(log: EmbeddedLog) {
    let mut member = log.join(GROUP, &[stream().raw()], "copier").await.unwrap();
    let mut transactor = log.transactor("copier").await.unwrap();
    loop {
        match member.poll(ReadLimit { records: 100, bytes: 1 << 20 }, Duration::from_secs(1)).await.unwrap() {
            Poll::Assigned(partitions) => {
                for of in partitions {
                    let position = log.committed(GROUP, &of).await.unwrap().unwrap_or(0);
                    member.seek(&of, position).unwrap();
                }
            }
            Poll::Batches(batches) => {
                let positions: Vec<_> = batches.iter().map(|batch| (batch.from.clone(), batch.next)).collect();
                let copied = |record: &Record| NewRecord { payload: record.payload.clone(), ..NewRecord::default() };
                let appends = batches.iter().filter(|batch| !batch.records.is_empty());
                let appends = appends.map(|batch| Append {
                    to: clean(batch.from.partition),
                    records: batch.records.iter().map(copied).collect(),
                });
                let step =
                    Step { appends: appends.collect(), positions: positions.clone(), generation: member.generation() };
                transactor.commit(step).await.unwrap();
                for (of, position) in positions {
                    say(&format!("step {} {position}", of.partition));
                }
            }
            Poll::Revoked(_) | Poll::Idle => {}
        }
    }
}

#[derive(Default)]
struct Told {
    /// Partition and offset to the beginning of the payload.
    acknowledged: HashMap<(i32, Offset), String>,
    positions: BTreeMap<i32, Offset>,
}

impl Told {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ack", name, sequence, partition, count, first] => {
                let (sequence, first): (i64, i64) = (sequence.parse().unwrap(), first.parse().unwrap());
                let partition = partition.parse().unwrap();
                for n in 0..count.parse::<i64>().unwrap() {
                    let before = self.acknowledged.insert((partition, first + n), format!("{name} {} ", sequence + n));
                    assert_eq!(before, None, "offset {} of {partition} was acknowledged twice", first + n);
                }
            }
            ["step", partition, position] => {
                self.positions.insert(partition.parse().unwrap(), position.parse().unwrap());
            }
            _ => {}
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let seed = number("KILLFEED_CHAOS_SEED", 1);
    let until = Instant::now() + Duration::from_secs(number("KILLFEED_CHAOS_SECONDS", 0));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let mut seen = BTreeMap::new();
    for round in 0.. {
        if round >= 6 && Instant::now() >= until {
            break;
        }
        kill_once(dir.path(), round, rng.random_range(1..600), &mut told);
        check(dir.path(), &told, &mut seen, &format!("seed {seed}, round {round}"));
    }
    assert!(told.acknowledged.len() > 100 && !told.positions.is_empty(), "the children did some work");
}

/// Runs a child until `lines` acknowledgements came, kills it, and takes down all that it said.
fn kill_once(dir: &Path, round: u32, lines: usize, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::child", "--nocapture"])
        .env("LOG_CRASH_DIR", dir)
        .env("LOG_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            told.line(whole);
            seen += usize::from(whole.starts_with("ack"));
        }
        if seen == lines {
            child.kill().unwrap();
            seen += 1;
        }
        line.clear();
    }
    assert!(seen > lines, "the child ended by itself");
    child.wait().unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn check(dir: &Path, told: &Told, seen: &mut BTreeMap<(i32, Offset), String>, when: &str) {
    let log = reopen(dir);
    assert!(log.report().lost.iter().all(|lost| !lost.acknowledged), "{when}: {:?}", log.report());
    for partition in 0..2 {
        let records = read_all(&log, &raw(partition)).await;
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset && a.time_ms <= b.time_ms), "{when}: order");
        let mut last: HashMap<String, i64> = HashMap::new();
        let mut found = HashMap::new();
        for record in &records {
            let mut words = text(record).split(' ');
            let (writer, sequence) = (words.next().unwrap(), words.next().unwrap().parse::<i64>().unwrap());
            let before = last.insert(writer.into(), sequence);
            assert!(before.is_none_or(|before| before < sequence), "{when}: {writer} after {before:?}: {sequence}");
            let start = format!("{writer} {sequence} ");
            let before = seen.entry((partition, record.offset)).or_insert_with(|| start.clone());
            assert_eq!(*before, start, "{when}: offset {} was given twice", record.offset);
            found.insert(record.offset, start);
        }
        for ((_, offset), start) in told.acknowledged.iter().filter(|((of, _), _)| *of == partition) {
            assert_eq!(found.get(offset), Some(start), "{when}: acknowledged at {partition}/{offset}");
        }
        let position = log.committed(GROUP, &raw(partition)).await.unwrap().unwrap_or(0);
        assert!(position >= told.positions.get(&partition).copied().unwrap_or(0), "{when}: a step was lost");
        let expected: Vec<_> = records.iter().filter(|record| record.offset < position).map(text).collect();
        let copied = read_all(&log, &clean(partition)).await;
        let copied: Vec<_> = copied.iter().map(text).collect();
        assert!(copied == expected, "{when}: the copy of {partition} is not what its position {position} says");
    }
    log.close().await;
}
