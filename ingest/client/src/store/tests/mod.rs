//! The disk queue against a model of it, on files that fail and forget.

mod model;
pub(crate) mod unsafe_files;

use super::*;
use unsafe_files::UnsafeFiles;

pub(super) fn record(order: u64, text: usize) -> Record {
    let members = format!("\"id\":\"{order}\",\"data\":\"{}\"", "x".repeat(text));
    Record { order, time_us: 5, server_time: false, event_type: format!("t{}", order % 3), members }
}

fn orders(queue: &mut DiskQueue) -> Vec<u64> {
    std::iter::from_fn(|| queue.read().unwrap()).map(|stored| stored.record.order).collect()
}

fn open(files: &UnsafeFiles, limit: u64) -> DiskQueue {
    DiskQueue::open(Box::new(files.clone()), limit).unwrap()
}

#[test]
fn what_was_not_done_with_comes_back_in_order_and_says_whether_it_was_sent() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    queue.append(&[record(1, 10), record(2, 10), record(3, 10), record(4, 10)]).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| queue.read().unwrap()).collect();
    assert_eq!(read.iter().map(|stored| (stored.earlier, stored.sent_us)).collect::<Vec<_>>(), [(false, None); 4]);
    queue.set_sent(read[2].index + 1, 77);
    queue.done(read[1].index);
    queue.commit().unwrap();
    drop(queue);
    let mut queue = open(&files, 1 << 20);
    assert_eq!(queue.held(), 3);
    assert_eq!(queue.peek_order().unwrap(), Some(0), "events of earlier runs come first");
    let read: Vec<_> = std::iter::from_fn(|| queue.read().unwrap()).collect();
    let seen: Vec<_> = read.iter().map(|stored| (stored.record.order, stored.earlier, stored.sent_us)).collect();
    assert_eq!(seen, [(1, true, Some(77)), (3, true, Some(77)), (4, true, None)]);
}

#[test]
fn a_segment_goes_when_its_events_are_done_with() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    for order in 0..40 {
        queue.append(&[record(order, 10_000)]).unwrap();
    }
    let full = queue.bytes();
    let read: Vec<_> = std::iter::from_fn(|| queue.read().unwrap()).collect();
    for stored in &read[..30] {
        queue.done(stored.index);
    }
    queue.commit().unwrap();
    assert!(queue.bytes() < full / 2, "{} of {full}", queue.bytes());
    assert_eq!(queue.held(), 10);
}

#[test]
fn a_full_store_takes_nothing_until_the_oldest_segment_is_dropped() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 262_144);
    let mut order = 0;
    while queue.append(&[record(order, 10_000)]).is_ok() {
        order += 1;
    }
    assert!(queue.bytes() <= 262_144 && order > 20, "{order}");
    queue.read().unwrap();
    let (below, dropped) = queue.drop_oldest().unwrap();
    assert_eq!(dropped.values().sum::<u64>(), below - 1, "what was read is not lost");
    queue.append(&[record(order, 10_000)]).unwrap();
    assert_eq!(orders(&mut queue), (below..=order).collect::<Vec<_>>());
    assert_eq!(queue.held(), order + 1 - below);
}

#[test]
fn a_torn_end_is_cut_and_damage_in_the_middle_is_counted() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    for order in 0..20 {
        queue.append(&[record(order, 10_000)]).unwrap();
    }
    drop(queue);
    files.cut_last(".kfq", 3);
    let mut queue = open(&files, 1 << 20);
    assert_eq!(queue.take_damaged(), 0, "what was never whole can't be counted");
    assert_eq!(orders(&mut queue), (0..19).collect::<Vec<_>>());
    queue.append(&[record(99, 1)]).unwrap();
    drop(queue);
    // The first segment's third event: the rest of that segment is gone with it.
    files.flip_first(".kfq", 25_000);
    let mut queue = open(&files, 1 << 20);
    let damaged = queue.take_damaged();
    let read = orders(&mut queue);
    assert!(damaged >= 1 && read.len() as u64 + damaged == 20, "{damaged} {read:?}");
    assert_eq!((&read[..2], read.last()), (&[0, 1][..], Some(&99)));
    drop(queue);
    assert_eq!(open(&files, 1 << 20).take_damaged(), 0, "counted once");
}

#[test]
fn damage_that_happens_while_it_is_open_is_counted_too() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    queue.append(&[record(0, 10), record(1, 10)]).unwrap();
    files.flip_first(".kfq", 40);
    assert!(orders(&mut queue).is_empty());
    assert_eq!((queue.take_damaged(), queue.held()), (2, 0));
}

#[test]
fn a_purge_leaves_nothing() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    queue.append(&[record(0, 10), record(1, 10)]).unwrap();
    assert_eq!(queue.purge().unwrap(), 2);
    assert_eq!(queue.held(), 0);
    queue.append(&[record(2, 10)]).unwrap();
    assert_eq!(orders(&mut queue), [2]);
    drop(queue);
    assert_eq!(orders(&mut open(&files, 1 << 20)), [2]);
}

#[test]
fn the_session_is_kept_and_ended() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    assert_eq!(queue.session(), None);
    queue.set_session("abc 12").unwrap();
    assert_eq!(open(&files, 1 << 20).session().as_deref(), Some("abc 12"));
    queue.set_session("").unwrap();
    assert_eq!(queue.session(), None);
    assert!(queue.set_session(&"x".repeat(600)).is_err());
}

#[test]
fn the_cursor_needs_no_room_on_a_full_disk() {
    let files = UnsafeFiles::default();
    let mut queue = open(&files, 1 << 20);
    queue.append(&[record(0, 10), record(1, 10)]).unwrap();
    files.fill_up();
    assert!(matches!(queue.append(&[record(2, 10)]), Err(AppendError::Io(_))));
    let first = queue.read().unwrap().unwrap();
    queue.done(first.index);
    queue.commit().unwrap();
    drop(queue);
    files.make_room();
    let mut queue = open(&files, 1 << 20);
    queue.append(&[record(3, 10)]).unwrap();
    assert_eq!(orders(&mut queue), [1, 3]);
}
