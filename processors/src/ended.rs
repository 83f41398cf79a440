//! Where a generation of the stream ends, and how the next one begins.
//!
//! ```text
//!  raw     ... e  e  e  end │ ·  late        past the end: appended again to the newest generation's raw,
//!              in steps ────┤ └─ sent on ──▶ counted here as a duplicate of what passes dedupe there
//! ```
//!
//! After its end marker a partition takes no event; see [`events::log::Log::grow`]. So late ones come only if
//! the log's fence has failed. The claims of a partition that has ended are dropped: those that still hold
//! stand in the new generation's state.

use crate::error::Error;
use crate::inherit::{CLAIMS_MAX, Splitting, heirs, newest_page};
use crate::observe;
use crate::state::pack;
use crate::worker::{Membership, Worker, append, state_records};
use events::keys;
use events::ledger::{self, Count};
use events::log::{Batch, NewRecord, Offset, newest};
use events::streams::{PROCESSOR_GROUP, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What a member knows of the end of its generation.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Where each partition ends, once the next generation is there.
    ends: Option<Arc<[Offset]>>,
    /// Whether an end marker was met whose generation had not ended yet.
    is_marked: bool,
    /// Partitions that are read to their ends, with their positions.
    past: BTreeMap<i32, Offset>,
}

impl Ending {
    /// Whether it is worth a look if the generation has ended by now.
    pub(crate) fn is_near(&self) -> bool {
        self.is_marked && self.ends.is_none()
    }

    fn end(&self, number: i32) -> Option<Offset> {
        self.ends.as_ref()?.get(usize::try_from(number).ok()?).copied()
    }
}

impl Membership {
    /// Forgets a partition.
    pub(crate) fn give_up(&mut self, number: i32) {
        self.owned.remove(&number);
        self.ending.past.remove(&number);
        observe::gone(&TopicPartition::new(self.raw.clone(), number));
    }
}

impl Worker {
    /// Learns whether the generation has ended.
    pub(crate) async fn look_for_end(&self, m: &mut Membership) -> Result<(), Error> {
        let info = self.log.stream(&self.info.stream).await?;
        m.ending.ends = info.and_then(|info| info.ended);
        self.pass_end(m)
    }

    /// Lets go of what is known of partitions that were read to their ends.
    pub(crate) fn pass_end(&self, m: &mut Membership) -> Result<(), Error> {
        let ending = &mut m.ending;
        let passed =
            m.owned.extract_if(.., |number, owned| ending.end(*number).is_some_and(|end| owned.position >= end));
        for (number, owned) in passed.collect::<Vec<_>>() {
            tracing::debug!(stream = %self.info.stream, number, "read to the end of the generation");
            // What came behind the end in the same poll was cut off, and is read again.
            let of = TopicPartition::new(self.info.stream.raw(), number);
            m.member.seek(&of, owned.position)?;
            m.ending.past.insert(number, owned.position);
        }
        Ok(())
    }

    /// Whether an assigned partition was read to its end before; then it is watched for what comes late.
    pub(crate) async fn is_past_end(&self, m: &mut Membership, of: &TopicPartition) -> Result<bool, Error> {
        let Some(end) = m.ending.end(of.partition) else { return Ok(false) };
        let mut position = self.log.committed(PROCESSOR_GROUP, of).await?;
        if position.is_none() {
            // The group may have forgotten it; the state doesn't.
            let state = TopicPartition::new(self.info.stream.state(), of.partition);
            position = newest_page(&*self.log, &state, &*self.clock).await?.0.map(|page| page.to);
        }
        let Some(position) = position.filter(|position| *position >= end) else { return Ok(false) };
        m.member.seek(of, position)?;
        m.ending.past.insert(of.partition, position);
        Ok(true)
    }

    /// Cuts batches at the end, so that a step's state never reaches past it.
    pub(crate) async fn cut_at_end(&self, m: &mut Membership, batches: &mut BTreeMap<i32, Batch>) -> Result<(), Error> {
        m.ending.is_marked |= batches.values().any(|batch| batch.records.iter().any(events::log::Record::is_end));
        if m.ending.is_near() && !batches.is_empty() {
            self.look_for_end(m).await?;
            batches.retain(|number, _| m.owned.contains_key(number));
        }
        for (number, batch) in batches {
            if let Some(end) = m.ending.end(*number).filter(|end| batch.next > *end) {
                batch.records.retain(|record| record.offset < end);
                batch.next = end;
            }
        }
        Ok(())
    }

    /// Appends what came past the end to the newest generation, in one step with the positions.
    pub(crate) async fn send_late_on(
        &self,
        m: &mut Membership,
        batches: &mut BTreeMap<i32, Batch>,
    ) -> Result<(), Error> {
        let late: Vec<(i32, Batch)> = batches.extract_if(.., |number, _| m.ending.past.contains_key(number)).collect();
        if late.is_empty() {
            return Ok(());
        }
        let to = newest(&*self.log, &self.info.stream).await?;
        let to = to.ok_or_else(|| Error::NoStream(self.info.stream.to_string()))?;
        let mut step = self.empty_step(m);
        let mut appends: BTreeMap<i32, Vec<NewRecord>> = BTreeMap::new();
        let mut total = 0;
        for (number, batch) in late {
            let (from, next) = (batch.position, batch.next);
            let events = batch.records.into_iter().filter(|record| !record.is_end());
            let mut count = 0;
            for record in events {
                let records = appends.entry(keys::partition_of(&record.key, to.partitions)).or_default();
                records.push(NewRecord { key: record.key, headers: record.headers, payload: record.payload });
                count += 1;
            }
            total += count;
            let count = Count::Process {
                from,
                to: next,
                accepted: count,
                clean: 0,
                duplicates: count,
                dead: BTreeMap::new(),
                redriven: 0,
            };
            let entry = self.entry(number, ledger::new_id(), count).to_record()?;
            step.appends.push(append(&self.info.stream.ledger(), number, vec![entry]));
            step.positions.push((TopicPartition::new(self.info.stream.raw(), number), next));
        }
        let raw = to.stream.raw();
        step.appends.extend(appends.into_iter().map(|(number, records)| append(&raw, number, records)));
        let moved = step.positions.clone();
        self.commit(m, step).await?;
        if total > 0 {
            tracing::warn!(stream = %self.info.stream, events = total, to = %raw, "events came after the generation's end, and were sent on");
            metrics::counter!("killfeed_process_late_events_total").increment(total);
        }
        m.ending.past.extend(moved.into_iter().map(|(of, next)| (of.partition, next)));
        Ok(())
    }

    /// Brings partitions that are new in a grown stream what the generation before knew.
    pub(crate) async fn inherit(&self, m: &mut Membership, partitions: &[TopicPartition]) -> Result<(), Error> {
        let started = Instant::now();
        let numbers: Vec<i32> = partitions.iter().map(|of| of.partition).collect();
        let heirs = heirs(&*self.log, &self.info, &*self.clock, &numbers).await?;
        let Some(before) = self.info.stream.before().filter(|_| !heirs.is_empty()) else { return Ok(()) };
        let old = self.log.stream(&before).await?.ok_or_else(|| Error::NoStream(before.to_string()))?;
        let mut splitting = Splitting::begin(&*self.log, &self.info, &old, &*self.clock, &heirs).await?;
        let (raw, state) = (self.info.stream.raw(), self.info.stream.state());
        let mut claims = 0;
        loop {
            let shares = splitting.next().await?;
            let is_last = shares.iter().any(|share| share.is_last);
            // Of several partitions together while they are small: a commit costs more than what is in it.
            let mut step = self.empty_step(m);
            let mut in_step = 0;
            for share in shares {
                if in_step + share.claims.len() > CLAIMS_MAX && in_step > 0 {
                    let full = std::mem::replace(&mut step, self.empty_step(m));
                    self.commit(m, full).await?;
                    in_step = 0;
                }
                in_step += share.claims.len();
                claims += share.claims.len();
                let records = state_records(pack(splitting.head(share.is_last), &share.claims));
                step.appends.push(append(&state, share.number, records));
                // With a position, so that the group's generation is checked.
                step.positions.push((TopicPartition::new(raw.clone(), share.number), 0));
            }
            if !step.appends.is_empty() {
                self.commit(m, step).await?;
            }
            if is_last {
                let took = started.elapsed();
                tracing::info!(stream = %self.info.stream, ?heirs, claims, ?took, "took over what the generation before knew");
                return Ok(());
            }
        }
    }
}
