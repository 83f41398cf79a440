//! Request bodies that nobody read to their end.
//!
//! An early answer (401, 413, 415, 429, 503) leaves the body half sent. Closing the connection there
//! makes the system throw a reset after the answer, and a client that writes its whole body before it
//! reads may see the reset and never the answer. So what is left is read and thrown away, up to a
//! bound in bytes and time (RFC 9112, 9.6, calls for it); a client that goes on past that is cut off.
//! One that waits for `100 Continue` sends nothing more, and isn't waited for.

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Bytes of an unread body that are thrown away.
pub(super) const DRAIN_BYTES_MAX: usize = 32 << 20;
/// For how long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// What broke a body off.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A body that must arrive within a time, and is drained if it is dropped before its end.
pub(super) struct Lingering {
    body: Option<Incoming>,
    limit: Duration,
    /// Made when the body is first waited for: most have come with their head.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether the client waits for a word before it sends.
    waits: bool,
}

impl Lingering {
    /// `waits`: the head says `Expect: 100-continue`.
    pub(super) fn new(body: Incoming, limit: Duration, waits: bool) -> Self {
        Self { body: Some(body), limit, deadline: None, waits }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                self.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let limit = self.limit;
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Some(Err(format!("it did not arrive within {} s", limit.as_secs_f64()).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !self.waits && !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DRAIN_TIME_MAX, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut bytes = 0;
    while bytes <= DRAIN_BYTES_MAX {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::{Limits, serve};
    use super::*;
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};
    use tokio_util::sync::CancellationToken;

    async fn start() -> (SocketAddr, CancellationToken) {
        let router = Router::new()
            .route("/refuse", post(async || StatusCode::PAYLOAD_TOO_LARGE))
            .route("/read", post(async |body: axum::body::Bytes| body.len().to_string()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let limits = Limits {
            connections_max: 10,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_millis(100),
        };
        tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop)
    }

    /// Writes all of a request, then reads all of the answer: what a client with one thread does.
    fn write_then_read(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_early_answer_reaches_a_client_that_writes_its_whole_body_first() {
        let (address, stop) = start().await;
        let body = vec![b'x'; 24 << 20];
        let length = body.len();
        let chunked = [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        for close in ["", "connection: close\r\n"] {
            for (head, body) in
                [(format!("content-length: {length}"), &body), ("transfer-encoding: chunked".into(), &chunked)]
            {
                // Kept open, it must serve a second request.
                let next = if close.is_empty() {
                    "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\ny"
                } else {
                    ""
                };
                let body = [body, next.as_bytes()].concat();
                let head = format!("POST /refuse HTTP/1.1\r\nhost: a\r\n{close}{head}\r\n\r\n");
                let answer = tokio::task::spawn_blocking(move || write_then_read(address, &head, &body));
                let answer = answer.await.unwrap().unwrap();
                assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
                assert_eq!(answer.matches("HTTP/1.1").count(), if close.is_empty() { 2 } else { 1 }, "{answer}");
            }
        }
        stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn past_the_bound_the_connection_is_cut() {
        let (address, stop) = start().await;
        let cut = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
            let head = format!("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
            stream.write_all(head.as_bytes()).unwrap();
            let chunk = vec![b'x'; 1 << 20];
            (0..1_000).find_map(|n| stream.write_all(&chunk).err().map(|error| (n, error)))
        });
        let (written_mib, error) = cut.await.unwrap().unwrap();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        assert!((32..200).contains(&written_mib), "{written_mib} MiB were taken");
        stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_for_a_word_before_the_body_gets_the_answer_alone() {
        let (address, stop) = start().await;
        let head = "POST /refuse HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        let answer = tokio::task::spawn_blocking(move || write_then_read(address, head, b""));
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_body_that_stops_coming_is_given_up() {
        let (address, stop) = start().await;
        let head = "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
        let answer = tokio::task::spawn_blocking(move || write_then_read(address, head, b"half"));
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        stop.cancel();
    }
}
