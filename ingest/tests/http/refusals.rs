//! What is refused, with which status, and with which words.

use crate::harness::{Harness, event, keys, request};
use axum::body::Body;
use axum::http::Request;
use edge::Keys;
use ingest::Config;
use serde_json::json;
use std::io::Write as _;

#[tokio::test]
async fn each_wrong_request_has_its_status_and_a_problem() {
    let harness =
        Harness::with(Config { batch_events_max: 2, body_bytes_max: 10_000, ..Config::default() }, Keys::none());
    let three = [event("1", "g"), event("2", "g"), event("3", "g")];
    for (path, content_type, body, status, words) in [
        ("/v1/events", "text/html", "x".to_owned(), 415, "text/html"),
        ("/v1/events", "application/cloudevents+xml", "x".into(), 415, "application/cloudevents+xml"),
        ("/v1/events", "application/x-ndjson", "{}".into(), 415, "/v1/batch"),
        ("/v1/events", "application/cloudevents+json; charset=utf-16", "{}".into(), 415, "utf-16"),
        ("/v1/batch", "application/cloudevents+json", "{}".into(), 415, "x-ndjson"),
        ("/v1/events", "application/cloudevents-batch+json", "{}".into(), 400, "'['"),
        (
            "/v1/events",
            "application/cloudevents-batch+json",
            format!("[{},", three[0]),
            400,
            "nothing of it was accepted",
        ),
        ("/v1/events", "application/cloudevents+json", "{".into(), 400, "not JSON"),
        ("/v1/events", "application/cloudevents+json", String::new(), 400, "not JSON"),
        ("/v1/events", "application/json", "{}".into(), 400, "specversion is missing"),
        (
            "/v1/events",
            "application/cloudevents-batch+json",
            format!("[{}]", three.join(",")),
            413,
            "3 events, more than 2",
        ),
        ("/v1/batch", "application/x-ndjson", three.join("\n"), 413, "3 events, more than 2"),
        ("/v1/batch", "application/x-ndjson", "x".repeat(10_001), 413, "more than 10000"),
        ("/v1/batch?durability=none", "application/x-ndjson", event("1", "g"), 400, "no option \"durability\""),
        ("/v1/events?dry_run", "application/json", event("1", "g"), 400, "no option \"dry_run\"; none is taken here"),
    ] {
        let answer = harness.post(path, content_type, body.clone()).await;
        assert_eq!(answer.status, status, "{content_type} {body:.80}: {answer:?}");
        assert_eq!(answer.media_type, "application/problem+json");
        assert_eq!(answer.body["status"], status);
        assert!(answer.body["detail"].as_str().unwrap().contains(words), "{answer:?}");
    }
    assert!(harness.log.all("events.raw").is_empty());
    let answer = harness.send(Request::get("/v1/events").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.allow.as_deref()), (405, Some("POST")));
}

#[tokio::test]
async fn keys_decide_before_the_body_is_looked_at() {
    let harness = Harness::with(Config::default(), keys());
    for (key, status) in
        [(None, 401), (Some("nobody"), 401), (Some("query"), 403), (Some("ingest"), 202), (Some("server"), 202)]
    {
        let mut request = request("/v1/events", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = harness.send(request.body(Body::from(event("1", "g"))).unwrap()).await;
        assert_eq!(answer.status, status, "{key:?}");
    }
}

#[tokio::test]
async fn a_broken_event_gets_its_own_answer_and_the_good_ones_stand() {
    let harness = Harness::new();
    let lines: [&[u8]; 7] = [
        event("1", "g").leak().as_bytes(),
        b"{\"specversion\":\"1.0\",\"id\":\"2\"",
        b"{\"specversion\":\"1.0\",\"id\":\"3\",\"source\":\"/s\",\"type\":\"t\",\"receivedat\":\"2026-11-21T09:30:00Z\"}",
        b"\xff\xfe",
        b"[]",
        b"null",
        event("7", "g").leak().as_bytes(),
    ];
    let answer = harness.post("/v1/batch", "application/x-ndjson", lines.join(&b'\n')).await;
    assert_eq!((answer.status, answer.statuses()), (200, vec![202, 400, 400, 400, 400, 400, 202]));
    assert_eq!(answer.media_type, "application/json");
    let results = answer.body["results"].as_array().unwrap();
    let ids: Vec<_> = results.iter().map(|result| result["id"].clone()).collect();
    assert_eq!(ids, [json!("1"), json!("2"), json!("3"), json!(null), json!(null), json!(null), json!("7")]);
    for result in &results[1..6] {
        assert_eq!((&result["retry"], &result["unknown"]), (&json!(false), &json!(false)));
        assert!(!result["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(harness.log.all("events.raw").len(), 2);
}

#[tokio::test]
async fn one_malformed_event_is_a_problem_that_carries_its_result() {
    let harness = Harness::new();
    let answer = harness.post("/v1/events", "application/json", r#"{"id":"x","specversion":"2.0"}"#).await;
    assert_eq!((answer.status, answer.media_type.as_str()), (400, "application/problem+json"));
    let error = "attribute specversion is \"2.0\", and must be \"1.0\"";
    assert_eq!(answer.body["detail"], error);
    let result =
        json!({"id": "x", "status": 400, "retry": false, "unknown": false, "durability": null, "error": error});
    assert_eq!(answer.body["results"], json!([result]));
}

#[tokio::test]
async fn an_event_past_its_size_is_413_alone() {
    let harness = Harness::with(Config { event_bytes_max: 2_000, ..Config::default() }, Keys::none());
    let big = event("big", "g").replace("1}", &format!("\"{}\"}}", "x".repeat(2_000)));
    let answer = harness.lines(&[event("1", "g"), big.clone()]).await;
    assert_eq!((answer.status, answer.statuses()), (200, vec![202, 413]));
    assert_eq!(harness.post("/v1/events", "application/json", big).await.status, 413);
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_takes_memory() {
    let config = Config { body_decompressed_bytes_max: 1 << 20, ..Config::default() };
    let harness = Harness::with(config, Keys::none());
    let zeros = vec![b' '; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).unwrap();
    let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&zeros).unwrap();
    let whole = zstd::encode_all(&zeros[..], 1).unwrap();
    let torn = whole[..whole.len() / 2].to_vec();
    for (encoding, body, status) in [
        ("gzip", gzip.finish().unwrap(), 413),
        ("zstd", whole, 413),
        ("zstd", wide.finish().unwrap(), 400),
        ("gzip", b"no gzip at all".to_vec(), 400),
        ("zstd", b"no zstd at all".to_vec(), 400),
        ("br", b"x".to_vec(), 415),
        ("gzip, gzip", b"x".to_vec(), 415),
    ] {
        let request = request("/v1/batch", "application/x-ndjson").header("content-encoding", encoding);
        let answer = harness.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{encoding}: {answer:?}");
    }
    let request = request("/v1/batch", "application/x-ndjson").header("content-encoding", "zstd");
    assert!(matches!(harness.send(request.body(Body::from(torn)).unwrap()).await.status, 400 | 413));
    assert!(harness.ingest.is_ready());
}

#[tokio::test]
async fn pages_of_named_origins_may_send_and_no_others() {
    let named = Config { cors_origins: vec!["https://play.example".parse().unwrap()], ..Config::default() };
    let harness = Harness::with(named, keys());
    let preflight = |origin: &str| {
        Request::options("/v1/batch")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-encoding,content-type")
            .body(Body::empty())
            .unwrap()
    };
    let answer = harness.answer(preflight("https://play.example")).await;
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_lowercase());
    assert_eq!(answer.status(), 200, "a preflight carries no key");
    assert_eq!(header("access-control-allow-origin").as_deref(), Some("https://play.example"));
    assert!(header("access-control-allow-methods").unwrap().contains("post"));
    assert!(header("access-control-allow-headers").unwrap().contains("content-encoding"));
    assert_eq!(header("access-control-allow-credentials"), None);
    let answer = harness.answer(preflight("https://other.example")).await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));

    // A refusal can be read, too: the page has to know when to come again.
    let refused = request("/v1/batch", "application/x-ndjson").header("origin", "https://play.example");
    let refused = refused.body(Body::empty()).unwrap();
    let answer = harness.answer(refused).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://play.example");
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));

    // Where nobody is named, there are no such headers at all.
    let answer = Harness::new().answer(preflight("https://play.example")).await;
    assert_eq!(answer.status(), 405);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}
