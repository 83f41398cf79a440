//! The way to the server over HTTP/1.1, on one connection that is kept alive.

use crate::ports::{ANSWER_BYTES_MAX, Answer, Done, NoAnswer, Request, Transport};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// The configuration must come in this time.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that has idled for longer is not trusted to be there still.
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("killfeed-client/", env!("CARGO_PKG_VERSION"));

type Wake = Arc<dyn Fn() + Send + Sync>;

/// What was done and not yet asked for.
#[derive(Clone)]
struct Outbox {
    done: Arc<Mutex<VecDeque<Done>>>,
    wake: Wake,
}

impl Outbox {
    fn put(&self, done: Done) {
        self.done.lock().push_back(done);
        (self.wake)();
    }
}

/// How a request is made.
#[derive(Clone)]
struct Caller {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

/// HTTP, in a thread of its own: a request may take its time without anything else waiting for it.
pub struct Http {
    caller: Caller,
    requests: Option<mpsc::Sender<Request>>,
    outbox: Option<Outbox>,
}

impl Http {
    /// The way to `url` with this key; a request is given up after `timeout`.
    pub fn new(url: &str, key: Option<String>, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE)
            .user_agent(USER_AGENT)
            .build();
        let caller = Caller { agent: config.into(), url: url.trim_end_matches('/').to_owned(), key };
        Self { caller, requests: None, outbox: None }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        // A request that is under way ends now, and its thread with it.
        self.caller.agent.clone().shutdown();
    }
}

impl Transport for Http {
    fn start(&mut self, wake: Wake) {
        self.outbox = Some(Outbox { done: Arc::default(), wake });
    }

    fn post(&mut self, request: Request) {
        let Some(outbox) = &self.outbox else { return };
        let mut request = request;
        for _ in 0..2 {
            // The thread is begun with the first request, and anew if it should be gone.
            if self.requests.is_none() {
                self.requests = begin(self.caller.clone(), outbox.clone());
            }
            let Some(requests) = &self.requests else { break };
            match requests.send(request) {
                Ok(()) => return,
                Err(mpsc::SendError(unsent)) => {
                    self.requests = None;
                    request = unsent;
                }
            }
        }
        outbox.put(Done::Posted(Err(NoAnswer { sent: false, error: "no thread could be started".into() })));
    }

    fn fetch_config(&mut self) {
        let Some(outbox) = self.outbox.clone() else { return };
        let (caller, failed) = (self.caller.clone(), outbox.clone());
        // A thread of its own, since no event waits for this.
        let began = thread::Builder::new()
            .name("killfeed-config".into())
            .spawn(move || outbox.put(Done::Config(caller.config())));
        if let Err(error) = began {
            failed.put(Done::Config(Err(NoAnswer { sent: false, error: error.to_string() })));
        }
    }

    fn poll(&mut self) -> Option<Done> {
        self.outbox.as_ref()?.done.lock().pop_front()
    }
}

/// Begins the thread that sends.
fn begin(caller: Caller, outbox: Outbox) -> Option<mpsc::Sender<Request>> {
    let (sender, receiver) = mpsc::channel::<Request>();
    let work = move || {
        while let Ok(request) = receiver.recv() {
            outbox.put(Done::Posted(caller.post(&request)));
        }
    };
    thread::Builder::new().name("killfeed-http".into()).spawn(work).ok().map(|_| sender)
}

impl Caller {
    fn post(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let mut call = self.agent.post(format!("{}/v1/batch", self.url)).header("content-type", "application/x-ndjson");
        if let Some(encoding) = request.compression.encoding() {
            call = call.header("content-encoding", encoding);
        }
        if let Some(key) = &self.key {
            call = call.header("authorization", format!("Bearer {key}"));
        }
        read(call.send(&request.body[..]))
    }

    fn config(&self) -> Result<Answer, NoAnswer> {
        let mut call = self.agent.get(format!("{}/v1/config", self.url));
        if let Some(key) = &self.key {
            call = call.header("authorization", format!("Bearer {key}"));
        }
        read(call.config().timeout_global(Some(CONFIG_TIMEOUT)).build().call())
    }
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, NoAnswer> {
    let mut response = response.map_err(|error| NoAnswer { sent: may_be_sent(&error), error: error.to_string() })?;
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.map_err(|error| NoAnswer { sent: true, error: format!("status {status}: {error}") })?;
    Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
}

/// Whether a byte of the request may have reached the server. Only what can't have is said not to.
fn may_be_sent(error: &ureq::Error) -> bool {
    use ureq::Timeout::{Connect, Resolve};
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BadUri(_)
        | ureq::Error::Timeout(Resolve | Connect) => false,
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
        ),
        _ => true,
    }
}
