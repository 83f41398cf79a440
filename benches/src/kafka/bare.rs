//! What ingest does on Kafka, by librdkafka alone: cut a body into lines, walk each line's JSON once, produce
//! each with headers like ours, and answer when all are acknowledged by all replicas.

use crate::records;
use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Produces lines of bodies.
pub(crate) struct BareKafka {
    producer: ThreadedProducer<Reports>,
    headers: OwnedHeaders,
    next: AtomicUsize,
}

struct Reports;

/// The lines of one body that are on their way.
#[derive(Default)]
struct Pending {
    left: AtomicUsize,
    failed: AtomicBool,
    done: Notify,
}

impl ClientContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        if result.is_err() {
            pending.failed.store(true, Ordering::Relaxed);
        }
        if pending.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            pending.done.notify_one();
        }
    }
}

impl BareKafka {
    /// Partitions of the topic that it writes to.
    pub(crate) const PARTITIONS: i32 = 8;

    /// A producer with the settings of ours.
    pub(crate) fn connect(brokers: &str) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("socket.nagle.disable", "true")
            .set("queue.buffering.max.kbytes", "262144")
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Reports)?;
        let record = records::raw(&mut crate::samples::random(), 0, 100);
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header { key: std::str::from_utf8(key)?, value: Some(value) });
        }
        Ok(Self { producer, headers, next: AtomicUsize::new(0) })
    }

    /// Whether each line is JSON and stands in Kafka by now.
    pub(crate) async fn store(&self, body: &[u8]) -> anyhow::Result<()> {
        let pending = Arc::new(Pending::default());
        // One more than lines, until all are handed over.
        pending.left.store(1, Ordering::Release);
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<IgnoredAny>(line)?;
            let data = memchr::memmem::find(line, b"\"data\":").context("no data")?;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            pending.left.fetch_add(1, Ordering::AcqRel);
            let partition = i32::try_from(number % usize::try_from(Self::PARTITIONS)?)?;
            let message = BaseRecord::with_opaque_to("events.raw", pending.clone())
                .partition(partition)
                .key(b"game-0")
                .payload(&line[data + 7..line.len() - 1])
                .headers(self.headers.clone());
            self.producer.send(message).map_err(|(error, _)| error)?;
        }
        if pending.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            pending.done.notified().await;
        }
        anyhow::ensure!(!pending.failed.load(Ordering::Relaxed), "a record was not acknowledged");
        Ok(())
    }
}
