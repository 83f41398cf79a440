//! A source without an engine, and a browser without a window.

use crate::data::{
    Ask, Books, Bounds, Cell, Column, ColumnInfo, Format, Input, Kind, Limits, Param, Report, Source, Table, TableInfo,
};
use crate::{Live, Parts, Pulse, router};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use edge::{KeyConfig, Keys, Principal, Problem, Scope};
use events::log::memory::MemoryLog;
use events::log::{Log as _, Record, StreamSpec};
use events::{ManualClock, SharedStreams, Stream};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What a page must never pass on as it is.
pub(super) const HOSTILE: &str = "\"><img src=x onerror=alert(1)>'<script>alert(2)</script>&amp;\u{202e}${7*7}{{7*7}}";

/// Answers with [`HOSTILE`] in every field, or as `answer` says.
#[derive(Debug, Default)]
pub(super) struct Fake {
    /// What queries and reports are answered with.
    pub(super) answer: Option<Result<Table, Problem>>,
    /// How many letters of one reason are counted, where a page of them has none.
    pub(super) letters: Option<u64>,
}

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// Rows that every page can use: those of letters, of providers and of reasons alike.
fn hostile() -> Table {
    let texts =
        ["reason", "detail", "stage", "id", "type", "source", "game_id", "player_id", "headers", "provider", "_topic"];
    let numbers = ["score", "share", "great", "good", "ok", "poor", "players"];
    let mut columns: Vec<Column> = texts.map(|name| column(name, Kind::Text)).into();
    columns.extend(numbers.map(|name| column(name, Kind::Number)));
    columns.push(column("received_at", Kind::Time));
    columns.push(column("payload", Kind::Text));
    columns.push(column(HOSTILE, Kind::Text));
    columns.push(column("transcript", Kind::Text));
    let row = |payload: Cell| {
        let mut row: Vec<Cell> = texts.map(|_| text(HOSTILE)).into();
        row.extend(numbers.map(|_| text("0.25")));
        row.extend([text(HOSTILE), payload, Cell::Null, Cell::Lines(vec![HOSTILE.to_owned(), "gg".to_owned()])]);
        row
    };
    let rows = vec![row(text(HOSTILE)), row(Cell::Bytes(vec![0, 255, b'<'])), row(Cell::Null)];
    Table { columns, rows, more: true, warnings: vec![HOSTILE.to_owned()], ..Table::default() }
}

#[async_trait]
impl Source for Fake {
    fn limits(&self) -> Limits {
        Limits { sql_bytes: 65_536, rows: 1_000_000, time: Duration::from_secs(60) }
    }

    fn reports(&self) -> Vec<Report> {
        let param = |name: &str, default: &str, input| Param {
            name: name.to_owned(),
            label: HOSTILE.to_owned(),
            default: default.to_owned(),
            input,
        };
        let report = |name: &str, params| Report {
            name: name.to_owned(),
            title: HOSTILE.to_owned(),
            question: HOSTILE.to_owned(),
            params,
        };
        vec![
            report("provider_leaderboard", vec![]),
            report(
                "first_blood",
                vec![
                    param("champion", "", Input::Text),
                    param("least", "1", Input::Whole(Bounds { min: Some("0".into()), max: Some("99".into()) })),
                    param("share", "0.5", Input::Number(Bounds { min: None, max: Some("1".into()) })),
                    param("from", "2026-01-01", Input::Date),
                    param("way", HOSTILE, Input::Choice(vec!["up".into(), HOSTILE.into()])),
                ],
            ),
        ]
    }

    fn check(&self, _: &str, parameter: &str, value: &str) -> Result<(), String> {
        match parameter {
            "least" if value.parse::<i64>().is_ok_and(|least| (0..=99).contains(&least)) => Ok(()),
            "least" => Err(format!("must be a whole number, not {value:?}")),
            _ => Ok(()),
        }
    }

    async fn report(&self, _: &str, given: &[(String, String)], _: &Principal, _: usize) -> Result<Table, Problem> {
        let mut answer = self.answer.clone().unwrap_or_else(|| Ok(hostile()))?;
        let series = vec![charts::Series { name: HOSTILE.into(), values: vec![1.0; answer.rows.len()] }];
        let labels = vec![HOSTILE.to_owned(); answer.rows.len()];
        answer.chart = Some(charts::Chart { title: HOSTILE.into(), labels, series, ..charts::Chart::default() });
        answer.freshness_s = Some(0.25);
        answer.warnings.extend(given.iter().map(|(name, value)| format!("{name}={value}")));
        Ok(answer)
    }

    async fn query(&self, sql: &str, _: &[(&str, &str)], viewer: &Principal, _: usize) -> Result<Table, Problem> {
        if let Some(letters) = self.letters {
            let columns = vec![column("reason", Kind::Text), column("letters", Kind::Number)];
            let is_count = sql.contains("GROUP BY reason");
            let rows = is_count.then(|| vec![text("conflict"), text(&letters.to_string())]);
            return Ok(Table { columns, rows: rows.into_iter().collect(), ..Table::default() });
        }
        let mut answer = self.answer.clone().unwrap_or_else(|| Ok(hostile()))?;
        if !viewer.has(Scope::Personal) {
            answer.warnings.push("masked".into());
        }
        Ok(answer)
    }

    fn formats(&self) -> Vec<Format> {
        vec![Format { name: "csv", label: "CSV" }, Format { name: "json", label: "JSON" }]
    }

    async fn download(&self, ask: &Ask, format: &str, _: &Principal) -> Result<Response, Problem> {
        Ok(([("content-type", "text/csv")], format!("{ask:?} as {format}")).into_response())
    }

    async fn catalogue(&self) -> Result<Vec<TableInfo>, Problem> {
        let table = |name: &str| TableInfo {
            name: name.to_owned(),
            rows: Some(12_345),
            bytes: Some(1 << 20),
            newest: Some("2026-11-20T10:00:00.5Z".into()),
            columns: vec![ColumnInfo {
                name: HOSTILE.into(),
                kind: HOSTILE.into(),
                meaning: Some(HOSTILE.into()),
                note: Some(HOSTILE.into()),
            }],
        };
        Ok(vec![table("chat_message"), table("dead_letters")])
    }

    async fn books(&self) -> Result<Books, Problem> {
        Ok(Books { accepted: 100, delivered: 90, duplicates: 10, balanced: true, ..Books::default() })
    }

    fn event(&self, record: &Record, viewer: &Principal) -> Value {
        let player = viewer.has(Scope::Personal).then(|| record.headers.get_str("ce_playerid"));
        json!({"type": record.headers.get_str("ce_type"), "playerid": player, "text": "gg"})
    }
}

/// A dashboard without a server.
pub(super) struct Site {
    pub(super) router: Router,
    pub(super) log: Arc<MemoryLog>,
    pub(super) stream: Stream,
    pub(super) stop: CancellationToken,
}

/// Keys: `analyst` may ask, `officer` may see personal fields too, `game` may only send.
pub(super) fn keys() -> Keys {
    let key = |name: &str, scopes: &[Scope]| KeyConfig::new(name, name, scopes.iter().copied());
    let configs = [
        key("analyst", &[Scope::Query]),
        key("officer", &[Scope::Query, Scope::Personal]),
        key("game", &[Scope::Ingest]),
    ];
    Keys::from_config(&configs).unwrap()
}

impl Site {
    pub(super) async fn new(source: Fake, keys: Keys) -> Self {
        let log = Arc::new(MemoryLog::new(Arc::new(ManualClock::at(1_000_000))));
        let stream = Stream::new("events").unwrap();
        let day = Duration::from_secs(86_400);
        let spec = StreamSpec { stream: stream.clone(), partitions: 1, retention: day, state_retention: day };
        let info = log.create_stream(&spec).await.unwrap();
        let stop = CancellationToken::new();
        let live = Live::new(log.clone(), SharedStreams::new(vec![info]), stop.clone());
        let parts = Parts { source: Arc::new(source), keys, pulse: Pulse::default(), live };
        Self { router: router(parts), log, stream, stop }
    }

    /// A request as a browser sends it; `more` are further headers.
    pub(super) async fn send(&self, line: &str, more: &[(&str, &str)], body: &str) -> (StatusCode, HeaderMap, String) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080");
        if !more.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        }
        if method == "POST" {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        self.send(&format!("GET {path}"), &[], "").await
    }
}

/// Values of an attribute, unescaped.
pub(super) fn attributes(page: &str, name: &str) -> Vec<String> {
    let opening = format!(" {name}=\"");
    let values = page.match_indices(&opening).map(|(at, _)| &page[at + opening.len()..]);
    values.map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&")).collect()
}
