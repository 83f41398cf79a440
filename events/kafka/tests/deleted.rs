//! Records that Kafka deleted below a position: an error that stops, never a jump.

use crate::{config, put, raw, shared, spec, stream};
use chaos::Cluster;
use events::log::{Error, Log, Member, Poll, ReadLimit};
use kafka_log::{Config, KafkaLog};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::Offset;
use std::time::Duration;

/// Deletes everything below `offset`, as retention does.
async fn delete_below(cluster: &Cluster, config: &Config, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &cluster.brokers).create().unwrap();
    let mut list = TopicPartitionList::new();
    let topic = format!("{}{}", config.prefix, stream().raw());
    list.add_partition_offset(&topic, 0, Offset::Offset(offset)).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

async fn next(member: &mut dyn Member) -> Result<Poll, Error> {
    for _ in 0..200 {
        match member.poll(ReadLimit::default(), Duration::from_millis(100)).await {
            Ok(Poll::Idle) => {}
            told => return told,
        }
    }
    panic!("nothing came");
}

fn assert_out_of_range(found: &Result<Poll, Error>, at: i64, start: i64) {
    match found {
        Err(Error::OutOfRange { from, position, ends }) => {
            assert_eq!((from, *position, ends.start), (&raw(0), at, start));
        }
        other => panic!("position {at} was deleted, and {other:?} came"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_whose_records_were_deleted_is_out_of_range() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(1)).await.unwrap();
    let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    put(&log, &raw(0), &texts).await.unwrap();
    delete_below(cluster, &config, 5).await;

    let read = log.read(&raw(0), 4, ReadLimit::default()).await;
    assert!(matches!(read, Err(Error::OutOfRange { position: 4, .. })), "{read:?}");
    assert_eq!(log.read(&raw(0), 5, ReadLimit::default()).await.unwrap().records.len(), 5, "the first that is kept");

    let mut member = log.join("late", &[stream().raw()], "m").await.unwrap();
    assert!(matches!(next(&mut *member).await, Ok(Poll::Assigned(_))));
    member.seek(&raw(0), 2).unwrap();
    for _ in 0..2 {
        assert_out_of_range(&next(&mut *member).await, 2, 5);
    }

    // The same to a reader that is held back while the log goes on without it.
    member.seek(&raw(0), 5).unwrap();
    assert!(matches!(next(&mut *member).await, Ok(Poll::Batches(_))));
    member.pause(&[raw(0)]);
    put(&log, &raw(0), &texts).await.unwrap();
    delete_below(cluster, &config, 15).await;
    member.resume(&[raw(0)]);
    for _ in 0..2 {
        assert_out_of_range(&next(&mut *member).await, 10, 15);
    }
}
