//! Deletes what may go: by age, and at the size limit what everybody has read.
//!
//! Whole chunks go, oldest first, and only below what each group that reads the partition has
//! committed. A group that has members there but no position yet has read nothing. `.state` goes by
//! its age alone, since no group reads it and dedupe windows need it.

use super::packed::Chunk;
use super::store::{start_key, start_value};
use super::writer::{Writer, in_order};
use crate::log::{Offset, Result};
use crate::streams::TopicPartition;
use fjall::PersistMode;

/// Chunks deleted in one batch.
const AT_ONCE: usize = 4_096;

/// Deletes what is past its retention; answers how many bytes of records went.
pub(super) fn sweep(writer: &mut Writer) -> Result<u64> {
    let now_ms = writer.core().clock.now_ms();
    let mut freed = 0;
    for of in in_order(writer.core()) {
        let keep_ms = writer.core().state.read().partition(&of)?.keep_ms;
        let cutoff_ms = now_ms.saturating_sub(i64::try_from(keep_ms).unwrap_or(i64::MAX));
        let bound = unread(writer, &of).unwrap_or(Offset::MAX);
        freed += delete(writer, &of, bound, u64::MAX, &|chunk| chunk.time_ms < cutoff_ms)?;
    }
    Ok(freed)
}

/// Deletes `bytes` or more of what every group has read, however young; answers how many went.
pub(super) fn make_room(writer: &mut Writer, bytes: u64) -> Result<u64> {
    let mut freed = sweep(writer)?;
    for of in in_order(writer.core()) {
        if freed >= bytes {
            break;
        }
        if let Some(bound) = unread(writer, &of).filter(|_| !of.topic.ends_with(".state")) {
            freed += delete(writer, &of, bound, bytes - freed, &|_| true)?;
        }
    }
    Ok(freed)
}

/// The lowest position that a group which reads the partition has; `None` without such a group.
fn unread(writer: &Writer, of: &TopicPartition) -> Option<Offset> {
    let core = writer.core();
    let state = core.state.read();
    let committed = state.positions.iter().filter(|((_, read), _)| read == of).map(|(_, position)| *position);
    let joined = core.groups.readers(&of.topic).into_iter();
    let fresh = joined.filter(|group| !state.positions.contains_key(&(group.clone(), of.clone()))).map(|_| 0);
    committed.chain(fresh).min()
}

/// Deletes chunks from the start on, as long as they end at `bound` or below and `may_go` says so,
/// until `bytes` are freed.
fn delete(
    writer: &mut Writer,
    of: &TopicPartition,
    bound: Offset,
    bytes: u64,
    may_go: &dyn Fn(&Chunk) -> bool,
) -> Result<u64> {
    let mut freed = 0;
    loop {
        let before = writer.core().state.read().partition(of)?.clone();
        let mut gone = Vec::new();
        {
            let store = writer.core().store.read();
            let Some(store) = &*store else { return Ok(freed) };
            for chunk in store.chunks(before.place, before.start) {
                let chunk = chunk?;
                let enough = gone.last().is_some_and(|last: &Chunk| last.bytes - before.bytes_deleted >= bytes - freed);
                if enough || gone.len() == AT_ONCE || chunk.end() > bound || !may_go(&chunk) {
                    break;
                }
                gone.push(chunk);
            }
        }
        let Some(last) = gone.last().copied() else { return Ok(freed) };
        // Not where the next chunk begins: offsets may have been burned between the two, and a reader that
        // has read all of what goes stands before them.
        let start = last.end();
        let mut changes: Vec<_> = gone.iter().map(|chunk| (before.place.key(chunk), None)).collect();
        changes.push((start_key(before.place), Some(start_value(start, last.bytes).into())));
        writer.commit(&changes, PersistMode::SyncData)?;
        freed += last.bytes - before.bytes_deleted;
        if let Some(partition) = writer.core().state.write().partitions.get_mut(of) {
            partition.start = start;
            partition.bytes_deleted = last.bytes;
        }
        if freed >= bytes {
            return Ok(freed);
        }
    }
}
