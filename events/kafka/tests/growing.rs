//! Growing on a real cluster: the fence holds against every producer, and a growth that broke off goes on.

use crate::topics::admin;
use crate::{append, config, put, raw, read_all, shared, spec, stream};
use events::TopicPartition;
use events::log::{Durability, Error, Log, Record, StreamSpec};
use kafka_log::KafkaLog;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a sender has been told so far.
#[derive(Default)]
struct Told {
    taken: AtomicUsize,
    refused: AtomicUsize,
}

/// Waits until each sender has been told something of it more than `times` times.
async fn told(senders: &[Arc<Told>], what: fn(&Told) -> &AtomicUsize, times: usize) {
    let began = Instant::now();
    while senders.iter().any(|told| what(told).load(Ordering::SeqCst) <= times) {
        assert!(began.elapsed() < Duration::from_secs(60), "a sender is not told any more");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn grown(partitions: i32) -> StreamSpec {
    StreamSpec { stream: stream().next(), ..spec(partitions) }
}

/// What stands below the ends is all that was ever taken: under load from several producers, one of which
/// never hears of the growth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_acknowledged_stands_behind_the_end() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(2)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let tolds: Vec<Arc<Told>> = (0..3).map(|_| Arc::default()).collect();
    let mut senders = Vec::new();
    for (name, so_far) in ["a", "b", "c"].into_iter().zip(tolds.clone()) {
        let (log, stop) = (KafkaLog::new(config.clone()).unwrap(), stop.clone());
        senders.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let texts: Vec<String> = (0..5).map(|part| format!("{name}-{number}-{part}-{:100}", "")).collect();
                let durability = if name == "c" { Durability::Leader } else { Durability::All };
                match log.append(vec![append(&raw(number % 2), &texts)], durability).await.remove(0) {
                    Ok(_) => {
                        taken.extend(texts);
                        so_far.taken.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(Error::Ended(_)) => drop(so_far.refused.fetch_add(1, Ordering::SeqCst)),
                    Err(error) => assert!(matches!(error, Error::InDoubt(_)), "{error}"),
                }
            }
            taken
        }));
    }
    told(&tolds, |told| &told.taken, 10).await;
    log.grow(&grown(3)).await.unwrap();
    told(&tolds, |told| &told.refused, 0).await;
    stop.store(true, Ordering::Relaxed);
    let ended = log.stream(&stream()).await.unwrap().unwrap().ended.unwrap();
    let mut stands = BTreeSet::new();
    for (number, end) in (0..).zip(ended.iter()) {
        let records = read_all(&log, &raw(number)).await;
        let behind = records.iter().filter(|record| record.offset >= *end).count();
        assert_eq!(behind, 0, "nothing stands behind the end");
        assert!(records.last().is_some_and(Record::is_end));
        stands.extend(records.iter().map(|record| crate::text(record).to_owned()));
    }
    for sender in senders {
        let taken = sender.await.unwrap();
        assert!(taken.iter().all(|text| stands.contains(text)), "what was taken stands");
    }
    // The producer that was refused goes on with the new generation.
    put(&log, &TopicPartition::new(stream().next().raw(), 2), &["d".into()]).await.unwrap();
}

/// As if the command had died behind the fence, and somebody had sent meanwhile: refused, and then done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growth_that_broke_off_is_done_by_the_next() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(1)).await.unwrap();
    put(&log, &raw(0), &["a".into()]).await.unwrap();
    let name = format!("{}events.raw", config.prefix);
    let of = [ResourceSpecifier::Topic(&name)];
    let found = admin(cluster).describe_configs(&of, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let set = found.entries.iter().filter(|entry| entry.source == rdkafka::admin::ConfigSource::DynamicTopic);
    let fence = set.fold(AlterConfig::new(ResourceSpecifier::Topic(&name)), |alter, entry| {
        let value = if entry.name == "max.message.bytes" { "96" } else { entry.value.as_deref().unwrap_or_default() };
        alter.set(&entry.name, value)
    });
    admin(cluster).alter_configs([&fence], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let long = format!("{:200}", "b");
    let refused = loop {
        match put(&log, &raw(0), std::slice::from_ref(&long)).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Ended(_)), "{refused}");
    assert_eq!(log.stream(&stream().next()).await.unwrap(), None, "and nothing has grown");
    // Two at once agree.
    let other = KafkaLog::new(config).unwrap();
    let spec = grown(2);
    let (first, second) = tokio::join!(log.grow(&spec), other.grow(&spec));
    assert_eq!(first.unwrap(), second.unwrap());
    let Err(Error::Refused(text)) = other.grow(&grown(4)).await else { panic!("another number") };
    assert!(text.contains("has 2 partitions, and 4 were asked for"), "{text}");
}
