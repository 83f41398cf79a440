//! Opening: take the lock, look the journals over, open the store, and compare what it holds with
//! what is known to have stood there.

use super::ends::EndsFile;
use super::packed::Place;
use super::queue::Queue;
use super::space::io_error;
use super::state::State;
use super::store::Store;
use super::writer::Writer;
use super::{Config, Core, Shared, journal};
use crate::clock::Clock;
use crate::log::groups::Coordinator;
use crate::log::{Error, Offset, Result};
use crate::streams::TopicPartition;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was found at open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether the log had been closed, or is new.
    pub clean: bool,
    /// Bytes that were cut off a journal because they are no whole, sound batch.
    pub cut_bytes: u64,
    /// Where these bytes were saved.
    pub cut_saved: Option<PathBuf>,
    /// Records that are gone.
    pub lost: Vec<Lost>,
}

/// Offsets of a partition whose records are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The partition.
    pub of: TopicPartition,
    /// The first one that is gone.
    pub from: Offset,
    /// After the last one.
    pub to: Offset,
    /// Whether they are known to have been acknowledged. If not, they were found in the bytes that
    /// were cut: a process killed in the middle of a write leaves such a tail too, and in that case
    /// nothing of it was acknowledged.
    pub acknowledged: bool,
}

pub(super) fn open(dir: &Path, config: Config, clock: Arc<dyn Clock>) -> Result<Shared> {
    let failed = |error: std::io::Error| io_error(&format!("opening the log in {}", dir.display()), &error);
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let mut file = EndsFile::open(dir)?;
    let cut = journal::check(&dir.join("store"), &dir.join("lost"))?;
    let store = Store::open(&dir.join("store"), config.cache_bytes, config.memtable_bytes)?;
    let mut state = store.load()?;
    let mut report = OpenReport { clean: file.ends.closed || file.ends.opened == 0, ..OpenReport::default() };
    if let Some(cut) = cut {
        report.cut_bytes = cut.bytes;
        report.cut_saved = Some(cut.saved);
        found_in_cut(&state, &cut.chunks, &mut report.lost);
    }
    compare(&mut state, &file, &mut report);
    tell(dir, &report);
    file.ends.opened = file.ends.opened.saturating_add(1);
    file.ends.closed = false;
    for (of, known) in &mut file.ends.partitions {
        let found = state.partitions.iter().find(|(found, _)| found.to_string() == *of);
        known.end = found.map_or(known.end, |(_, partition)| partition.end);
    }
    file.write().map_err(failed)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    let groups = Coordinator::above(i64::from(file.ends.opened) << 32);
    let core = Arc::new(Core {
        dir: dir.to_path_buf(),
        queue: Queue::new(config.queue_bytes),
        config,
        clock,
        groups,
        state: RwLock::new(state),
        store: RwLock::new(Some(store)),
        lock: Mutex::new(Some(lock)),
        trouble: Mutex::new(None),
        ended: tokio::sync::watch::Sender::new(false),
    });
    let writer = Writer::new(core.clone(), file).map_err(failed)?;
    let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run()).map_err(failed)?;
    Ok(Shared { core, report, epochs: Mutex::new(BTreeMap::new()), writer: Mutex::new(Some(thread)) })
}

fn lock(dir: &Path) -> Result<fs::File> {
    let path = dir.join("lock");
    let failed = |error: &std::io::Error| io_error(&format!("locking {}", path.display()), error);
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Error::Unavailable(format!("the log in {} is in use by another process", dir.display())))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// Chunks whose keys stand in cut bytes, where the store doesn't have them.
fn found_in_cut(state: &State, chunks: &[(Place, super::packed::Chunk)], lost: &mut Vec<Lost>) {
    let places: HashMap<_, _> = state
        .partitions
        .iter()
        .map(|(of, found)| ((found.place.topic, found.place.partition), (of, found.end)))
        .collect();
    let mut ranges: BTreeMap<&TopicPartition, (Offset, Offset)> = BTreeMap::new();
    for (place, chunk) in chunks {
        if let Some((of, end)) = places.get(&(place.topic, place.partition))
            && chunk.base >= *end
        {
            let range = ranges.entry(of).or_insert((chunk.base, chunk.end()));
            *range = (range.0.min(chunk.base), range.1.max(chunk.end()));
        }
    }
    let range = |(of, (from, to)): (&TopicPartition, _)| Lost { of: of.clone(), from, to, acknowledged: false };
    lost.extend(ranges.into_iter().map(range));
}

/// Moves the next offsets past every one that may have been given, and names known ends that are gone.
fn compare(state: &mut State, file: &EndsFile, report: &mut OpenReport) {
    let mut partitions: Vec<_> = state.partitions.iter_mut().collect();
    partitions.sort_unstable_by_key(|(of, _)| (*of).clone());
    for (of, partition) in partitions {
        let Some(known) = file.ends.partitions.get(&of.to_string()) else { continue };
        partition.next = partition.next.max(known.reserved);
        partition.reserved = partition.next;
        if known.end > partition.end {
            let to = report.lost.iter().filter(|lost| lost.of == *of).map(|lost| lost.to).max().unwrap_or(0);
            report.lost.retain(|lost| lost.of != *of);
            let from = partition.end;
            report.lost.push(Lost { of: of.clone(), from, to: to.max(known.end), acknowledged: true });
        }
    }
}

fn tell(dir: &Path, report: &OpenReport) {
    if let Some(saved) = &report.cut_saved {
        tracing::warn!(
            dir = %dir.display(), bytes = report.cut_bytes, saved = %saved.display(),
            "cut a damaged or unfinished tail off the log's journal"
        );
    }
    for Lost { of, from, to, acknowledged } in &report.lost {
        tracing::warn!(partition = %of, from, to, acknowledged, "records of this range of offsets are gone from the log's tail");
    }
}
