//! Retention and the size limit: what was read may go, what was not never does.

use super::*;
use events::log::memory::MemoryLog;
use events::log::{Error, Member, Poll, Step, StreamInfo, StreamSpec};

async fn reader(log: &dyn Log) -> Box<dyn Member> {
    let mut member = log.join("g", &[stream().raw()], "m").await.unwrap();
    let poll = member.poll(ReadLimit::default(), Duration::from_secs(10)).await.unwrap();
    assert!(matches!(poll, Poll::Assigned(_)), "{poll:?}");
    member
}

/// Runs the same story on both logs; `sweep` is their retention.
async fn story<L: Log, F: AsyncFn(&L)>(log: &L, clock: &ManualClock, sweep: F) {
    let state = TopicPartition::new(stream().state(), 0);
    let mut offsets = Vec::new();
    for day in 0..4 {
        offsets.push(put(log, &raw(0), format!("day {day}")).await.unwrap());
        put(log, &raw(1), "nobody's").await.unwrap();
        put(log, &state, "fingerprints").await.unwrap();
        clock.advance_us(3 * DAY_US);
    }
    let mut member = reader(log).await;
    sweep(log).await;
    assert_eq!(read_all(log, &raw(0)).await.len(), 4, "a group without a position has read nothing");

    member.commit(&[(raw(0), offsets[1]), (raw(1), offsets[0])]).await.unwrap();
    sweep(log).await;
    let kept: Vec<_> = read_all(log, &raw(0)).await.iter().map(|record| record.offset).collect();
    assert_eq!(kept, offsets[1..], "old and read: only that goes");
    assert_eq!(read_all(log, &state).await.len(), 4, "state has a retention of its own");
    let below = log.read(&raw(0), offsets[0], ReadLimit::default()).await;
    assert!(matches!(below, Err(Error::OutOfRange { .. })), "{below:?}");

    let end = log.ends(&raw(0)).await.unwrap().end;
    member.commit(&[(raw(0), end)]).await.unwrap();
    sweep(log).await;
    let kept: Vec<_> = read_all(log, &raw(0)).await.iter().map(|record| record.offset).collect();
    assert_eq!(kept, offsets[2..], "read, but younger than seven days");
    clock.advance_us(20 * DAY_US);
    sweep(log).await;
    let ends = log.ends(&raw(0)).await.unwrap();
    assert_eq!((ends.start, ends.end), (end, end), "an empty log starts where it ends");
    assert_eq!(read_all(log, &state).await.len(), 0);
    assert!(put(log, &raw(0), "new").await.unwrap() >= end);
}

/// A stream asked for again: events are kept as it says now, state as the longest ever asked for says.
async fn asked_again<L: Log, F: AsyncFn(&L)>(log: &L, clock: &ManualClock, sweep: F) {
    let day = Duration::from_secs(86_400);
    let state = TopicPartition::new(stream().state(), 0);
    let ask = async |days, state_days| {
        let spec = StreamSpec { retention: day * days, state_retention: day * state_days, ..spec(2) };
        log.create_stream(&spec).await.unwrap()
    };
    let first = log.create_stream(&spec(2)).await.unwrap();
    put(log, &state, "fingerprints").await.unwrap();
    put(log, &raw(0), "read").await.unwrap();
    let again = ask(2, 60).await;
    assert_eq!(again, StreamInfo { retention: day * 2, ..first });
    assert_eq!(log.stream(&stream()).await.unwrap().unwrap(), again);
    let mut member = reader(log).await;
    let end = log.ends(&raw(0)).await.unwrap().end;
    member.commit(&[(raw(0), end)]).await.unwrap();
    clock.advance_us(3 * DAY_US);
    sweep(log).await;
    assert_eq!(read_all(log, &raw(0)).await.len(), 0, "two days are the retention now");
    clock.advance_us(50 * DAY_US);
    ask(7, 14).await;
    sweep(log).await;
    assert_eq!(read_all(log, &state).await.len(), 1, "a shorter window lets nothing go that a longer one kept");
    clock.advance_us(10 * DAY_US);
    sweep(log).await;
    assert_eq!(read_all(log, &state).await.len(), 0);
}

#[tokio::test]
async fn both_logs_take_up_another_retention() {
    let clock = clock();
    let log = MemoryLog::new(Arc::new(clock.clone()));
    asked_again(&log, &clock, async |log: &MemoryLog| assert!(log.enforce_retention() < 100)).await;

    let dir = tempfile::tempdir().unwrap();
    let clock = super::clock();
    let log = open(dir.path(), Config::default(), &clock).await;
    asked_again(&log, &clock, async |log: &EmbeddedLog| assert!(log.enforce_retention().await.unwrap() < 100)).await;
    let info = log.create_stream(&StreamSpec { retention: Duration::from_secs(5), ..spec(2) }).await.unwrap();
    drop(log);
    let log = EmbeddedLog::open(dir.path(), Config::default(), Arc::new(clock.clone())).unwrap();
    assert_eq!(log.stream(&stream()).await.unwrap(), Some(info), "it is stored");
}

#[tokio::test]
async fn both_logs_delete_alike() {
    let clock = clock();
    let log = MemoryLog::new(Arc::new(clock.clone()));
    log.create_stream(&spec(2)).await.unwrap();
    story(&log, &clock, async |log: &MemoryLog| assert!(log.enforce_retention() < 100)).await;

    let dir = tempfile::tempdir().unwrap();
    let clock = super::clock();
    let log = open(dir.path(), Config::default(), &clock).await;
    story(&log, &clock, async |log: &EmbeddedLog| assert!(log.enforce_retention().await.unwrap() < 100)).await;
    let ends = log.ends(&raw(0)).await.unwrap();
    drop(log);
    let log = open(dir.path(), Config::default(), &clock).await;
    assert_eq!(log.ends(&raw(0)).await.unwrap(), ends, "a start is stored");
}

#[tokio::test]
async fn at_the_size_limit_the_read_goes_and_the_unread_stays() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config { size_limit_bytes: Some(100_000), ..Config::default() }, &clock()).await;
    let mut member = reader(&log).await;
    let mut offsets = Vec::new();
    let full = loop {
        assert!(offsets.len() < 20, "the limit let everything in");
        match put(&log, &raw(0), vec![b'x'; 9_000]).await {
            Ok(offset) => offsets.push(offset),
            Err(error) => break error,
        }
    };
    assert!(matches!(&full, Error::Full(text) if text.contains("100000")), "{full:?}");
    assert_eq!(read_all(&log, &raw(0)).await.len(), offsets.len(), "nothing unread went");
    member.commit(&[(raw(0), offsets[5])]).await.expect("positions are let in, or nothing could ever go");
    for _ in 0..5 {
        offsets.push(put(&log, &raw(0), vec![b'x'; 9_000]).await.unwrap());
    }
    let kept: Vec<_> = read_all(&log, &raw(0)).await.iter().map(|record| record.offset).collect();
    assert_eq!(kept, offsets[5..], "what was read went, and only that");
    let full = put(&log, &raw(0), vec![b'x'; 9_000]).await;
    assert!(matches!(full, Err(Error::Full(_))), "{full:?}");
    let mut transactor = log.transactor("t").await.unwrap();
    let appends = vec![append(&clean(0), vec![b'x'; 9_000])];
    let step = Step { appends, positions: vec![(raw(0), offsets[8])], generation: member.generation() };
    transactor.commit(step).await.expect("steps are let in, or a full log would stay so");
    put(&log, &raw(0), vec![b'x'; 9_000]).await.expect("the step made room");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn offsets_that_a_crash_burned_are_no_loss_to_a_reader_who_stands_before_them() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = clock();
    let log = open(dir.path(), Config::default(), &clock).await;
    let read_to = put(&log, &raw(0), "read").await.unwrap() + 1;
    reader(&log).await.commit(&[(raw(0), read_to)]).await.unwrap();
    copy(dir.path(), crashed.path());
    drop(log);

    let log = open(crashed.path(), Config::default(), &clock).await;
    let first = put(&log, &raw(0), "unread").await.unwrap();
    assert!(first > read_to, "nobody closed the log that was copied, so that offsets are burned");
    clock.advance_us(8 * DAY_US);
    assert!(log.enforce_retention().await.unwrap() > 0);
    let rest = log.read(&raw(0), read_to, ReadLimit::default()).await.unwrap();
    assert_eq!(rest.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [first]);
    drop(log);
    let log = open(crashed.path(), Config::default(), &clock).await;
    assert_eq!(log.ends(&raw(0)).await.unwrap().start, read_to, "and so it is stored");
}

/// A record goes when it is older than its keep, and not while it is just as old.
async fn to_the_millisecond<L: Log, F: AsyncFn(&L)>(log: &L, clock: &ManualClock, sweep: F) {
    let end = put(log, &raw(0), "read").await.unwrap() + 1;
    reader(log).await.commit(&[(raw(0), end)]).await.unwrap();
    clock.advance_us(7 * DAY_US);
    sweep(log).await;
    assert_eq!(read_all(log, &raw(0)).await.len(), 1, "seven days old");
    clock.advance_us(1_000);
    sweep(log).await;
    assert_eq!(read_all(log, &raw(0)).await.len(), 0, "a millisecond older");
}

#[tokio::test]
async fn both_logs_keep_to_the_millisecond() {
    let time = clock();
    let log = MemoryLog::new(Arc::new(time.clone()));
    log.create_stream(&spec(2)).await.unwrap();
    to_the_millisecond(&log, &time, async |log: &MemoryLog| _ = log.enforce_retention()).await;

    let dir = tempfile::tempdir().unwrap();
    let time = clock();
    let log = open(dir.path(), Config::default(), &time).await;
    to_the_millisecond(&log, &time, async |log: &EmbeddedLog| _ = log.enforce_retention().await.unwrap()).await;
}

#[tokio::test]
async fn at_the_size_limit_state_stays_whoever_has_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config { size_limit_bytes: Some(100_000), ..Config::default() }, &clock()).await;
    let state = TopicPartition::new(stream().state(), 0);
    let end = put(&log, &state, vec![b'x'; 9_000]).await.unwrap() + 1;
    let mut member = log.join("curious", &[stream().state()], "m").await.unwrap();
    let poll = member.poll(ReadLimit::default(), Duration::from_secs(10)).await.unwrap();
    assert!(matches!(poll, Poll::Assigned(_)), "{poll:?}");
    member.commit(&[(state.clone(), end)]).await.unwrap();
    let mut put_in = 0;
    while put(&log, &raw(0), vec![b'x'; 9_000]).await.is_ok() {
        put_in += 1;
        assert!(put_in < 20, "the limit let everything in");
    }
    assert_eq!(read_all(&log, &state).await.len(), 1);
}
