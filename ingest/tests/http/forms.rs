//! Every form in which events come, and what the log then holds.

use crate::harness::{Harness, NOW_US, PARTITIONS, event, game_in, keys, request, typed};
use axum::body::Body;
use axum::http::Request;
use events::headers;
use events::log::Durability;
use ingest::Config;
use proptest::prelude::*;
use serde_json::json;
use std::io::Write as _;

#[tokio::test]
async fn every_form_is_accepted_and_leaves_the_clients_bytes() {
    let one = event("a", "g");
    let array = format!("[{one}]");
    for (path, content_type, body) in [
        ("/v1/events", "application/cloudevents+json", one.clone()),
        ("/v1/events", "application/cloudevents+json; charset=UTF-8", format!("\u{feff}{one}")),
        ("/v1/events", "application/cloudevents-batch+json", array.clone()),
        ("/v1/events", "application/json", one.clone()),
        ("/v1/events", "application/json", format!(" {array}")),
        ("/v1/batch", "application/x-ndjson", format!("\n{one}\r\n \n")),
        ("/v1/batch", "text/plain", one.clone()),
        ("/v1/batch", "application/json", one.clone()),
    ] {
        let harness = Harness::new();
        let answer = harness.post(path, content_type, body.clone()).await;
        let result =
            json!({"id": "a", "status": 202, "retry": false, "unknown": false, "durability": "all", "error": null});
        assert_eq!((answer.status, &answer.body), (202, &json!({"results": [result]})), "{content_type} {body}");
        let records = harness.log.all("events.raw");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].payload.as_deref(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(records[0].key, "g");
        assert_eq!(records[0].headers.get_str(headers::CONTENT_TYPE), Some("application/json"));
    }
}

#[tokio::test]
async fn binary_mode_takes_attributes_from_headers_and_the_body_as_it_is() {
    let harness = Harness::new();
    let request = request("/v1/events", "application/octet-stream")
        .header("ce-specversion", "1.0")
        .header("ce-id", "caf%C3%A9")
        .header("ce-source", "/s")
        .header("ce-type", "t");
    let answer = harness.send(request.body(Body::from(&b"\x00\xff not json"[..])).unwrap()).await;
    assert_eq!((answer.status, &answer.body["results"][0]["id"]), (202, &json!("café")));
    let records = harness.log.all("events.raw");
    assert_eq!(records[0].payload.as_deref(), Some(&b"\x00\xff not json"[..]));
    assert_eq!(records[0].headers.get_str(headers::CONTENT_TYPE), Some("application/octet-stream"));
    assert_eq!(records[0].key, "/s\0café");
}

#[tokio::test]
async fn packed_bodies_are_unpacked() {
    let lines = (0..50).map(|n| event(&n.to_string(), "g")).collect::<Vec<_>>().join("\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("identity", lines.into_bytes())] {
        let harness = Harness::new();
        let request = request("/v1/batch", "application/x-ndjson").header("content-encoding", encoding);
        let answer = harness.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!((answer.status, answer.statuses().len()), (202, 50), "{encoding}");
    }
}

#[tokio::test]
async fn events_are_stamped_by_the_contract() {
    let harness = Harness::new();
    let with = |id: &str, members: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","gameid":"g",{members}}}"#)
    };
    let lines = [
        with("none", r#""subject":"x""#),
        with("kept", r#""time":"2026-11-21T10:29:00.5+01:00""#),
        with("ahead", r#""time":"2026-11-21T09:36:00Z""#),
        with("skewed", r#""time":"2026-11-21T08:29:59Z","sentat":"2026-11-21T08:30:00Z""#),
        with("address", r#""clientaddress":"198.51.100.1""#),
    ];
    harness.lines(&lines).await;
    let found: Vec<_> = harness
        .log
        .all("events.raw")
        .iter()
        .map(|record| {
            let get = |name| record.headers.get_str(name).map(str::to_owned);
            assert_eq!(get(headers::RECEIVEDAT).unwrap(), "2026-11-21T09:30:00.000000Z");
            (get(headers::TIME).unwrap(), get(headers::ORIGINALTIME), get(headers::CLIENTADDRESS).unwrap())
        })
        .collect();
    let now = || "2026-11-21T09:30:00.000000Z".to_owned();
    let peer = || "192.0.2.7".to_owned();
    assert_eq!(
        found,
        [
            (now(), None, peer()),
            ("2026-11-21T10:29:00.5+01:00".into(), None, peer()),
            (now(), Some("2026-11-21T09:36:00Z".into()), peer()),
            ("2026-11-21T09:29:59.000000Z".into(), Some("2026-11-21T08:29:59Z".into()), peer()),
            (now(), None, "198.51.100.1".into()),
        ]
    );
    assert_eq!(NOW_US % 1_000_000, 0);
}

#[tokio::test]
async fn an_events_own_address_counts_only_from_a_server() {
    for (key, address) in [("ingest", "192.0.2.7"), ("server", "198.51.100.1")] {
        let harness = Harness::with(Config::default(), keys());
        let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","clientaddress":"198.51.100.1"}"#;
        let request =
            request("/v1/events", "application/json").header("x-api-key", key).body(Body::from(body)).unwrap();
        assert_eq!(harness.send(request).await.status, 202);
        assert_eq!(harness.log.all("events.raw")[0].headers.get_str(headers::CLIENTADDRESS), Some(address), "{key}");
    }
}

#[tokio::test]
async fn a_schema_says_stream_key_and_durability() {
    let harness = Harness::new();
    let keyed = r#"{"specversion":"1.0","id":"k","source":"/s","type":"keyed","gameid":"g","partitionkey":"mine"}"#;
    let lines = [
        typed("quick", "1", &game_in(0)),
        typed("quickest", "2", &game_in(1)),
        typed("other", "3", "g"),
        typed("lost", "4", "g"),
        keyed.to_owned(),
    ];
    let answer = harness.lines(&lines).await;
    assert_eq!((answer.status, answer.statuses()), (200, vec![202, 202, 202, 503, 202]));
    let durabilities: Vec<_> =
        answer.body["results"].as_array().unwrap().iter().map(|r| r["durability"].clone()).collect();
    assert_eq!(durabilities, [json!("leader"), json!("none"), json!("all"), json!(null), json!("all")]);
    assert_eq!(harness.log.all("chat.raw").len(), 1);
    assert!(harness.log.all("events.raw").iter().any(|record| record.key == "mine"));
    // One partition, two durabilities: one append with the stronger, so that order holds.
    harness.log.calls();
    let game = game_in(2);
    for types in [["quickest", "t"], ["t", "quickest"]] {
        let answer = harness.lines(&types.map(|name| typed(name, &format!("{name} in {}", types[0]), &game))).await;
        assert_eq!((answer.status, harness.log.calls()), (200, vec![(Durability::All, 1)]), "{types:?}");
    }
    harness.ingest.write_ledger().await.unwrap();
    assert_eq!(harness.ledger(), (4, 4));
}

#[tokio::test]
async fn config_tells_clients_what_they_need() {
    let harness = Harness::with(Config { sampling: [("t".into(), 10)].into(), ..Config::default() }, keys());
    let request = |key| Request::get("/v1/config").header("x-api-key", key).body(Body::empty()).unwrap();
    assert_eq!(harness.send(request("query")).await.status, 403);
    let answer = harness.send(request("ingest")).await;
    assert_eq!(answer.body["server_time"], "2026-11-21T09:30:00.000000Z");
    assert_eq!(answer.body["dedupe"]["window_s"], 86_400);
    assert_eq!(answer.body["dedupe"]["window_s_by_type"]["quick"], 3_600);
    assert_eq!(answer.body["limits"]["event_bytes"], 1_000_000);
    assert_eq!(answer.body["sampling"]["one_in_by_type"]["t"], 10);
    assert_eq!(answer.body["enabled"], true);
    let off = Harness::with(Config { clients_enabled: false, ..Config::default() }, keys());
    assert_eq!(off.send(request("ingest")).await.body["enabled"], false);
    assert!(!harness.keys.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn n_events_are_n_results_in_order_and_the_accepted_stand_in_order(plan in proptest::collection::vec((0..5_u8, 0..6_u8), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let harness = Harness::new();
            let lines: Vec<_> = plan.iter().enumerate().map(|(n, (kind, game))| match kind {
                0 => format!(r#"{{"specversion":"1.0","id":"{n}","type":"t"}}"#),
                1 => "{broken".to_owned(),
                _ => event(&n.to_string(), &format!("g{game}")),
            }).collect();
            let answer = harness.lines(&lines).await;
            let results = answer.body["results"].as_array().unwrap();
            assert_eq!(results.len(), plan.len());
            let mut accepted = vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()];
            for (n, ((kind, game), result)) in plan.iter().zip(results).enumerate() {
                let status = if *kind > 1 { 202 } else { 400 };
                assert_eq!(result["status"], status);
                assert_eq!(result["id"], if *kind == 1 { json!(null) } else { json!(n.to_string()) });
                if *kind > 1 {
                    let partition = events::keys::partition_of(format!("g{game}").as_bytes(), PARTITIONS);
                    accepted[usize::try_from(partition).unwrap()].push(n.to_string());
                }
            }
            for (partition, ids) in (0..PARTITIONS).zip(accepted) {
                let records = harness.log.records("events.raw", partition);
                let found: Vec<_> = records.iter().map(|record| record.headers.get_str(headers::ID).unwrap()).collect();
                assert_eq!(found, ids);
            }
        });
    }
}
