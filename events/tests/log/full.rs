//! A full disk: a clear error, nothing acknowledged lost, and on it goes when there is room.

use super::*;
use events::log::Error;
use events::log::embedded::SpaceProbe;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test]
async fn below_the_reserve_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let probe = free.clone();
    let space = SpaceProbe::new(move |_| Ok(probe.load(Ordering::Relaxed)));
    let log = open(dir.path(), Config { space, reserve_bytes: 1_000_000, ..Config::default() }, &clock()).await;
    let first = put(&log, &raw(0), "a").await.unwrap();
    free.store(1_000_050, Ordering::Relaxed);
    let full = put(&log, &raw(0), vec![b'x'; 1_000]).await;
    let Err(Error::Full(text)) = full else { panic!("{full:?}") };
    assert!(text.contains("1000050") && text.contains("1000000"), "{text}");
    free.store(u64::MAX, Ordering::Relaxed);
    let second = put(&log, &raw(0), "b").await.unwrap();
    let found = read_all(&log, &raw(0)).await;
    assert_eq!(found.iter().map(|record| record.offset).collect::<Vec<_>>(), [first, second]);
}

#[tokio::test]
async fn trouble_is_told_from_the_first_append_that_fails_until_one_would_work() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let probe = free.clone();
    let space = SpaceProbe::new(move |_| Ok(probe.load(Ordering::Relaxed)));
    let log = open(dir.path(), Config { space, reserve_bytes: 1_000_000, ..Config::default() }, &clock()).await;
    assert_eq!(log.trouble(), None);
    free.store(1_000_500, Ordering::Relaxed);
    assert!(put(&log, &raw(0), vec![b'x'; 1_000]).await.is_err());
    let trouble = log.trouble().unwrap();
    assert!(trouble.contains("1000500 bytes are free"), "{trouble}");
    // A smaller one fits: appends work again.
    put(&log, &raw(0), "a").await.unwrap();
    assert_eq!(log.trouble(), None);
    assert!(put(&log, &raw(0), vec![b'x'; 1_000]).await.is_err());
    assert!(log.trouble().is_some());
    // Nobody appends while it says so; it finds out by itself.
    free.store(u64::MAX, Ordering::Relaxed);
    while log.trouble().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    log.close().await;
    assert_eq!(log.trouble().as_deref(), Some("the log is closed"));
}

#[tokio::test]
async fn a_writer_that_panics_is_noticed_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let probe = broken.clone();
    let space = SpaceProbe::new(move |_| {
        assert!(!probe.load(Ordering::Relaxed), "the probe is broken");
        Ok(u64::MAX)
    });
    let log = open(dir.path(), Config { space, ..Config::default() }, &clock()).await;
    put(&log, &raw(0), "a").await.unwrap();
    broken.store(true, Ordering::Relaxed);
    let lost = put(&log, &raw(0), "b").await;
    assert!(matches!(lost, Err(Error::InDoubt(_))), "{lost:?}");
    log.ended().await;
    let after = put(&log, &raw(0), "c").await;
    assert!(matches!(after, Err(Error::Unavailable(_))), "{after:?}");
    assert_eq!(log.trouble().as_deref(), Some("the log is closed"));
}

/// The limit on the size of a file fails a write in the middle, as a full disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run as a process of its own, by the test below"]
async fn child() {
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, ..getrlimit(Resource::Fsize) }).unwrap();
    let dir = std::env::var("LOG_FULL_DIR").unwrap();
    limit(Some(66 << 20));
    let config = Config { memtable_bytes: 512 << 20, reserve_bytes: 0, ..Config::default() };
    let log = open(Path::new(&dir), config, &clock()).await;
    let mut kept = Vec::new();
    for round in 0..3 {
        let full = loop {
            match put(&log, &raw(0), vec![b'x'; 1_000_000]).await {
                Ok(offset) => kept.push(offset),
                Err(error) => break error,
            }
            assert!(kept.len() < 400, "the limit was never met");
        };
        assert!(matches!(full, Error::Full(_)), "{full:?}");
        let found: Vec<_> = read_all(&log, &raw(0)).await.iter().map(|record| record.offset).collect();
        assert_eq!(found, kept, "acknowledged before the disk was full");
        limit(Some((86 + 20 * round) << 20));
        kept.push(put(&log, &raw(0), "there is room again").await.unwrap());
    }
    log.close().await;
    let log = open(Path::new(&dir), Config::default(), &clock()).await;
    let found: Vec<_> = read_all(&log, &raw(0)).await.iter().map(|record| record.offset).collect();
    assert_eq!(found, kept);
    assert!(log.report().clean, "{:?}", log.report());
}

#[test]
fn a_write_that_fails_for_want_of_room_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(exe)
        .args(["--ignored", "--exact", "full::child", "--nocapture"])
        .env("LOG_FULL_DIR", dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "the child failed: {status}");
}
