//! The config file: the options of a server by their flags' names, the API keys, and the schedules.

use crate::exit::Failure;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use edge::{KeyConfig, Keys};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use toml::{Table, Value};

/// The key of the file that holds API keys; with those of schedules the only ones that are no flags.
const KEYS: &str = "keys";

/// What a config file adds to a command line.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The API keys.
    pub(crate) keys: Keys,
    /// The schedules.
    pub(crate) schedules: schedules::Config,
    /// Arguments for what neither a flag nor the environment has set.
    pub(crate) arguments: Vec<OsString>,
}

/// Reads the file for `command`, whose line was parsed to `matches`.
///
/// # Errors
/// Every fault of the file, each with its name.
pub(crate) fn load(file: &Path, command: &Command, matches: &ArgMatches) -> Result<Loaded, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read config file {name}: {error}")))?;
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::usage(format!("config file {name}, line {line}: {}", error.message()))
    })?;
    let mut faults = Vec::new();
    let keys = match table.remove(KEYS) {
        Some(value) => read_keys(value, &mut faults),
        None => Keys::none(),
    };
    let schedules = schedules::Config::take(&mut table, &crate::server::check_report).unwrap_or_else(|found| {
        faults.extend(found);
        schedules::Config::default()
    });
    let mut arguments = Vec::new();
    for (key, value) in &table {
        match read_option(command, matches, key, value) {
            Ok(found) => arguments.extend(found),
            Err(fault) => faults.push(format!("{key}: {fault}")),
        }
    }
    if faults.is_empty() {
        return Ok(Loaded { keys, schedules, arguments });
    }
    Err(Failure::Usage(faults.into_iter().map(|fault| format!("config file {name}: {fault}")).collect()))
}

fn read_keys(value: Value, faults: &mut Vec<String>) -> Keys {
    let entries = match value {
        Value::Array(entries) => entries,
        _ => {
            faults.push("keys: give each as a table [[keys]] with name, sha256 and scopes".into());
            return Keys::none();
        }
    };
    let mut configs: Vec<KeyConfig> = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        match entry.try_into() {
            Ok(config) => configs.push(config),
            Err(error) => faults.push(format!("key {}: {}", place + 1, error.message())),
        }
    }
    Keys::from_config(&configs).unwrap_or_else(|found| {
        faults.extend(found.iter().map(ToString::to_string));
        Keys::none()
    })
}

/// The arguments that say what the file says, checked by the flag's own parser.
fn read_option(command: &Command, matches: &ArgMatches, key: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(key) && !matches!(key, "config" | "help"))
        .ok_or("no such option; `killfeed config` lists them")?;
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let values: Vec<&Value> = match value {
        Value::Array(values) if matches!(arg.get_action(), ArgAction::Append) => values.iter().collect(),
        single => vec![single],
    };
    let mut arguments = Vec::new();
    for value in values {
        let text = match value {
            Value::Boolean(on) if flag => {
                if *on {
                    arguments.push(OsString::from(format!("--{key}")));
                }
                continue;
            }
            _ if flag => return Err("must be true or false".into()),
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => return Err(format!("must be a string or a number, not a {}", other.type_str())),
        };
        let argument = OsString::from(format!("--{key}={text}"));
        let line = [OsString::from("killfeed"), argument.clone()];
        if let Err(error) = command.clone().try_get_matches_from(line) {
            return Err(one_line(&error));
        }
        arguments.push(argument);
    }
    let set = matches!(
        matches.value_source(arg.get_id().as_str()),
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    );
    Ok(if set { Vec::new() } else { arguments })
}

/// Every fault of a server's flags and environment, where clap stops at the first. `line` is what
/// stands behind the command's name.
pub(crate) fn faults(command: &Command, line: &[OsString]) -> Vec<String> {
    let bare = command.clone().mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let fault = |arguments: &[OsString]| {
        let line = std::iter::once(OsString::from("killfeed")).chain(arguments.iter().cloned());
        bare.clone().try_get_matches_from(line).err().map(|error| one_line(&error))
    };
    let mut faults = Vec::new();
    let mut rest = line;
    while let Some((argument, after)) = rest.split_first() {
        let text = argument.to_string_lossy();
        let name = text.strip_prefix("--").map(|name| name.split('=').next().unwrap_or_default());
        let known = command.get_arguments().find(|arg| arg.get_long().is_some_and(|long| Some(long) == name));
        let takes_next = known.is_some_and(|arg| arg.get_action().takes_values()) && !text.contains('=');
        let length = if takes_next { 2.min(rest.len()) } else { 1 };
        faults.extend(fault(&rest[..length]));
        rest = if takes_next { after.get(1..).unwrap_or_default() } else { after };
    }
    for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let (Some(env), Some(long)) = (arg.get_env(), arg.get_long()) else { continue };
        if let Some(value) = std::env::var_os(env) {
            let mut argument = OsString::from(format!("--{long}="));
            argument.push(value);
            faults.extend(fault(&[argument]).map(|fault| format!("{}: {fault}", env.to_string_lossy())));
        }
    }
    faults
}

/// Clap's message in one line, without usage and tips.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let message: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    message.join(" ").trim_start_matches("error: ").to_owned()
}

/// Prints every option of `command`, as a config file: what is set stands uncommented.
pub(crate) fn print(command: &Command, matches: &ArgMatches, out: &mut impl std::io::Write) -> Result<(), Failure> {
    let mut page = Vec::new();
    writeln!(page, "# Options of killfeed, as a config file (--config FILE). Commented lines show defaults.")?;
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "config" | "help" | "version")) else {
            continue;
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page)?;
        for line in wrap(&help, 98) {
            writeln!(page, "# {line}")?;
        }
        let env = arg.get_env().map(|env| env.to_string_lossy().into_owned()).unwrap_or_default();
        writeln!(page, "# Flag: --{long}. Environment: {env}.")?;
        let id = arg.get_id().as_str();
        let source = matches.value_source(id);
        let repeatable = matches!(arg.get_action(), ArgAction::Append);
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let mark = if source == Some(ValueSource::DefaultValue) { "#" } else { "" };
            writeln!(page, "{mark}{long} = {}", matches.get_flag(id))?;
            continue;
        }
        let shown = |value: &std::ffi::OsStr| {
            let value = value.to_string_lossy();
            if arg.is_hide_env_values_set() { without_secret(&value) } else { value.into_owned() }
        };
        let raw: Vec<String> = matches.get_raw(id).map(|values| values.map(shown).collect()).unwrap_or_default();
        let mark = if raw.is_empty() || source == Some(ValueSource::DefaultValue) { "#" } else { "" };
        let quoted = |text: &String| match text.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => Value::String(text.clone()).to_string(),
        };
        let shown = if repeatable {
            format!("[{}]", raw.iter().map(quoted).collect::<Vec<_>>().join(", "))
        } else {
            raw.first().map_or_else(|| String::from("\"...\""), quoted)
        };
        writeln!(page, "{mark}{long} = {shown}")?;
    }
    writeln!(page, "\n# API keys: `killfeed key new` makes one and prints the lines that belong here.")?;
    writeln!(page, "# Default: none, and then only a loopback address may be listened on.")?;
    writeln!(page, "#[[keys]]\n#name = \"game-servers\"\n#sha256 = \"...\"\n#scopes = [\"server\"]")?;
    writeln!(page, "#rate = 1000 # requests per second\n#burst = 2000")?;
    writeln!(page, "\n# Reports by the clock; docs/schedules.md says what belongs here. Default: none.")?;
    writeln!(page, "#[[schedules]]\n#name = \"morning\"\n#report = \"first_blood\"")?;
    writeln!(page, "#cron = \"30 6 * * *\"\n#zone = \"Europe/Berlin\"")?;
    out.write_all(&page)?;
    Ok(())
}

/// A setting as it may be shown: secrets only by their names.
fn without_secret(setting: &str) -> String {
    let (name, _) = setting.split_once('=').unwrap_or(("", setting));
    let is_secret = ["secret", "password", "token", "key"].iter().any(|part| name.to_ascii_lowercase().contains(part));
    if is_secret || name.is_empty() { format!("{name}=...") } else { setting.to_owned() }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::options::Options;
    use clap::{CommandFactory as _, FromArgMatches as _};

    fn parse(file: &str, line: &[&str]) -> Result<Options, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("killfeed.toml");
        std::fs::write(&path, file).unwrap();
        let command = Cli::command().find_subcommand("up").unwrap().clone();
        let matches = command.clone().get_matches_from([&["up"], line].concat());
        match load(&path, &command, &matches) {
            Ok(loaded) => {
                let mut all: Vec<OsString> = vec!["up".into()];
                all.extend(loaded.arguments);
                all.extend(line.iter().map(OsString::from));
                Ok(Options::from_arg_matches(&command.get_matches_from(all)).unwrap())
            }
            Err(Failure::Usage(faults)) => Err(faults),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_file_gives_what_no_flag_gives() {
        let file = "listen = '127.0.0.1:1'\npartitions = 3\nno-discovery = true\ngeoip = ['a', 'b']\notlp-sample-ratio = 0.5\n";
        let options = parse(file, &["--listen", "127.0.0.1:2"]).unwrap();
        assert_eq!(options.listen.port(), 2);
        assert_eq!(options.partitions, 3);
        assert!(options.no_discovery);
        assert_eq!(options.geoip.len(), 2);
        assert!((options.otlp_sample_ratio - 0.5).abs() < 1e-9);
        assert_eq!(options.flush_interval, std::time::Duration::from_secs(5));
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let file = "colour = 1\npartitions = 0\nlisten = 'here'\nno-discovery = 'yes'\nconfig = 'x'\n[[keys]]\nname = 'a'\nsha256 = 'b'\nscopes = ['root']\n";
        let faults = parse(file, &[]).unwrap_err();
        for part in
            ["colour: no such option", "partitions: ", "listen: ", "no-discovery: must be", "config: ", "key 1: "]
        {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part} in {faults:#?}");
        }
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(parse("a = ", &[]).unwrap_err()[0].contains("line 1"));
    }

    #[test]
    fn all_faults_of_a_line_are_listed_at_once() {
        let command = Cli::command().find_subcommand("up").unwrap().clone();
        let of = |line: &[&str]| faults(&command, &line.iter().map(OsString::from).collect::<Vec<_>>());
        let line = [
            "--partitions",
            "0",
            "--query-memory=1GB",
            "--colour",
            "--no-discovery",
            "--address-policy",
            "keep",
            "rest",
            "--query-rows",
            "0",
            "--listen",
        ];
        let found = of(&line);
        for part in
            ["--partitions", "--query-memory", "--colour", "--address-policy", "'rest'", "--query-rows", "--listen"]
        {
            assert!(found.iter().any(|fault| fault.contains(part)), "{part} in {found:#?}");
        }
        assert_eq!(found.len(), 7, "{found:#?}");
        assert_eq!(of(&["--partitions", "3", "--listen=127.0.0.1:1", "--no-discovery"]), Vec::<String>::new());
    }

    #[test]
    fn what_config_prints_reads_back() {
        let command = Cli::command().find_subcommand("config").unwrap().clone();
        let matches = command.clone().get_matches_from(["config", "--partitions", "3", "--no-discovery"]);
        let mut page = Vec::new();
        print(&command, &matches, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert_eq!(page.parse::<Table>().unwrap(), "partitions = 3\nno-discovery = true".parse().unwrap(), "{page}");
        for arg in
            command.get_arguments().filter_map(|arg| arg.get_long()).filter(|long| !["config", "help"].contains(long))
        {
            assert!(page.contains(&format!("{arg} = ")), "{arg}");
        }
    }
}
