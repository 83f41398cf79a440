//! Records that were deleted before a sink had read them: which, and going on without them.

use crate::Error;
use crate::recover;
use crate::route::Kind;
use events::Clock;
use events::ledger::Entry;
use events::log::{self, Log, Loss, StreamInfo};
use events::streams::{SINK_GROUP, TopicPartition};
use tables::Store;

/// What sinks of the stream have lost, partition by partition. Nothing is changed.
///
/// # Errors
/// What log or tables say.
pub async fn losses(log: &dyn Log, store: &Store, info: &StreamInfo) -> Result<Vec<Loss>, Error> {
    let stream = &info.stream;
    let mut losses = Vec::new();
    for (topic, kind) in [(stream.clean(), Kind::Clean), (stream.dead(), Kind::Dead), (stream.ledger(), Kind::Ledger)] {
        for number in 0..info.partitions {
            let of = TopicPartition::new(topic.clone(), number);
            let position = recover::position(log, store, info, &of, kind).await?;
            losses.extend(Loss::at(log, &of, position.at).await?);
        }
    }
    Ok(losses)
}

/// Goes on without what was lost: position and ledger entry in one step each. No sink of the stream may be
/// at work.
///
/// # Errors
/// What the log says.
pub async fn accept_losses(
    log: &dyn Log,
    info: &StreamInfo,
    clock: &dyn Clock,
    instance: &str,
    losses: Vec<Loss>,
) -> Result<(), Error> {
    let mut steps = Vec::new();
    for loss in losses {
        let entry = Entry::expired(info, instance, clock.now_us(), &loss).to_append(&info.stream)?;
        steps.push((loss, vec![entry]));
    }
    let topics = [info.stream.clean(), info.stream.dead(), info.stream.ledger()];
    Ok(log::accept(log, SINK_GROUP, &topics, steps).await?)
}
