//! `killfeed up` and the roles: how the parts start, answer and stop.
//!
//! | in order | what |
//! |---|---|
//! | [`run`] | checks what can be checked, binds the address, opens the log, starts the parts |
//! | `preflight` | what a start is refused for, all of it at once |
//! | `http` | connections; `linger` reads what is left of bodies; `responses` counts them; `routes` says what answers on which path |
//! | `log` | which log: embedded, or on Kafka; `topics` plans and makes the latter's, and grows streams |
//! | `parts` | the parts that a role consists of, and their tasks |
//! | `streams` | those of them that each stream has: made at start, and when a schema names a new one |
//! | `lag` | how near what nobody has read is to its retention; `loss` goes on without what is gone |
//! | `ready` | which part is up |
//! | `metrics` | every metric, with its meaning; `telemetry` collects them, and writes logs; `system` measures the process; `otlp` sends traces |
//! | `questions` | the query role: its engine, and who asks it |
//! | `postgres`, `schedule`, `pages` | PostgreSQL's protocol; reports by the clock; what the dashboard asks of the query engine |
//! | `flush` | until all that was acknowledged is in the tables |
//! | `admin` | the endpoints for operators |
//!
//! A start either comes up whole or ends with one line. A part that fails afterwards ends the process:
//! what it had not done stands in the log, and goes on at the next start.

mod admin;
mod data_dir;
mod flush;
mod http;
mod lag;
mod linger;
mod log;
mod loss;
mod metrics;
mod otlp;
mod pages;
mod parts;
mod postgres;
mod preflight;
mod questions;
mod ready;
mod responses;
mod routes;
mod schedule;
mod schemas;
mod streams;
mod system;
mod telemetry;
mod topics;

pub(crate) use loss::accept_loss;
pub(crate) use schedule::check_report;
pub(crate) use telemetry::start_logs;
pub(crate) use topics::{apply, grow, plan};

use crate::FromFile;
use crate::exit::Failure;
use crate::options::Options;
use crate::server::parts::Parts;
use crate::server::ready::{Readiness, State};
use crate::server::system::System;
use events::SystemClock;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a body may take. Ingest gives its own less.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the last traces may take to the collector.
const TRACES_CLOSE: Duration = Duration::from_secs(5);

/// Which parts to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of them.
    Up,
    /// Accept events.
    Ingest,
    /// Make them trustworthy.
    Process,
    /// Deliver them.
    Sink,
    /// Answer questions.
    Query,
}

impl Role {
    /// Whether this role has the part of `other`.
    pub(crate) fn has(self, other: Self) -> bool {
        self == Self::Up || self == other
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Sink => "sink",
            Self::Query => "query",
        }
    }
}

/// Runs a server until a signal or a fault stops it.
pub(crate) fn run(role: Role, options: Options, file: FromFile) -> Result<(), Failure> {
    preflight::check(&options, &file.keys)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start threads: {error}")))?;
    let traces = {
        let _in_runtime = runtime.enter();
        let endpoint = otlp::endpoint(options.otlp_endpoint.as_deref());
        endpoint.map(|endpoint| otlp::start(&endpoint, role.name(), options.otlp_sample_ratio)).transpose()?
    };
    let (traces, tracer) = traces.unzip();
    telemetry::start_logs(options.log_format, tracer);
    let ended = runtime.block_on(serve(role, options, file));
    if let Some(traces) = traces {
        runtime.block_on(traces.close(TRACES_CLOSE));
    }
    // What still runs has been told to stop, and had its time.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

async fn serve(role: Role, options: Options, file: FromFile) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let listening = TcpListener::bind(options.listen).await;
    let listener = listening.map_err(|error| preflight::cannot_listen(&options, &error))?;
    let address = listener.local_addr().map_err(Failure::usage)?;
    let postgres = postgres::take(role, &options, &file.keys)?;
    let postgres_at = postgres.as_ref().map(postgres::Taken::address).transpose()?;
    let metrics = telemetry::start_metrics(role.name())?;
    let readiness = Readiness::default();
    readiness.set("start", State::Starting);
    let routes = routes::Routes::new(readiness.clone(), metrics, System::new(&options.data_dir));
    let stop_http = CancellationToken::new();
    let limits = http::Limits {
        connections_max: usize::try_from(options.connections_max).unwrap_or(usize::MAX),
        header_timeout: options.header_timeout,
        body_timeout: BODY_TIMEOUT,
    };
    let mut server = tokio::spawn(http::serve(listener, routes.router(), limits, stop_http.clone()));

    let drain_timeout = options.drain_timeout;
    let started = tokio::select! {
        started = Parts::start(role, &options, (file, postgres), readiness.clone(), Arc::new(SystemClock)) => started?,
        () = signals.next() => return Ok(()),
    };
    let (mut parts, router) = started;
    routes.open(router);
    readiness.watch("start", || State::Ready);
    greet(role, &options, address, postgres_at)?;
    tracing::info!(role = role.name(), %address, "ready");

    let fault = tokio::select! {
        fault = parts.fault() => Some(fault),
        _ = &mut server => Some("http stopped without being told to".into()),
        () = signals.next() => None,
    };
    readiness.stopping();
    parts.end_watching();
    let stopping = async {
        if fault.is_none() {
            tracing::info!("stopping: answering what is in flight, writing what was accepted");
            parts.drain(drain_timeout).await;
        }
        stop_http.cancel();
        if !server.is_finished() && tokio::time::timeout(drain_timeout, &mut server).await.is_err() {
            tracing::warn!("connections still open at the end of the drain");
        }
        parts.stop(drain_timeout).await;
    };
    tokio::select! {
        () = stopping => {}
        () = signals.next() => return Err(Failure::negative("stopped at once by a second signal")),
    }
    match fault {
        Some(fault) => Err(Failure::negative(fault)),
        None => Ok(()),
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::usage(format!("cannot wait for signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Says where everything is, and what to do next.
fn greet(role: Role, options: &Options, address: SocketAddr, postgres_at: Option<SocketAddr>) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "killfeed {} {}", role.name(), env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  listening  http://{address}")?;
    if let Some(line) = postgres::greeting(role, postgres_at) {
        writeln!(out, "  postgres   {line}")?;
    }
    writeln!(out, "  data       {}", options.data_dir.display())?;
    if let crate::options::LogKind::Kafka(brokers) = &options.log {
        writeln!(out, "  log        kafka://{brokers}")?;
    }
    writeln!(out, "  tables     {}", options.store_location())?;
    writeln!(out, "  schemas    {}", options.schemas_dir().display())?;
    if role == Role::Up && std::io::stdout().is_terminal() {
        let url = if address.port() == 8080 { String::new() } else { format!(" --url http://{address}") };
        writeln!(out, "  try        killfeed generate --games 10 --url http://{address}")?;
        writeln!(out, "             killfeed sql 'SELECT * FROM killfeed_tables'{url}")?;
        writeln!(out, "             killfeed audit{url}")?;
    }
    out.flush()?;
    Ok(())
}
