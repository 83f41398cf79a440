//! Topics and their settings: how long records are kept, and what is refused.

use crate::{config, put, raw, shared, spec, stream};
use chaos::Cluster;
use events::log::{Error, Log as _, StreamSpec};
use kafka_log::{Change, Config, KafkaLog};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use std::collections::HashMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(crate) fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &cluster.brokers).create().unwrap()
}

/// The settings of a topic, as another program sees them.
async fn settings(cluster: &Cluster, topic: &str) -> HashMap<String, String> {
    let of = [ResourceSpecifier::Topic(topic)];
    let found = admin(cluster).describe_configs(&of, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    found.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Sets these, and takes back all others but the topic's mark.
async fn set(cluster: &Cluster, topic: &str, values: &[(&str, &str)]) {
    let mark = settings(cluster, topic).await.remove("delete.retention.ms").unwrap();
    let values = [values, &[("delete.retention.ms", &*mark)]].concat();
    let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let alter = values.iter().fold(alter, |alter, (setting, value)| alter.set(setting, value));
    admin(cluster).alter_configs([&alter], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_is_as_last_asked_for_and_states_only_grows() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    let made = log.create_stream(&spec(1)).await.unwrap();
    let (raw, state) = (format!("{}events.raw", config.prefix), format!("{}events.state", config.prefix));
    set(cluster, &raw, &[("message.timestamp.type", "LogAppendTime"), ("segment.bytes", "8388608")]).await;

    let shorter = StreamSpec { retention: 2 * DAY, state_retention: 3 * DAY, ..spec(1) };
    let found = log.create_stream(&shorter).await.unwrap();
    assert_eq!((&found.incarnation, found.retention), (&made.incarnation, 2 * DAY));
    assert_eq!(log.stream(&stream()).await.unwrap().unwrap().retention, 2 * DAY);
    let (raws, states) = (settings(cluster, &raw).await, settings(cluster, &state).await);
    assert_eq!(raws["retention.ms"], millis(2 * DAY));
    assert_eq!(raws["segment.bytes"], "8388608", "what an operator has set stays");
    assert_eq!(raws["message.timestamp.type"], "LogAppendTime");
    assert_eq!(states["retention.ms"], millis(14 * DAY), "claims may lean on the longer one");

    log.create_stream(&StreamSpec { state_retention: 20 * DAY, ..shorter }).await.unwrap();
    assert_eq!(settings(cluster, &state).await["retention.ms"], millis(20 * DAY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_break_the_laws_are_refused_with_every_fault() {
    let (cluster, _turn) = shared().await;
    let config = Config { single_node: true, ..config(cluster) };
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(1)).await.unwrap();
    put(&log, &raw(0), &["a".into()]).await.unwrap();
    let strict = KafkaLog::new(Config { single_node: false, ..config.clone() }).unwrap();
    set(cluster, &format!("{}events.clean", config.prefix), &[("cleanup.policy", "compact")]).await;
    let Err(Error::Refused(text)) = strict.create_stream(&spec(1)).await else { panic!("one replica is not enough") };
    for fault in ["events.raw: min.insync.replicas", "events.clean: message.timestamp.type", "events.clean: cleanup"] {
        assert!(text.contains(fault), "{fault} in {text}");
    }

    let grown = NewPartitions::new("", 2);
    let name = format!("{}events.raw", config.prefix);
    let grown = NewPartitions { topic_name: &name, ..grown };
    admin(cluster).create_partitions([&grown], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let again = KafkaLog::new(config).unwrap();
    let refused = again.stream(&stream()).await;
    let Err(Error::Refused(text)) = refused else { panic!("a topic grew behind our back: {refused:?}") };
    assert!(text.contains("2 partitions, and 1 are recorded"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_all_that_apply_then_does() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    let planned = log.plan(&spec(2)).await.unwrap();
    let made = planned.iter().filter(|change| matches!(change, Change::Make { partitions: 2, replicas: 1, .. }));
    assert_eq!(made.count(), 5, "{planned:?}");
    assert!(planned.contains(&Change::Record { stream: "events".into() }) && planned.len() == 6, "{planned:?}");
    assert_eq!(log.stream(&stream()).await.unwrap(), None, "a plan changes nothing");
    log.apply(&spec(2)).await.unwrap();
    let first = log.stream(&stream()).await.unwrap().unwrap();
    assert_eq!(log.plan(&spec(2)).await.unwrap(), []);

    let clean = format!("{}events.clean", config.prefix);
    set(cluster, &clean, &[("cleanup.policy", "compact"), ("segment.bytes", "8388608")]).await;
    assert!(matches!(log.stream(&stream()).await, Err(Error::Refused(_))), "a topic that forgets is not served");
    let planned = log.plan(&spec(2)).await.unwrap();
    let policy =
        Change::Set { topic: clean.clone(), setting: "cleanup.policy", from: "compact".into(), to: "delete".into() };
    assert!(planned.contains(&policy), "{planned:?}");
    log.apply(&spec(2)).await.unwrap();
    assert_eq!(log.plan(&spec(2)).await.unwrap(), []);
    assert_eq!(settings(cluster, &clean).await["segment.bytes"], "8388608", "what nobody asked about stays");
    assert_eq!(log.stream(&stream()).await.unwrap().unwrap().incarnation, first.incarnation);

    let Err(Error::Refused(text)) = log.apply(&spec(3)).await else { panic!("partitions are fixed") };
    assert!(text.contains("2 partitions, 3 were asked for") && text.contains("2 partitions are recorded"), "{text}");
}

/// Deletes a topic and makes it again, as somebody's hand would.
async fn remake(cluster: &Cluster, topic: &str) {
    let admin = admin(cluster);
    admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    // The cluster forgets the old one by and by, and its brokers learn of the new one so.
    let mut is_made = false;
    for _ in 0..100 {
        is_made = is_made || admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).is_ok();
        let known = admin.inner().fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        if is_made && known.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{topic} is not made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_again_is_not_the_one_that_was_recorded() {
    let (cluster, _turn) = shared().await;
    let config = config(cluster);
    let log = KafkaLog::new(config.clone()).unwrap();
    log.create_stream(&spec(1)).await.unwrap();
    put(&log, &raw(0), &["a".into()]).await.unwrap();
    let clean = format!("{}events.clean", config.prefix);
    remake(cluster, &clean).await;
    let again = KafkaLog::new(config).unwrap();
    for log in [&log, &again] {
        let refused = log.stream(&stream()).await;
        let Err(Error::Refused(text)) = refused else { panic!("it is another topic: {refused:?}") };
        assert!(text.contains(&format!("topic {clean} was made again")), "{text}");
        assert!(matches!(log.create_stream(&spec(1)).await, Err(Error::Refused(_))));
    }
    let planned = again.plan(&spec(1)).await.unwrap();
    assert!(planned.iter().any(|change| matches!(change, Change::Impossible { .. })), "{planned:?}");
}
