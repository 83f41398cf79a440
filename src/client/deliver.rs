//! Delivers lines in batches, in order, until each was accepted or refused for good.
//!
//! One batch is under way at a time: what may be retried is sent again before anything behind it, so
//! the order of a file holds in each partition.

use super::http::{Client, detail, reason, refusal};
use crate::cli::{Compression, SendHow};
use crate::exit::Failure;
use chrono::{SecondsFormat, TimeDelta, Utc};
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use rand::Rng as _;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Bytes of lines in one request; a single longer line goes alone.
const BATCH_BYTES: usize = 4 << 20;
/// Refusals kept with their line; all are counted.
const REFUSALS_KEPT: usize = 1_000;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// Between two lines that say what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What became of the lines.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Summary {
    /// Lines handed over to be sent.
    pub(crate) sent: u64,
    /// Accepted by the server.
    pub(crate) accepted: u64,
    /// Refused for good.
    pub(crate) refused: u64,
    /// Sent again, each time counted.
    pub(crate) retried: u64,
    /// Neither accepted nor refused, because the server could not be reached any more.
    pub(crate) unanswered: u64,
    /// The first refusals.
    pub(crate) refusals: Vec<Refusal>,
}

/// A line refused for good.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusal {
    /// Counted from 1.
    pub(crate) line: u64,
    /// The event's id, if it could be read.
    pub(crate) id: Option<String>,
    /// HTTP status of this event.
    pub(crate) status: u16,
    /// Why.
    pub(crate) error: String,
}

/// Sends lines to one server.
pub(crate) struct Delivery {
    client: Client,
    how: SendHow,
    batch: Vec<(u64, Vec<u8>)>,
    batch_bytes: usize,
    /// What stands on the terminal meanwhile.
    bar: ProgressBar,
    /// When it last said that it waits.
    said: Option<Instant>,
    pub(crate) summary: Summary,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    id: Option<String>,
    status: u16,
    retry: bool,
    error: Option<String>,
}

/// What one request came to.
enum Attempt {
    /// Each line has its own answer; `retry_after` is how long to wait before those to be retried.
    Answered { results: Vec<EventResult>, retry_after: Option<Duration> },
    /// Nothing is known of any line; the whole is sent again.
    Failed { why: String, retry_after: Option<Duration> },
    /// Too much for one request.
    TooLarge(String),
    /// The request as such is refused.
    Refused { status: StatusCode, why: String },
}

impl Delivery {
    /// To this server. What is said to people meanwhile stands above this bar.
    pub(crate) fn new(client: Client, how: SendHow, bar: ProgressBar) -> Self {
        Self { client, how, batch: Vec::new(), batch_bytes: 0, bar, said: None, summary: Summary::default() }
    }

    /// Takes a line; sends a batch when one is full.
    pub(crate) async fn push(&mut self, number: u64, line: Vec<u8>) -> Result<(), Failure> {
        self.summary.sent += 1;
        if !self.batch.is_empty() && self.batch_bytes + line.len() > BATCH_BYTES {
            self.deliver().await?;
        }
        self.batch_bytes += line.len() + 1;
        self.batch.push((number, line));
        if self.batch.len() >= usize::try_from(self.how.batch).unwrap_or(usize::MAX) {
            self.deliver().await?;
        }
        Ok(())
    }

    /// Sends what is left.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        self.deliver().await
    }

    /// Sends the batch until no line of it is left.
    async fn deliver(&mut self) -> Result<(), Failure> {
        self.batch_bytes = 0;
        let mut left = std::mem::take(&mut self.batch);
        let mut size = left.len();
        let mut progress = Instant::now();
        let mut backoff = BACKOFF_FIRST;
        while !left.is_empty() {
            size = size.clamp(1, left.len());
            let attempt = self.attempt(&left[..size]).await?;
            let (why, retry_after) = match attempt {
                Attempt::Answered { results, retry_after } => {
                    let before = left.len();
                    let why = self.settle(&mut left, results);
                    if left.len() < before {
                        progress = Instant::now();
                        backoff = BACKOFF_FIRST;
                    }
                    let Some(why) = why else { continue };
                    (why, retry_after)
                }
                Attempt::Failed { why, retry_after } => {
                    self.summary.retried += size as u64;
                    (why, retry_after)
                }
                Attempt::TooLarge(_) if size > 1 => {
                    size /= 2;
                    continue;
                }
                Attempt::TooLarge(why) => {
                    let (line, _) = left.remove(0);
                    self.refuse(Refusal { line, id: None, status: 413, error: why });
                    continue;
                }
                Attempt::Refused { status, why } => {
                    for (line, _) in left.drain(..size) {
                        self.refuse(Refusal { line, id: None, status: status.as_u16(), error: why.clone() });
                    }
                    continue;
                }
            };
            if progress.elapsed() > self.how.retry_for {
                self.summary.unanswered += left.len() as u64;
                return Err(Failure::usage(format!("gave up after {:?}: {why}", self.how.retry_for)));
            }
            self.say_waiting(&why, progress);
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(retry_after.unwrap_or_default().max(backoff.mul_f64(jitter))).await;
            backoff = (backoff * 2).min(BACKOFF_LONGEST);
        }
        Ok(())
    }

    /// Says that it waits, for what and until when: at once, then now and then. In a pipe too, where minutes without a
    /// word look as if it hung.
    fn say_waiting(&mut self, why: &str, progress: Instant) {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let left = self.how.retry_for.saturating_sub(progress.elapsed());
        let until = TimeDelta::from_std(left).ok().and_then(|left| Utc::now().checked_add_signed(left));
        let until = until.map(|until| format!(" until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true)));
        let (server, until) = (self.client.base(), until.unwrap_or_default());
        // Nobody is told more by an error of this.
        let say =
            || writeln!(anstream::stderr(), "waiting for {server}: {why}; it is tried again{until} (--retry-for)");
        let _ = self.bar.suspend(say);
    }

    /// Takes the lines that are settled out of `left`; says why, if some are to be sent again.
    fn settle(&mut self, left: &mut Vec<(u64, Vec<u8>)>, results: Vec<EventResult>) -> Option<String> {
        let mut again = Vec::new();
        let mut why = None;
        let size = results.len().min(left.len());
        for ((line, bytes), result) in left.drain(..size).zip(results) {
            let EventResult { id, status, retry, error } = result;
            if status < 300 {
                self.summary.accepted += 1;
            } else if retry {
                self.summary.retried += 1;
                why.get_or_insert_with(|| error.unwrap_or_else(|| format!("status {status}")));
                again.push((line, bytes));
            } else {
                let error = error.unwrap_or_else(|| format!("status {status}"));
                self.refuse(Refusal { line, id, status, error });
            }
        }
        left.splice(..0, again);
        why
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.summary.refused += 1;
        if self.summary.refusals.len() < REFUSALS_KEPT {
            self.summary.refusals.push(refusal);
        }
    }

    async fn attempt(&self, lines: &[(u64, Vec<u8>)]) -> Result<Attempt, Failure> {
        let mut body = Vec::with_capacity(lines.iter().map(|(_, line)| line.len() + 1).sum());
        for (_, line) in lines {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        let mut request = self.client.request(Method::POST, "/v1/batch").header("content-type", "application/x-ndjson");
        request = match self.how.compression {
            Compression::None => request.body(body),
            Compression::Gzip => request.header("content-encoding", "gzip").body(gzip(&body)?),
            Compression::Zstd => {
                let packed = zstd::bulk::compress(&body, 1).map_err(Failure::usage)?;
                request.header("content-encoding", "zstd").body(packed)
            }
        };
        let response = match request.timeout(Duration::from_secs(60)).send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Failed { why: reason(&error), retry_after: None }),
        };
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(Attempt::Failed { why: reason(&error), retry_after }),
        };
        if let Ok(Answer { results }) = serde_json::from_slice::<Answer>(&body)
            && results.len() == lines.len()
        {
            return Ok(Attempt::Answered { results, retry_after });
        }
        let why = detail(status, &body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refusal(status, &body)),
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Attempt::TooLarge(why)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Ok(Attempt::Failed { why, retry_after }),
            _ if status.is_client_error() => Ok(Attempt::Refused { status, why }),
            _ => Ok(Attempt::Failed { why, retry_after }),
        }
    }
}

fn gzip(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).map_err(Failure::usage)
}
