//! The endpoints: what a request meets, in order.

use crate::admission::Reservation;
use crate::batch::{self, Context};
use crate::form::{self, Endpoint};
use crate::stamp::Stamp;
use crate::{Ingest, answer, append, body, published};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use edge::{Problem, Scope, options};
use std::net::SocketAddr;
use tokio::time::Instant;
use tracing::Instrument as _;

pub(crate) fn router(ingest: Ingest) -> Router {
    let allow = |methods: MethodRouter<Ingest>| methods.fallback(edge::no_such_method);
    let cors = crate::cors::layer(&ingest.0.config.cors_origins);
    let router = Router::new()
        .route("/v1/events", allow(post(events)))
        .route("/v1/batch", allow(post(lines)))
        .route("/v1/config", allow(get(config)))
        .with_state(ingest);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

async fn events(State(ingest): State<Ingest>, request: Request) -> Response {
    ingest.answer(Endpoint::Events, request).await
}

async fn lines(State(ingest): State<Ingest>, request: Request) -> Response {
    ingest.answer(Endpoint::Batch, request).await
}

async fn config(State(ingest): State<Ingest>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = ingest.0.keys.authorize(&headers, Scope::Ingest).and_then(|_| options::read(&uri, &[]));
    match asked {
        Ok(_) => axum::Json(published::config(&ingest.0.config, &ingest.0.registry.current(), ingest.0.clock.now_us()))
            .into_response(),
        Err(problem) => problem.into_response(),
    }
}

impl Ingest {
    async fn answer(&self, endpoint: Endpoint, request: Request) -> Response {
        let started = Instant::now();
        let trace_parent = traces::of_request(request.headers()).map(str::to_owned);
        let span = traces::span!("ingest request", "server", http.request.method = "POST", url.path = endpoint.path());
        traces::follow(&span, trace_parent.as_deref());
        let accepting = self.accept(endpoint, request, started, trace_parent).instrument(span.clone());
        let response = accepting.await.unwrap_or_else(|problem| {
            self.0.meters.refused_request(problem.status);
            let unsupported = problem.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let mut response = problem.into_response();
            if unsupported {
                response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
            }
            response
        });
        traces::note(&span, "http.response.status_code", i64::from(response.status().as_u16()));
        self.0.meters.request(started.elapsed(), self.0.memory.used());
        response
    }

    async fn accept(
        &self,
        endpoint: Endpoint,
        request: Request,
        started: Instant,
        trace_parent: Option<String>,
    ) -> Result<Response, Problem> {
        let inner = &*self.0;
        let config = &inner.config;
        let _in_work = inner.gate.enter(config.retry_after)?;
        let deadline = started + config.deadline;
        let (parts, body) = request.into_parts();
        let principal = inner.keys.authorize(&parts.headers, Scope::Ingest)?;
        options::read(&parts.uri, &[])?;
        let form = form::of(endpoint, &parts.headers)?;
        let encoding = form::encoding(&parts.headers)?;

        let mut reservation = Reservation::of(&inner.memory);
        let packed = tokio::time::timeout_at(deadline, body::read(body, &parts.headers, config, &mut reservation));
        let packed = packed.await.map_err(|_| {
            let limit = config.deadline.as_secs_f64();
            Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {limit} s"))
        })??;
        let (body, _reservation) = body::unpack(packed, encoding, config, reservation).await?;

        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = peer.map(|peer| config.client_address.of(peer, &parts.headers));
        let trusted = inner.keys.is_none() || principal.has(Scope::Server);
        let stamp = Stamp::new(inner.clock.now_us(), address, trusted).within(trace_parent);
        let registry = inner.registry.current();
        let streams = inner.tally.streams();
        let context = Context { config, stamp: &stamp, registry: &registry, streams: &streams };
        let mut batch = batch::read(form, &parts.headers, &body, context)?;
        append::append(&mut batch, &*inner.log, &inner.tally, deadline).await;
        inner.meters.events(&batch.slots, body.len());
        traces::note(
            &tracing::Span::current(),
            "killfeed.events",
            i64::try_from(batch.slots.len()).unwrap_or(i64::MAX),
        );
        Ok(answer::respond(&batch.slots, config.retry_after))
    }
}
