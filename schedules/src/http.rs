//! Schedules over HTTP: `/v1/schedules`.

use crate::Error;
use crate::scheduler::Scheduler;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use edge::{Keys, Problem, Scope, body, options};
use std::time::Duration;

/// Lines of an answer, if nothing else is asked for.
const LINES: usize = 20;
/// Lines of an answer at most: each is read from the store.
const LINES_MAX: usize = 1_000;

#[derive(Debug, Clone)]
struct Shared {
    scheduler: Scheduler,
    keys: Keys,
}

/// `GET /v1/schedules`, `GET /v1/schedules/history` (scope `query`) and `POST /v1/schedules/{name}/run`
/// (scope `admin`: it sends to others).
pub fn router(scheduler: Scheduler, keys: Keys) -> Router {
    Router::new()
        .route("/v1/schedules", get(list))
        .route("/v1/schedules/{name}/run", post(run))
        .route_layer(from_fn(options::none))
        .route("/v1/schedules/history", get(history))
        .with_state(Shared { scheduler, keys })
}

type Answered = Result<Response, Problem>;

async fn list(State(shared): State<Shared>, headers: HeaderMap) -> Answered {
    shared.keys.authorize(&headers, Scope::Query)?;
    let schedules = shared.scheduler.list().await.map_err(|error| problem(&error))?;
    Ok(Json(schedules).into_response())
}

async fn history(State(shared): State<Shared>, uri: Uri, headers: HeaderMap) -> Answered {
    shared.keys.authorize(&headers, Scope::Query)?;
    let given = options::read(&uri, &["schedule", "limit"])?;
    let of = |name: &str| given.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let limit = of("limit").map_or(Some(LINES), |limit| limit.parse().ok());
    let limit = limit.filter(|limit| (1..=LINES_MAX).contains(limit)).ok_or_else(|| {
        Problem::bad_request(format!("limit must be 1 to {LINES_MAX}, not {:?}", of("limit").unwrap_or_default()))
    })?;
    let history = shared.scheduler.history(of("schedule"), limit).await;
    Ok(Json(history.map_err(|error| problem(&error))?).into_response())
}

async fn run(State(shared): State<Shared>, name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Answered {
    shared.keys.authorize(&headers, Scope::Admin)?;
    let name = body::path(name)?;
    let tick = shared.scheduler.run_now(&name).await.map_err(|error| problem(&error))?;
    let answer = serde_json::json!({ "schedule": name, "tick": tick.at, "name": tick.to_string() });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::NoSchedule(_) => Problem::not_found(error.to_string()),
        Error::Store(_) | Error::Late(_) => Problem::unavailable(error.to_string(), Duration::from_secs(10)),
        Error::Corrupt { .. } | Error::Panic => Problem::internal(error.to_string()),
    }
}
