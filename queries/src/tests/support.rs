//! Tables on disk, and engines over them.

use crate::{Config, Engine, Error, Viewer, format};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::arrow::json::ReaderBuilder;
use deltalake::kernel::{Action, Transaction};
use events::Stream;
use events::log::Durability;
use events::schema::{DEDUPE_WINDOW_DEFAULT, Mode, Registry, Schema, SharedRegistry};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tables::{DEAD_LETTERS, Definition, LEDGER, Outcome, Store, files};
use tempfile::TempDir;

/// A store in a directory of its own.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    _dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_str().unwrap()).unwrap();
        Self { store, _dir: dir }
    }

    /// Appends rows to a table, which is made if need be. Columns that a row leaves out get a value
    /// from its place, as if it had come through the pipeline.
    pub(crate) async fn append(&self, table: &str, schema: &ArrowSchema, rows: &[Value]) {
        let definition = Definition { schema: Arc::new(schema.clone()), event_type: Some(table.to_owned()) };
        let mut head = self.store.create(table, &definition).await.unwrap();
        let mut decoder = ReaderBuilder::new(Arc::new(schema.clone())).build_decoder().unwrap();
        decoder.serialize(rows).unwrap();
        let mut actions = Vec::new();
        if let Some(batch) = decoder.flush().unwrap() {
            for (date, part) in files::by_date(&batch).unwrap() {
                let file = files::encode(date, &part).unwrap();
                let add = files::put(&head.object_store(), file, true).await.unwrap();
                actions.push(Action::Add(add));
            }
        }
        assert!(matches!(head.commit("WRITE", actions).await.unwrap(), Outcome::Stands(_)));
    }

    /// Commits a transaction without rows.
    pub(crate) async fn txn(&self, table: &str, app_id: &str) {
        let mut head = self.store.head(table).await.unwrap().unwrap();
        let txn = Action::Txn(Transaction { app_id: app_id.into(), version: 0, last_updated: None });
        assert!(matches!(head.commit("WRITE", vec![txn]).await.unwrap(), Outcome::Stands(_)));
    }

    pub(crate) fn engine(&self, config: Config) -> Engine {
        self.engine_with(config, Registry::default())
    }

    pub(crate) fn engine_with(&self, config: Config, registry: Registry) -> Engine {
        Engine::new(self.store.clone(), SharedRegistry::new(registry), config).unwrap()
    }
}

/// Two threads are enough for a test.
pub(crate) fn config() -> Config {
    Config { threads: 2, ..Config::default() }
}

pub(crate) fn viewer(personal: bool) -> Viewer {
    Viewer { name: "test".into(), personal }
}

/// Asks with the scope `personal`, and answers in CSV.
pub(crate) async fn csv(engine: &Engine, sql: &str) -> Result<String, Error> {
    csv_as(engine, sql, &viewer(true)).await
}

pub(crate) async fn csv_as(engine: &Engine, sql: &str, viewer: &Viewer) -> Result<String, Error> {
    let answer = engine.query(sql, Vec::new(), viewer).await?;
    written(answer, format::Format::Csv).await
}

pub(crate) async fn written(mut answer: crate::Answer, format: format::Format) -> Result<String, Error> {
    let mut encoder = format::Encoder::new(format, answer.schema())?;
    let mut bytes = Vec::new();
    while let Some(batch) = answer.next().await {
        bytes.extend(encoder.rows(&batch?)?);
    }
    bytes.extend(encoder.finish()?);
    Ok(String::from_utf8(bytes).unwrap())
}

/// The columns of an event table with these payload columns.
pub(crate) fn event_schema(payload: &[(&str, DataType)]) -> ArrowSchema {
    let mut fields = decode::columns::envelope().to_vec();
    fields.extend(payload.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)));
    ArrowSchema::new(fields)
}

pub(crate) fn dead_schema() -> ArrowSchema {
    decode::columns::dead_letters().as_ref().clone()
}

/// A row that came from this raw offset and lies at this clean offset.
pub(crate) fn event(raw: i64, offset: i64, more: Value) -> Value {
    let row = json!({
        "id": format!("e{raw}"), "source": "/test", "type": "chat.message",
        "time": "2026-11-20T10:00:00Z", "received_at": "2026-11-20T10:00:01.5Z", "schema_version": 1,
        "_incarnation": "inc", "_partition": 0, "_offset": offset, "_raw_offset": raw, "date": "2026-11-20",
    });
    merged(row, more)
}

/// A dead letter of the same kind.
pub(crate) fn letter(raw: i64, offset: i64, more: Value) -> Value {
    let row = json!({
        "reason": "schema_violation", "detail": "said \"Jane\"", "stage": "process", "_topic": "events.dead",
        "_incarnation": "inc", "_partition": 0, "_offset": offset, "_raw_offset": raw, "date": "2026-11-20",
    });
    merged(row, more)
}

fn merged(row: Value, more: Value) -> Value {
    let mut row: Map<String, Value> = row.as_object().cloned().unwrap();
    row.extend(more.as_object().cloned().unwrap());
    Value::Object(row)
}

pub(crate) fn schema_of(event_type: &str, version: i32, personal: &[&str]) -> Schema {
    Schema {
        event_type: event_type.into(),
        version,
        stream: Stream::new("events").unwrap(),
        dedupe_key: None,
        dedupe_window: DEDUPE_WINDOW_DEFAULT,
        partition_by: None,
        personal: personal.iter().map(ToString::to_string).collect(),
        mode: Mode::Lenient,
        durability: Durability::All,
        key: Vec::new(),
        document: Arc::new(json!({})),
    }
}

/// Chat, deaths and letters: what the answers and the hostile statements are asked of.
pub(crate) async fn chat() -> Fixture {
    let fixture = Fixture::new();
    let place = DataType::Struct(
        vec![Field::new("city", DataType::Utf8, true), Field::new("zip", DataType::Int64, true)].into(),
    );
    let schema = event_schema(&[
        ("text", DataType::Utf8),
        ("toxicity", DataType::Float64),
        ("score", DataType::Int64),
        ("home", place),
        ("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))),
    ]);
    let rows = [
        event(
            0,
            0,
            json!({"player_id": "p1", "text": "gg, wp", "toxicity": 0.1, "score": 9_007_199_254_740_993_i64,
            "home": {"city": "Kiel", "zip": 1}, "tags": ["a", "b"]}),
        ),
        event(
            1,
            1,
            json!({"player_id": "p2", "text": "say \"hi\"", "toxicity": 0.30000000000000004, "score": -1,
            "home": {"city": "Bonn", "zip": 2}, "extra": "{\"realName\":\"Jane\",\"mood\":\"x\"}"}),
        ),
        event(2, 2, json!({"player_id": "p1", "text": "", "score": null, "time": "2026-11-20T10:00:00.123456Z"})),
    ];
    fixture.append("chat_message", &schema, &rows).await;
    let letters = [
        letter(
            3,
            0,
            json!({"type": "chat.message", "player_id": "p3", "payload": "4a616e65",
            "headers": "{\"ce_playerid\":\"p3\",\"ce_id\":\"7\",\"kf_detail\":\"said Jane\"}"}),
        ),
        letter(
            4,
            1,
            json!({"type": "other", "player_id": "p4", "payload": "6f74686572", "headers": "{\"ce_playerid\":\"p4\"}"}),
        ),
        letter(5, 2, json!({"type": null, "reason": "envelope_invalid", "payload": "4a616e65", "headers": "{}"})),
    ];
    fixture.append(DEAD_LETTERS, &dead_schema(), &letters).await;
    fixture
}

/// A ledger table with these entries.
pub(crate) async fn ledger(fixture: &Fixture, entries: &[events::ledger::Entry]) {
    let rows: Vec<Value> = entries
        .iter()
        .zip(0_i64..)
        .map(|(entry, offset)| {
            json!({"id": entry.id, "detail": serde_json::to_string(entry).unwrap(), "_incarnation": "inc",
                "_partition": entry.partition, "_offset": offset, "date": "2026-11-20"})
        })
        .collect();
    fixture.append(LEDGER, decode::columns::ledger().as_ref(), &rows).await;
}
