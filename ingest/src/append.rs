//! To the log: one append for each partition, and what became of it told to each event.

use crate::answer::Outcome;
use crate::batch::{Batch, Group};
use crate::tally::Tally;
use events::TopicPartition;
use events::log::{Append, Durability, Error, Log};
use std::sync::Arc;
use tokio::time::Instant;

/// The reason where a stream has grown, and this process doesn't know yet into what.
pub(crate) const GROWING: &str = "stream_growing";

/// Appends all groups, and settles their slots. A partition's records stand or fall together, so
/// no event overtakes one before it that has to be sent again.
pub(crate) async fn append(batch: &mut Batch<'_>, log: &dyn Log, tally: &Tally, deadline: Instant) {
    let mut groups = std::mem::take(&mut batch.groups);
    let mut waits = Vec::with_capacity(1);
    let streams = tally.streams();
    for durability in [Durability::All, Durability::Leader, Durability::None] {
        let mut appends = Vec::new();
        let mut settles = Vec::new();
        for (place, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.durability == durability) {
            let to = TopicPartition::new(streams.raw(group.stream), group.partition);
            appends.push(Append { to, records: std::mem::take(&mut group.records) });
            settles.push(place);
        }
        if !appends.is_empty() {
            waits.push(async move { (settles, append_all(log, appends, durability, deadline).await) });
        }
    }
    for (settles, outcomes) in futures::future::join_all(waits).await {
        for (group, outcome) in settles.into_iter().filter_map(|place| groups.get(place)).zip(outcomes) {
            settle(batch, group, &outcome, tally);
        }
    }
}

/// One answer for each append, whatever the log does.
async fn append_all(
    log: &dyn Log,
    appends: Vec<Append>,
    durability: Durability,
    deadline: Instant,
) -> Vec<Result<(), Outcome>> {
    let asked = appends.len();
    let in_doubt = |why: &str| vec![Err(Outcome::unknown(why.to_owned())); asked];
    match tokio::time::timeout_at(deadline, log.append(appends, durability)).await {
        Err(_) => {
            in_doubt("the log did not answer within the deadline; the event may or may not be kept: send it again")
        }
        Ok(answers) if answers.len() != asked => in_doubt("the log's answer is incomplete; send the event again"),
        Ok(answers) => answers.into_iter().map(|answer| answer.map(|_| ()).map_err(|error| of(&error))).collect(),
    }
}

/// What an error of the log means for the events of the append. They were checked before, so what
/// the log refuses is a fault on this side, and worth another try.
fn of(error: &Error) -> Outcome {
    let text = error.to_string();
    match error {
        Error::InDoubt(_) => Outcome::unknown(text),
        Error::Ended(_) => Outcome::retryable(503, GROWING, text),
        Error::Full(_) => Outcome::retryable(503, "log_full", text),
        Error::Unavailable(_) | Error::Fenced(_) => Outcome::retryable(503, "log_unavailable", text),
        Error::Refused(_) | Error::OutOfRange { .. } | Error::Corrupt(_) => {
            tracing::error!(error = text, "the log refused an append");
            Outcome::retryable(500, "log_fault", text)
        }
    }
}

fn settle(batch: &mut Batch<'_>, group: &Group, outcome: &Result<(), Outcome>, tally: &Tally) {
    let (mut acknowledged, mut unacknowledged) = (0, 0);
    for place in &group.slots {
        let Some(slot) = batch.slots.get_mut(*place) else { continue };
        match outcome {
            Ok(()) => {
                if slot.outcome.accept() == Durability::All {
                    acknowledged += 1;
                } else {
                    unacknowledged += 1;
                }
            }
            Err(outcome) => slot.outcome = outcome.clone(),
        }
    }
    if outcome.as_ref().is_err_and(|outcome| outcome.reason == GROWING) {
        tally.ended(group.stream);
    }
    tally.count(group.stream, group.partition, acknowledged, unacknowledged);
}

/// So that an error's text is shared by the events of its partition.
pub(crate) type Text = Arc<str>;
