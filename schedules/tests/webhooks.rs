//! Webhooks to real servers on this machine: good ones, broken ones, and ones that aren't who they say.

use crate::support::{NoMail, SECRET, certificate, http, last_try, run_once, schedule};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use parking_lot::Mutex;
use schedules::{Entry, Progress};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<Vec<u16>>>,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.seen.lock().push((headers, body));
    let status = receiver.answers.lock().pop().unwrap_or(200);
    let status = StatusCode::from_u16(status).unwrap();
    if status.is_redirection() {
        return (status, [("location", "/elsewhere")]).into_response();
    }
    status.into_response()
}

/// A server that gives these answers, the last one first, and 200 from then on.
async fn server(answers: &[u16]) -> (String, Receiver) {
    let receiver = Receiver { answers: Arc::new(Mutex::new(answers.to_vec())), seen: Arc::default() };
    let app = Router::new()
        .route("/hook", post(receive))
        .route("/elsewhere", any(|| async { StatusCode::OK }))
        .with_state(receiver.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, receiver)
}

async fn deliver(url: &str, authority: Option<&str>, tries: usize) -> Entry {
    let lines = format!("report = 'first_blood'\n[[schedules.deliver]]\nwebhook = '{url}'\nsecret = '{SECRET}'");
    run_once(schedule(&lines), http(authority), Arc::new(NoMail), tries).await
}

#[tokio::test]
async fn a_webhook_is_signed_and_says_what_was_stored() {
    let (url, receiver) = server(&[]).await;
    let entry = deliver(&url, None, 1).await;
    assert_eq!(last_try(&entry), (Progress::Delivered, "200 OK"));
    let seen = receiver.seen.lock();
    let [(headers, body)] = &seen[..] else { panic!("{} requests", seen.len()) };
    // As any receiver with a library of Standard Webhooks would look at it.
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(body, headers).unwrap();
    let other = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(other.verify(body, headers).is_err());
    let id = headers["webhook-id"].to_str().unwrap();
    assert!(id.starts_with("killfeed_morning_") && !id.contains('.'), "{id}");
    assert_eq!(headers["content-type"], "application/json");
    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(event["type"], "report.stored");
    assert_eq!(event["data"]["report"], "first_blood");
    assert_eq!(event["data"]["rows"], 1);
    assert_eq!(event["data"]["content"], "champion,games\nAhri,3\n");
    assert_eq!(event["data"]["location"].as_str(), entry.output.as_deref());
}

/// The signature of the specification's own example.
#[test]
fn the_library_signs_as_the_specification_shows() {
    let body = br#"{"test": 2432232314}"#;
    let signed =
        standardwebhooks::Webhook::new(SECRET).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id_and_body() {
    // The second try comes after 5 to 6 s.
    let (url, receiver) = server(&[200, 503]).await;
    let entry = deliver(&url, None, 2).await;
    let attempts = &entry.deliveries[0].attempts;
    assert_eq!((attempts[0].ok, attempts[0].detail.as_str()), (false, "503 Service Unavailable"));
    assert!(matches!(attempts[0].retry_in_s, Some(5..=6)), "{attempts:?}");
    assert_eq!(last_try(&entry), (Progress::Delivered, "200 OK"));
    let seen = receiver.seen.lock();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].0["webhook-id"], seen[1].0["webhook-id"]);
    assert_eq!(seen[0].1, seen[1].1);
    for (headers, body) in seen.iter() {
        standardwebhooks::Webhook::new(SECRET).unwrap().verify(body, headers).unwrap();
    }
}

#[tokio::test]
async fn gone_is_the_end_of_it() {
    let (url, receiver) = server(&[410]).await;
    let entry = deliver(&url, None, 1).await;
    assert_eq!(last_try(&entry), (Progress::GivenUp, "410 Gone"));
    assert_eq!(receiver.seen.lock().len(), 1);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    for status in [301, 302, 307, 308] {
        let (url, _) = server(&[status]).await;
        let entry = deliver(&url, None, 1).await;
        let (progress, said) = last_try(&entry);
        assert!(progress == Progress::Failing && said.contains("redirects are not followed"), "{said}");
    }
}

#[tokio::test]
async fn receivers_that_hang_break_off_or_are_away_are_named() {
    // Takes the connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}/", silent.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = silent.accept().await {
            held.push(socket);
        }
    });
    // Breaks off in the middle of its answer.
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let breaking = format!("http://{}/", rude.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = rude.accept().await {
            let mut head = [0; 64];
            let _ = socket.read(&mut head).await;
            let _ = socket.write_all(b"HTTP/1.1 20").await;
        }
    });
    let away = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    for (url, part) in [(&hanging, "timed out"), (&breaking, "error sending request"), (&away, "refused")] {
        let entry = deliver(url, None, 1).await;
        let (progress, said) = last_try(&entry);
        assert!(progress == Progress::Failing && said.contains(part), "{url}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// A TLS server with a certificate for this name; its URL as `localhost`, and the certificate.
async fn tls_server(name: &str) -> (String, String) {
    let (pem, acceptor) = certificate(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut head = vec![0; 64 << 10];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            });
        }
    });
    (url, pem)
}

#[tokio::test]
async fn only_who_is_known_by_a_certificate_gets_anything() {
    let (url, pem) = tls_server("localhost").await;
    assert_eq!(last_try(&deliver(&url, Some(&pem), 1).await), (Progress::Delivered, "204 No Content"));
    let (wrong_name, wrong_pem) = tls_server("elsewhere.example").await;
    let plain = server(&[]).await.0.replace("http://127.0.0.1", "https://localhost");
    // Nobody vouches for it; it is for somebody else; it speaks no TLS at all.
    for (url, authority) in [(&url, None), (&wrong_name, Some(wrong_pem.as_str())), (&plain, None)] {
        let entry = deliver(url, authority, 1).await;
        let (progress, said) = last_try(&entry);
        assert_eq!(progress, Progress::Failing, "{url}: {said}");
        assert!(
            ["certificate", "InvalidContentType", "corrupt"].iter().any(|part| said.contains(part)),
            "{url}: {said}"
        );
    }
}
