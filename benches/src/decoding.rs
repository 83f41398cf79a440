//! JSON payloads to Arrow, beside arrow-json on the same bytes and to the same columns.

use crate::table::{Row, print};
use crate::{cpu, records, samples};
use anyhow::Context;
use arrow_json::ReaderBuilder;
use decode::{Decoder, Discovery, PayloadColumns, TableSchema};
use events::log::Record;
use std::sync::Arc;

/// Events in one batch, as a sink decodes them.
const BATCH: usize = 8_192;
/// How often the batch is decoded.
const ROUNDS: usize = 60;

/// Runs it for small and large events.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for payload_bytes in [284, 4_096] {
        let mut random = samples::random();
        let made: Vec<Record> = (0..BATCH as i64)
            .map(|offset| records::stored(records::clean(&mut random, offset, payload_bytes), offset))
            .collect();
        let batch: Vec<decode::Row<'_>> =
            made.iter().map(|record| decode::Row { record, partition: 0, incarnation: "bench" }).collect();
        let blank = Decoder::new(TableSchema::new("bench.event", None, &[])?, Discovery::On);
        let found = blank.decode(&batch)?.extended.context("no columns discovered")?;
        let decoder = Decoder::new(found.clone(), Discovery::On);
        let payloads: Vec<&[u8]> = made.iter().filter_map(|record| record.payload.as_deref()).collect();
        let lines: Vec<u8> = payloads.iter().flat_map(|payload| [*payload, b"\n"].concat()).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(decode::tree::arrow_fields(found.fields())));
        let rounds = if payload_bytes > 1_000 { ROUNDS / 4 } else { ROUNDS };
        let (mut limit, mut ours, mut whole) = (0.0, 0.0, 0.0);
        // In turn, so that a slow moment of the machine meets all three.
        for _ in 0..rounds {
            limit += cpu::time(|| {
                let mut reader = ReaderBuilder::new(schema.clone()).with_batch_size(BATCH).build_decoder()?;
                let mut rest = lines.as_slice();
                let mut count = 0;
                while !rest.is_empty() {
                    let read = reader.decode(rest)?;
                    rest = &rest[read..];
                    if let Some(decoded) = reader.flush()? {
                        count += decoded.num_rows();
                    }
                }
                anyhow::ensure!(count == BATCH, "arrow-json gave {count} rows");
                Ok(())
            })?
            .1
            .as_secs_f64();
            ours += cpu::time(|| {
                let mut columns = PayloadColumns::new(found.fields(), BATCH, true);
                for payload in &payloads {
                    columns.push(payload, None).ok().context("not taken")?;
                }
                let finished = columns.finish()?;
                anyhow::ensure!(finished.extra_values == 0, "values without a column");
                Ok(())
            })?
            .1
            .as_secs_f64();
            whole += cpu::time(|| {
                let decoded = decoder.decode(&batch)?;
                anyhow::ensure!(decoded.batch.num_rows() == BATCH && decoded.extended.is_none(), "not all decoded");
                Ok(())
            })?
            .1
            .as_secs_f64();
        }
        let events = (BATCH * rounds) as f64;
        let note = format!("{:.2} GB/s of JSON", lines.len() as f64 * rounds as f64 / ours / 1e9);
        rows.push(Row {
            what: format!("payload of {payload_bytes} B"),
            ours: events / ours,
            limit: Some(events / limit),
            note,
        });
        rows.push(Row {
            what: format!("the same with the envelope's {} columns", decode::columns::envelope().len()),
            ours: events / whole,
            limit: Some(events / limit),
            note: "the limit decodes the payload alone".into(),
        });
    }
    print("JSON to Arrow, beside arrow-json", "events/s on one core", &rows);
    Ok(())
}
