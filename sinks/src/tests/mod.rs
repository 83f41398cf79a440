//! Sinks on a log and a store in memory, in which things go wrong by a seed.

mod foreign;
mod once;
mod outage;
mod rearranging;
mod suite;

use crate::conformance::Delivered;
use crate::flush::{Context, deliver};
use crate::route::{Kind, Part};
use crate::{Config, Error};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use events::log::{Record, StreamInfo, StreamSpec};
use events::schema::{Registry, SharedRegistry};
use events::{Headers, ManualClock, Stream, headers};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tables::{DEAD_LETTERS, Head, LEDGER, Store, files};

pub(crate) fn stream() -> Stream {
    Stream::new("events").unwrap()
}

pub(crate) fn spec(partitions: i32) -> StreamSpec {
    let week = Duration::from_secs(7 * 24 * 3600);
    StreamSpec { stream: stream(), partitions, retention: week, state_retention: week }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(chrono::Utc::now().timestamp_micros())
}

/// All rows of a table.
pub(crate) async fn rows(store: &Store, name: &str) -> Vec<RecordBatch> {
    let Some((table, head)) = store.open_table(name).await.unwrap() else { return Vec::new() };
    let mut rows = Vec::new();
    for file in files::live(&table).unwrap() {
        let batches = files::read(table.object_store().as_ref(), &file, head.schema().clone()).await.unwrap();
        rows.extend(batches.map(Result::unwrap));
    }
    rows
}

/// Every record that stands in the tables.
pub(crate) async fn delivered(store: &Store, info: &StreamInfo) -> Vec<Delivered> {
    let mut found = Vec::new();
    for name in store.table_names().await.unwrap() {
        for batch in rows(store, &name).await {
            let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
            let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
            let topics = batch.column_by_name("_topic").map(|column| column.as_string::<i32>());
            for row in 0..batch.num_rows() {
                let topic = match (name.as_str(), topics) {
                    (DEAD_LETTERS, Some(topics)) => topics.value(row).into(),
                    (LEDGER, _) => info.stream.ledger(),
                    _ => info.stream.clean(),
                };
                found.push((topic, partitions.value(row), offsets.value(row)));
            }
        }
    }
    found
}

/// One event of the clean topic.
pub(crate) fn event(offset: i64, event_type: &str, player: &str, payload: &str) -> Record {
    Record {
        offset,
        time_ms: 1_000,
        key: "k".into(),
        headers: Headers::of([
            (headers::ID, format!("{offset}").as_str()),
            (headers::SOURCE, "/test"),
            (headers::TYPE, event_type),
            (headers::PLAYERID, player),
            (headers::CONTENT_TYPE, "application/json"),
            (headers::RECEIVEDAT, "2026-03-04T05:06:07.000008Z"),
            (headers::SCHEMA_VERSION, "0"),
            (headers::RAW_OFFSET, format!("{offset}").as_str()),
        ]),
        payload: Some(payload.to_owned().into()),
    }
}

/// A sink's side of flushes, without log and group.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) heads: Arc<Mutex<HashMap<String, Head>>>,
    pub(crate) registry: SharedRegistry,
}

impl Bench {
    pub(crate) fn new(store: &Store) -> Self {
        Self { store: store.clone(), heads: Arc::default(), registry: SharedRegistry::new(Registry::default()) }
    }

    /// Delivers these records of partition 0 of the clean topic as one flush [from, to).
    pub(crate) async fn flush(&self, from: i64, to: i64, records: Vec<Record>) -> Result<(), Error> {
        self.flush_of(&stream(), "inc", from, to, records).await
    }

    /// The same for another stream and incarnation.
    pub(crate) async fn flush_of(
        &self,
        stream: &Stream,
        incarnation: &str,
        from: i64,
        to: i64,
        records: Vec<Record>,
    ) -> Result<(), Error> {
        let part = Part {
            kind: Kind::Clean,
            topic: stream.clean(),
            partition: 0,
            app_id: tables::app_id(incarnation, &stream.clean(), 0).into(),
            from,
            to,
            records: Arc::new(records),
        };
        let context = Context {
            config: Config { retry_max: Duration::from_millis(5), ..Config::new(stream.clone(), "bench") },
            store: self.store.clone(),
            clock: Arc::new(clock()),
            incarnation: incarnation.into(),
            registry: self.registry.current(),
            parts: vec![part],
            heads: self.heads.clone(),
        };
        deliver(Arc::new(context), &self.registry).await.map(drop)
    }
}

/// The offsets in a table, in order.
pub(crate) async fn offsets(store: &Store, name: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for batch in rows(store, name).await {
        found.extend(batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values().iter().copied());
    }
    found.sort_unstable();
    found
}

/// The sum of a float column, and how many values it has.
pub(crate) async fn floats(store: &Store, name: &str, column: &str) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for batch in rows(store, name).await {
        let values = batch.column_by_name(column).unwrap().as_primitive::<arrow::datatypes::Float64Type>();
        sum += values.iter().flatten().sum::<f64>();
        count += values.len() - values.null_count();
    }
    (sum, count)
}
