//! Commands of the shell: what a line means that begins with a backslash.

use crate::cli::Format;
use crate::client::output::Expanded;
use clap::ValueEnum as _;

/// What `\?` prints.
pub(super) const HELP: &str = r"A statement ends with ; and may take several lines.
  \d TABLE            its columns
  \dt                 tables, with rows and their newest event
  \x [on|off|auto]    each row in lines of its own; auto: if it is wider than the terminal
  \format [NAME]      how answers look: table, csv, json, ndjson, parquet, markdown, html
  \o [FILE]           answers go to FILE; without one, to the terminal again
  \timing [on|off]    how long each statement took
  \q                  the end, as Ctrl-D
Tab completes words, tables and columns. Ctrl-C clears the line, or stops the query that runs.
Ctrl-R searches the history.
";

/// The commands, for completion.
pub(super) const NAMES: [&str; 8] = ["\\?", "\\d", "\\dt", "\\format", "\\o", "\\q", "\\timing", "\\x"];

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meta {
    /// Print the help.
    Help,
    /// End the session.
    Quit,
    /// A statement that answers it.
    Ask(String),
    /// Rows in lines of their own. Nothing: the other way than now.
    Expanded(Option<Expanded>),
    /// How long statements take. Nothing: the other way than now.
    Timing(Option<bool>),
    /// How answers look. Nothing: say it.
    Format(Option<Format>),
    /// Where answers go. Nothing: to standard output.
    Output(Option<String>),
}

/// Reads a command.
///
/// # Errors
/// What is wrong with it, in one line.
pub(super) fn parse(line: &str) -> Result<Meta, String> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
    let wrong = |takes: &str| Err(format!("{name} takes {takes}, not {:?}", argument.unwrap_or_default()));
    match (name, argument) {
        ("\\?" | "\\h" | "\\help", None) => Ok(Meta::Help),
        ("\\q" | "\\quit", None) => Ok(Meta::Quit),
        ("\\dt" | "\\d", None) => Ok(Meta::Ask("SELECT * FROM killfeed_tables ORDER BY 1".into())),
        ("\\d", Some(table)) => Ok(Meta::Ask(format!("DESCRIBE {}", identifier(table)))),
        ("\\x", None) => Ok(Meta::Expanded(None)),
        ("\\x", Some("on")) => Ok(Meta::Expanded(Some(Expanded::On))),
        ("\\x", Some("off")) => Ok(Meta::Expanded(Some(Expanded::Off))),
        ("\\x", Some("auto")) => Ok(Meta::Expanded(Some(Expanded::Auto))),
        ("\\x", Some(_)) => wrong("on, off or auto"),
        ("\\timing", None) => Ok(Meta::Timing(None)),
        ("\\timing", Some("on")) => Ok(Meta::Timing(Some(true))),
        ("\\timing", Some("off")) => Ok(Meta::Timing(Some(false))),
        ("\\timing", Some(_)) => wrong("on or off"),
        ("\\format", None) => Ok(Meta::Format(None)),
        ("\\format", Some(word)) => match Format::from_str(word, true) {
            Ok(format) => Ok(Meta::Format(Some(format))),
            Err(_) => wrong(&format_names().join(", ")),
        },
        ("\\o", file) => Ok(Meta::Output(file.map(str::to_owned))),
        ("\\?" | "\\h" | "\\help" | "\\q" | "\\quit" | "\\dt", Some(_)) => wrong("nothing"),
        _ => Err(format!("there is no command {name}; \\? lists them")),
    }
}

/// What `\format` takes.
pub(super) fn format_names() -> Vec<String> {
    let values = Format::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

/// A table's name as it may stand in a statement: as it is if it is one already.
fn identifier(name: &str) -> String {
    let is_quoted = name.len() > 1 && name.starts_with('"') && name.ends_with('"');
    if is_quoted && !name[1..name.len() - 1].replace("\"\"", "").contains('"') || is_plain(&name.to_lowercase()) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Whether a name needs no quotes, by its letters.
pub(super) fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let ask = |sql: &str| Meta::Ask(sql.to_owned());
        for (line, meta) in [
            ("\\?", Meta::Help),
            ("\\h;", Meta::Help),
            ("\\q ", Meta::Quit),
            ("\\dt", ask("SELECT * FROM killfeed_tables ORDER BY 1")),
            ("\\d chat_message;", ask("DESCRIBE chat_message")),
            ("\\d Chat", ask("DESCRIBE Chat")),
            ("\\d \"Chat\"", ask("DESCRIBE \"Chat\"")),
            ("\\d a\"; b", ask("DESCRIBE \"a\"\"; b\"")),
            ("\\d \"a\" b\"", ask("DESCRIBE \"\"\"a\"\" b\"\"\"")),
            ("\\x", Meta::Expanded(None)),
            ("\\x  auto", Meta::Expanded(Some(Expanded::Auto))),
            ("\\timing off", Meta::Timing(Some(false))),
            ("\\format NDJSON", Meta::Format(Some(Format::Ndjson))),
            ("\\format", Meta::Format(None)),
            ("\\o my file.csv", Meta::Output(Some("my file.csv".into()))),
            ("\\o", Meta::Output(None)),
        ] {
            assert_eq!(parse(line), Ok(meta), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_said_in_one_line() {
        for (line, words) in [
            ("\\", "there is no command \\; \\? lists them"),
            ("\\copy x", "there is no command \\copy; \\? lists them"),
            ("\\x maybe", "\\x takes on, off or auto, not \"maybe\""),
            ("\\timing 1", "\\timing takes on or off, not \"1\""),
            ("\\q now", "\\q takes nothing, not \"now\""),
            ("\\format xml", "\\format takes table, csv, json, ndjson, parquet, markdown, html, not \"xml\""),
        ] {
            assert_eq!(parse(line), Err(words.to_owned()), "{line}");
        }
    }

    #[test]
    fn help_and_completion_know_every_command() {
        for name in NAMES {
            assert!(HELP.contains(&format!("  {name} ")) || name == "\\?", "{name}");
            assert!(!parse(name).is_err_and(|error| error.contains("no command")), "{name}");
        }
        assert!(HELP.contains(&format_names().join(", ")));
    }
}
