//! `killfeed topics`: what Kafka's topics are and should be, bringing them there, and growing streams.

use super::log::OpenLog;
use super::streams::{spec, state_retention, wanted};
use super::{schemas, telemetry};
use crate::exit::Failure;
use crate::options::{LogKind, Options};
use events::log::{Log, StreamInfo, StreamSpec, generations};
use events::{Stream, SystemClock};
use kafka_log::KafkaLog;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a log may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Prints what `apply` would do; the answer is no if there is anything.
pub(crate) fn plan(options: &Options) -> Result<(), Failure> {
    run(options, false)
}

/// Makes topics and settings as planned, and prints what it did.
pub(crate) fn apply(options: &Options) -> Result<(), Failure> {
    run(options, true)
}

fn run(options: &Options, is_applied: bool) -> Result<(), Failure> {
    if options.log == LogKind::Embedded {
        return Err(Failure::usage("topics are Kafka's: say --log kafka://HOST:PORT; the embedded log makes its own"));
    }
    telemetry::start_logs(options.log_format, None);
    let (streams, kept) = asked_for(options)?;
    let runtime = runtime()?;
    let log = KafkaLog::new(options.kafka()?).map_err(Failure::usage)?;
    let mut out = anstream::stdout().lock();
    let mut is_done = true;
    for stream in &streams {
        let newest = runtime.block_on(events::log::newest(&log, stream));
        // Of a stream whose topics are unfit only the plan can tell.
        let stream = newest.ok().flatten().map_or_else(|| stream.clone(), |newest| newest.stream);
        let spec = spec(options, &stream, kept);
        let changes = runtime.block_on(log.plan(&spec)).map_err(Failure::usage)?;
        for change in &changes {
            writeln!(out, "{change}")?;
        }
        if changes.is_empty() {
            writeln!(out, "stream {stream}: as it should be")?;
        } else if is_applied {
            runtime.block_on(log.apply(&spec)).map_err(Failure::usage)?;
            let info = runtime.block_on(log.create_stream(&spec)).map_err(Failure::usage)?;
            writeln!(out, "stream {stream}: done, incarnation {}", info.incarnation)?;
        }
        is_done &= changes.is_empty() || is_applied;
    }
    if is_done { Ok(()) } else { Err(Failure::Negative(None)) }
}

/// Grows every stream of the options and schemas that has fewer partitions than the options say.
pub(crate) fn grow(options: &Options, as_json: bool) -> Result<(), Failure> {
    telemetry::start_logs(options.log_format, None);
    let (streams, kept) = asked_for(options)?;
    let runtime = runtime()?;
    let log = runtime.block_on(OpenLog::for_command(options, Arc::new(SystemClock)))?;
    let grown = streams.iter().map(|stream| {
        let all = runtime.block_on(generations(&*log.shared(), stream)).map_err(Failure::usage)?;
        grow_one(options, &runtime, &*log.shared(), (stream, kept), all, as_json)
    });
    let grown: Result<Vec<Value>, Failure> = grown.collect();
    runtime.block_on(log.close(CLOSE_LIMIT));
    if as_json {
        writeln!(anstream::stdout().lock(), "{}", json!(grown?))?;
        return Ok(());
    }
    grown.map(|_| ())
}

fn grow_one(
    options: &Options,
    runtime: &Runtime,
    log: &dyn Log,
    (stream, kept): (&Stream, Duration),
    all: Vec<StreamInfo>,
    is_silent: bool,
) -> Result<Value, Failure> {
    let say = |line: String| if is_silent { Ok(()) } else { writeln!(anstream::stdout().lock(), "{line}") };
    let Some(before) = all.into_iter().next_back() else {
        return Err(Failure::usage(format!("stream {stream} was never made: start a server, or run `topics apply`")));
    };
    let told = |info: &StreamInfo| {
        json!({
            "generation": info.stream.generation(), "partitions": info.partitions, "incarnation": info.incarnation,
        })
    };
    if before.partitions == options.partitions {
        say(format!(
            "stream {stream}: has {} partitions, generation {}",
            before.partitions,
            before.stream.generation()
        ))?;
        return Ok(json!({ "stream": stream.name(), "grown": false, "from": told(&before), "to": told(&before) }));
    }
    let spec: StreamSpec = spec(options, &before.stream.next(), kept);
    say(format!(
        "stream {stream}: growing from {} partitions to {}; ingest answers 503 for a moment, and goes on by itself",
        before.partitions, spec.partitions
    ))?;
    let made = runtime.block_on(log.grow(&spec)).map_err(|error| match error {
        events::log::Error::Refused(_) => Failure::usage(error),
        _ => Failure::negative(format!("{error}. Run it again: until it is through, ingest may answer 503")),
    })?;
    say(format!(
        "stream {stream}: done, generation {} with topics {}.*, incarnation {}; start servers with --partitions {} from now on",
        made.stream.generation(),
        made.stream,
        made.incarnation,
        made.partitions
    ))?;
    Ok(json!({ "stream": stream.name(), "grown": true, "from": told(&before), "to": told(&made) }))
}

/// The streams of the options and schemas, and for how long state is kept.
pub(super) fn asked_for(options: &Options) -> Result<(Vec<Stream>, Duration), Failure> {
    let (registry, _) = schemas::load(&options.schemas_dir())?;
    let registry = registry.current();
    Ok((wanted(options, &registry), state_retention(&registry)))
}

/// What a command waits on.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))
}
