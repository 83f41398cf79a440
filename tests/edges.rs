//! The edges of the HTTP API, by a client that speaks TCP: early answers to half-sent requests,
//! methods, paths and heads that are wrong.

use crate::access::new_key;
use crate::support::{Home, Server, event};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn address(server: &Server) -> SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Writes all, then reads all until the server closes: what a client with one thread does.
fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request).unwrap_or_else(|error| panic!("the request was cut off: {error}"));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("the answer was cut off: {error}"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n");
    [head.as_bytes(), b"content-length: ", body.len().to_string().as_bytes(), b"\r\n\r\n", body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_read_by_a_client_that_sends_its_whole_body_first() {
    let home = Home::new();
    let (limited, lines) = new_key("limited", "ingest");
    let lines = format!("{lines}rate = 1\n");
    let (query, more) = new_key("query", "query");
    let config = home.write("killfeed.toml", &format!("{lines}{more}"));
    let server = home.up(&["--config", config.to_str().unwrap()]);
    let address = address(&server);
    let big = vec![b' '; 20 << 20];
    let fits = vec![b' '; 7 << 20];
    // (head, body, status); the first with the limited key takes its one request.
    let ndjson = "content-type: application/x-ndjson";
    let cases: Vec<(String, &[u8], u16)> = vec![
        (format!("POST /v1/batch HTTP/1.1\r\n{ndjson}\r\nx-api-key: {limited}"), &big, 413),
        (format!("POST /v1/batch HTTP/1.1\r\n{ndjson}\r\nx-api-key: {limited}"), &fits, 429),
        (format!("POST /v1/batch HTTP/1.1\r\n{ndjson}\r\nx-api-key: kf_wrong"), &fits, 401),
        (format!("POST /v1/batch HTTP/1.1\r\n{ndjson}"), &big, 401),
        (format!("POST /v1/batch HTTP/1.1\r\n{ndjson}\r\nx-api-key: {query}"), &fits, 403),
        (format!("POST /v1/sql HTTP/1.1\r\nx-api-key: {query}"), &fits, 413),
        ("POST /v1/nowhere HTTP/1.1".into(), &fits, 404),
        ("PUT /v1/batch HTTP/1.1".into(), &fits, 405),
        ("POST /healthz HTTP/1.1".into(), &fits, 405),
    ];
    for (head, body, expected) in cases {
        let bytes = request(&head, body);
        let answer = tokio::task::spawn_blocking(move || talk(address, &bytes)).await.unwrap();
        assert_eq!(status(&answer), expected, "{head}: {answer}");
        assert!(answer.to_lowercase().contains("content-type: application/problem+json"), "{head}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_get_plain_answers_and_the_server_goes_on() {
    let home = Home::new();
    let server = home.up(&[]);
    let address = address(&server);
    let good = event("edge.tried", "1", &json!({ "n": 1 })).to_string();
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let close = "host: localhost\r\nconnection: close\r\n";
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "x".repeat(1 << 20);
    let pipelined = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1/tables HTTP/1.1\r\n{close}\r\n");
    // (bytes, statuses in order; empty for a connection closed without an answer)
    let cases: Vec<(String, Vec<u16>)> = vec![
        (format!("GET /v1/events HTTP/1.1\r\n{close}\r\n"), vec![405]),
        (format!("OPTIONS /v1/events HTTP/1.1\r\n{close}\r\n"), vec![405]),
        (format!("HEAD /healthz HTTP/1.1\r\n{close}\r\n"), vec![200]),
        (format!("HEAD /v1/nowhere HTTP/1.1\r\n{close}\r\n"), vec![404]),
        (format!("BREW /healthz HTTP/1.1\r\n{close}\r\n"), vec![405]),
        (format!("GET /v1/schemas/%ff HTTP/1.1\r\n{close}\r\n"), vec![400]),
        (format!("GET /v1/schemas/%00 HTTP/1.1\r\n{close}\r\n"), vec![404]),
        (format!("GET /v1/schemas/..%2f..%2fetc HTTP/1.1\r\n{close}\r\n"), vec![404]),
        (format!("GET /v1/reports/%ff HTTP/1.1\r\n{close}\r\n"), vec![400]),
        (format!("GET //v1/tables HTTP/1.1\r\n{close}\r\n"), vec![404]),
        (format!("GET /v1/tables?a=%zz HTTP/1.1\r\n{close}\r\n"), vec![400]),
        (format!("GET /v1/schemas?a HTTP/1.1\r\n{close}\r\n"), vec![400]),
        (format!("GET /healthz?a=%zz HTTP/1.1\r\n{close}\r\n"), vec![200]),
        (format!("GET http://elsewhere/healthz HTTP/1.1\r\n{close}\r\n"), vec![200]),
        ("GET /healthz HTTP/1.0\r\n\r\n".into(), vec![200]),
        (pipelined, vec![200, 200]),
        (format!("GET /healthz HTTP/1.1\r\n{close}{many}\r\n"), vec![431]),
        (format!("GET /healthz HTTP/1.1\r\n{close}x: {long}\r\n\r\n"), vec![431]),
        ("nonsense\r\n\r\n".into(), vec![400]),
        ("GET /healthz HTTP/1.1\r\nno colon\r\n\r\n".into(), vec![400]),
        ("\u{16}\u{3}\u{1}\0\u{5}".into(), vec![400]),
        (format!("POST /v1/batch HTTP/1.1\r\n{close}content-length: 5, 6\r\n\r\nhello"), vec![400]),
        (format!("POST /v1/batch HTTP/1.1\r\n{close}content-length: -1\r\n\r\n"), vec![400]),
        (format!("POST /v1/batch HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\nzz\r\n"), vec![400]),
        (
            format!("POST /v1/batch HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(&good)),
            vec![202],
        ),
        (format!("POST /v1/flush HTTP/1.1\r\n{close}content-length: 0\r\n\r\n"), vec![200]),
        (format!("POST /v1/forget HTTP/1.1\r\n{close}content-length: 13\r\n\r\n{{\"player\":\"\"}}"), vec![400]),
    ];
    for (bytes, expected) in cases {
        let shown: String = bytes.chars().take(90).collect();
        let head = bytes.starts_with("HEAD");
        let answer = tokio::task::spawn_blocking(move || talk(address, bytes.as_bytes())).await.unwrap();
        let found: Vec<u16> = answer.split("HTTP/1.").skip(1).filter_map(|one| one.get(2..5)?.parse().ok()).collect();
        assert_eq!(found, expected, "{shown:?}: {answer:.300}");
        if head {
            assert!(answer.ends_with("\r\n\r\n"), "{shown:?}: a HEAD has no body: {answer}");
        }
        let by_hyper = [431].contains(&expected[0]) || (expected[0] == 400 && !answer.contains("problem+json"));
        if expected[0] >= 400 && !by_hyper {
            assert!(answer.contains("application/problem+json"), "{shown:?}: {answer}");
        }
    }
    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM edge_tried").await, 1);
    assert_eq!(server.get("/readyz").await["ready"], true);
}

/// A client that stops half-way takes nobody else's place, and nothing of its batch stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_is_no_batch() {
    let home = Home::new();
    let server = home.up(&[]);
    let address = address(&server);
    let line = format!("{}\n", event("half.sent", "1", &json!({})));
    let whole = line.repeat(2);
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("POST /v1/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", whole.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        // Whether a word comes back to one that has hung up is open; nothing hangs.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    })
    .await
    .unwrap();
    server.accept(&[event("half.sent", "2", &json!({}))]).await;
    server.flush().await;
    let rows = server.sql("SELECT id FROM half_sent").await;
    assert_eq!(rows, [json!({ "id": "2" })] as [Value; 1]);
}
