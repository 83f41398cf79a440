//! A transport that keeps the books of what passes through it.

use crate::ledger::Ledger;
use crate::verdict::{judge, kind_of};
use killfeed_client::{Answer, Clock, Compression, Done, NoAnswer, Request, Transport};
use parking_lot::Mutex;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// A body smaller than this is not worth packing, in bytes.
const SMALL: usize = 512;

/// The answer to the first question for the configuration: whether there is a server that knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Greeting {
    Welcome,
    /// A status that isn't 200.
    Status(u16),
    /// What broke.
    None(String),
}

/// What a lane and its transport share.
pub(crate) struct Books {
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) greeting: Mutex<Option<Greeting>>,
}

/// Passes requests on and notes down what comes of them.
pub(crate) struct Measured {
    inner: Box<dyn Transport>,
    books: Arc<Books>,
    clock: Arc<dyn Clock>,
    /// Called whenever a request is done with.
    done: Arc<dyn Fn() + Send + Sync>,
}

impl Measured {
    pub(crate) fn new(
        inner: Box<dyn Transport>,
        books: Arc<Books>,
        clock: Arc<dyn Clock>,
        done: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { inner, books, clock, done }
    }

    fn settle(&self, answer: &Result<Answer, NoAnswer>) {
        let now = self.clock.now();
        let mut ledger = self.books.ledger.lock();
        let (fates, error) = judge(answer, ledger.under_way());
        ledger.answered(&fates, error, now);
        drop(ledger);
        (self.done)();
    }
}

impl Transport for Measured {
    fn start(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.inner.start(wake);
    }

    fn post(&mut self, request: Request) {
        // The SDK was told to leave it unpacked, so that it can be read here; packed as the SDK would have done.
        let orders = orders(&request.body);
        let request = pack(request);
        self.books.ledger.lock().posted(orders, request.body.len(), self.clock.now());
        self.inner.post(request);
    }

    fn fetch_config(&mut self) {
        self.inner.fetch_config();
    }

    fn poll(&mut self) -> Option<Done> {
        let done = self.inner.poll()?;
        match &done {
            Done::Posted(answer) => self.settle(answer),
            Done::Config(answer) => {
                *self.books.greeting.lock() = Some(match answer {
                    Ok(answer) if answer.status == 200 => Greeting::Welcome,
                    Ok(answer) => Greeting::Status(answer.status),
                    Err(none) => Greeting::None(format!("{} ({})", kind_of(&none.error), none.error)),
                });
            }
        }
        Some(done)
    }
}

/// As much of a line as says which event it is.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The SDK's own count of each event, which ends its id.
fn orders(body: &[u8]) -> Vec<u64> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // One that could not be read is nobody's, and keeps its place.
    lines.map(|line| order(line).unwrap_or(0)).collect()
}

fn order(line: &[u8]) -> Option<u64> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    line.id.rsplit('-').next()?.parse().ok()
}

fn pack(request: Request) -> Request {
    if request.compression != Compression::None || request.body.len() < SMALL {
        return request;
    }
    match zstd::bulk::compress(&request.body, 1) {
        Ok(body) => Request { body, compression: Compression::Zstd, ..request },
        Err(_) => request,
    }
}
