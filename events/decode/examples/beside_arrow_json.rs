//! Decodes the same bytes with killfeed's decoder and with arrow-json's, and prints both rates.
//!
//! `cargo run --release -p decode --example beside_arrow_json`. One thread; each figure is the best
//! of nine rounds over 16,384 events. `columns` is the payload alone, as arrow-json does it, but with
//! `extra`; `rows` has the envelope's 26 columns besides.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use arrow::datatypes::Schema as ArrowSchema;
use arrow_json::ReaderBuilder;
use bytes::Bytes;
use decode::{Decoder, Discovery, PayloadColumns, Row, TableSchema};
use events::Headers;
use events::log::Record;
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const EVENTS: usize = 16_384;
const ROUNDS: usize = 9;

/// The payload of the nth event.
type Make = fn(usize) -> String;

fn main() -> Result<(), Box<dyn Error>> {
    let shapes: [(&str, Make); 3] = [("flat 0.3 KB", flat), ("text 4 KB", long_text), ("nested 4 KB", nested)];
    println!("{:<12} {:>6} {:>24} {:>24} {:>24}", "", "bytes", "arrow-json", "columns", "rows");
    for (name, make) in shapes {
        let payloads: Vec<String> = (0..EVENTS).map(make).collect();
        let records: Vec<Record> = payloads.iter().enumerate().map(|(n, payload)| record(n, payload)).collect();
        let rows: Vec<Row<'_>> =
            records.iter().map(|record| Row { record, partition: 0, incarnation: "example" }).collect();
        let empty = TableSchema::new("example", None, &[])?;
        let decoded = Decoder::new(empty, Discovery::On).decode(&rows)?;
        let table = decoded.extended.ok_or("nothing was discovered")?;
        let schema = Arc::new(ArrowSchema::new(decode::tree::arrow_fields(table.fields())));
        let text = payloads.join("\n");
        let decoder = Decoder::new(table.clone(), Discovery::On);

        // In turns, so that what else the machine does weighs on all three alike.
        let mut best = [f64::INFINITY; 3];
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let mut theirs = ReaderBuilder::new(schema.clone()).with_batch_size(EVENTS).build_decoder()?;
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let taken = theirs.decode(rest)?;
                rest = &rest[taken..];
                if taken == 0 {
                    break;
                }
            }
            let batch = theirs.flush()?.ok_or("arrow-json found no rows")?;
            best[0] = best[0].min(started.elapsed().as_secs_f64());
            assert_eq!(black_box(batch).num_rows(), EVENTS);

            let started = Instant::now();
            let mut ours = PayloadColumns::new(table.fields(), EVENTS, true);
            for payload in &payloads {
                ours.push(payload.as_bytes(), None)?;
            }
            let finished = ours.finish()?;
            best[1] = best[1].min(started.elapsed().as_secs_f64());
            assert_eq!(black_box(finished).extra_values, 0);

            let started = Instant::now();
            let decoded = decoder.decode(&rows)?;
            best[2] = best[2].min(started.elapsed().as_secs_f64());
            assert_eq!(black_box(decoded).batch.num_rows(), EVENTS);
        }
        let bytes = text.len() / EVENTS;
        let mut line = format!("{name:<12} {bytes:>6}");
        for seconds in best {
            #[expect(clippy::cast_precision_loss, reason = "figures for a person")]
            let (rate, volume) = (EVENTS as f64 / seconds / 1e6, text.len() as f64 / seconds / 1e9);
            write!(line, " {rate:>7.2} M/s {volume:>6.2} GB/s")?;
        }
        println!("{line}   columns / arrow-json = {:.2}", best[0] / best[1]);
    }
    Ok(())
}

fn record(n: usize, payload: &str) -> Record {
    let id = format!("example-{n}");
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_source", "/game/eu1"),
        ("ce_type", "example"),
        ("ce_time", "2026-11-21T10:00:00.123Z"),
        ("content-type", "application/json"),
        ("ce_gameid", "EU1_4729149632"),
        ("ce_playerid", "EU1_4729149632-p1"),
        ("ce_region", "EU1"),
        ("ce_receivedat", "2026-11-21T10:00:00.456789Z"),
        ("kf_country", "DE"),
        ("kf_schema", "0"),
        ("kf_raw_offset", "12345"),
    ];
    Record {
        offset: i64::try_from(n).unwrap_or_default(),
        time_ms: 0,
        key: Bytes::new(),
        headers: Headers::of(headers),
        payload: Some(Bytes::copy_from_slice(payload.as_bytes())),
    }
}

fn flat(n: usize) -> String {
    format!(
        r#"{{"game_time_ms":{},"killer":"player-{}","victim":"player-{}","champion":"Volibear","level":{},"gold":{},"x":{}.25,"y":{}.5,"first_blood":{},"weapon":"Frost and Thunder","assists":{},"distance":{}.125,"streak":{},"region":"EU1","build":"13.14.522.7601","ping_ms":{}}}"#,
        n * 37,
        n % 10,
        (n + 3) % 10,
        n % 18,
        n % 9_000,
        n % 14_000,
        n % 13_000,
        n.is_multiple_of(100),
        n % 5,
        n % 700,
        n % 7,
        n % 150
    )
}

fn long_text(n: usize) -> String {
    let frame = "at Engine.Render.Pipeline.Submit (Renderer.cs:1184) in frame worker ";
    format!(
        r#"{{"signature":"crash-{}","version":"13.14.522.7601","fatal":true,"uptime_s":{},"stack":"{}","log":"{}"}}"#,
        n % 50,
        n,
        frame.repeat(28),
        frame.repeat(27)
    )
}

fn nested(n: usize) -> String {
    let hit = |m: usize| {
        format!(
            r#"{{"basic":{},"magic_damage":{},"name":"Volibear","participant_id":{},"physical_damage":{},"spell_name":"volibearq","spell_slot":{},"true_damage":{},"type":"OTHER"}}"#,
            m.is_multiple_of(2),
            m * 7 % 600,
            m % 10,
            m * 13 % 900,
            m % 4,
            m % 30
        )
    };
    let hits = |count: usize, seed: usize| (0..count).map(|m| hit(n + m + seed)).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"killer_id":{},"victim_id":{},"bounty":300,"shutdown_bounty":0,"position":{{"x":{},"y":{}}},"assisting":[1,2,3],"victim_damage_dealt":[{}],"victim_damage_received":[{}]}}"#,
        n % 10,
        (n + 1) % 10,
        n % 14_000,
        n % 13_000,
        hits(12, 0),
        hits(12, 5)
    )
}
