//! Raw records that were deleted before a processor had read them: which, and going on without them.

use crate::error::Error;
use crate::inherit::{heirs, newest_page};
use crate::recover::last_ledger_position;
use crate::state::{Head, Page, pack};
use crate::worker::{append, state_records};
use events::clock::Clock;
use events::ledger::Entry;
use events::log::{self, Log, Loss, StreamInfo};
use events::streams::{PROCESSOR_GROUP, TopicPartition};

/// What processors of the stream have lost, partition by partition. Nothing is changed.
///
/// # Errors
/// What the log says.
pub async fn losses(log: &dyn Log, info: &StreamInfo, clock: &dyn Clock) -> Result<Vec<Loss>, Error> {
    let mut losses = Vec::new();
    for number in 0..info.partitions {
        let raw = TopicPartition::new(info.stream.raw(), number);
        let position = match log.committed(PROCESSOR_GROUP, &raw).await? {
            Some(position) => position,
            // A group that nobody was in for long is forgotten; what was written with its positions isn't.
            None => match newest(log, info, number, clock).await? {
                Some(page) => page.to.max(0),
                None => last_ledger_position(log, info, number).await?.unwrap_or(0),
            },
        };
        losses.extend(Loss::at(log, &raw, position).await?);
    }
    Ok(losses)
}

/// Goes on without what was lost: position, state record and ledger entry in one step each. No processor of
/// the stream may be at work.
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
    let numbers: Vec<i32> = losses.iter().map(|loss| loss.of.partition).collect();
    if let Some(number) = heirs(log, info, clock, &numbers).await?.first() {
        // A record from here on would say that it has what the generation before knew.
        return Err(log::Error::Refused(format!(
            "partition {number} of {} has not taken over what the generation before it knew: run a processor first",
            info.stream
        ))
        .into());
    }
    let mut steps = Vec::new();
    for loss in losses {
        let page = newest(log, info, loss.of.partition, clock).await?;
        let (time_ms, horizon_ms) = page.map_or((0, 0), |page| (page.time_ms, page.horizon_ms));
        let head = Head { incarnation: &info.incarnation, from: loss.from, to: loss.to, time_ms, horizon_ms };
        let state = append(&info.stream.state(), loss.of.partition, state_records(pack(head, &[])));
        let entry = Entry::expired(info, instance, clock.now_us(), &loss).to_append(&info.stream)?;
        steps.push((loss, vec![state, entry]));
    }
    Ok(log::accept(log, PROCESSOR_GROUP, &[info.stream.raw()], steps).await?)
}

async fn newest(log: &dyn Log, info: &StreamInfo, number: i32, clock: &dyn Clock) -> Result<Option<Page>, Error> {
    let state = TopicPartition::new(info.stream.state(), number);
    Ok(newest_page(log, &state, clock).await?.0)
}
