//! How a partition of a grown stream comes to know what the generation before it knew.
//!
//! ```text
//! old .state   0 ──────▶ end        1 ──────▶ end        all read to their ends
//!                    ╲   by key hash   ╱
//! new .state   [-1,-1) [-1,-1) … [-1,0)   then [0,x) … as ever
//! ```
//!
//! Claims are written in transactions of the new partition's owner, under its generation of the group. The
//! last record ends at 0. While the newest one ends at -1, the splitting broke off, and is done again from
//! the start: claims that stand twice are one.

use crate::error::Error;
use crate::recover::{Pages, last_ledger_position, newest};
use crate::state::{ENTRIES_MAX, Entry, Head, Page};
use events::clock::Clock;
use events::keys;
use events::log::{Ends, Log, Offset, StreamInfo};
use events::streams::{PROCESSOR_GROUP, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Where inherited records begin: before the first raw offset.
pub(crate) const BEFORE: Offset = -1;
/// Claims that are written in one transaction: some MB.
pub(crate) const CLAIMS_MAX: usize = 12 * ENTRIES_MAX;
/// The pause between two looks at whether the old generation is read to its end.
const DRAINED_CHECK: Duration = Duration::from_millis(200);

/// Waits until a partition of this stream may be worked on: until all raw partitions of the generation
/// before were read to their ends. False if `shutdown` came first.
///
/// # Errors
/// What the log says that no waiting heals.
pub(crate) async fn await_old(
    log: &dyn Log,
    info: &StreamInfo,
    clock: &dyn Clock,
    shutdown: &CancellationToken,
) -> Result<bool, Error> {
    let mut told = false;
    loop {
        match may_begin(log, info, clock).await {
            Ok(true) => return Ok(!shutdown.is_cancelled()),
            Ok(false) if !told => {
                tracing::info!(stream = %info.stream, "waits until the generation before it is read to its end");
                told = true;
            }
            Ok(false) => {}
            Err(Error::Log(error)) if error.is_retryable() => {
                tracing::warn!(%error, stream = %info.stream, "looking at the generation before it; trying again");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(DRAINED_CHECK) => {}
        }
    }
}

async fn may_begin(log: &dyn Log, info: &StreamInfo, clock: &dyn Clock) -> Result<bool, Error> {
    let Some(before) = info.stream.before() else { return Ok(true) };
    let all: Vec<i32> = (0..info.partitions).collect();
    if heirs(log, info, clock, &all).await?.is_empty() {
        return Ok(true);
    }
    let old = log.stream(&before).await?.ok_or_else(|| Error::NoStream(before.to_string()))?;
    let Some(ended) = &old.ended else { return Ok(false) };
    for (number, end) in (0..).zip(ended.iter()) {
        let raw = TopicPartition::new(before.raw(), number);
        if log.committed(PROCESSOR_GROUP, &raw).await?.is_none_or(|position| position < *end) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Those of `numbers` whose partition has not inherited, or not all.
pub(crate) async fn heirs(
    log: &dyn Log,
    info: &StreamInfo,
    clock: &dyn Clock,
    numbers: &[i32],
) -> Result<Vec<i32>, Error> {
    let mut heirs = Vec::new();
    if info.stream.before().is_none() {
        return Ok(heirs);
    }
    for &number in numbers {
        let state = TopicPartition::new(info.stream.state(), number);
        let is_heir = match newest_page(log, &state, clock).await? {
            (Some(page), _) => page.to < 0,
            (None, _) => {
                let raw = TopicPartition::new(info.stream.raw(), number);
                log.committed(PROCESSOR_GROUP, &raw).await?.is_none_or(|position| position == 0)
                    && last_ledger_position(log, info, number).await?.is_none()
            }
        };
        if is_heir {
            heirs.push(number);
        }
    }
    Ok(heirs)
}

/// The newest state record of a partition, and the offset below which everything is decided.
pub(crate) async fn newest_page(
    log: &dyn Log,
    state: &TopicPartition,
    clock: &dyn Clock,
) -> Result<(Option<Page>, Offset), Error> {
    let (_, Ends { start, last_stable: stable, .. }) = events::log::decided(log, state).await?;
    Ok((newest(log, state, (start, stable), clock.now_ms()).await?, stable))
}

/// What a new partition is to write: claims, and whether there are no more.
pub(crate) struct Share {
    pub(crate) number: i32,
    pub(crate) claims: Vec<(Offset, Entry)>,
    pub(crate) is_last: bool,
}

/// Reads the old state, partition by partition, and hands out each heir's share of it.
pub(crate) struct Splitting<'a> {
    info: &'a StreamInfo,
    /// What is still to be read.
    sources: Vec<Pages<'a>>,
    /// The highest raw append time of all.
    time_ms: i64,
    horizon_ms: u64,
    open: BTreeMap<i32, Vec<Entry>>,
}

impl<'a> Splitting<'a> {
    /// Of the old generation's state among these heirs.
    pub(crate) async fn begin(
        log: &'a dyn Log,
        info: &'a StreamInfo,
        old: &'a StreamInfo,
        clock: &dyn Clock,
        heirs: &[i32],
    ) -> Result<Self, Error> {
        let (mut sources, mut time_ms, mut horizon_ms) = (Vec::new(), 0, 0);
        let ended = old.ended.as_deref().unwrap_or_default();
        for (number, end) in (0..).zip(ended.iter()) {
            let state = TopicPartition::new(old.stream.state(), number);
            // Nothing is left of a state that is past its retention.
            let (Some(page), stable) = newest_page(log, &state, clock).await? else { continue };
            if page.to < *end {
                let of = TopicPartition::new(old.stream.raw(), number);
                return Err(Error::StateMismatch { of, state_to: Some(page.to), committed: Some(*end) });
            }
            time_ms = page.time_ms.max(time_ms);
            horizon_ms = page.horizon_ms.max(horizon_ms);
            sources.push(Pages::within(log, old, &state, stable, &page).await?);
        }
        let open = heirs.iter().map(|number| (*number, Vec::new())).collect();
        Ok(Self { info, sources, time_ms, horizon_ms, open })
    }

    /// What a record of this share says beside its claims.
    pub(crate) fn head(&self, is_last: bool) -> Head<'a> {
        Head {
            incarnation: &self.info.incarnation,
            from: BEFORE,
            to: if is_last { 0 } else { BEFORE },
            time_ms: self.time_ms,
            horizon_ms: self.horizon_ms,
        }
    }

    /// The next shares to write: of who has many, and at the end of all.
    pub(crate) async fn next(&mut self) -> Result<Vec<Share>, Error> {
        loop {
            let full = self.take(CLAIMS_MAX, false);
            if !full.is_empty() {
                return Ok(full);
            }
            let Some(source) = self.sources.last_mut() else { break };
            match source.next().await? {
                Some(pages) => self.sort(pages),
                None => drop(self.sources.pop()),
            }
        }
        let last = self.take(0, true);
        self.open.clear();
        Ok(last)
    }

    fn sort(&mut self, pages: Vec<Page>) {
        for entry in pages.into_iter().flat_map(|page| page.entries) {
            let holds = entry.time_ms.saturating_add_unsigned(entry.window_ms) > self.time_ms;
            let number = keys::partition_of_hash(entry.key_hash, self.info.partitions);
            if let Some(claims) = self.open.get_mut(&number).filter(|_| holds) {
                claims.push(entry);
            }
        }
    }

    /// Takes up to [`CLAIMS_MAX`] claims of everybody who has at least so many.
    fn take(&mut self, at_least: usize, is_last: bool) -> Vec<Share> {
        let due = self.open.iter_mut().filter(|(_, claims)| claims.len() >= at_least);
        let shares = due.map(|(number, claims)| {
            let mut claims: Vec<Entry> = claims.drain(..claims.len().min(CLAIMS_MAX)).collect();
            // A record counts times from its first entry on.
            claims.sort_by_key(|claim| claim.time_ms);
            Share { number: *number, claims: claims.into_iter().map(|claim| (BEFORE, claim)).collect(), is_last }
        });
        shares.collect()
    }
}
