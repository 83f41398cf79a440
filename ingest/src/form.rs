//! Which form the events of a request come in, told by its path and headers.

use axum::http::{HeaderMap, header};
use edge::Problem;

/// The two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `POST /v1/events`.
    Events,
    /// `POST /v1/batch`.
    Batch,
}

impl Endpoint {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Events => "/v1/events",
            Self::Batch => "/v1/batch",
        }
    }
}

/// How to read the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One event in JSON.
    Json,
    /// A JSON array of events.
    JsonBatch,
    /// Either: an array if the body begins like one.
    JsonEither,
    /// The payload alone; attributes are in `ce-` headers.
    Binary,
    /// One event in JSON on each line.
    Lines,
}

/// How the body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The types under which newline-delimited JSON goes about. `curl --data-binary` says the last.
const LINE_TYPES: [&str; 8] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json",
    "application/octet-stream",
    "text/plain",
    "application/x-www-form-urlencoded",
];

/// The form of a request.
///
/// # Errors
/// 415, with what would be taken.
pub(crate) fn of(endpoint: Endpoint, headers: &HeaderMap) -> Result<Form, Problem> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let (essence, parameters) = value.unwrap_or_default().split_once(';').unwrap_or((value.unwrap_or_default(), ""));
    let essence = essence.trim().to_ascii_lowercase();
    let form = match (endpoint, essence.as_str()) {
        (Endpoint::Events, "application/cloudevents+json") => Form::Json,
        (Endpoint::Events, "application/cloudevents-batch+json") => Form::JsonBatch,
        (Endpoint::Events, other) if !other.starts_with("application/cloudevents") && is_binary(headers) => {
            return Ok(Form::Binary);
        }
        (Endpoint::Events, "application/json") => Form::JsonEither,
        (Endpoint::Batch, other) if value.is_none() || LINE_TYPES.contains(&other) => Form::Lines,
        (Endpoint::Events, other) if LINE_TYPES.contains(&other) && other.contains("json") => {
            return Err(refused(other, "newline-delimited events go to /v1/batch"));
        }
        (Endpoint::Events, other) => return Err(refused(other, EVENTS_TAKE)),
        (Endpoint::Batch, other) => return Err(refused(other, BATCH_TAKES)),
    };
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        Some(charset) if !["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)) => {
            Err(Problem::unsupported_media_type(format!("charset {charset:?} is not taken: JSON is UTF-8")))
        }
        _ => Ok(form),
    }
}

const EVENTS_TAKE: &str = "/v1/events takes application/cloudevents+json, application/cloudevents-batch+json, \
    application/json, or any type with the attributes in ce- headers";
const BATCH_TAKES: &str = "/v1/batch takes application/x-ndjson or text/plain, one event on each line";

fn refused(content_type: &str, instead: &str) -> Problem {
    let shown: String = content_type.chars().take(80).collect();
    Problem::unsupported_media_type(format!("content type {shown:?} is not taken here: {instead}"))
}

fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("ce-"))
}

/// How the body of a request is packed.
///
/// # Errors
/// 415 for any coding but gzip and zstd, and for more than one.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = codings.next() else { return Ok(Encoding::Identity) };
    let coding = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    match (coding.as_str(), codings.next()) {
        ("identity" | "", None) => Ok(Encoding::Identity),
        ("gzip" | "x-gzip", None) => Ok(Encoding::Gzip),
        ("zstd", None) => Ok(Encoding::Zstd),
        (other, _) => {
            let shown: String = other.chars().take(80).collect();
            let detail = format!("content encoding {shown:?} is not taken: send gzip, zstd or none");
            Err(Problem::unsupported_media_type(detail))
        }
    }
}
