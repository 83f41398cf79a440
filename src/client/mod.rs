//! The commands that talk to a server over HTTP.

mod admin;
mod audit;
mod deliver;
mod generate;
mod http;
mod load;
mod output;
mod report;
mod schedule;
mod schema;
mod send;
mod sql;
pub(crate) mod style;

pub(crate) use self::load::Load;
pub(crate) use http::Server;

use crate::cli::Command;
use crate::exit::Failure;

/// Runs a client command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    // It has threads of its own, and what is measured when it is interrupted counts.
    let command = match command {
        Command::Load(command) => return self::load::run(command),
        // It waits for a person, and what it is interrupted in ends alone.
        Command::Sql(command) if sql::is_interactive(&command) => return sql::shell(command),
        other => other,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            done = dispatch(command) => done,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) => Err(Failure::negative("interrupted")),
                Err(error) => Err(Failure::usage(error)),
            },
        }
    })
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Sql(sql) => sql::run(sql).await,
        Command::Report(command) => report::run(command).await,
        Command::Send(command) => send::run(command).await,
        Command::Flush { server } => admin::flush(server).await,
        Command::Forget { player, server } => admin::forget(server, &player).await,
        Command::Audit { json, server } => audit::run(server, json).await,
        Command::Schema(command) => schema::run(command).await,
        Command::Generate(command) => generate::run(command).await,
        Command::Up(_)
        | Command::Ingest(_)
        | Command::Process(_)
        | Command::Sink(_)
        | Command::Query(_)
        | Command::Config(_)
        | Command::Topics(_)
        | Command::Simulate(_)
        | Command::Toxicity(_)
        | Command::Outbox(_)
        | Command::Load(_)
        | Command::Key(_) => Err(Failure::usage("no client command")),
    }
}
