//! Random operations on a log and on a plain model of one: what is read must be alike at each step.

use super::*;
use events::log::memory::{Faults, MemoryLog};
use events::log::{Error, Member, Poll, Step, Transactor};
use futures::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PARTITIONS: i32 = 2;

#[derive(Debug, Clone)]
enum Op {
    Append { to: i32, count: u8 },
    AppendMany { counts: Vec<(i32, u8)> },
    Commit { counts: Vec<(i32, u8)>, moves: Vec<(i32, u8)> },
    ZombieCommit,
    Rebalance,
    Advance { seconds: i8 },
    Read { from: i32, skip: u8, records: u8 },
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let counts = || prop::collection::vec((0..PARTITIONS, 1u8..4), 1..4);
    let moves = prop::collection::vec((0..PARTITIONS, 0u8..20), 0..3);
    let op = prop_oneof![
        4 => (0..PARTITIONS, 1u8..5).prop_map(|(to, count)| Op::Append { to, count }),
        2 => counts().prop_map(|counts| Op::AppendMany { counts }),
        3 => (counts(), moves).prop_map(|(counts, moves)| Op::Commit { counts, moves }),
        1 => Just(Op::ZombieCommit),
        1 => Just(Op::Rebalance),
        1 => any::<i8>().prop_map(|seconds| Op::Advance { seconds }),
        4 => (0..PARTITIONS, any::<u8>(), 1u8..9).prop_map(|(from, skip, records)| Op::Read { from, skip, records }),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..60)
}

/// What must stand in the log.
#[derive(Default)]
struct Model {
    records: BTreeMap<TopicPartition, Vec<String>>,
    positions: BTreeMap<i32, Offset>,
    named: u32,
}

impl Model {
    fn fresh(&mut self, to: TopicPartition, count: u8) -> (Append, Vec<String>) {
        let names: Vec<_> = (0..count).map(|n| format!("{}.{n}", self.named)).collect();
        self.named += 1;
        (Append { to, records: names.iter().map(|name| record(name.clone())).collect() }, names)
    }

    fn stands(&mut self, to: &TopicPartition, names: Vec<String>) {
        self.records.entry(to.clone()).or_default().extend(names);
    }
}

struct Run<R> {
    log: Arc<dyn Log>,
    reopen: R,
    clock: ManualClock,
    model: Model,
    member: Box<dyn Member>,
    transactor: Box<dyn Transactor>,
}

/// Everything that is readable; foreign transactions end when they are looked at.
async fn whole(log: &dyn Log, from: &TopicPartition) -> Vec<Record> {
    for _ in 0..20 {
        log.ends(from).await.unwrap();
    }
    read_all(log, from).await
}

async fn owner(log: &dyn Log) -> Box<dyn Member> {
    let mut member = log.join("g", &[stream().raw()], "m").await.unwrap();
    let poll = member.poll(ReadLimit::default(), Duration::from_secs(10)).await.unwrap();
    assert!(matches!(poll, Poll::Assigned(_)), "{poll:?}");
    member
}

impl<R: AsyncFn(Arc<dyn Log>) -> Arc<dyn Log>> Run<R> {
    async fn new(log: Arc<dyn Log>, clock: ManualClock, reopen: R) -> Self {
        let member = owner(&*log).await;
        let transactor = log.transactor("t").await.unwrap();
        Self { log, reopen, clock, model: Model::default(), member, transactor }
    }

    async fn apply(mut self, op: Op) -> Self {
        match op {
            Op::Append { to, count } => self.append(vec![(to, count)]).await,
            Op::AppendMany { counts } => self.append(counts).await,
            Op::Commit { counts, moves } => {
                let made: Vec<_> = counts.iter().map(|(to, count)| self.model.fresh(clean(*to), *count)).collect();
                let step = Step {
                    appends: made.iter().map(|(append, _)| append.clone()).collect(),
                    positions: moves.iter().map(|(of, at)| (raw(*of), Offset::from(*at))).collect(),
                    generation: self.member.generation(),
                };
                self.transactor.commit(step).await.unwrap();
                made.into_iter().for_each(|(append, names)| self.model.stands(&append.to, names));
                self.model.positions.extend(moves.into_iter().map(|(of, at)| (of, Offset::from(at))));
            }
            Op::ZombieCommit => {
                let younger = self.log.transactor("t").await.unwrap();
                let (append, _) = self.model.fresh(clean(0), 1);
                let positions = vec![(raw(0), 99)];
                let step = Step { appends: vec![append], positions, generation: self.member.generation() };
                let outcome = self.transactor.commit(step).await;
                assert!(matches!(outcome, Err(Error::Fenced(_))), "{outcome:?}");
                self.transactor = younger;
            }
            Op::Rebalance => {
                let late = self.member.generation();
                drop(self.member);
                self.member = owner(&*self.log).await;
                let step = Step { appends: Vec::new(), positions: vec![(raw(0), 98)], generation: late };
                let outcome = self.transactor.commit(step).await;
                assert!(matches!(outcome, Err(Error::Fenced(_))), "{outcome:?}");
                self.transactor = self.log.transactor("t").await.unwrap();
            }
            Op::Advance { seconds } => self.clock.advance_us(i64::from(seconds) * 1_000_000),
            Op::Read { from, skip, records } => self.read(&raw(from), usize::from(skip), usize::from(records)).await,
            Op::Reopen => {
                drop((self.member, self.transactor));
                self.log = (self.reopen)(self.log).await;
                self.member = owner(&*self.log).await;
                self.transactor = self.log.transactor("t").await.unwrap();
            }
        }
        self
    }

    async fn append(&mut self, counts: Vec<(i32, u8)>) {
        let made: Vec<_> = counts.iter().map(|(to, count)| self.model.fresh(raw(*to), *count)).collect();
        let appends = made.iter().map(|(append, _)| append.clone()).collect();
        let answers = self.log.append(appends, Durability::All).await;
        for ((append, names), answer) in made.into_iter().zip(answers) {
            let answer = answer.unwrap();
            assert_eq!(answer.last - answer.first + 1, Offset::try_from(names.len()).unwrap());
            self.model.stands(&append.to, names);
        }
    }

    async fn read(&self, from: &TopicPartition, skip: usize, limit: usize) {
        let all = whole(&*self.log, from).await;
        let Some(first) = all.get(skip % all.len().max(1)) else { return };
        let limit = ReadLimit { records: limit, bytes: usize::MAX };
        let batch = self.log.read(from, first.offset, limit).await.unwrap();
        let expected: Vec<_> = all.iter().filter(|record| record.offset >= first.offset).take(limit.records).collect();
        assert_eq!(batch.records.iter().collect::<Vec<_>>(), expected);
        let found = self.log.offset_at(from, first.time_ms).await.unwrap();
        let expected = all.iter().find(|record| record.time_ms >= first.time_ms).map(|record| record.offset);
        assert_eq!(Some(found), expected, "the first record of {} ms", first.time_ms);
    }

    async fn compare(&self) {
        for of in (0..PARTITIONS).flat_map(|partition| [raw(partition), clean(partition)]) {
            let records = whole(&*self.log, &of).await;
            assert!(records.is_sorted_by(|a, b| a.offset < b.offset && a.time_ms <= b.time_ms), "{of}: order");
            let found: Vec<_> = records.iter().map(text).collect();
            assert_eq!(found, self.model.records.get(&of).cloned().unwrap_or_default(), "{of}");
            assert!(
                records.last().is_none_or(|last| self.log.ends(&of).now_or_never().unwrap().unwrap().end > last.offset)
            );
        }
        for partition in 0..PARTITIONS {
            let committed = self.log.committed("g", &raw(partition)).await.unwrap();
            assert_eq!(committed, self.model.positions.get(&partition).copied(), "position of {partition}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_log_does_as_the_model(seed: u64, ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = clock();
            let log = MemoryLog::with_faults(seed, Faults::GAPS, Arc::new(clock.clone()));
            log.create_stream(&spec(PARTITIONS)).await.unwrap();
            let crash = async |shared: Arc<dyn Log>| { log.crash(); shared };
            let mut run = Run::new(Arc::new(log.clone()), clock, crash).await;
            for op in ops {
                run = run.apply(op).await;
                run.compare().await;
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_log_does_as_the_model(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = clock();
            let dir = tempfile::tempdir().unwrap();
            let log = open(dir.path(), Config::default(), &clock).await;
            let again = async |log: Arc<dyn Log>| -> Arc<dyn Log> {
                drop(log);
                Arc::new(open(dir.path(), Config::default(), &clock).await) as Arc<dyn Log>
            };
            let mut run = Run::new(Arc::new(log), clock.clone(), again).await;
            for op in ops {
                run = run.apply(op).await;
            }
            run.compare().await;
        });
    }
}
