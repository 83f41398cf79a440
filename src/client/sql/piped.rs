//! Statements of standard input, each asked as soon as it is whole.

use super::session::{Next, Session};
use super::split::{End, Input, cut};
use crate::exit::Failure;
use std::io::{BufRead as _, Read as _};
use tokio::sync::mpsc;

/// Bytes that a statement may grow to before it is given up; servers take less.
const STATEMENT_MAX: usize = 1 << 20;

/// Runs them all, up to the first that fails.
///
/// # Errors
/// What that one's is, with its line.
pub(super) async fn run(session: &mut Session) -> Result<(), Failure> {
    let mut lines = lines();
    let mut text = Text { pending: String::new(), first: 1, read: 0 };
    let mut has_asked = false;
    loop {
        let line = lines.recv().await.transpose();
        let line = line.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
        let is_end = line.is_none();
        if let Some(line) = line {
            text.push(&line);
            if !line.contains([';', '\\']) {
                text.check()?;
                continue;
            }
        }
        let cut = cut(&text.pending);
        let rest = (Input::Statement(cut.rest.0), cut.rest.1);
        let is_last = is_end && !cut.rest.0.trim().is_empty();
        // The server says what is wrong with what can't be read.
        let is_unreadable = cut.end == End::Unreadable && text.pending.trim_end().ends_with(';');
        let rest_is_due = is_last || is_unreadable;
        for (input, line) in cut.inputs.iter().copied().chain(rest_is_due.then_some(rest)) {
            has_asked = true;
            let next = session.run(input).await.map_err(|failure| at(failure, text.first + line - 1))?;
            if next == Next::End {
                return Ok(());
            }
        }
        if is_end {
            break;
        }
        let (rest, line) = if rest_is_due { ("", 1) } else { cut.rest };
        (text.first, text.pending) = (text.first + line - 1, rest.to_owned());
        text.check()?;
    }
    if has_asked { Ok(()) } else { Err(super::no_statement()) }
}

/// What was read and not run yet.
struct Text {
    pending: String,
    /// The line that it begins in, from 1 on.
    first: usize,
    /// Lines read.
    read: usize,
}

impl Text {
    fn push(&mut self, line: &str) {
        self.read += 1;
        if self.pending.is_empty() {
            self.first = self.read;
        }
        self.pending.push_str(line);
    }

    fn check(&self) -> Result<(), Failure> {
        if self.pending.len() <= STATEMENT_MAX {
            return Ok(());
        }
        let line = self.first;
        Err(Failure::usage(format!("the statement at line {line} has more than {STATEMENT_MAX} bytes")))
    }
}

/// The lines of standard input with their ends, as they come. They are read by a thread that ends with the process: one
/// that reads can't be stopped.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (to, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = input.by_ref().take(STATEMENT_MAX as u64 + 1).read_line(&mut line);
            let is_last = !matches!(read, Ok(bytes) if bytes > 0);
            if matches!(read, Ok(0)) || to.blocking_send(read.map(|_| line)).is_err() || is_last {
                return;
            }
        }
    });
    lines
}

/// The failure with the line of its statement.
fn at(failure: Failure, line: usize) -> Failure {
    let place = |text: String| format!("in the statement at line {line}: {text}");
    match failure {
        Failure::Negative(text) => Failure::Negative(text.map(place)),
        Failure::Usage(texts) => Failure::Usage(texts.into_iter().map(place).collect()),
        Failure::ReaderGone => Failure::ReaderGone,
    }
}
