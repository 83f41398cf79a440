//! Damaged files: a tail is cut, saved and named, never silently; offsets are never given twice.

use super::*;
use events::log::Error;
use events::log::embedded::Lost;
use std::fs;
use std::path::PathBuf;

fn journal(dir: &Path) -> PathBuf {
    let found = fs::read_dir(dir.join("store")).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).max().unwrap()
}

/// Where the text of a payload lies in a file.
fn place(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

async fn filled(dir: &Path) -> Vec<Offset> {
    let log = open(dir, Config::default(), &clock()).await;
    let mut offsets = Vec::new();
    for n in 0..10 {
        offsets.push(put(&log, &raw(0), format!("payload number {n}!")).await.unwrap());
    }
    log.close().await;
    offsets
}

#[tokio::test]
async fn a_damaged_tail_is_cut_and_named() {
    type Harm = fn(&mut Vec<u8>);
    let cases: [(&str, Harm); 3] = [
        ("a flipped bit", |bytes| {
            let at = place(bytes, "payload number 6!");
            bytes[at] ^= 1;
        }),
        ("a cut file", |bytes| {
            let at = place(bytes, "payload number 6!");
            bytes.truncate(at);
        }),
        ("garbage over the tail", |bytes| {
            let at = place(bytes, "payload number 6!");
            bytes[at..].fill(0xa5);
        }),
    ];
    for (what, harm) in cases {
        let dir = tempfile::tempdir().unwrap();
        let offsets = filled(dir.path()).await;
        let journal = journal(dir.path());
        let mut bytes = fs::read(&journal).unwrap();
        harm(&mut bytes);
        fs::write(&journal, bytes).unwrap();

        let log = open(dir.path(), Config::default(), &clock()).await;
        let lost = Lost { of: raw(0), from: offsets[6], to: offsets[9] + 1, acknowledged: true };
        assert_eq!(log.report().lost, [lost], "{what}");
        let saved = log.report().cut_saved.clone().unwrap();
        assert_eq!(fs::metadata(saved).unwrap().len(), log.report().cut_bytes, "{what}");
        let kept: Vec<_> = read_all(&log, &raw(0)).await.iter().map(|record| record.offset).collect();
        assert_eq!(kept, offsets[..6], "{what}");
        let beyond = log.read(&raw(0), offsets[9] + 1, ReadLimit::default()).await;
        assert!(matches!(beyond, Err(Error::OutOfRange { .. })), "{what}: a reader ahead of the log stops: {beyond:?}");
        let next = put(&log, &raw(0), "after").await.unwrap();
        assert!(next > offsets[9], "{what}: {next} was given before");
        log.close().await;
        let log = open(dir.path(), Config::default(), &clock()).await;
        assert!(log.report().clean && log.report().lost.is_empty(), "{what}: told once: {:?}", log.report());
        assert_eq!(read_all(&log, &raw(0)).await.len(), 7, "{what}");
    }
}

#[tokio::test]
async fn a_missing_journal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = filled(dir.path()).await;
    let bytes = fs::read(journal(dir.path())).unwrap();
    let first = place(&bytes, "payload number 0!");
    fs::write(journal(dir.path()), &bytes[..first]).unwrap();
    let log = open(dir.path(), Config::default(), &clock()).await;
    assert_eq!(log.report().lost.len(), 1);
    assert_eq!((log.report().lost[0].from, log.report().lost[0].to), (offsets[0], offsets[9] + 1));
    assert!(put(&log, &raw(0), "after").await.unwrap() > offsets[9]);
}

#[tokio::test]
async fn a_second_opener_is_told_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), Config::default(), &clock()).await;
    let second = EmbeddedLog::open(dir.path(), Config::default(), Arc::new(clock())).err();
    let Some(Error::Unavailable(text)) = second else { panic!("{second:?}") };
    assert!(text.contains("in use"), "{text}");
    let clone = first.clone();
    first.close().await;
    let closed = put(&clone, &raw(0), "late").await;
    assert!(matches!(closed, Err(Error::Unavailable(_))), "{closed:?}");
    EmbeddedLog::open(dir.path(), Config::default(), Arc::new(clock())).unwrap();
}

#[tokio::test]
async fn what_stood_stands_after_a_clean_close_and_generations_grow() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config::default(), &clock()).await;
    let info = log.stream(&stream()).await.unwrap();
    let mut member = log.join("g", &[stream().raw()], "m").await.unwrap();
    member.poll(ReadLimit::default(), Duration::from_secs(10)).await.unwrap();
    member.commit(&[(raw(1), 3)]).await.unwrap();
    let before = (put(&log, &raw(1), "a").await.unwrap(), member.generation().number);
    drop(member);
    drop(log);
    let log = open(dir.path(), Config::default(), &clock()).await;
    assert!(log.report().clean);
    assert_eq!(log.stream(&stream()).await.unwrap(), info);
    assert_eq!(log.committed("g", &raw(1)).await.unwrap(), Some(3));
    assert_eq!(put(&log, &raw(1), "b").await.unwrap(), before.0 + 1, "a clean close burns no offsets");
    let mut member = log.join("g", &[stream().raw()], "m").await.unwrap();
    member.poll(ReadLimit::default(), Duration::from_secs(10)).await.unwrap();
    assert!(member.generation().number > before.1);
    let other = log.create_stream(&spec(5)).await;
    assert!(matches!(other, Err(Error::Refused(_))), "{other:?}");
}

/// A process that starts another one shares its open files with it for a moment.
#[tokio::test]
async fn a_closed_log_can_be_opened_while_this_process_starts_others() {
    let dir = tempfile::tempdir().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let opened =
            (0..50).try_for_each(|_| EmbeddedLog::open(dir.path(), Config::default(), Arc::new(clock())).map(drop));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        opened.unwrap();
    });
}

#[tokio::test]
async fn damage_in_front_of_a_newer_journal_is_an_error_and_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let older = journal(dir.path());
    let number: u64 = older.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut bytes = fs::read(&older).unwrap();
    fs::write(older.with_file_name(format!("{}.jnl", number + 1)), &bytes).unwrap();
    let at = place(&bytes, "payload number 6!");
    bytes[at] ^= 1;
    fs::write(&older, &bytes).unwrap();
    let error = EmbeddedLog::open(dir.path(), Config::default(), Arc::new(clock())).err();
    assert!(matches!(&error, Some(Error::Corrupt(text)) if text.contains("newer journals follow")), "{error:?}");
    assert_eq!(fs::read(&older).unwrap(), bytes, "nothing was cut");
}

/// The process dies right after its first answer, and the journal's tail with it.
#[tokio::test]
async fn the_first_offset_is_reserved_before_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Config::default(), &clock()).await;
    let given = put(&log, &raw(0), "payload number 0!").await.unwrap();
    let ends = ["ends.a", "ends.b"].map(|name| (name, fs::read(dir.path().join(name)).unwrap_or_default()));
    log.close().await;
    for (name, bytes) in ends {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let journal = journal(dir.path());
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..place(&bytes, "payload number 0!")]).unwrap();
    let log = open(dir.path(), Config::default(), &clock()).await;
    let next = put(&log, &raw(0), "after").await.unwrap();
    assert!(next > given, "{next} was given before");
}
