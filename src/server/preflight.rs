//! What a start is refused for, all of it at once, before anything is opened: whoever mends one fault doesn't
//! start anew only to learn of the next.

use super::{data_dir, schemas};
use crate::exit::Failure;
use crate::options::{LogKind, Options};
use edge::{Keys, check_bind};
use std::net::TcpListener;
use std::path::Path;

/// Checks options that are well as such against each other and against this machine.
///
/// # Errors
/// Every fault, a line each.
pub(super) fn check(options: &Options, keys: &Keys) -> Result<(), Failure> {
    let mut faults = Vec::new();
    let mut note = |checked: Result<(), Failure>| match checked {
        Err(Failure::Usage(lines)) => faults.extend(lines),
        Err(Failure::Negative(line)) => faults.extend(line),
        Err(Failure::ReaderGone) | Ok(()) => {}
    };
    note(address(options, keys));
    note(log(options));
    let prepared = data_dir::prepare(&options.data_dir);
    // Schemas below a data directory that isn't there are no fault of their own.
    if prepared.is_ok() || options.schemas.is_some() {
        note(schemas::load(&options.schemas_dir()).map(drop));
    }
    note(prepared);
    if let Some(store) = options.store.as_deref().filter(|store| !store.contains("://")) {
        note(data_dir::no_file("store", Path::new(store), "--store"));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Usage(faults)) }
}

/// Whether the address may be listened on, and is free.
fn address(options: &Options, keys: &Keys) -> Result<(), Failure> {
    check_bind(options.listen, keys).map_err(Failure::usage)?;
    TcpListener::bind(options.listen).map(drop).map_err(|error| cannot_listen(options, &error))
}

/// The same line, whoever finds out.
pub(super) fn cannot_listen(options: &Options, error: &std::io::Error) -> Failure {
    let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
        "; another process has it, choose another with --listen"
    } else {
        ""
    };
    Failure::usage(format!("cannot listen on {}: {error}{hint}", options.listen))
}

/// Options that this log takes, with values that its client takes.
fn log(options: &Options) -> Result<(), Failure> {
    let faults = match options.log {
        LogKind::Kafka(_) => {
            let of_embedded = options.log_size_limit.is_some().then_some(
                "--log-size-limit is for the embedded log only; \
                Kafka's size is Kafka's own",
            );
            let of_client = options.kafka()?.faults().into_iter().map(|fault| format!("--kafka-property {fault}"));
            of_embedded.map(str::to_owned).into_iter().chain(of_client).collect()
        }
        LogKind::Embedded => {
            let given = [
                ("--single-node", options.single_node),
                ("--kafka-prefix", !options.kafka_prefix.is_empty()),
                ("--kafka-property", !options.kafka_property.is_empty()),
            ];
            let lost = given.iter().filter(|(_, is_given)| *is_given);
            lost.map(|(name, _)| {
                format!("{name} is for a log on Kafka, and the log is embedded: say --log kafka://HOST:PORT")
            })
            .collect()
        }
    };
    if Vec::is_empty(&faults) { Ok(()) } else { Err(Failure::Usage(faults)) }
}
