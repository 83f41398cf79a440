//! How a new owner takes a partition over, and when it refuses to.
//!
//! ```text
//!  .state   [0,40) [40,40) [40,97) ·  [97,130)            end, when the take-over began
//!                  └── within the horizon ────┘            │ all below it must be decided
//!  .raw      committed position ──────────────▶ 130        ▼
//! ```
//!
//! The owner before may have left a transaction whose fate is open; so the log's end is noted
//! first, then waited for until everything below it is decided, then the group's position is read,
//! and then the state. The newest record says how far back claims reach that still hold; from there
//! on every record is read, and each must begin where the one before it ended. What the newest one
//! says it ended at must be the committed position, or the owner stops with an error: to go on
//! would forget keys, or count twice. Only if both moved while it was reading, because someone else
//! owns the partition by now, does it begin again.

use crate::error::Error;
use crate::partition::Partition;
use crate::state::{Page, unpack};
use crate::window::Window;
use events::clock::Clock;
use events::ledger::{Count, Entry};
use events::log::{Batch, Ends, Log, Offset, ReadLimit, StreamInfo};
use events::streams::{PROCESSOR_GROUP, TopicPartition};

/// How far the clocks of two partitions' append times may stand apart.
const CLOCKS_APART_MS: i64 = 10 * 60 * 1_000;
/// The first look for the newest state record goes this far back; each further one eight times as far.
const LOOK_BACK_MS: i64 = 1_000;

/// A partition taken over.
#[derive(Debug)]
pub struct Recovered {
    /// Its claims.
    pub partition: Partition,
    /// Where to go on in raw.
    pub position: Offset,
}

/// Takes partition `number` of a stream over. `window` gives the empty table that claims go into;
/// it may be asked for more than one.
///
/// # Errors
/// [`Error::StateMismatch`] and [`Error::StateBroken`] if the promise of dedupe can't be kept;
/// [`Error::Log`] with whatever the log answers, to be retried if it is retryable.
pub async fn recover(
    log: &dyn Log,
    info: &StreamInfo,
    number: i32,
    clock: &dyn Clock,
    window: impl Fn() -> Window,
) -> Result<Recovered, Error> {
    let raw = TopicPartition::new(info.stream.raw(), number);
    let state = TopicPartition::new(info.stream.state(), number);
    loop {
        let (end, Ends { start, last_stable: stable, .. }) = events::log::decided(log, &state).await?;
        let committed = log.committed(PROCESSOR_GROUP, &raw).await?;
        let newest = newest(log, &state, (start, stable), clock.now_ms()).await?;
        let (state_to, partition) = match newest {
            Some(newest) => {
                let partition = read_claims(log, info, &state, stable, &newest, window()).await?;
                (Some(newest.to), partition)
            }
            None => (last_ledger_position(log, info, number).await?, Partition::new(window())),
        };
        match (state_to, committed) {
            (Some(to), Some(position)) if to == position => return Ok(Recovered { partition, position }),
            (None, None | Some(0)) => return Ok(Recovered { partition, position: 0 }),
            _ => {}
        }
        let moved = log.ends(&state).await?.end != end || log.committed(PROCESSOR_GROUP, &raw).await? != committed;
        if !moved {
            return Err(Error::StateMismatch { of: raw, state_to, committed });
        }
    }
}

/// The newest state record in [start, stable), found by looking back from now, farther each time.
pub(crate) async fn newest(
    log: &dyn Log,
    of: &TopicPartition,
    (start, stable): (Offset, Offset),
    now_ms: i64,
) -> Result<Option<Page>, Error> {
    let mut back_ms = LOOK_BACK_MS;
    loop {
        let from = log.offset_at(of, now_ms.saturating_sub(back_ms)).await?.max(start);
        let mut newest = None;
        if from < stable {
            let mut pages = Reading::new(log, of, from, stable);
            while let Some(batch) = pages.next().await? {
                if let Some(record) = batch.records.last() {
                    newest = Some(page(of, record)?);
                }
            }
        }
        if newest.is_some() || from <= start || back_ms == i64::MAX {
            return Ok(newest);
        }
        back_ms = back_ms.saturating_mul(8);
    }
}

/// Reads every claim that still holds at the time that `newest` reached.
async fn read_claims(
    log: &dyn Log,
    info: &StreamInfo,
    of: &TopicPartition,
    stable: Offset,
    newest: &Page,
    window: Window,
) -> Result<Partition, Error> {
    let mut partition = Partition::new(window);
    let mut pages = Pages::within(log, info, of, stable, newest).await?;
    while let Some(read) = pages.next().await? {
        read.iter().try_for_each(|page| partition.restore(page, newest.time_ms))?;
    }
    Ok(partition)
}

/// Every state record of a partition in which there may be a claim that still holds; each begins where the
/// one before it ended.
pub(crate) struct Pages<'a> {
    reading: Reading<'a>,
    incarnation: &'a str,
    reached: Option<Offset>,
}

impl<'a> Pages<'a> {
    /// Those below `stable`, of which `newest` is the last one.
    pub(crate) async fn within(
        log: &'a dyn Log,
        info: &'a StreamInfo,
        of: &TopicPartition,
        stable: Offset,
        newest: &Page,
    ) -> Result<Self, Error> {
        let horizon_ms = i64::try_from(newest.horizon_ms).unwrap_or(i64::MAX);
        let oldest_ms = newest.time_ms.saturating_sub(horizon_ms).saturating_sub(CLOCKS_APART_MS);
        let from = log.offset_at(of, oldest_ms).await?;
        Ok(Self { reading: Reading::new(log, of, from, stable), incarnation: &info.incarnation, reached: None })
    }

    /// Some more of them; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Page>>, Error> {
        let Some(batch) = self.reading.next().await? else { return Ok(None) };
        let mut pages = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let page = page(&self.reading.of, record)?;
            let broken = |detail| Error::StateBroken { of: self.reading.of.clone(), offset: record.offset, detail };
            if page.incarnation != self.incarnation {
                let (theirs, ours) = (&page.incarnation, self.incarnation);
                return Err(broken(format!("it is of incarnation {theirs}, the stream's is {ours}")));
            }
            if let Some(reached) = self.reached.filter(|reached| *reached != page.from) {
                return Err(broken(format!("it begins at raw offset {}, the one before ends at {reached}", page.from)));
            }
            self.reached = Some(page.to);
            pages.push(page);
        }
        Ok(Some(pages))
    }
}

/// Where the newest ledger entry of a processor says that its step ended. Looked for only where
/// there is no state left, so that the whole partition is read.
pub(crate) async fn last_ledger_position(
    log: &dyn Log,
    info: &StreamInfo,
    number: i32,
) -> Result<Option<Offset>, Error> {
    let of = TopicPartition::new(info.stream.ledger(), number);
    let ends = log.ends(&of).await?;
    let mut entries = Reading::new(log, &of, ends.start, ends.last_stable);
    let mut last = None;
    while let Some(batch) = entries.next().await? {
        for payload in batch.records.iter().filter_map(|record| record.payload.as_deref()) {
            let Ok(entry) = Entry::from_payload(payload) else { continue };
            if let Count::Process { to, .. } = entry.count
                && entry.incarnation == *info.incarnation
            {
                last = Some(to);
            }
        }
    }
    Ok(last)
}

fn page(of: &TopicPartition, record: &events::log::Record) -> Result<Page, Error> {
    unpack(record.payload.as_deref().unwrap_or_default()).map_err(|detail| Error::StateBroken {
        of: of.clone(),
        offset: record.offset,
        detail,
    })
}

/// Reads a range that is known to be decided, batch by batch.
pub(crate) struct Reading<'a> {
    log: &'a dyn Log,
    of: TopicPartition,
    position: Offset,
    to: Offset,
}

impl<'a> Reading<'a> {
    fn new(log: &'a dyn Log, of: &TopicPartition, from: Offset, to: Offset) -> Self {
        Self { log, of: of.clone(), position: from, to }
    }

    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if self.position >= self.to {
            return Ok(None);
        }
        let mut batch = self.log.read(&self.of, self.position, ReadLimit { records: 64, bytes: 16 << 20 }).await?;
        if batch.next <= self.position {
            return Ok(None);
        }
        self.position = batch.next;
        batch.records.retain(|record| record.offset < self.to);
        Ok(Some(batch))
    }
}
