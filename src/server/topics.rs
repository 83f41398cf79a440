//! `killfeed topics`: what Kafka's topics are and should be, and bringing them there.

use super::streams::{spec, state_retention, wanted};
use super::{schemas, telemetry};
use crate::exit::Failure;
use crate::options::{LogKind, Options};
use events::log::{Log as _, StreamSpec};
use kafka_log::KafkaLog;
use std::io::Write as _;

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
    telemetry::start_logs(options.log_format);
    let (registry, _) = schemas::load(&options.schemas_dir())?;
    let registry = registry.current();
    let kept = state_retention(&registry);
    let specs: Vec<StreamSpec> = wanted(options, &registry).iter().map(|stream| spec(options, stream, kept)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    let log = KafkaLog::new(options.kafka()?).map_err(Failure::usage)?;
    let mut out = anstream::stdout().lock();
    let mut is_done = true;
    for spec in &specs {
        let changes = runtime.block_on(log.plan(spec)).map_err(Failure::usage)?;
        for change in &changes {
            writeln!(out, "{change}")?;
        }
        if changes.is_empty() {
            writeln!(out, "stream {}: as it should be", spec.stream)?;
        } else if is_applied {
            runtime.block_on(log.apply(spec)).map_err(Failure::usage)?;
            let info = runtime.block_on(log.create_stream(spec)).map_err(Failure::usage)?;
            writeln!(out, "stream {}: done, incarnation {}", spec.stream, info.incarnation)?;
        }
        is_done &= changes.is_empty() || is_applied;
    }
    if is_done { Ok(()) } else { Err(Failure::Negative(None)) }
}
