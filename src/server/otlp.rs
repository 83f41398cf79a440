//! Traces to a collector by OTLP over HTTP, if there is one to send them to.
//!
//! ```text
//! span ends ─▶ queue, bounded ─▶ batches ─▶ collector
//!               └ full: dropped, counted      └ away or refusing: dropped, counted
//! ```
//!
//! Whoever ends a span never waits.

use crate::exit::Failure;
use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Spans that wait to be sent.
const QUEUE: usize = 8_192;
/// Spans in a batch at most.
const BATCH: usize = 512;
/// How long a batch is gathered.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the collector may take for one.
const LIMIT: Duration = Duration::from_secs(5);
/// Where a collector takes traces, below its address.
const PATH: &str = "/v1/traces";

/// Traces on their way out. Dropping it ends the export.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    stop: oneshot::Sender<()>,
    sending: tokio::task::JoinHandle<()>,
}

/// Where traces go, by option or by OpenTelemetry's own environment variables; `None`: nowhere.
pub(crate) fn endpoint(option: Option<&str>) -> Option<String> {
    let base = |url: &str| format!("{}{PATH}", url.trim_end_matches('/'));
    let variable = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    option
        .map(base)
        .or_else(|| variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").as_deref().map(base))
}

/// Starts the export to `endpoint` of a process of this role. Of traces that begin here, the share `ratio` is
/// taken; of those that a client began, what the client says. Inside a tokio runtime.
pub(crate) fn start(endpoint: &str, role: &'static str, ratio: f64) -> Result<(Traces, SdkTracer), Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot export traces to {endpoint}: {error}"));
    let client = reqwest::Client::builder().timeout(LIMIT).build().map_err(|error| broken(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(client))
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(LIMIT)
        .build()
        .map_err(|error| broken(&error))?;
    let (queue, waiting) = mpsc::channel(QUEUE);
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok();
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !named {
        resource = resource.with_service_name(format!("killfeed-{role}"));
    }
    let resource = resource.build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(resource.clone())
        .with_span_processor(Queue(queue))
        .build();
    let tracer = provider.tracer("killfeed");
    let (stop, stopped) = oneshot::channel();
    let sending = tokio::spawn(send(exporter, resource, waiting, stopped));
    Ok((Traces { provider, stop, sending }, tracer))
}

impl Traces {
    /// Sends what waits, as far as the time goes.
    pub(crate) async fn close(self, limit: Duration) {
        let _ = self.stop.send(());
        if timeout(limit, self.sending).await.is_err() {
            tracing::warn!("traces were still on their way to the collector");
        }
        drop(self.provider);
    }
}

/// Puts spans that end into the queue.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        match self.0.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => dropped("queue", 1),
            Err(TrySendError::Closed(_)) => dropped("stopping", 1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batches until it is stopped, and then what is left.
async fn send(
    mut exporter: SpanExporter,
    resource: Resource,
    mut waiting: mpsc::Receiver<SpanData>,
    mut stopped: oneshot::Receiver<()>,
) {
    exporter.set_resource(&resource);
    let mut is_away = false;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let gather = async {
            while batch.len() < BATCH {
                match waiting.recv().await {
                    Some(span) => batch.push(span),
                    None => break,
                }
            }
        };
        let is_last = tokio::select! {
            _ = timeout(INTERVAL, gather) => false,
            _ = &mut stopped => true,
        };
        if is_last {
            waiting.close();
            while let Ok(span) = waiting.try_recv() {
                batch.push(span);
            }
        }
        if !batch.is_empty() {
            deliver(&exporter, batch, &mut is_away).await;
        }
        if is_last {
            return;
        }
    }
}

/// One batch. That the collector is away is said once, until it is there again.
async fn deliver(exporter: &SpanExporter, batch: Vec<SpanData>, is_away: &mut bool) {
    let spans = batch.len() as u64;
    let error = match timeout(LIMIT, exporter.export(batch)).await {
        Ok(Ok(())) => {
            metrics::counter!("killfeed_traces_exported_spans_total").increment(spans);
            *is_away = false;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    dropped("collector", spans);
    if !std::mem::replace(is_away, true) {
        tracing::warn!(error, "the collector takes no traces; they are dropped until it does");
    }
}

fn dropped(why: &'static str, spans: u64) {
    metrics::counter!("killfeed_traces_dropped_spans_total", "why" => why).increment(spans);
}

/// The HTTP client that sends them.
#[derive(Debug)]
struct Client(reqwest::Client);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.execute(request.try_into()?).await?;
        let status = answer.status();
        let mut response = Response::new(answer.bytes().await?);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_names_the_collector_and_not_its_path() {
        for url in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(endpoint(Some(url)).as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        }
    }
}
