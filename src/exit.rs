//! How a command ends: exit codes, and one line that says why.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer is no; said already, or in this line.
    Negative(Option<String>),
    /// Wrong usage or configuration, or no server to talk to.
    Usage(Vec<String>),
    /// Whoever read our output has gone; nobody is left to tell.
    ReaderGone,
}

impl Failure {
    /// The answer is no, with the reason.
    pub(crate) fn negative(line: impl fmt::Display) -> Self {
        Self::Negative(Some(line.to_string()))
    }

    /// It can't be done as asked.
    pub(crate) fn usage(line: impl fmt::Display) -> Self {
        Self::Usage(vec![line.to_string()])
    }

    /// Prints the reason to stderr and gives the exit code.
    #[expect(clippy::print_stderr, reason = "the one place where errors reach the terminal")]
    pub(crate) fn report(self) -> ExitCode {
        let (lines, code) = match self {
            Self::Negative(line) => (line.into_iter().collect(), 1),
            Self::Usage(lines) => (lines, 2),
            Self::ReaderGone => (Vec::new(), 0),
        };
        for line in lines {
            eprintln!("error: {line}");
        }
        ExitCode::from(code)
    }
}

impl From<std::io::Error> for Failure {
    /// An error of writing to standard output.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::usage(format!("cannot write the output: {error}"))
        }
    }
}
