//! The loop of asking and answering on a terminal.

use super::catalogue::Known;
use super::editor::{Asking, editor};
use super::session::{Next, Session};
use super::split::{Input, cut};
use super::{say, style};
use crate::cli::Sql;
use crate::exit::Failure;
use reedline::Signal;
use std::io::Write as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a shell until its user ends it.
///
/// # Errors
/// If it can't begin, or the terminal is gone. What fails in it is said in it.
pub(crate) fn shell(command: Sql) -> Result<(), Failure> {
    // The tables are read beside the editor, which blocks this thread.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
    // From here on an interrupt ends no more than what it interrupts.
    let first = {
        let _guard = runtime.enter();
        signal(SignalKind::interrupt()).map_err(cannot)?
    };
    drop(first);
    say(&format!("killfeed {} at {}; \\? for help", env!("CARGO_PKG_VERSION"), command.server.url));
    let client = command.server.client()?;
    let mut editor = editor(Known::new(client.clone(), runtime.handle().clone()));
    let mut session = Session::interactive(client, command.format);
    loop {
        match editor.read_line(&Asking) {
            Ok(Signal::Success(text)) => {
                if let Err(error) = editor.sync_history() {
                    say(&format!("the history can't be written: {error}"));
                }
                if do_all(&runtime, &mut session, &text)? == Next::End {
                    return Ok(());
                }
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::usage(format!("cannot read from the terminal: {error}"))),
        }
    }
}

fn cannot(error: std::io::Error) -> Failure {
    Failure::usage(format!("cannot start: {error}"))
}

/// Does what was typed, up to what fails or is interrupted.
fn do_all(runtime: &Runtime, session: &mut Session, text: &str) -> Result<Next, Failure> {
    let cut = cut(text);
    let rest = Some(cut.rest).filter(|(rest, _)| !rest.is_empty());
    let inputs = cut.inputs.into_iter().map(|(input, _)| input).chain(rest.map(|(rest, _)| Input::Statement(rest)));
    for input in inputs {
        let done = runtime.block_on(async {
            // Before the statement is sent, so that none is missed.
            let mut interrupts = signal(SignalKind::interrupt()).map_err(cannot)?;
            tokio::select! {
                // Whoever asked is gone then: the connection is closed, and the server stops the query.
                _ = interrupts.recv() => Ok(None),
                done = session.run(input) => done.map(Some),
            }
        });
        match done {
            Ok(Some(Next::On)) => {}
            Ok(Some(Next::End)) => return Ok(Next::End),
            Ok(None) => {
                say("\ncancelled");
                break;
            }
            Err(Failure::ReaderGone) => return Err(Failure::ReaderGone),
            Err(Failure::Negative(line)) => {
                complain(line)?;
                break;
            }
            Err(Failure::Usage(lines)) => {
                complain(lines)?;
                break;
            }
        }
    }
    Ok(Next::On)
}

fn complain(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    for line in lines {
        writeln!(anstream::stderr(), "{} {line}", style::paint(style::BAD, "error:"))?;
    }
    Ok(())
}
