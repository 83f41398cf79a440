//! Every form in which events come, and malformed lines among good ones.

use crate::support::{Home, event, text};
use serde_json::{Value, json};
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_mode_lands_in_its_table() {
    let home = Home::new();
    let server = home.up(&[]);
    let one = |id: &str| event("mode.tried", id, &json!({ "score": 1 }));
    let url = format!("{}/v1/events", server.url);

    let structured = server.post("/v1/events", "application/cloudevents+json", one("structured").to_string()).await;
    assert_eq!(structured.status(), 202);
    let batch = json!([one("batch-1"), one("batch-2")]).to_string();
    assert_eq!(server.post("/v1/events", "application/cloudevents-batch+json", batch).await.status(), 202);
    let binary = server.http.post(&url).header("content-type", "application/json").body("{\"score\":1}");
    let binary = [("specversion", "1.0"), ("id", "binary"), ("source", "/test"), ("type", "mode.tried")]
        .iter()
        .fold(binary, |request, (name, value)| request.header(format!("ce-{name}"), *value));
    assert_eq!(binary.send().await.unwrap().status(), 202);
    let lines = format!("{}\n{}\n", one("line-1"), one("line-2"));
    assert_eq!(server.post("/v1/batch", "application/x-ndjson", lines).await.status(), 202);
    for (encoding, body) in [
        ("gzip", gzip(one("gzip").to_string().as_bytes())),
        ("zstd", zstd::bulk::compress(one("zstd").to_string().as_bytes(), 1).unwrap()),
    ] {
        let request = server.http.post(format!("{}/v1/batch", server.url)).header("content-encoding", encoding);
        let response = request.header("content-type", "application/x-ndjson").body(body).send().await.unwrap();
        assert_eq!(response.status(), 202, "{encoding}");
    }

    server.flush().await;
    let rows = server.sql("SELECT id, score FROM mode_tried ORDER BY id").await;
    let expected: Vec<Value> = ["batch-1", "batch-2", "binary", "gzip", "line-1", "line-2", "structured", "zstd"]
        .map(|id| json!({ "id": id, "score": 1 }))
        .into();
    assert_eq!(rows, expected);
    assert_eq!(server.balanced().await["acknowledged"], 8);
    assert_eq!(server.get("/readyz").await["ready"], true);
}

#[tokio::test]
async fn each_malformed_line_gets_its_own_answer_and_the_good_ones_stay() {
    let home = Home::new();
    let server = home.up(&[]);
    let good = |id: &str| event("line.tried", id, &json!({ "n": 1 })).to_string();
    let without = |name: &str| {
        let mut event = event("line.tried", "x", &json!({}));
        event.as_object_mut().unwrap().remove(name);
        event.to_string()
    };
    let with = |name: &str, value: Value| {
        let mut event = event("line.tried", "x", &json!({}));
        event[name] = value;
        event.to_string()
    };
    // (line, a word that its error must hold; nothing for a good one)
    let lines: Vec<(String, &str)> = vec![
        (good("1"), ""),
        ("{".into(), "JSON"),
        ("nonsense".into(), "JSON"),
        ("[]".into(), "object"),
        (without("id"), "id"),
        (without("source"), "source"),
        (without("type"), "type"),
        (without("specversion"), "specversion"),
        (with("specversion", json!("0.3")), "specversion"),
        (with("id", json!("")), "id"),
        (with("time", json!("yesterday")), "time"),
        (with("receivedat", json!("2026-01-01T00:00:00Z")), "receivedat"),
        (with("originaltime", json!("2026-01-01T00:00:00Z")), "originaltime"),
        (with("gameid", json!({})), "gameid"),
        (with("Upper", json!("x")), "Upper"),
        (with("data_base64", json!("AA==")), "data_base64"),
        (good("2"), ""),
    ];
    let body: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
    let file = home.write("lines.ndjson", &body);
    let response = server.post("/v1/batch", "application/x-ndjson", body).await;
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), lines.len());
    for (result, (line, word)) in results.iter().zip(&lines) {
        if word.is_empty() {
            assert_eq!(result["status"], 202, "{line}: {result}");
        } else {
            let error = result["error"].as_str().unwrap_or_default();
            assert!(result["status"].as_u64().unwrap() / 100 == 4 && error.contains(word), "{line}: {result}");
            assert_eq!(result["retry"], false, "{line}: {result}");
        }
    }

    let sent = server.run(&["send", file.to_str().unwrap(), "--json"]);
    assert_eq!(sent.status.code(), Some(1), "{}", text(&sent));
    let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&summary["sent"], &summary["accepted"], &summary["refused"]), (&json!(17), &json!(2), &json!(15)));
    assert_eq!(summary["refusals"][0]["line"], 2);

    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM line_tried").await, 2);
    let audit = server.balanced().await;
    assert_eq!((&audit["acknowledged"], &audit["duplicates"]), (&json!(4), &json!(2)));
}
