//! An ingest over a [`Double`], and requests to it.

use crate::double::Double;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, header};
use edge::{KeyConfig, Keys, Scope};
use events::ledger::{Count, Entry};
use events::log::{Durability, StreamInfo};
use events::schema::{Mode, Registry, Schema, SharedRegistry};
use events::streams::Stream;
use events::{ManualClock, keys};
use ingest::{Config, Ingest};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// 2026-11-21T09:30:00Z.
pub(crate) const NOW_US: i64 = 1_795_253_400_000_000;
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) struct Harness {
    pub(crate) ingest: Ingest,
    pub(crate) log: Arc<Double>,
    pub(crate) keys: Keys,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) allow: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    /// Status of each result.
    pub(crate) fn statuses(&self) -> Vec<u64> {
        self.body["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect()
    }
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), Keys::none())
    }

    pub(crate) fn with(config: Config, keys: Keys) -> Self {
        let log = Arc::new(Double::default());
        let info = |name| StreamInfo {
            stream: Stream::new(name).unwrap(),
            partitions: PARTITIONS,
            incarnation: "i1".into(),
            retention: Duration::from_secs(1),
            ended: None,
        };
        let registry = SharedRegistry::new(Registry::of([
            schema("quick", "events", Durability::Leader),
            schema("quickest", "events", Durability::None),
            schema("other", "chat", Durability::All),
            schema("lost", "nowhere", Durability::All),
            Schema { partition_by: Some(vec!["partitionkey".into()]), ..schema("keyed", "events", Durability::All) },
        ]));
        let clock = Arc::new(ManualClock::at(NOW_US));
        let ingest =
            Ingest::start(config, log.clone(), vec![info("events"), info("chat")], registry, keys.clone(), clock)
                .unwrap();
        Self { ingest, log, keys }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        read(self.answer(request).await).await
    }

    /// What comes back, as it is.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.ingest.router().oneshot(request).await.unwrap()
    }

    /// `POST path` with a body of this type.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        self.send(request(path, content_type).body(body.into()).unwrap()).await
    }

    /// Lines to `/v1/batch`.
    pub(crate) async fn lines(&self, lines: &[String]) -> Answer {
        self.post("/v1/batch", "application/x-ndjson", lines.join("\n")).await
    }

    /// Acknowledged and unacknowledged events in the ledger, each entry counted once.
    pub(crate) fn ledger(&self) -> (u64, u64) {
        let records = self.log.all("events.ledger").into_iter().chain(self.log.all("chat.ledger"));
        let entries = records.map(|record| Entry::from_payload(&record.payload.unwrap()).unwrap());
        let by_id: std::collections::BTreeMap<_, _> = entries.map(|entry| (entry.id.clone(), entry)).collect();
        by_id.into_values().fold((0, 0), |(all, less), entry| match entry.count {
            Count::Ingest { acknowledged, unacknowledged } => (all + acknowledged, less + unacknowledged),
            other => panic!("{other:?}"),
        })
    }
}

fn schema(event_type: &str, stream: &str, durability: Durability) -> Schema {
    Schema {
        event_type: event_type.into(),
        version: 1,
        stream: Stream::new(stream).unwrap(),
        dedupe_key: None,
        dedupe_window: Duration::from_secs(3_600),
        partition_by: None,
        personal: Vec::new(),
        mode: Mode::Lenient,
        durability,
        key: Vec::new(),
        document: Arc::default(),
    }
}

pub(crate) fn request(path: &str, content_type: &str) -> axum::http::request::Builder {
    let peer: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    Request::post(path).header(header::CONTENT_TYPE, content_type).extension(ConnectInfo(peer))
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        media_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        retry_after: text(header::RETRY_AFTER),
        allow: text(header::ALLOW),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

/// An event of this game.
pub(crate) fn event(id: &str, game: &str) -> String {
    typed("t", id, game)
}

/// An event of this type and game.
pub(crate) fn typed(event_type: &str, id: &str, game: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{event_type}","gameid":"{game}","data":{{"n":1}}}}"#
    )
}

/// A game whose events go to this partition.
pub(crate) fn game_in(partition: i32) -> String {
    (0..).map(|n| format!("g{n}")).find(|game| keys::partition_of(game.as_bytes(), PARTITIONS) == partition).unwrap()
}

/// A key called and spelled like its scope.
pub(crate) fn keys() -> Keys {
    let key = |scope: Scope| KeyConfig::new(&scope.to_string(), &scope.to_string(), [scope]);
    Keys::from_config(&[key(Scope::Ingest), key(Scope::Server), key(Scope::Query)]).unwrap()
}
