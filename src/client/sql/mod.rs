//! `killfeed sql`: one statement, the statements of standard input, or a shell.
//!
//! | start here | to learn |
//! |---|---|
//! | `session` | what a statement or a command of the shell does |
//! | `split` | where statements end |
//! | `piped` | statements of standard input |
//! | `shell` | the loop of asking and answering on a terminal; `editor` is what one types into |
//! | `complete` | what may stand where the cursor is; `catalogue` is what it knows of the server |
//! | `meta` | the commands with a backslash |
//! | `history` | where statements are kept |

mod catalogue;
mod complete;
mod editor;
mod history;
mod meta;
mod piped;
mod session;
mod shell;
mod split;

pub(super) use self::shell::shell;

use self::session::Session;
use self::split::{End, cut};
use super::style;
use crate::cli::Sql;
use crate::exit::Failure;
use std::io::{IsTerminal as _, Write as _};

/// Whether it is a person who asks: all three are the terminal, for the editor speaks to it by each.
pub(super) fn is_interactive(command: &Sql) -> bool {
    command.query.is_none()
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal()
}

/// Asks, and prints the rows.
pub(crate) async fn run(command: Sql) -> Result<(), Failure> {
    let mut session = Session::new(command.server.client()?, command.format);
    match command.query {
        Some(query) if query != "-" => {
            let cut = cut(&query);
            if cut.inputs.is_empty() && cut.end == End::Whole {
                return Err(no_statement());
            }
            session.ask(&query).await
        }
        _ => piped::run(&mut session).await,
    }
}

/// There is nothing to run, wherever it was to come from.
fn no_statement() -> Failure {
    Failure::usage("there is no statement: give one as an argument, or on standard input")
}

/// Says something to a person. A terminal that is gone ends the session elsewhere.
fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{}", style::paint(style::FAINT, line));
}
