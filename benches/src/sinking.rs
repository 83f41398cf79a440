//! Clean records to committed Parquet: the sink on the embedded log, beside bare decode and write of
//! the same records, without log, transactions, ledger or table.

use crate::filled::{self, Filled};
use crate::table::{Row, print};
use crate::{cpu, records, samples};
use anyhow::Context;
use decode::{Decoder, Discovery, TableSchema};
use events::SystemClock;
use events::log::{ReadLimit, Record};
use events::schema::SharedRegistry;
use events::streams::{SINK_GROUP, Stream};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tokio_util::sync::CancellationToken;

/// Bytes of payload in all, for each size of event.
pub(crate) const PAYLOAD_BYTES: usize = 240 << 20;
/// Events decoded together.
pub(crate) const BATCH: usize = 8_192;
/// How often a flush is asked for, and the position looked at.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// Runs it for small and large events.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    for payload_bytes in [284, 4_096] {
        let dir = tempfile::tempdir()?;
        let count = PAYLOAD_BYTES / payload_bytes / BATCH * BATCH;
        let mut random = samples::random();
        let record = |id| records::clean(&mut random, id as i64, payload_bytes);
        let filled = runtime.block_on(filled::embedded(dir.path(), Stream::clean, count as u64, record))?;
        let (bytes, limit) = cpu::time(|| runtime.block_on(bare(&filled, dir.path())))?;
        let tables = dir.path().join("tables");
        let ours = runtime.block_on(sink(&filled, Store::open(tables.to_str().context("path is no UTF-8")?)?))?;
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
async fn bare(Filled { log, from: clean, .. }: &Filled, dir: &Path) -> anyhow::Result<u64> {
    let path = dir.join("bare.parquet");
    let mut file = BareFile::new(std::fs::File::create(&path)?);
    let mut position = 0;
    loop {
        let batch = log.read(clean, position, ReadLimit { records: BATCH, bytes: usize::MAX }).await?;
        if batch.records.is_empty() {
            break;
        }
        position = batch.next;
        file.write(&batch.records)?;
    }
    file.finish()?;
    Ok(std::fs::metadata(&path)?.len())
}

/// A Parquet file of decoded records, and nothing else.
pub(crate) struct BareFile<W: Write + Send> {
    to: Option<W>,
    open: Option<(Decoder, ArrowWriter<W>)>,
}

impl<W: Write + Send> BareFile<W> {
    /// Nothing is written yet: the columns are those of the first records.
    pub(crate) fn new(to: W) -> Self {
        Self { to: Some(to), open: None }
    }

    /// Decodes and writes.
    pub(crate) fn write(&mut self, records: &[Record]) -> anyhow::Result<()> {
        let row = |record| decode::Row { record, partition: 0, incarnation: "bench" };
        let rows: Vec<_> = records.iter().map(row).collect();
        if let Some(to) = self.to.take() {
            let blank = Decoder::new(TableSchema::new("bench.event", None, &[])?, Discovery::On);
            let found = blank.decode(&rows)?.extended.context("no columns discovered")?;
            let decoder = Decoder::new(found, Discovery::On);
            let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?));
            let schema = decoder.decode(&rows[..1])?.batch.schema();
            self.open = Some((decoder, ArrowWriter::try_new(to, schema, Some(properties.build()))?));
        }
        let (decoder, writer) = self.open.as_mut().context("closed")?;
        Ok(writer.write(&decoder.decode(&rows)?.batch)?)
    }

    /// Ends the file, and gives what it was written to.
    pub(crate) fn finish(self) -> anyhow::Result<W> {
        Ok(self.open.context("nothing to write")?.1.into_inner()?)
    }
}

/// The sink, until its position is behind all records; gives the CPU time of all threads meanwhile.
pub(crate) async fn sink(filled: &Filled, store: Store) -> anyhow::Result<Duration> {
    let Filled { log, stream, from: clean, end, .. } = filled;
    let shutdown = CancellationToken::new();
    let flush = sinks::FlushSignal::default();
    let start = cpu_time::ProcessTime::now();
    let running = tokio::spawn(sinks::run(
        sinks::Config::new(stream.clone(), "bench"),
        log.clone(),
        store,
        SharedRegistry::default(),
        Arc::new(SystemClock),
        flush.clone(),
        shutdown.clone(),
    ));
    while log.committed(SINK_GROUP, clean).await? != Some(*end) {
        anyhow::ensure!(!running.is_finished(), "the sink ended early");
        flush.request();
        tokio::time::sleep(FLUSH_INTERVAL).await;
    }
    let took = start.elapsed();
    shutdown.cancel();
    running.await??;
    Ok(took)
}
