//! Reads, bounds and positions out of range.

use super::*;
use crate::log::Error;

pub(super) async fn all(factory: Factory<'_>) {
    a_read_goes_on_where_the_last_one_ended(factory).await;
    no_reader_is_moved_elsewhere(factory).await;
    an_empty_partition_reads_empty(factory).await;
}

async fn a_read_goes_on_where_the_last_one_ended(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(2);
    let sent: Vec<String> = (0..50).map(|n| format!("r{n}")).collect();
    for some in sent.chunks(7) {
        bench.append(&from, &some.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let limits = [(1, usize::MAX), (3, usize::MAX), (usize::MAX, 1), (usize::MAX, 60), (16, 1_000)];
    for (records, bytes) in limits {
        let (mut found, mut position) = (Vec::new(), 0);
        for _ in 0..1_000 {
            let batch = bench.log.read(&from, position, ReadLimit { records, bytes }).await.unwrap();
            assert!(batch.records.len() <= records, "{} records over the limit {records}", batch.records.len());
            let last = batch.records.len().saturating_sub(1);
            let before_last: usize = batch.records[..last].iter().map(Record::len).sum();
            assert!(before_last < bytes || last == 0, "only the last record may pass the limit");
            assert!(batch.records.is_empty() || batch.next > batch.records[last].offset);
            position = batch.next;
            found.extend(batch.records);
            if found.len() == sent.len() {
                break;
            }
        }
        assert_eq!(names(&found), sent, "limit of {records} records and {bytes} bytes");
    }
    let all = bench.read(&from, 0, 50).await;
    for (place, record) in all.iter().enumerate() {
        let rest = bench.read(&from, record.offset, 50 - place).await;
        assert_eq!(rest[0].offset, record.offset, "a read may begin at any record");
    }
}

async fn no_reader_is_moved_elsewhere(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.raw(0);
    let last = bench.append(&from, &["a", "b"]).await.last;
    bench.read(&from, 0, 2).await;
    let ends = bench.log.ends(&from).await.unwrap();
    assert!(ends.start == 0 && ends.last_stable <= ends.end && ends.end > last, "{ends:?}");
    for position in [-1, ends.end + 1, ends.end + 1_000_000] {
        match bench.log.read(&from, position, ReadLimit::default()).await {
            Err(Error::OutOfRange { from: of, position: asked, .. }) => {
                assert_eq!((of, asked), (from.clone(), position))
            }
            other => panic!("position {position} of {ends:?} is out of range, not {other:?}"),
        }
    }
    let unknown = bench.log.read(&bench.raw(PARTITIONS), 0, ReadLimit::default()).await;
    assert!(matches!(unknown, Err(Error::Refused(_))), "{unknown:?}");
}

async fn an_empty_partition_reads_empty(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let from = bench.clean(1);
    let ends = bench.log.ends(&from).await.unwrap();
    assert_eq!((ends.start, ends.last_stable, ends.end), (0, 0, 0));
    let batch = bench.log.read(&from, 0, ReadLimit::default()).await.unwrap();
    assert_eq!((batch.position, batch.next, batch.records.len()), (0, 0, 0));
    assert_eq!(bench.log.offset_at(&from, 0).await.unwrap(), 0);
    assert_eq!(bench.log.committed("readers", &from).await.unwrap(), None, "never committed");
}
