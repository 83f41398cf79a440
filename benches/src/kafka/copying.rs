//! Raw to clean on Kafka: the processor, beside a bare copy by librdkafka in transactions of the same kind.

use crate::processing::{PAYLOAD_BYTES, process_all};
use crate::table::{Row, print};
use crate::{records, samples};
use anyhow::Context;
use events::streams::Stream;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::time::Duration;

/// Events carried over.
const EVENTS: u64 = 600_000;
/// Records of one transaction: as many as the processor takes when there is no want of them.
const BATCH: usize = 16_384;
/// For each call to the cluster.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut random = samples::random();
    let (cluster, filled) =
        super::filled_log(Stream::raw, EVENTS, |id| records::raw(&mut random, id, PAYLOAD_BYTES)).await?;
    let brokers = cluster.brokers.clone();
    let (steps, limit) = tokio::task::spawn_blocking(move || crate::cpu::time(|| copy(&brokers))).await??;
    let ours = process_all(&filled).await?;
    print(
        "The processor on Kafka",
        "events per CPU-second",
        &[Row {
            what: "raw to clean, in transactions".into(),
            ours: EVENTS as f64 / ours.as_secs_f64(),
            limit: Some(EVENTS as f64 / limit.as_secs_f64()),
            note: format!("the limit copies by librdkafka in {steps} transactions, and looks at nothing"),
        }],
    );
    Ok(())
}

/// Copies all of raw to a topic that nobody reads; gives the number of transactions.
fn copy(brokers: &str) -> anyhow::Result<usize> {
    let consumer: BaseConsumer = super::bare_consumer(brokers)?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("events.raw", 0, Offset::Offset(0))?;
    consumer.assign(&from)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", "bare")
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    producer.init_transactions(TIMEOUT)?;
    let (mut copied, mut steps) = (0, 0);
    while copied < EVENTS {
        producer.begin_transaction()?;
        let mut next = 0;
        for _ in 0..BATCH.min(usize::try_from(EVENTS - copied)?) {
            let message = consumer.poll(TIMEOUT).context("nothing came")??;
            next = message.offset() + 1;
            let mut record = BaseRecord::to("events.dead").partition(0);
            if let Some(key) = message.key() {
                record = record.key(key);
            }
            if let Some(payload) = message.payload() {
                record = record.payload(payload);
            }
            if let Some(headers) = message.headers() {
                record = record.headers(headers.detach());
            }
            producer.send(record).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
            copied += 1;
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("events.raw", 0, Offset::Offset(next))?;
        let group = consumer.group_metadata().context("no group")?;
        producer.send_offsets_to_transaction(&offsets, &group, TIMEOUT)?;
        producer.commit_transaction(TIMEOUT)?;
        steps += 1;
    }
    Ok(steps)
}
