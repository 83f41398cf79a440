//! Streams and appends.

use super::*;
use crate::log::{Error, NO_OFFSET, RECORD_BYTES_MAX};

pub(super) async fn all(factory: Factory<'_>) {
    streams_keep_their_number_of_partitions(factory).await;
    records_come_back_as_they_were_in_order(factory).await;
    one_bad_append_does_not_take_the_others_with_it(factory).await;
    time_never_goes_back(factory).await;
    appends_at_once_each_stand_together(factory).await;
}

async fn streams_keep_their_number_of_partitions(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let found = bench.log.stream(&bench.stream).await.unwrap().expect("the stream is found");
    let again = bench.log.create_stream(&spec(&bench.stream, PARTITIONS)).await.unwrap();
    assert_eq!(found, again, "making a stream again finds it, incarnation and all");
    let other = bench.log.create_stream(&spec(&bench.stream, PARTITIONS + 1)).await;
    let Err(Error::Refused(text)) = other else { panic!("another number of partitions is refused, not {other:?}") };
    assert!(text.contains('3') && text.contains('4'), "both numbers are named: {text}");
    let unknown = Stream::new("unknown").unwrap();
    assert_eq!(bench.log.stream(&unknown).await.unwrap(), None);
    let none = bench.log.create_stream(&spec(&unknown, 0)).await;
    assert!(matches!(none, Err(Error::Refused(_))), "no partitions: {none:?}");
    let second = bench.log.create_stream(&spec(&unknown, 1)).await.unwrap();
    assert_ne!(second.incarnation, found.incarnation, "each stream has an incarnation of its own");
}

async fn records_come_back_as_they_were_in_order(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let to = bench.raw(1);
    let mut sent = vec![NewRecord::default(), record("a")];
    sent.push(NewRecord { payload: Some("".into()), ..record("empty payload") });
    sent.push(NewRecord { payload: None, ..record("no payload") });
    sent.push(NewRecord { payload: Some(vec![b'x'; 600_000].into()), ..record("long") });
    let mut position = 0;
    for durability in [Durability::All, Durability::Leader, Durability::None, Durability::All] {
        let append = Append { to: to.clone(), records: sent.clone() };
        let at = bench.log.append(vec![append], durability).await.remove(0).unwrap();
        let found = bench.read(&to, position, sent.len()).await;
        if durability != Durability::None || at.first != NO_OFFSET {
            let offsets: Vec<Offset> = found.iter().map(|record| record.offset).collect();
            assert_eq!(
                offsets,
                (at.first..=at.last).collect::<Vec<_>>(),
                "each next to the other, where the append said"
            );
            assert_eq!(found.last().unwrap().time_ms, at.time_ms, "and at that time");
        }
        for (found, sent) in found.iter().zip(&sent) {
            assert_eq!((&found.key, &found.headers, &found.payload), (&sent.key, &sent.headers, &sent.payload));
        }
        position = found.last().unwrap().offset + 1;
    }
}

async fn one_bad_append_does_not_take_the_others_with_it(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let long = NewRecord { payload: Some(vec![0; RECORD_BYTES_MAX + 1].into()), ..NewRecord::default() };
    let appends = vec![
        append(&bench.raw(0), &["a"]),
        append(&TopicPartition::new("unknown.raw", 0), &["b"]),
        append(&bench.raw(PARTITIONS), &["c"]),
        append(&bench.raw(0), &[]),
        Append { to: bench.raw(0), records: vec![record("d"), long] },
        append(&bench.raw(0), &["e"]),
    ];
    let answers = bench.log.append(appends, Durability::All).await;
    assert_eq!(answers.len(), 6);
    for (place, answer) in answers.iter().enumerate() {
        match place {
            0 | 5 => assert!(answer.is_ok(), "{place}: {answer:?}"),
            _ => assert!(matches!(answer, Err(Error::Refused(_))), "{place}: {answer:?}"),
        }
    }
    assert_eq!(names(&bench.read(&bench.raw(0), 0, 2).await), ["a", "e"]);
}

async fn time_never_goes_back(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let to = bench.raw(0);
    for _ in 0..4 {
        bench.append(&to, &["a", "b"]).await;
        // Whichever clock the log goes by, it has moved on.
        bench.clock.advance_us(5_000);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let records = bench.read(&to, 0, 8).await;
    for time_ms in records.iter().flat_map(|record| [record.time_ms, record.time_ms + 1]).chain([0]) {
        let found = bench.log.offset_at(&to, time_ms).await.unwrap();
        match records.iter().find(|record| record.time_ms >= time_ms) {
            Some(first) => assert_eq!(found, first.offset, "the first record at {time_ms} or later"),
            None => {
                let end = bench.log.ends(&to).await.unwrap().end;
                assert!(found > records[7].offset && found <= end, "no such time: the end, not {found}");
            }
        }
    }
}

pub(super) async fn time_is_the_clocks(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let to = bench.raw(0);
    let mut times = Vec::new();
    for step_us in [0, 5_000_000, -3_000_000, 4_000_000] {
        bench.clock.advance_us(step_us);
        times.push(bench.append(&to, &["a", "b"]).await.time_ms - BEGIN_US / 1_000);
    }
    assert_eq!(times, [0, 5_000, 5_000, 6_000], "append time is the clock's, and its maximum where that goes back");
    let records = bench.read(&to, 0, 8).await;
    let base = BEGIN_US / 1_000;
    for (time_ms, record) in [(0, 0), (base, 0), (base + 1, 2), (base + 5_000, 2), (base + 5_001, 6)] {
        assert_eq!(bench.log.offset_at(&to, time_ms).await.unwrap(), records[record].offset, "{}", time_ms - base);
    }
}

async fn appends_at_once_each_stand_together(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let appends = (0..64).map(|writer: usize| {
        let name = format!("w{writer}");
        let to = bench.raw(i32::try_from(writer % 3).unwrap());
        let log = bench.log.clone();
        async move {
            let records = vec![append(&to, &[name.as_str(), name.as_str()])];
            (to, name, log.append(records, Durability::All).await.remove(0).unwrap())
        }
    });
    let placed = futures::future::join_all(appends).await;
    for partition in 0..PARTITIONS {
        let here: Vec<_> = placed.iter().filter(|(to, ..)| to.partition == partition).collect();
        let records = bench.read(&bench.raw(partition), 0, here.len() * 2).await;
        for (_, name, at) in here {
            for offset in [at.first, at.first + 1] {
                let found = records.iter().find(|record| record.offset == offset).expect("a record at its offset");
                assert_eq!(names(std::slice::from_ref(found)), [name.as_str()]);
            }
        }
    }
}
