//! What is set in a session, and what statements and commands do in it.

use super::meta::{self, Meta};
use super::say;
use super::split::Input;
use crate::cli::Format;
use crate::client::http::Client;
use crate::client::output::{Expanded, Look, Most, Out, write_rows};
use crate::exit::Failure;
use clap::ValueEnum as _;
use reqwest::Method;
use serde_json::json;
use std::fs::File;
use std::time::{Duration, Instant};

/// What a shell reads of an answer that it shows as a table.
const SHOWN: Most = Most { rows: 10_000, bytes: 64 << 20 };

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    On,
    /// It was asked to end.
    End,
}

/// A server to ask, and how its answers are shown.
pub(super) struct Session {
    client: Client,
    look: Look,
    has_timing: bool,
    out: Out,
}

impl Session {
    /// Answers go to standard output, whole.
    pub(super) fn new(client: Client, format: Format) -> Self {
        let look = Look { format, expanded: Expanded::Off, most: None };
        Self { client, look, has_timing: false, out: Out::stdout() }
    }

    /// The same for a person: of long answers the first rows, and wide ones in lines.
    pub(super) fn interactive(client: Client, format: Format) -> Self {
        let mut session = Self::new(client, format);
        (session.look.expanded, session.look.most) = (Expanded::Auto, Some(SHOWN));
        session
    }

    /// Asks one statement, and shows the answer.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<(), Failure> {
        let request = self.client.request(Method::POST, "/v1/sql").json(&json!({ "sql": sql }));
        write_rows(&self.client, request, self.look, &mut self.out).await
    }

    /// Does what was typed.
    ///
    /// # Errors
    /// If it can't be done. The session can go on.
    pub(super) async fn run(&mut self, input: Input<'_>) -> Result<Next, Failure> {
        match input {
            Input::Statement(sql) => self.timed(sql).await,
            Input::Command(line) => match meta::parse(line).map_err(Failure::usage)? {
                Meta::Quit => Ok(Next::End),
                Meta::Ask(sql) => self.timed(&sql).await,
                setting => self.set(setting).map(|()| Next::On),
            },
        }
    }

    async fn timed(&mut self, sql: &str) -> Result<Next, Failure> {
        let begun = Instant::now();
        let asked = self.ask(sql).await;
        if self.has_timing {
            say(&format!("time: {}", shown(begun.elapsed())));
        }
        asked.map(|()| Next::On)
    }

    fn set(&mut self, setting: Meta) -> Result<(), Failure> {
        match setting {
            Meta::Help | Meta::Quit | Meta::Ask(_) => say(meta::HELP.trim_end()),
            Meta::Expanded(to) => {
                let other = if self.look.expanded == Expanded::On { Expanded::Off } else { Expanded::On };
                self.look.expanded = to.unwrap_or(other);
                say(match self.look.expanded {
                    Expanded::On => "each row in lines of its own",
                    Expanded::Off => "each row in a line",
                    Expanded::Auto => "each row in a line, or in lines of its own if that is wider than the terminal",
                });
            }
            Meta::Timing(to) => {
                self.has_timing = to.unwrap_or(!self.has_timing);
                say(if self.has_timing { "timing is on" } else { "timing is off" });
            }
            Meta::Format(to) => {
                self.look.format = to.unwrap_or(self.look.format);
                let value = self.look.format.to_possible_value();
                say(&format!("format: {}", value.as_ref().map_or("", |value| value.get_name())));
            }
            Meta::Output(None) => self.out = Out::stdout(),
            Meta::Output(Some(name)) => {
                let file = File::create(&name).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
                self.out = Out::file(file);
            }
        }
        Ok(())
    }
}

/// `12.3 ms`, or `1.234 s`.
fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (micros, text) in [(340, "0.3 ms"), (12_340, "12.3 ms"), (61_234_000, "61.234 s")] {
            assert_eq!(shown(Duration::from_micros(micros)), text);
        }
    }
}
