//! Traces from client to table: what a collector gets by OTLP, and that nobody minds when there is none.

use crate::support::{Home, PATIENCE, Server, event};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The client's trace and span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// Of an event that brings its own.
const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-01";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Got = Arc<Mutex<Vec<(String, Span)>>>;

/// Takes what is exported: each span with its service's name.
async fn take(State(got): State<Got>, body: Bytes) {
    for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        let name = resource.resource.unwrap().attributes.into_iter().find(|pair| pair.key == "service.name");
        let Some(Any::StringValue(service)) = name.and_then(|name| name.value?.value) else {
            panic!("no service.name")
        };
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        got.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
    }
}

/// A collector on this machine, and what it got so far.
async fn collector() -> (String, Got) {
    let got = Got::default();
    let router = Router::new().route("/v1/traces", post(take)).with_state(got.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, got)
}

/// Sends two events in one request that is part of a trace: the second brings a trace of its own.
async fn send(server: &Server, sampled: bool) {
    let mut own = event("trace.tried", "own", &json!({}));
    own["traceparent"] = json!(OWN);
    let lines = format!("{}\n{own}\n", event("trace.tried", "request", &json!({})));
    let request = server.http.post(format!("{}/v1/batch", server.url)).header("content-type", "application/x-ndjson");
    let flags = if sampled { "01" } else { "00" };
    let request = request.header("traceparent", format!("00-{TRACE}-{SPAN}-{flags}")).body(lines);
    assert_eq!(request.send().await.unwrap().status(), 202);
    server.flush().await;
}

#[tokio::test]
async fn a_trace_goes_from_client_to_table_and_to_the_collector() {
    let (url, got) = collector().await;
    let home = Home::new();
    let server = home.up(&["--otlp-endpoint", &url, "--otlp-sample-ratio", "1"]);
    send(&server, true).await;
    let rows = server.sql("SELECT id, trace_parent FROM trace_tried ORDER BY id").await;
    let of_request = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(
        rows,
        [json!({"id": "own", "trace_parent": OWN}), json!({"id": "request", "trace_parent": of_request})],
        "the event's own wins"
    );
    server.post("/v1/sql", "text/plain", "SELECT nope").await;

    let began = Instant::now();
    let spans = loop {
        let spans = got.lock().unwrap().clone();
        let has = |name: &str| spans.iter().filter(|(_, span)| span.name == name).count();
        if has("query") >= 2
            && ["ingest request", "process step", "sink flush", "write table"].iter().all(|name| has(name) > 0)
        {
            break spans;
        }
        let names: Vec<&String> = spans.iter().map(|(_, span)| &span.name).collect();
        assert!(began.elapsed() < PATIENCE, "only {names:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(spans.iter().all(|(service, _)| service == "killfeed-up"));
    let named = |name: &'static str| spans.iter().map(|(_, span)| span).filter(move |span| span.name == name);
    let number = |span: &Span, key: &str| {
        span.attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()?.value)
    };

    let ingest = named("ingest request").next().unwrap();
    assert_eq!((hex(&ingest.trace_id).as_str(), hex(&ingest.parent_span_id).as_str()), (TRACE, SPAN));
    assert_eq!(number(ingest, "http.response.status_code"), Some(Any::IntValue(202)));
    assert_eq!(number(ingest, "killfeed.events"), Some(Any::IntValue(2)));
    assert!(ingest.end_time_unix_nano > ingest.start_time_unix_nano);

    let linked = |name: &'static str, trace: &str| {
        named(name).any(|span| span.links.iter().any(|link| hex(&link.trace_id) == trace))
    };
    for name in ["process step", "sink flush"] {
        assert!(
            linked(name, TRACE) && linked(name, "11111111111111111111111111111111"),
            "{name} is linked to its events"
        );
    }
    let flushes: Vec<&[u8]> = named("sink flush").map(|span| &*span.span_id).collect();
    assert!(named("write table").all(|span| flushes.contains(&&*span.parent_span_id)), "tables are written by flushes");
    let failed = named("query").filter(|span| span.status.as_ref().is_some_and(|status| status.code == 2));
    assert_eq!(failed.count(), 1, "one query failed");

    // What the client doesn't want to be traced, isn't.
    let before = got.lock().unwrap().iter().filter(|(_, span)| span.name == "ingest request").count();
    send(&server, false).await;
    send(&server, true).await;
    let began = Instant::now();
    while got.lock().unwrap().iter().filter(|(_, span)| span.name == "ingest request").count() == before {
        assert!(began.elapsed() < PATIENCE, "no further request was traced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = got.lock().unwrap().iter().filter(|(_, span)| span.name == "ingest request").count();
    assert_eq!(after, before + 1);
    let metrics = server.metrics().await;
    assert!(metrics.sum("killfeed_traces_exported_spans_total", "").is_some_and(|spans| spans >= 5.0));
    assert_eq!(metrics.sum("killfeed_traces_dropped_spans_total", ""), None);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    // A port that nobody listens on, and one that takes connections and never answers.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let home = Home::new();
        let server = home.up(&["--otlp-endpoint", &format!("http://{address}"), "--otlp-sample-ratio", "1"]);
        let began = Instant::now();
        for _ in 0..20 {
            send(&server, true).await;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(server.number("SELECT count(*) FROM trace_tried").await, 2);
        let began = Instant::now();
        while server.metrics().await.sum("killfeed_traces_dropped_spans_total", "why=\"collector\"").is_none() {
            assert!(began.elapsed() < PATIENCE, "no span was dropped");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.signal(rustix::process::Signal::TERM);
        assert!(server.wait().success());
        assert_eq!(home.stderr().matches("the collector takes no traces").count(), 1, "it is said once");
    }
}

#[tokio::test]
async fn without_a_collector_the_trace_still_goes_to_the_table() {
    let home = Home::new();
    let server = home.up(&[]);
    send(&server, true).await;
    let rows = server.sql("SELECT trace_parent FROM trace_tried WHERE id = 'request'").await;
    assert_eq!(rows, [json!({ "trace_parent": format!("00-{TRACE}-{SPAN}-01") })]);
    assert_eq!(server.metrics().await.sum("killfeed_traces_exported_spans_total", ""), None);
}
