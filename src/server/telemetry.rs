//! The process' own logs and metrics.

use crate::exit::Failure;
use crate::options::LogFormat;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::trace::SdkTracer;
use std::io::IsTerminal as _;
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged unless RUST_LOG says otherwise.
const FILTER: &str =
    "info,deltalake=warn,deltalake_core=warn,buoyant_kernel=off,datafusion=warn,fjall=warn,lsm_tree=warn";
/// How often old samples of histograms are let go.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bounds of histograms of times, in seconds: from a local look-up to a request's deadline.
const SECONDS: [f64; 14] = [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Bounds of the time from a 202 to its row, in seconds: from a flush interval to an outage.
const LATENCIES: [f64; 14] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0];
/// Bounds of histograms of numbers of events in a request.
const EVENTS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0];

/// Logs to stderr, and traces to `tracer` if there is one.
pub(crate) fn start_logs(format: LogFormat, tracer: Option<SdkTracer>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    if let Some(tracer) = tracer {
        start_both(format, filter, tracer);
        return;
    }
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process would be a defect of ours; the first one goes on.
    let _ = match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
}

/// The same with traces: spans of their target go there and nowhere else.
fn start_both(format: LogFormat, filter: EnvFilter, tracer: SdkTracer) {
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => logs.json().boxed(),
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(Targets::new().with_target(traces::TARGET, LevelFilter::TRACE));
    let _ = tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).try_init();
}

/// Collects metrics of a process of this role; the handle renders them for Prometheus.
pub(crate) fn start_metrics(role: &'static str) -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(String::from("killfeed_sink_latency_seconds")), &LATENCIES)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix(String::from("_seconds")), &SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix(String::from("_batch_events")), &EVENTS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Failure::usage(format!("cannot collect metrics: {error}")))?;
    super::metrics::describe();
    metrics::gauge!("killfeed_build_info", "version" => env!("CARGO_PKG_VERSION"), "role" => role).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
