//! Each stage on Apache Kafka against its limit: the same work by librdkafka alone, in the same run.
//!
//! Kafka is a process of its own, and so is the load: neither is in a figure.

mod bare;
mod copying;
mod delivering;

pub(crate) use bare::BareKafka;

use crate::child::Server;
use crate::table::{Row, grouped, print};
use crate::{filled, http, pipeline, visibility};
use chaos::Cluster;
use events::log::Log;
use events::streams::Stream;
use kafka_log::{Config, KafkaLog};
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use std::path::Path;
use std::sync::Arc;

/// Events/s of the greater load under which latency is measured.
const LOAD: u64 = 20_000;

/// One of the parts below, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// HTTP to 202.
    Ingest,
    /// Raw to clean.
    Process,
    /// Clean to committed Parquet on S3.
    Sink,
    /// All roles in one process, from HTTP to committed rows.
    Pipeline,
    /// From 202 to SELECT, under the loads of `visibility`.
    Latency,
}

/// Runs one part, or all.
pub(crate) fn run(killfeed: &Path, seconds: u64, only: Option<Part>) -> anyhow::Result<()> {
    let wanted = |part| only.is_none_or(|only| only == part);
    if wanted(Part::Ingest) {
        ingest(killfeed, seconds)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if wanted(Part::Process) {
        runtime.block_on(copying::run())?;
    }
    if wanted(Part::Sink) {
        runtime.block_on(delivering::run())?;
    }
    drop(runtime);
    // Each on a cluster of its own, which ends before the next one starts.
    let on_cluster = |work: &dyn Fn(&[&str]) -> anyhow::Result<()>| {
        let cluster = Cluster::start(1);
        let options = options(&cluster);
        work(&options.iter().map(String::as_str).collect::<Vec<_>>())
    };
    if wanted(Part::Pipeline) {
        on_cluster(&|options| pipeline::run(killfeed, pipeline::Load::default(), options))?;
    }
    if wanted(Part::Latency) {
        on_cluster(&|options| visibility::run(killfeed, &visibility::settings(LOAD), options))?;
    }
    Ok(())
}

/// What `killfeed` is told so that it works on this cluster.
fn options(cluster: &Cluster) -> Vec<String> {
    let log = format!("kafka://{}", cluster.brokers);
    ["--log", &log, "--single-node"].map(str::to_owned).into()
}

fn ingest(killfeed: &Path, seconds: u64) -> anyhow::Result<()> {
    let shape = |events, bytes, connections| http::Shape { events, bytes, connections };
    let mut rows = Vec::new();
    for shape in [shape(1, 1_024, 64), shape(10, 1_024, 32), shape(100, 870, 8), shape(500, 1_024, 4)] {
        // Each gets a cluster of its own, and takes what it wrote along: gigabytes.
        let measured = |server: &dyn Fn(&Path, &Cluster) -> anyhow::Result<Server>| {
            let (dir, cluster) = (tempfile::tempdir()?, Cluster::start(1));
            http::full(&server(dir.path(), &cluster)?, shape, seconds)
        };
        let ours = measured(&|dir, cluster| {
            let options = options(cluster);
            Server::killfeed(killfeed, "ingest", dir, &options.iter().map(String::as_str).collect::<Vec<_>>())
        })?;
        let limit = measured(&|dir, cluster| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (log, spec) = (log(cluster)?, filled::spec(BareKafka::PARTITIONS)?);
            runtime.block_on(log.create_stream(&spec))?;
            Server::bare(dir, Some(&cluster.brokers))
        })?;
        rows.push(Row {
            what: shape.to_string(),
            ours: ours.per_cpu_second,
            limit: Some(limit.per_cpu_second),
            note: format!(
                "{} events/s by the wall, the limit {}; {} MiB, the limit {}",
                grouped(ours.per_second),
                grouped(limit.per_second),
                ours.memory_bytes >> 20,
                limit.memory_bytes >> 20,
            ),
        });
    }
    print("HTTP to 202 on Kafka", "events per CPU-second", &rows);
    Ok(())
}

/// A consumer that reads committed records, with the bounds of ours.
fn bare_consumer(brokers: &str) -> anyhow::Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", "50000")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.wait.max.ms", "100")
        .create()?)
}

fn log(cluster: &Cluster) -> anyhow::Result<KafkaLog> {
    Ok(KafkaLog::new(Config { single_node: true, ..Config::new(&cluster.brokers) })?)
}

/// A log on a cluster of its own, with `count` records of about `payload_bytes` in the topic of one
/// partition that `topic` names.
async fn filled_log(
    topic: impl Fn(&Stream) -> Arc<str>,
    count: u64,
    record: impl FnMut(u64) -> events::log::NewRecord,
) -> anyhow::Result<(Cluster, filled::Filled)> {
    let cluster = Cluster::start(1);
    let filled = filled::fill(Arc::new(log(&cluster)?), topic, count, record).await?;
    Ok((cluster, filled))
}
