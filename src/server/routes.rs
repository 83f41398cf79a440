//! What answers on which path: health at once, the rest once the parts are up.

use super::ready::Readiness;
use super::system::System;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use edge::Problem;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tower::ServiceExt as _;

const INDEX: &str = "\
killfeed: a telemetry pipeline for games. Send CloudEvents to POST /v1/events (structured, binary or batch) or \
POST /v1/batch (one JSON object a line), and ask with POST /v1/sql ({\"sql\": \"...\"}), GET /v1/reports and \
GET /v1/reports/{name}; GET /v1/tables says what there is, GET /v1/audit whether the books balance. Operators: \
POST /v1/flush, POST /v1/forget, GET /v1/schemas, GET /v1/schemas/{type}, POST /v1/schemas/{type}/check, /diff and \
/apply. GET /v1/config is for SDKs; GET /healthz, /readyz and /metrics for whoever watches.\n";

/// The routes; those of the parts are opened when they are up.
#[derive(Clone)]
pub(crate) struct Routes {
    readiness: Readiness,
    metrics: PrometheusHandle,
    system: System,
    parts: Arc<OnceLock<Router>>,
}

impl Routes {
    /// With nothing but health.
    pub(crate) fn new(readiness: Readiness, metrics: PrometheusHandle, system: System) -> Self {
        Self { readiness, metrics, system, parts: Arc::default() }
    }

    /// From now on the parts answer. Opening twice keeps the first.
    pub(crate) fn open(&self, parts: Router) {
        let _ = self.parts.set(parts);
    }

    /// As one router.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .method_not_allowed_fallback(edge::no_such_method)
            .fallback(delegate)
            .with_state(self.clone())
    }
}

/// To a browser the dashboard, where this role has one; else what there is.
async fn index(State(routes): State<Routes>, request: Request) -> Response {
    let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accept.contains("text/html") {
        return INDEX.into_response();
    }
    let response = delegate(State(routes), request).await;
    if response.status() == StatusCode::NOT_FOUND { INDEX.into_response() } else { response }
}

async fn ready(State(routes): State<Routes>) -> Response {
    let (ready, report) = routes.readiness.report();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn metrics(State(routes): State<Routes>) -> Response {
    let headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    routes.readiness.measure();
    routes.system.measure();
    (headers, routes.metrics.render() + &routes.system.page()).into_response()
}

async fn delegate(State(routes): State<Routes>, request: Request) -> Response {
    match routes.parts.get() {
        Some(parts) => parts.clone().oneshot(request).await.into_response(),
        None => Problem::unavailable("killfeed is starting; GET /readyz says how far it is", Duration::from_secs(1))
            .into_response(),
    }
}
