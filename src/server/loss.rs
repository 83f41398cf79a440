//! `killfeed topics accept-loss`: what Kafka deleted unread is given up by an operator's word alone.

use super::log::OpenLog;
use super::telemetry;
use super::topics::{asked_for, runtime};
use crate::exit::Failure;
use crate::options::Options;
use events::log::{Log, Loss, StreamInfo, generations};
use events::{Clock, Stream, SystemClock};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;

/// How long the log may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// Who it is in ledger entries.
const INSTANCE: &str = "accept-loss";

/// Prints what was lost, and moves positions past it, unless `is_dry`.
pub(crate) fn accept_loss(options: &Options, is_dry: bool, as_json: bool) -> Result<(), Failure> {
    telemetry::start_logs(options.log_format, None);
    let (streams, _) = asked_for(options)?;
    let store = options.open_store()?;
    let runtime = runtime()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = runtime.block_on(OpenLog::for_command(options, clock.clone()))?;
    let found = runtime.block_on(async {
        let found = give_up(&*log.shared(), &store, &*clock, &streams, is_dry).await;
        log.close(CLOSE_LIMIT).await;
        found
    })?;
    let mut out = anstream::stdout().lock();
    if as_json {
        writeln!(out, "{}", json!(found.iter().map(|(whose, loss)| told(whose, loss)).collect::<Vec<_>>()))?;
    } else {
        for (whose, Loss { of, from, to }) in &found {
            writeln!(out, "{of}: {whose} have missed offsets {from} to {to}, {} records at most", to - from)?;
        }
        writeln!(out, "{}", summary(found.len(), is_dry))?;
    }
    if is_dry && !found.is_empty() { Err(Failure::Negative(None)) } else { Ok(()) }
}

fn summary(losses: usize, is_dry: bool) -> &'static str {
    match (losses, is_dry) {
        (0, _) => "nothing was deleted unread",
        (_, true) => "nothing was changed; without --dry-run these are given up",
        (_, false) => "given up: the ledger counts them as expired, start processors and sinks again",
    }
}

fn told(whose: &str, loss: &Loss) -> Value {
    json!({
        "role": whose, "topic": loss.of.topic, "partition": loss.of.partition, "from": loss.from, "to": loss.to,
        "records_max": loss.records_max(),
    })
}

/// Every loss, with whose it is.
async fn give_up(
    log: &dyn Log,
    store: &Store,
    clock: &dyn Clock,
    streams: &[Stream],
    is_dry: bool,
) -> Result<Vec<(&'static str, Loss)>, Failure> {
    let mut found = Vec::new();
    for stream in streams {
        for info in generations(log, stream).await.map_err(failed)? {
            let (raw, read) = of_one(log, store, clock, &info).await?;
            found.extend(raw.iter().map(|loss| ("processors", loss.clone())));
            found.extend(read.iter().map(|loss| ("sinks", loss.clone())));
            if !is_dry {
                processors::accept_losses(log, &info, clock, INSTANCE, raw).await.map_err(failed)?;
                sinks::accept_losses(log, &info, clock, INSTANCE, read).await.map_err(failed)?;
            }
        }
    }
    Ok(found)
}

async fn of_one(
    log: &dyn Log,
    store: &Store,
    clock: &dyn Clock,
    info: &StreamInfo,
) -> Result<(Vec<Loss>, Vec<Loss>), Failure> {
    let raw = processors::losses(log, info, clock).await.map_err(failed)?;
    Ok((raw, sinks::losses(log, store, info).await.map_err(failed)?))
}

fn failed(error: impl Display) -> Failure {
    Failure::usage(format!("{error}. What is not given up yet stays as it was"))
}
