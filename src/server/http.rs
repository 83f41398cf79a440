//! The HTTP server: accepts connections up to a limit, gives each a time to say what it wants, and
//! on stop lets each finish the request in work.

use super::linger::Lingering;
use super::responses;
use axum::Router;
use axum::extract::ConnectInfo;
use futures::TryFutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Bytes that a request's head may take.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Headers that a request may have.
const HEADERS_MAX: usize = 128;
/// How long to wait when the system can't give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// From the end of one request to the whole head of the next.
    pub(crate) header_timeout: Duration,
    /// From then to the end of its body, once it is waited for.
    pub(crate) body_timeout: Duration,
}

/// Serves `router` until `stop`, then finishes the requests in work; returns when the last
/// connection is closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                metrics::counter!("killfeed_http_connections_total").increment(1);
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, peer, router, limits, stop).await;
                    drop(place);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Whether the error is over with the connection that it came from.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, stop: CancellationToken) {
    // Without it small answers wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let waits = request.headers().contains_key(hyper::header::EXPECT);
        let answer = router.clone().oneshot(request.map(|body| Lingering::new(body, limits.body_timeout, waits)));
        answer.inspect_ok(|response| responses::count(response.status()))
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    async fn start(
        router: Router,
        connections_max: usize,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let header_timeout = Duration::from_millis(100);
        let limits = Limits { connections_max, header_timeout, body_timeout: Duration::from_secs(5) };
        let server = tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop, server)
    }

    #[tokio::test]
    async fn a_client_that_never_ends_its_head_is_let_go() {
        let (address, stop, server) = start(Router::new(), 10).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the connection was kept open");
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_in_work_is_answered_before_the_server_stops() {
        let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inner_started, inner_go_on) = (started.clone(), go_on.clone());
        let router = Router::new().route(
            "/",
            get(async move || {
                inner_started.notify_one();
                inner_go_on.notified().await;
                "done"
            }),
        );
        let (address, stop, server) = start(router, 10).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        started.notified().await;
        stop.cancel();
        go_on.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_past_the_limit_waits_for_its_place() {
        let router = Router::new().route("/", get(|| async { "hello" }));
        let (address, stop, server) = start(router, 1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut some = [0; 12];
        first.read_exact(&mut some).await.unwrap();
        let answered = Arc::new(AtomicBool::new(false));
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let flag = answered.clone();
        let reading = tokio::spawn(async move {
            let mut answer = String::new();
            second.read_to_string(&mut answer).await.unwrap();
            flag.store(true, Ordering::SeqCst);
            answer
        });
        assert!(!answered.load(Ordering::SeqCst));
        drop(first);
        assert!(reading.await.unwrap().ends_with("hello"));
        stop.cancel();
        server.await.unwrap();
    }
}
