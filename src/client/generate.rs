//! `killfeed generate`.

use super::deliver::Delivery;
use super::http::Server;
use super::send;
use crate::cli::Generate;
use crate::exit::Failure;
use gamegen::{Generator, Options};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Plays games, and writes or sends them.
pub(crate) async fn run(command: Generate) -> Result<(), Failure> {
    let options = Options {
        games: u64::from(command.games),
        seed: command.seed,
        duplicates: command.duplicates,
        conflicts: command.conflicts,
        malformed: command.malformed,
        late: command.late,
        span_us: command.days.map(|days| i64::from(days) * 86_400_000_000),
        ..Options::default()
    };
    let mut games = Generator::new(options).map_err(Failure::usage)?;
    if let Some(file) = &command.geoip_out {
        gamegen::write_geoip(file).map_err(Failure::usage)?;
    }
    match (&command.url, &command.out) {
        (Some(url), _) => {
            let server = Server { url: url.clone(), key: command.key.clone() };
            let bar = send::progress(None);
            let delivery = Delivery::new(server.client()?, command.how.clone(), bar.clone());
            deliver(games, delivery, &bar, &command).await
        }
        (None, Some(out)) => {
            write_lines(&mut games, out)?;
            write_truth(games, command.truth.as_deref()).map(|_| ())
        }
        (None, None) if command.truth.is_some() || command.geoip_out.is_some() => {
            write_truth(games, command.truth.as_deref()).map(|_| ())
        }
        (None, None) => Err(Failure::usage("nothing to do: give --url, --out, --truth or --geoip-out")),
    }
}

async fn deliver(
    mut games: Generator,
    mut delivery: Delivery,
    bar: &ProgressBar,
    command: &Generate,
) -> Result<(), Failure> {
    let mut number = 0;
    let mut ended = Ok(());
    for line in games.by_ref() {
        number += 1;
        bar.inc(line.len() as u64 + 1);
        ended = delivery.push(number, line).await;
        if ended.is_err() {
            break;
        }
    }
    if ended.is_ok() {
        ended = delivery.finish().await;
    }
    bar.finish_and_clear();
    send::print(&delivery.summary, false)?;
    ended?;
    let expected = write_truth(games, command.truth.as_deref())?;
    let refused = delivery.summary.refused;
    if refused == expected {
        return Ok(());
    }
    Err(Failure::negative(format!("{refused} events were refused, but {expected} of those sent are malformed")))
}

fn write_lines(games: &mut Generator, out: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::usage(format!("cannot write {}: {error}", out.display()));
    let to_stdout = out == Path::new("-");
    let sink: Box<dyn Write> =
        if to_stdout { Box::new(std::io::stdout().lock()) } else { Box::new(File::create(out).map_err(failed)?) };
    let mut sink = BufWriter::with_capacity(1 << 20, sink);
    let mut write = || {
        for line in games.by_ref() {
            sink.write_all(&line)?;
            sink.write_all(b"\n")?;
        }
        sink.flush()
    };
    write().map_err(|error| if to_stdout { Failure::from(error) } else { failed(error) })
}

/// Writes the truth, and gives the number of lines that must be refused.
fn write_truth(games: Generator, file: Option<&Path>) -> Result<u64, Failure> {
    let truth = games.truth();
    if let Some(file) = file {
        let text = serde_json::to_vec_pretty(&truth).map_err(Failure::usage)?;
        std::fs::write(file, text)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))?;
    }
    Ok(truth.refused)
}
