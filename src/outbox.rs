//! `killfeed outbox`: relays events from a game's own PostgreSQL to a server.

use crate::cli::Outbox;
use crate::exit::Failure;
use crate::server;
use ::outbox::{Delivered, Options, RunError, Settings};
use std::io::Write as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Prints the table's statements, or relays until a signal.
pub(crate) fn run(command: Outbox) -> Result<(), Failure> {
    if command.print_schema {
        write!(std::io::stdout(), "{}", command.table.ddl())?;
        return Ok(());
    }
    server::start_logs(command.log_format, None);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start threads: {error}")))?;
    runtime.block_on(relay(options(command)))
}

fn options(command: Outbox) -> Options {
    let as_usize = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Options {
        // clap asks for it wherever the schema isn't printed.
        postgres: command.postgres.unwrap_or_default(),
        password: std::env::var("PGPASSWORD").ok(),
        table: command.table,
        delivered: if command.mark { Delivered::Mark } else { Delivered::Delete },
        url: command.server.url,
        key: command.server.key,
        settings: Settings { batch: as_usize(command.batch), poll: command.poll, ..Settings::default() },
        relays: as_usize(command.relays),
        listen: command.listen,
    }
}

/// The first signal lets batches in flight end, the second doesn't wait for them.
async fn relay(options: Options) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::usage(format!("cannot wait for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (stopping, stop) = watch::channel(false);
    let relaying = ::outbox::run(options, stop);
    tokio::pin!(relaying);
    loop {
        tokio::select! {
            ended = &mut relaying => {
                return ended.map_err(|error| match error {
                    RunError::Setup(why) => Failure::usage(why),
                    RunError::Broken(why) => Failure::negative(why),
                });
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stopping.send_replace(true) {
            return Err(Failure::negative("stopped at once by a second signal; what was in flight will be sent again"));
        }
        tracing::info!("stopping: finishing the batches in flight");
    }
}
