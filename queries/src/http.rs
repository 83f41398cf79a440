//! Questions over HTTP: `/v1/sql`, `/v1/reports`, `/v1/tables`, `/v1/audit`; `/v1/queries` is in `manage`.
//!
//! The first part of an answer is held back until it is large enough or whole, so that an error
//! found by then has a status of its own. Later errors break the connection off: an answer that
//! ends as HTTP says it should is a whole one, in every format.

use crate::audit::Books;
use crate::engine::Viewer;
use crate::format::{Encoder, Format};
use crate::page::{self, Page};
use crate::{Answer, Engine, Error, Parameters, catalogue, manage, reports};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use edge::{Keys, Problem, Scope, body, options};
use futures::stream;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use tracing::Instrument as _;

/// Bytes of an answer that are held back at first.
const HELD_BACK: usize = 256 << 10;
/// The option that names an answer's format.
const FORMAT: &str = "format";
/// Header of an answer whose values need a word of warning; one for each.
pub const WARNING: HeaderName = HeaderName::from_static("killfeed-warning");

#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) keys: Keys,
    books: Books,
}

/// Header of an answer that is not complete up to now: the time up to which it is, RFC 3339.
pub const FRESH_TO: HeaderName = HeaderName::from_static("killfeed-fresh-to");
/// Header of an answer: the id by which its query can be ended. A question may bring one of its own.
pub const QUERY_ID: HeaderName = HeaderName::from_static("killfeed-query-id");

/// The routes of the query role. `books` is what the audit reads beside the tables.
pub fn router(engine: Engine, keys: Keys, books: Books) -> Router {
    // JSON may write each byte of the SQL as six.
    let body_max = engine.config().sql_bytes_max * 6 + 1_024;
    Router::new()
        .route("/v1/reports", get(list_reports))
        .route("/v1/tables", get(list_tables))
        .route("/v1/audit", get(audit))
        .route("/v1/queries", get(manage::list))
        .route("/v1/queries/{id}", delete(manage::end))
        .route("/v1/queries/{id}/pages/{number}", get(manage::page))
        .route_layer(from_fn(options::none))
        .route("/v1/sql", post(sql))
        .route("/v1/reports/{name}", get(get_report).post(post_report))
        .layer(DefaultBodyLimit::max(body_max))
        .with_state(Shared { engine, keys, books })
}

pub(crate) type Answered = Result<Response, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
}

async fn sql(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answered {
    let viewer = viewer(&shared, &headers)?;
    let mut given = options::read(&uri, &[FORMAT, manage::PAGE_ROWS])?;
    let format = format(&headers, &mut given)?;
    let page_rows = manage::page_rows(&shared.engine, &given)?;
    let body = body::bytes(body)?;
    let sql = question(&headers, &body)?;
    let question = crate::Question::new(&sql, Parameters::new(), &viewer);
    match page_rows {
        Some(page_rows) => manage::first_page(&shared.engine, &headers, format, page_rows, question).await,
        None => answer(&shared.engine, &headers, (format, Page::default()), question).await,
    }
}

/// The format that `?format=` names, which is taken out of what is given, else the one that `Accept` asks for.
fn format(headers: &HeaderMap, given: &mut options::Given) -> Result<Format, Problem> {
    options::once(given, FORMAT)?;
    if let Some(place) = given.iter().position(|(name, _)| name == FORMAT) {
        let (_, name) = given.remove(place);
        return Format::named(&name).ok_or_else(|| {
            let known = Format::ALL.map(Format::name).join(", ");
            Error::Refused(format!("format must be one of {known}, not {name:?}")).to_problem()
        });
    }
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",");
    Format::accepted(Some(&accept)).ok_or_else(|| {
        let known = Format::ALL.map(Format::media_type).join(", ");
        Problem::new(StatusCode::NOT_ACCEPTABLE, format!("{accept:?} accepts none of {known}"))
    })
}

pub(crate) fn viewer(shared: &Shared, headers: &HeaderMap) -> Result<Viewer, Problem> {
    Ok(Viewer::of(&shared.keys.authorize(headers, Scope::Query)?))
}

fn question(headers: &HeaderMap, body: &[u8]) -> Result<String, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => body::object::<Question>(body, "{\"sql\": \"...\"}").map(|question| question.sql),
        "text/plain" | "application/sql" | "" => {
            String::from_utf8(body.to_vec()).map_err(|_| Problem::bad_request("the body is no UTF-8"))
        }
        other => Err(Problem::unsupported_media_type(format!(
            "content type {other:?} is neither application/json ({{\"sql\": \"...\"}}) nor text/plain"
        ))),
    }
}

async fn list_reports(State(shared): State<Shared>, headers: HeaderMap) -> Answered {
    viewer(&shared, &headers)?;
    let reports: Vec<_> = reports::all().values().collect();
    Ok(Json(reports).into_response())
}

async fn get_report(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let viewer = viewer(&shared, &headers)?;
    run_report(&shared, &body::path(name)?, options::given(&uri)?, &viewer, &headers).await
}

/// The members of a JSON object, each as often as it is there.
struct Named(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Named, A::Error> {
                let mut named = Vec::new();
                while let Some(member) = members.next_entry()? {
                    named.push(member);
                }
                Ok(Named(named))
            }
        }
        from.deserialize_map(Members)
    }
}

/// Parameters as a JSON object, or in the query, or both.
async fn post_report(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answered {
    let viewer = viewer(&shared, &headers)?;
    let (name, mut given, body) = (body::path(name)?, options::given(&uri)?, body::bytes(body)?);
    if !body.is_empty() {
        let Named(named) = body::object(&body, "{\"parameter\": \"value\"}")?;
        given.extend(named.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        }));
    }
    run_report(&shared, &name, given, &viewer, &headers).await
}

async fn run_report(
    shared: &Shared,
    name: &str,
    mut given: options::Given,
    viewer: &Viewer,
    headers: &HeaderMap,
) -> Answered {
    let report = reports::find(name).map_err(|error| error.to_problem())?;
    let format = format(headers, &mut given)?;
    let (question, page) = report.asked(&given, viewer).map_err(|error| error.to_problem())?;
    answer(&shared.engine, headers, (format, page), question).await
}

async fn list_tables(State(shared): State<Shared>, headers: HeaderMap) -> Answered {
    viewer(&shared, &headers)?;
    let tables = catalogue::tables(&shared.engine).await.map_err(|error| error.to_problem())?;
    Ok(Json(tables).into_response())
}

/// Whoever may query or administer may look at the books.
async fn audit(State(shared): State<Shared>, headers: HeaderMap) -> Answered {
    if let Err(problem) = shared.keys.authorize(&headers, Scope::Query) {
        if problem.status != StatusCode::FORBIDDEN {
            return Err(problem);
        }
        shared.keys.authorize(&headers, Scope::Admin)?;
    }
    let audit = crate::audit::audit(&shared.engine, &shared.books).await.map_err(|error| {
        tracing::warn!(%error, "no audit");
        error.to_problem()
    })?;
    Ok(Json(audit).into_response())
}

async fn answer(
    engine: &Engine,
    headers: &HeaderMap,
    (format, page): (Format, Page),
    question: crate::Question,
) -> Answered {
    let problem = |error: Error| error.to_problem();
    let mut answer = asked_of(engine, headers, question).await?;
    let mut encoder = Encoder::of_page(format, answer.schema(), page).map_err(problem)?;
    let mut held = Vec::new();
    let mut rest = None;
    loop {
        match answer.next().await {
            Some(batch) => held.extend(encoder.rows(&batch.map_err(problem)?).map_err(problem)?),
            None => {
                held.extend(encoder.finish().map_err(problem)?);
                break;
            }
        }
        if held.len() >= HELD_BACK {
            rest = Some(encoder);
            break;
        }
    }
    let warnings = answer.warnings().to_vec();
    let (fresh_to, id) = (answer.fresh_to_us(), answer.id());
    let body = match rest {
        None => Body::from(held),
        Some(encoder) => streamed(held, encoder, answer),
    };
    Ok(document(body, format, &id, &warnings, fresh_to))
}

/// Asks, under the id that the request brings, if any.
pub(crate) async fn asked_of(
    engine: &Engine,
    headers: &HeaderMap,
    mut question: crate::Question,
) -> Result<Answer, Problem> {
    question.id = id_of(headers)?;
    let span = traces::span!("query", "server", db.system.name = "killfeed");
    traces::follow(&span, traces::of_request(headers));
    engine.ask(question).instrument(span).await.map_err(|error| error.to_problem())
}

/// The id that a request brings.
pub(crate) fn id_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let id = headers.get(QUERY_ID).map(|id| id.to_str().map(str::to_owned));
    id.transpose().map_err(|_| Problem::bad_request(format!("the header {QUERY_ID} is no text")))
}

/// An answer, or a page of it, with what is to be known about it.
pub(crate) fn document(
    body: Body,
    format: Format,
    id: &str,
    warnings: &[String],
    fresh_to_us: Option<i64>,
) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if format == Format::Html {
        // What players wrote stands in it: nothing runs, nobody guesses that it is something else.
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::policy()));
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(QUERY_ID, id);
    }
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(warning) {
            response.headers_mut().append(WARNING, value);
        }
    }
    let fresh_to = fresh_to_us.and_then(crate::present::micros);
    if let Some(fresh_to) = fresh_to.and_then(|fresh_to| HeaderValue::from_str(&fresh_to).ok()) {
        response.headers_mut().insert(FRESH_TO, fresh_to);
    }
    response
}

/// The held back part first, then batch by batch as the client takes them.
fn streamed(held: Vec<u8>, encoder: Encoder, answer: Answer) -> Body {
    let state = (Some(held), Some(encoder), answer);
    Body::from_stream(stream::unfold(state, async |(held, encoder, mut answer)| {
        if let Some(held) = held {
            return Some((Ok::<_, Error>(Bytes::from(held)), (None, encoder, answer)));
        }
        let mut encoder = encoder?;
        match answer.next().await {
            Some(Ok(batch)) => match encoder.rows(&batch) {
                Ok(bytes) => Some((Ok(bytes.into()), (None, Some(encoder), answer))),
                Err(error) => Some((Err(error), (None, None, answer))),
            },
            Some(Err(error)) => Some((Err(error), (None, None, answer))),
            None => Some((encoder.finish().map(Bytes::from), (None, None, answer))),
        }
    }))
}
