//! Streams, as the writer makes and ends them.

use super::queue::Piece;
use super::state::StoredStream;
use super::store::stream_key;
use super::writer::Writer;
use crate::log::{Append, Error, NewRecord, Result, StreamInfo, StreamSpec, checks};
use crate::streams::{Stream, TopicPartition};
use fjall::PersistMode;
use std::collections::BTreeMap;
use std::time::Duration;

/// Makes a stream, or finds it.
pub(super) fn create(writer: &mut Writer, spec: &StreamSpec) -> Result<StreamInfo> {
    let found = stored(writer, &spec.stream);
    if let Some(found) = found {
        checks::same(spec, &found.info(&spec.stream))?;
        let state_retention_ms = found.state_retention_ms.max(ms(spec.state_retention));
        let adopted = StoredStream { retention_ms: ms(spec.retention), state_retention_ms, ..found.clone() };
        if adopted != found {
            store(writer, vec![(spec.stream.clone(), adopted.clone())])?;
        }
        return Ok(adopted.info(&spec.stream));
    }
    if spec.stream.generation() > 1 {
        return Err(Error::Refused(format!("stream {} comes by growing only", spec.stream)));
    }
    writer.has_room()?;
    let made = new(writer, spec);
    store(writer, vec![(spec.stream.clone(), made.clone())])?;
    Ok(made.info(&spec.stream))
}

/// Ends a generation and makes the next one. Nothing else is written meanwhile: this is the writer's own
/// thread. A crash after the markers leaves some more of them, which nobody counts.
pub(super) fn grow(writer: &mut Writer, spec: &StreamSpec) -> Result<StreamInfo> {
    if let Some(found) = stored(writer, &spec.stream) {
        checks::same(spec, &found.info(&spec.stream))?;
        return Ok(found.info(&spec.stream));
    }
    let before = spec.stream.before().and_then(|before| Some((stored(writer, &before)?, before)));
    checks::grows(spec, before.as_ref().map(|(stored, stream)| stored.info(stream)).as_ref())?;
    let Some((ending, before)) = before else { return Err(checks::unknown_topic(&spec.stream.raw())) };
    writer.has_room()?;
    let mut growths = BTreeMap::new();
    let mut ended = Vec::new();
    for partition in 0..ending.partitions {
        let marker = Append { to: TopicPartition::new(before.raw(), partition), records: vec![NewRecord::end()] };
        ended.push(writer.place(&mut growths, Piece::of(&marker)?).last + 1);
    }
    writer.append(growths)?;
    let made = new(writer, spec);
    let ended = StoredStream { ended: Some(ended.into()), ..ending };
    store(writer, vec![(before, ended), (spec.stream.clone(), made.clone())])?;
    Ok(made.info(&spec.stream))
}

fn ms(keep: Duration) -> u64 {
    u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)
}

fn stored(writer: &Writer, stream: &Stream) -> Option<StoredStream> {
    writer.core().state.read().streams.get(stream).cloned()
}

/// A stream that isn't there yet, behind the topics of all others.
fn new(writer: &Writer, spec: &StreamSpec) -> StoredStream {
    let state = writer.core().state.read();
    StoredStream {
        name: spec.stream.name().into(),
        generation: spec.stream.generation(),
        partitions: spec.partitions,
        incarnation: crate::ledger::new_id().into(),
        retention_ms: ms(spec.retention),
        state_retention_ms: ms(spec.state_retention),
        first_topic: state.streams.values().map(|stream| stream.first_topic + 5).max().unwrap_or(0),
        ended: None,
    }
}

/// Stores streams that are new, or changed, all or none.
fn store(writer: &mut Writer, streams: Vec<(Stream, StoredStream)>) -> Result<()> {
    writer.opened()?;
    let mut changes = Vec::new();
    for (stream, stored) in &streams {
        let json = serde_json::to_vec(stored).map_err(|error| Error::Refused(error.to_string()))?;
        changes.push((stream_key(stream), Some(json.into())));
    }
    writer.commit(&changes, PersistMode::SyncAll)?;
    let core = writer.core().clone();
    let loaded = match &*core.store.read() {
        Some(store) => store.load()?,
        None => return Err(Error::InDoubt("the store is not open".into())),
    };
    let mut state = core.state.write();
    for (of, partition) in loaded.partitions {
        let keep_ms = partition.keep_ms;
        state.partitions.entry(of).or_insert(partition).keep_ms = keep_ms;
    }
    state.streams.extend(streams);
    Ok(())
}
