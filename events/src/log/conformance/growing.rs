//! Growing: a generation ends for everybody at once, and the next one begins.

use super::{Bench, Factory, PARTITIONS, append, assigned, names, polled, spec};
use crate::log::{Durability, Error, Log, ReadLimit, Record, generations, newest};
use crate::streams::TopicPartition;

pub(super) async fn all(factory: Factory<'_>) {
    what_has_ended_takes_no_event_and_keeps_what_it_has(factory).await;
    growing_again_finds_what_is_there(factory).await;
    a_growth_that_makes_no_sense_is_refused(factory).await;
    generations_are_read_apart(factory).await;
}

/// All that a partition holds below `end`.
async fn read_to(log: &dyn Log, of: &TopicPartition, end: i64) -> Vec<Record> {
    let (mut records, mut position) = (Vec::new(), 0);
    for _ in 0..1_000 {
        let batch = log.read(of, position, ReadLimit::default()).await.expect("a read in range succeeds");
        position = batch.next;
        records.extend(batch.records);
        if position >= end {
            return records;
        }
    }
    panic!("{of} was to be read up to {end}, and ends at {position}");
}

async fn what_has_ended_takes_no_event_and_keeps_what_it_has(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    bench.append(&bench.raw(1), &["a", "b"]).await;
    let old = bench.log.stream(&bench.stream).await.unwrap().unwrap();
    assert_eq!(old.ended, None, "the newest generation has no end");
    let made = bench.log.grow(&spec(&bench.stream.next(), 5)).await.expect("a stream grows");
    assert_eq!((made.stream.generation(), made.partitions, &made.ended), (2, 5, &None));
    assert_ne!(made.incarnation, old.incarnation, "each generation has a name of its own");

    let all = generations(&*bench.log, &bench.stream).await.unwrap();
    assert_eq!(newest(&*bench.log, &bench.stream).await.unwrap().as_ref(), all.last());
    assert_eq!(all.iter().map(|info| info.stream.generation()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&all[0].incarnation, all[0].partitions), (&old.incarnation, PARTITIONS));
    let ended = all[0].ended.clone().expect("the old generation says where it ends");
    assert_eq!(ended.len(), 3);
    for (partition, end) in (0..).zip(ended.iter()) {
        let raw = bench.raw(partition);
        for durability in [Durability::All, Durability::Leader] {
            let refused = bench.log.append(vec![append(&raw, &["late"])], durability).await.remove(0);
            assert!(matches!(refused, Err(Error::Ended(_))), "{raw} takes no more: {refused:?}");
        }
        let records = read_to(&*bench.log, &raw, *end).await;
        let (markers, events): (Vec<Record>, Vec<Record>) = records.into_iter().partition(Record::is_end);
        assert_eq!(names(&events), if partition == 1 { vec!["a", "b"] } else { vec![] });
        assert!(markers.last().is_some_and(|marker| marker.offset + 1 == *end), "the marker is the last of {raw}");
        assert_eq!(bench.log.ends(&raw).await.unwrap().end, *end, "and nothing comes behind it");
    }
    // All but raw goes on, and so does the new generation.
    bench.append(&bench.clean(0), &["c"]).await;
    bench.append(&TopicPartition::new(bench.stream.next().raw(), 4), &["d"]).await;
}

async fn growing_again_finds_what_is_there(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let next = spec(&bench.stream.next(), 4);
    let made = bench.log.grow(&next).await.unwrap();
    let ended = bench.log.stream(&bench.stream).await.unwrap().unwrap().ended;
    assert_eq!(bench.log.grow(&next).await.unwrap(), made);
    assert_eq!(bench.log.stream(&bench.stream).await.unwrap().unwrap().ended, ended, "an end stays where it is");
    assert_eq!(bench.log.create_stream(&next).await.unwrap(), made, "it is a stream like any other");
    let third = bench.log.grow(&spec(&next.stream.next(), 6)).await.unwrap();
    assert_eq!(third.partitions, 6);
    assert_eq!(generations(&*bench.log, &bench.stream).await.unwrap().len(), 3);
}

async fn a_growth_that_makes_no_sense_is_refused(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let next = bench.stream.next();
    for refused in [
        bench.log.grow(&spec(&next, PARTITIONS)).await,
        bench.log.grow(&spec(&next, 1)).await,
        bench.log.grow(&spec(&next.next(), 9)).await,
        bench.log.create_stream(&spec(&next, 9)).await,
    ] {
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    bench.append(&bench.raw(0), &["a"]).await;
    bench.log.grow(&spec(&next, 4)).await.unwrap();
    let other = bench.log.grow(&spec(&next, 5)).await;
    assert!(matches!(other, Err(Error::Refused(_))), "another number than it was made with: {other:?}");
}

/// A member of one generation is nothing to those of another.
async fn generations_are_read_apart(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let next = bench.stream.next();
    let mut old = bench.join(&[bench.stream.raw()], "old").await;
    assert_eq!(assigned(&mut *old).await.len(), 3);
    for partition in 0..PARTITIONS {
        old.seek(&bench.raw(partition), 0).unwrap();
    }
    bench.log.grow(&spec(&next, 4)).await.unwrap();
    let mut new = bench.join(&[next.raw()], "new").await;
    let owned = assigned(&mut *new).await;
    assert_eq!(owned.len(), 4);
    owned.iter().for_each(|of| new.seek(of, 0).unwrap());
    bench.append(&TopicPartition::new(next.raw(), 3), &["a"]).await;
    assert_eq!(polled(&mut *new, 1).await[0].0, TopicPartition::new(next.raw(), 3));
    let markers = polled(&mut *old, 3).await;
    assert!(markers.iter().all(|(of, record)| of.topic == bench.stream.raw() && record.is_end()), "{markers:?}");
}
