//! Groups: assignment, seeks, positions, and the traps that readers of Kafka fell into.

use super::*;
use crate::log::Error;
use std::collections::BTreeSet;

pub(super) async fn all(factory: Factory<'_>) {
    nothing_is_read_before_a_seek(factory).await;
    a_seek_past_the_end_never_falls_back(factory).await;
    a_partition_has_one_owner_through_a_rebalance(factory).await;
    readers_of_another_stream_take_nothing_away(factory).await;
    positions_belong_to_the_generation(factory).await;
    pause_and_wake(factory).await;
    a_dropped_poll_loses_nothing(factory).await;
}

async fn nothing_is_read_before_a_seek(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(0);
    bench.append(&from, &["a", "b", "c"]).await;
    let second = bench.read(&from, 0, 3).await[1].offset;
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assert_eq!(assigned(&mut *member).await.len(), usize::try_from(PARTITIONS).unwrap());
    silent(&mut *member, "no position, no records").await;
    member.seek(&from, second).unwrap();
    assert_eq!(polled(&mut *member, 2).await[0].1.offset, second, "the seek, and nothing from before it");
    member.seek(&from, 0).unwrap();
    let again = polled(&mut *member, 3).await;
    assert_eq!(names(&[again[0].1.clone()]), ["a"], "offset 0 is a position like any other");
    silent(&mut *member, "all is read").await;
    let elsewhere = member.seek(&bench.clean(0), 0);
    assert!(matches!(elsewhere, Err(Error::Refused(_))), "not assigned: {elsewhere:?}");
}

async fn a_seek_past_the_end_never_falls_back(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(0);
    bench.append(&from, &["a"]).await;
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assigned(&mut *member).await;
    let past = bench.log.ends(&from).await.unwrap().end + 100;
    member.seek(&from, past).unwrap();
    for _ in 0..3 {
        match member.poll(ReadLimit::default(), Duration::ZERO).await {
            Err(Error::OutOfRange { position, .. }) => assert_eq!(position, past),
            other => panic!("a position past the end is out of range, again and again, not {other:?}"),
        }
    }
}

async fn a_partition_has_one_owner_through_a_rebalance(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let topics = [bench.stream.clean(), bench.stream.raw()];
    let mut first = bench.join(&topics, "first").await;
    let whole: BTreeSet<_> = assigned(&mut *first).await.into_iter().collect();
    assert_eq!(whole.len(), 6, "all partitions of both topics: {whole:?}");
    let before = first.generation();

    let mut second = bench.join(&topics, "second").await;
    silent(&mut *second, "the first has not given up yet").await;
    let Poll::Revoked(revoked) = told(&mut *first).await else { panic!("the first is told to give up") };
    assert_eq!(revoked.into_iter().collect::<BTreeSet<_>>(), whole);
    assert!(first.generation().number > before.number, "the generation grew");
    let ours: BTreeSet<_> = assigned(&mut *second).await.into_iter().collect();
    let theirs: BTreeSet<_> = assigned(&mut *first).await.into_iter().collect();
    assert!(ours.is_disjoint(&theirs), "{ours:?} and {theirs:?} overlap");
    assert_eq!(&(&ours | &theirs), &whole, "nothing is left out");
    for share in [&ours, &theirs] {
        assert!(!share.is_empty(), "each of two members has some of three partitions");
        for of in share {
            let twin = if of.topic == bench.stream.raw() { bench.clean(of.partition) } else { bench.raw(of.partition) };
            assert!(share.contains(&twin), "partition {} of every topic goes to one member", of.partition);
        }
    }
    drop(first);
    let Poll::Revoked(_) = told(&mut *second).await else { panic!("who stays is told, too") };
    assert_eq!(assigned(&mut *second).await.into_iter().collect::<BTreeSet<_>>(), whole, "who leaves, leaves it all");

    let unknown = bench.log.join("others", &["unknown.raw".into()], "m").await.err();
    assert!(matches!(unknown, Some(Error::Refused(_))), "{unknown:?}");
}

async fn readers_of_another_stream_take_nothing_away(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let stream = Stream::new("others").unwrap();
    bench.log.create_stream(&spec(&stream, PARTITIONS)).await.unwrap();
    let theirs = TopicPartition::new(stream.raw(), 0);
    let mut first = bench.join(&[bench.stream.raw()], "first").await;
    let firsts = assigned(&mut *first).await;
    let mut other = bench.join(&[stream.raw()], "other").await;
    let others = assigned(&mut *other).await;
    for (share, topic) in [(&firsts, bench.stream.raw()), (&others, stream.raw())] {
        assert_eq!(share.len(), usize::try_from(PARTITIONS).unwrap());
        assert!(share.iter().all(|of| of.topic == topic), "{share:?}");
    }
    first.commit(&[(bench.raw(0), 7)]).await.expect("its generation goes on");
    other.commit(&[(theirs.clone(), 8)]).await.expect("its own partition");
    assert_eq!(bench.log.committed("readers", &bench.raw(0)).await.unwrap(), Some(7), "each stream has its positions");
    assert_eq!(bench.log.committed("readers", &theirs).await.unwrap(), Some(8));
    let foreign = other.commit(&[(bench.raw(0), 9)]).await;
    assert!(matches!(foreign, Err(Error::Fenced(_))), "{foreign:?}");
    drop(other);
    silent(&mut *first, "who left read another stream").await;
    first.commit(&[(bench.raw(0), 10)]).await.expect("it still goes on");
    for topics in [vec![bench.stream.raw(), bench.stream.clean()], vec![bench.stream.raw(), stream.raw()], vec![]] {
        let refused = bench.log.join("readers", &topics, "another").await.err();
        assert!(matches!(refused, Some(Error::Refused(_))), "other topics of the stream, or two streams: {refused:?}");
    }
}

async fn positions_belong_to_the_generation(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(1);
    let mut first = bench.join(&[bench.stream.raw()], "first").await;
    assigned(&mut *first).await;
    first.commit(&[(from.clone(), 7)]).await.expect("its own partition");
    assert_eq!(bench.log.committed("readers", &from).await.unwrap(), Some(7));
    assert_eq!(bench.log.committed("others", &from).await.unwrap(), None, "each group has its own");
    let foreign = first.commit(&[(bench.clean(1), 1)]).await;
    assert!(matches!(foreign, Err(Error::Fenced(_))), "a partition it doesn't own: {foreign:?}");

    let second = bench.join(&[bench.stream.raw()], "second").await;
    let Poll::Revoked(_) = told(&mut *first).await else { panic!("the first is told to give up") };
    let late = first.commit(&[(from.clone(), 8)]).await;
    assert!(matches!(late, Err(Error::Fenced(_))), "the group has moved on: {late:?}");
    assert_eq!(bench.log.committed("readers", &from).await.unwrap(), Some(7));
    drop(second);
}

pub(super) async fn whoever_joins_ends_the_generation(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(1);
    let mut first = bench.join(&[bench.stream.raw()], "first").await;
    assigned(&mut *first).await;
    let second = bench.join(&[bench.stream.raw()], "second").await;
    let late = first.commit(&[(from.clone(), 8)]).await;
    assert!(matches!(late, Err(Error::Fenced(_))), "the group has moved on, told or not: {late:?}");
    drop(second);
}

async fn pause_and_wake(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let (one, two) = (bench.raw(0), bench.raw(1));
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    for of in assigned(&mut *member).await {
        member.seek(&of, 0).unwrap();
    }
    silent(&mut *member, "nothing was appended").await;
    let waiting = polled(&mut *member, 1);
    let appending = async {
        tokio::task::yield_now().await;
        bench.append(&one, &["woken"]).await;
    };
    let (found, ()) = tokio::join!(waiting, appending);
    assert_eq!(names(&[found[0].1.clone()]), ["woken"], "an append ends the wait");

    member.pause(std::slice::from_ref(&one));
    bench.append(&one, &["paused"]).await;
    bench.append(&two, &["goes on"]).await;
    let found = polled(&mut *member, 1).await;
    assert_eq!((found.len(), &found[0].0), (1, &two), "a paused partition hands out nothing");
    member.resume(std::slice::from_ref(&one));
    assert_eq!(names(&[polled(&mut *member, 1).await[0].1.clone()]), ["paused"]);
}

async fn a_dropped_poll_loses_nothing(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(0);
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assigned(&mut *member).await;
    member.seek(&from, 0).unwrap();
    let (mut found, mut dropped) = (Vec::new(), 0);
    for n in 0..60_u64 {
        bench.append(&from, &[&format!("r{n}")]).await;
        // It waits longer than it is left to live, however late this thread gets its turn.
        let poll = member.poll(ReadLimit::default(), PATIENCE);
        match tokio::time::timeout(Duration::from_micros(n * 50), poll).await {
            Ok(Ok(Poll::Batches(batches))) => found.extend(batches.into_iter().flat_map(|batch| batch.records)),
            Ok(other) => panic!("records were due, and {other:?} came"),
            Err(_) => dropped += 1,
        }
    }
    while found.len() < 60 {
        found.extend(polled(&mut *member, 1).await.into_iter().map(|(_, record)| record));
    }
    let sent: Vec<String> = (0..60).map(|n| format!("r{n}")).collect();
    assert_eq!(names(&found), sent, "{dropped} polls were dropped");
    // What such a poll had found is not handed out after a seek.
    bench.append(&from, &["last"]).await;
    drop(tokio::time::timeout(Duration::ZERO, member.poll(ReadLimit::default(), Duration::from_secs(1))).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    member.seek(&from, 0).unwrap();
    let again = polled(&mut *member, 61).await;
    assert_eq!(again[0].1.offset, found[0].offset, "the seek, and nothing from before it");
}
