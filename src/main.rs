//! killfeed: one binary, every role.
//!
//! | start here | to learn |
//! |---|---|
//! | `cli` | the commands, and what each takes |
//! | `options` | what a server can be told; `config` reads the same from a file |
//! | `server` | `up` and the roles: how the parts start, answer and stop |
//! | `client` | the commands that talk to a server over HTTP |
//! | `simulate` | the laws under a seed, in a simulated world |
//! | `outbox` | the relay from a game's own database to a server |
//! | `toxicity` | models of chat: training, judging, scoring |

mod cli;
mod client;
mod config;
mod exit;
mod options;
mod outbox;
mod server;
mod simulate;
mod toxicity;

use crate::cli::{Cli, Command, Key, Topics};
use crate::exit::Failure;
use crate::options::Options;
use crate::server::Role;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use edge::{Keys, NewKey};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<(), Failure> {
    let matches = parse(&mut Cli::command(), std::env::args_os().collect()).map_err(all_faults)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| Failure::usage(config::one_line(&error)))?;
    let role = match cli.command {
        Command::Up(_) => Role::Up,
        Command::Ingest(_) => Role::Ingest,
        Command::Process(_) => Role::Process,
        Command::Sink(_) => Role::Sink,
        Command::Query(_) => Role::Query,
        Command::Config(_) => {
            let (command, matches, _) = with_config_file(&matches)?;
            return config::print(&command, &matches, &mut std::io::stdout().lock());
        }
        Command::Topics(ref topics) => {
            let (_, matches, _) = with_config_file(&matches)?;
            let options = options_of(&matches)?;
            return match topics {
                Topics::Plan(_) => server::plan(&options),
                Topics::Apply(_) => server::apply(&options),
                Topics::AcceptLoss { .. } => {
                    server::accept_loss(&options, matches.get_flag("dry_run"), matches.get_flag("json"))
                }
                Topics::Grow { .. } => server::grow(&options, matches.get_flag("json")),
            };
        }
        Command::Key(key) => return new_key(key),
        Command::Simulate(options) => return simulate::run(&options),
        Command::Toxicity(command) => return crate::toxicity::run(command),
        Command::Outbox(outbox) => return crate::outbox::run(outbox),
        other => return client::run(other),
    };
    let (_, matches, file) = with_config_file(&matches)?;
    server::run(role, options_of(&matches)?, file)
}

fn options_of(matches: &clap::ArgMatches) -> Result<Options, Failure> {
    Options::from_arg_matches(matches).map_err(|error| Failure::usage(config::one_line(&error)))
}

/// The line as the command understands it. Help and version are printed, and end the process.
fn parse(command: &mut clap::Command, line: Vec<OsString>) -> Result<clap::ArgMatches, Failure> {
    command.try_get_matches_from_mut(line).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        _ => Failure::usage(format!("{}; --help says more", config::one_line(&error))),
    })
}

/// A server's configuration is refused with all its faults at once: a start that fails once for each
/// takes its operator as many tries.
fn all_faults(failure: Failure) -> Failure {
    let line: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((name, rest)) = line.split_first() else { return failure };
    let command = Cli::command();
    let server = ["up", "ingest", "process", "sink", "query", "config"].into_iter().find(|server| name == server);
    let Some(command) = server.and_then(|name| command.find_subcommand(name)) else { return failure };
    let faults = config::faults(command, rest);
    if faults.is_empty() { failure } else { Failure::Usage(faults) }
}

/// What only a config file says.
pub(crate) struct FromFile {
    /// The API keys.
    pub(crate) keys: Keys,
    /// The schedules.
    pub(crate) schedules: schedules::Config,
}

/// The server command with its options as the flags, the environment and the config file say.
fn with_config_file(matches: &clap::ArgMatches) -> Result<(clap::Command, clap::ArgMatches, FromFile), Failure> {
    let root = Cli::command();
    let (mut command, mut matches, mut depth) = (root, matches, 1);
    while let Some((name, further)) = matches.subcommand() {
        command = command.find_subcommand(name).cloned().unwrap_or(command);
        (matches, depth) = (further, depth + 1);
    }
    let Some(file) = matches.get_one::<std::path::PathBuf>("config") else {
        let none = FromFile { keys: Keys::none(), schedules: schedules::Config::default() };
        return Ok((command, matches.clone(), none));
    };
    let loaded = config::load(file, &command, matches)?;
    let mut line: Vec<OsString> = vec!["killfeed".into()];
    line.extend(loaded.arguments);
    line.extend(std::env::args_os().skip(depth));
    let matches = parse(&mut command.clone(), line)?;
    Ok((command, matches, FromFile { keys: loaded.keys, schedules: loaded.schedules }))
}

fn new_key(Key::New { name, scopes, rate, burst }: Key) -> Result<(), Failure> {
    let new = NewKey::random(&name, scopes);
    let config = edge::KeyConfig { rate, burst, ..new.config };
    let lines = toml::to_string(&config).map_err(Failure::usage)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "# The key, shown only this once: {}", new.secret)?;
    writeln!(out, "# These lines go into the config file; they hold only its hash.\n[[keys]]\n{lines}")?;
    Ok(())
}
