//! `killfeed send`.

use super::deliver::{Delivery, Summary};
use super::style;
use crate::cli::Send;
use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

/// A line is read up to this; what is longer no server takes.
const LINE_BYTES_MAX: u64 = 32 << 20;
/// Refusals shown to people.
const REFUSALS_SHOWN: usize = 10;

/// Sends a file.
pub(crate) async fn run(command: Send) -> Result<(), Failure> {
    let (mut reader, bytes) = open(&command.file)?;
    let bar = progress(bytes);
    let mut delivery = Delivery::new(command.server.client()?, command.how, bar.clone());
    let mut number = 0;
    let ended = loop {
        match next_line(&mut reader) {
            Ok(Some((read, line))) => {
                number += 1;
                if !line.iter().all(u8::is_ascii_whitespace)
                    && let Err(failure) = delivery.push(number, line).await
                {
                    break Err(failure);
                }
                bar.inc(read);
            }
            Ok(None) => break delivery.finish().await,
            Err(error) => {
                break Err(Failure::usage(format!("cannot read {}: {error}", command.file.display())));
            }
        }
    };
    bar.finish_and_clear();
    print(&delivery.summary, command.json)?;
    ended?;
    match delivery.summary.refused {
        0 => Ok(()),
        refused => Err(Failure::negative(format!("{refused} of {} events were refused", delivery.summary.sent))),
    }
}

fn open(file: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::new(std::io::stdin())), None));
    }
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = File::open(file).map_err(unreadable)?;
    let bytes = opened.metadata().map_err(unreadable)?.len();
    Ok((Box::new(BufReader::with_capacity(1 << 20, opened)), Some(bytes)))
}

/// A line without its end, and the bytes read for it. A line past the limit is cut there: the server
/// refuses what is left of it, under its line number.
fn next_line(reader: &mut dyn BufRead) -> std::io::Result<Option<(u64, Vec<u8>)>> {
    let mut line = Vec::new();
    let mut read = (&mut *reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && read == LINE_BYTES_MAX {
        read += reader.skip_until(b'\n')? as u64;
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some((read, line)))
}

/// A bar on a terminal, nothing in a pipe.
pub(crate) fn progress(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Says what became of the lines.
pub(crate) fn print(summary: &Summary, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string(summary).map_err(Failure::usage)?;
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(());
    }
    let mut out = anstream::stdout().lock();
    let counts = [
        ("sent", summary.sent),
        ("accepted", summary.accepted),
        ("refused", summary.refused),
        ("retried", summary.retried),
        ("unanswered", summary.unanswered),
    ];
    for (name, count) in counts {
        if count > 0 || !matches!(name, "unanswered") {
            let bad = count > 0 && matches!(name, "refused" | "unanswered");
            let text = format!("{:>12}", style::thousands(count));
            let text = if bad { style::paint(style::BAD, &text) } else { text };
            writeln!(out, "{name:<10}{text}")?;
        }
    }
    for refusal in summary.refusals.iter().take(REFUSALS_SHOWN) {
        writeln!(out, "line {}: {} {}", refusal.line, refusal.status, refusal.error)?;
    }
    if summary.refused > REFUSALS_SHOWN as u64 {
        writeln!(out, "and {} more; --json lists the first thousand", summary.refused - REFUSALS_SHOWN as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let mut reader: &[u8] = b"a\r\n\nb";
        let mut lines = Vec::new();
        while let Some((read, line)) = next_line(&mut reader).unwrap() {
            lines.push((read, line));
        }
        assert_eq!(lines, [(3, b"a".to_vec()), (1, vec![]), (1, b"b".to_vec())]);
    }
}
