//! Clean records to committed Parquet: the sink on the embedded log, beside bare decode and write of
//! the same records, without log, transactions, ledger or table.

use crate::table::{Row, print};
use crate::{cpu, filled, records, samples};
use anyhow::Context;
use decode::{Decoder, Discovery, TableSchema};
use events::log::{Log, ReadLimit};
use events::schema::SharedRegistry;
use events::streams::{SINK_GROUP, Stream};
use events::{SystemClock, TopicPartition};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Bytes of payload in all, for each size of event.
const PAYLOAD_BYTES: usize = 240 << 20;
/// Events decoded together.
const BATCH: usize = 8_192;

/// Runs it for small and large events.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    for payload_bytes in [284, 4_096] {
        let dir = tempfile::tempdir()?;
        let count = PAYLOAD_BYTES / payload_bytes / BATCH * BATCH;
        let mut random = samples::random();
        let record = |id| records::clean(&mut random, id as i64, payload_bytes);
        let (log, _, clean) = runtime.block_on(filled::log(dir.path(), Stream::clean, count as u64, record))?;
        let (bytes, limit) = cpu::time(|| runtime.block_on(bare(&log, &clean, dir.path())))?;
        let cpu_start = cpu_time::ProcessTime::now();
        runtime.block_on(sink(&log, &clean, dir.path()))?;
        let ours = cpu_start.elapsed();
        rows.push(Row {
            what: format!("payload of {payload_bytes} B"),
            ours: count as f64 / ours.as_secs_f64(),
            limit: Some(count as f64 / limit.as_secs_f64()),
            note: format!("{count} events, {} MiB of Parquet", bytes >> 20),
        });
    }
    print("Clean to committed Parquet", "events per CPU-second", &rows);
    Ok(())
}

/// Reads, decodes, writes one Parquet file.
async fn bare(log: &Arc<dyn Log>, clean: &TopicPartition, dir: &Path) -> anyhow::Result<u64> {
    let path = dir.join("bare.parquet");
    let mut decoder: Option<Decoder> = None;
    let mut writer: Option<ArrowWriter<std::fs::File>> = None;
    let mut position = 0;
    loop {
        let batch = log.read(clean, position, ReadLimit { records: BATCH, bytes: usize::MAX }).await?;
        if batch.records.is_empty() {
            break;
        }
        position = batch.next;
        let rows: Vec<decode::Row<'_>> =
            batch.records.iter().map(|record| decode::Row { record, partition: 0, incarnation: "bench" }).collect();
        let decoder = match &mut decoder {
            Some(decoder) => decoder,
            None => {
                let blank = Decoder::new(TableSchema::new("bench.event", None, &[])?, Discovery::On);
                let found = blank.decode(&rows)?.extended.context("no columns discovered")?;
                decoder.insert(Decoder::new(found, Discovery::On))
            }
        };
        let decoded = decoder.decode(&rows)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let file = std::fs::File::create(&path)?;
                writer.insert(ArrowWriter::try_new(file, decoded.batch.schema(), Some(properties))?)
            }
        };
        writer.write(&decoded.batch)?;
    }
    writer.context("nothing to write")?.close()?;
    Ok(std::fs::metadata(&path)?.len())
}

/// The sink, until its position is at the end.
async fn sink(log: &Arc<dyn Log>, clean: &TopicPartition, dir: &Path) -> anyhow::Result<()> {
    let end = log.ends(clean).await?.last_stable;
    let stream = Stream::new("events").map_err(anyhow::Error::msg)?;
    let tables = dir.join("tables");
    std::fs::create_dir_all(&tables)?;
    let store = tables::Store::open(tables.to_str().context("path is no UTF-8")?)?;
    let shutdown = CancellationToken::new();
    let flush = sinks::FlushSignal::default();
    let running = tokio::spawn(sinks::run(
        sinks::Config::new(stream, "bench"),
        log.clone(),
        store,
        SharedRegistry::default(),
        Arc::new(SystemClock),
        flush.clone(),
        shutdown.clone(),
    ));
    while log.committed(SINK_GROUP, clean).await? != Some(end) {
        anyhow::ensure!(!running.is_finished(), "the sink ended early");
        flush.request();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    shutdown.cancel();
    running.await??;
    Ok(())
}
