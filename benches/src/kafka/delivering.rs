//! Clean records on Kafka to committed Parquet on S3: the sink, beside bare consume, decode, write and put.

use crate::sinking::{BATCH, BareFile, PAYLOAD_BYTES, sink};
use crate::table::{Row, print};
use crate::{cpu, filled, records, samples};
use anyhow::Context;
use bytes::Bytes;
use chaos::minio::{BUCKET, KEY, Minio, SECRET};
use events::HeadersBuilder;
use events::log::Record;
use events::streams::Stream;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::Offset;
use std::time::Duration;
use tables::{Access, Store};

/// For the next message.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs it for small and large events.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for payload_bytes in [284, 4_096] {
        let storage = Minio::start();
        let count = PAYLOAD_BYTES / payload_bytes / BATCH * BATCH;
        let mut random = samples::random();
        let record = |id| records::clean(&mut random, id as i64, payload_bytes);
        let (cluster, filled) = super::filled_log(Stream::clean, count as u64, record).await?;
        let start = cpu_time::ProcessTime::now();
        let bytes = bare(&cluster.brokers, &filled, &storage.endpoint).await?;
        let limit = start.elapsed();
        let ours = sink(&filled, tables_at(&storage.endpoint)?).await?;
        rows.push(Row {
            what: format!("payload of {payload_bytes} B"),
            ours: count as f64 / ours.as_secs_f64(),
            limit: Some(count as f64 / limit.as_secs_f64()),
            note: format!(
                "{count} events, {} MiB of Parquet; peak of both {} MiB",
                bytes >> 20,
                cpu::memory_peak_bytes(std::process::id())? >> 20
            ),
        });
    }
    print("Clean on Kafka to committed Parquet on MinIO", "events per CPU-second", &rows);
    Ok(())
}

/// Consumes all, writes one Parquet file in memory, and puts it; gives its size in bytes.
async fn bare(brokers: &str, filled: &filled::Filled, endpoint: &str) -> anyhow::Result<usize> {
    let (brokers, count) = (brokers.to_owned(), filled.count);
    let file = tokio::task::spawn_blocking(move || consume(&brokers, count)).await??;
    let bytes = file.len();
    objects(endpoint)?.put(&"bare.parquet".into(), file.into()).await?;
    Ok(bytes)
}

/// The bucket, without us.
fn objects(endpoint: &str) -> anyhow::Result<AmazonS3> {
    let builder = AmazonS3Builder::new().with_bucket_name(BUCKET).with_endpoint(endpoint);
    Ok(builder.with_access_key_id(KEY).with_secret_access_key(SECRET).with_allow_http(true).build()?)
}

/// Tables in the bucket.
fn tables_at(endpoint: &str) -> anyhow::Result<Store> {
    let settings =
        [("endpoint", endpoint), ("access_key_id", KEY), ("secret_access_key", SECRET), ("allow_http", "true")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Store::open_with(&format!("s3://{BUCKET}/tables"), &Access::default().with(settings))?)
}

fn consume(brokers: &str, count: u64) -> anyhow::Result<Vec<u8>> {
    let consumer: BaseConsumer = super::bare_consumer(brokers)?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("events.clean", 0, Offset::Offset(0))?;
    consumer.assign(&from)?;
    let mut file = BareFile::new(Vec::new());
    let mut headers = HeadersBuilder::with_capacity(64 << 10);
    let mut left = usize::try_from(count)?;
    while left > 0 {
        let mut records = Vec::with_capacity(BATCH.min(left));
        for _ in 0..BATCH.min(left) {
            let message = consumer.poll(TIMEOUT).context("nothing came")??;
            for header in message.headers().context("no headers")?.iter() {
                headers.push(header.key, header.value.unwrap_or_default());
            }
            records.push(Record {
                offset: message.offset(),
                time_ms: message.timestamp().to_millis().unwrap_or_default(),
                key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
                headers: headers.split(),
                payload: message.payload().map(Bytes::copy_from_slice),
            });
        }
        left -= records.len();
        file.write(&records)?;
    }
    file.finish()
}
