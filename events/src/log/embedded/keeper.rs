//! Keeps the file of ends, on a thread of its own: the writer never waits for that file's sync, but
//! where a partition's reserve is used up, which asking in time prevents.

use super::Core;
use super::ends::{EndsFile, Known};
use crate::log::Offset;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Offsets reserved at once for a partition; the next ones are asked for when half of them are given.
pub(super) const RESERVE: Offset = 1 << 17;
/// How old the file of ends may get.
const ENDS_EVERY: Duration = Duration::from_secs(1);

/// What the thread is asked for.
#[derive(Debug, Default)]
struct Demand {
    /// Whether an end has moved since the last write.
    moved: bool,
    /// Writes asked for, and those of them that are through.
    asked: u64,
    done: u64,
    /// What became of the last write.
    failed: Option<io::ErrorKind>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Desk {
    demand: Mutex<Demand>,
    changed: Condvar,
}

/// The thread, and how to ask it.
#[derive(Debug)]
pub(super) struct Keeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<EndsFile>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl Keeper {
    pub(super) fn start(core: Arc<Core>, file: EndsFile) -> io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let asked = desk.clone();
        let thread = std::thread::Builder::new().name("log-ends".into()).spawn(move || keep(&core, &asked, file))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Ends have moved; the file may be a second behind.
    pub(super) fn moved(&self) {
        self.desk.demand.lock().moved = true;
    }

    /// Asks for a write, without waiting for it.
    pub(super) fn soon(&self) {
        self.desk.demand.lock().asked += 1;
        self.desk.changed.notify_all();
    }

    /// Writes, and waits until that is through.
    ///
    /// # Errors
    /// If the file could not be written: nothing was reserved.
    pub(super) fn now(&self) -> io::Result<()> {
        let mut demand = self.desk.demand.lock();
        demand.asked += 1;
        let mine = demand.asked;
        self.desk.changed.notify_all();
        while demand.done < mine && !demand.stop {
            self.desk.changed.wait(&mut demand);
        }
        match demand.failed {
            None if demand.done >= mine => Ok(()),
            Some(kind) => Err(kind.into()),
            None => Err(io::Error::other("the keeper of the file of ends has stopped")),
        }
    }

    /// Ends the thread and gives the file back; `None` if the thread had panicked or was stopped.
    pub(super) fn stop(&mut self) -> Option<EndsFile> {
        self.desk.demand.lock().stop = true;
        self.desk.changed.notify_all();
        self.thread.take()?.join().ok()
    }
}

/// Says on a panic, too, that nobody writes any more.
struct Stopped<'a>(&'a Desk);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.demand.lock().stop = true;
        self.0.changed.notify_all();
    }
}

fn keep(core: &Core, desk: &Desk, mut file: EndsFile) -> EndsFile {
    let _stopped = Stopped(desk);
    loop {
        let asked = {
            let mut demand = desk.demand.lock();
            while !demand.stop && demand.asked == demand.done {
                let timed_out = desk.changed.wait_for(&mut demand, ENDS_EVERY).timed_out();
                if timed_out && demand.moved {
                    break;
                }
            }
            if demand.stop {
                return file;
            }
            demand.moved = false;
            demand.asked
        };
        let written = write(core, &mut file);
        if let Err(error) = &written {
            tracing::warn!(%error, "the file of ends was not written; trying again");
        }
        let mut demand = desk.demand.lock();
        demand.moved |= written.is_err();
        demand.failed = written.err().map(|error| error.kind());
        demand.done = asked;
        drop(demand);
        desk.changed.notify_all();
    }
}

/// Writes where partitions stand and what they need reserved; once that is on disk, they have it.
fn write(core: &Core, file: &mut EndsFile) -> io::Result<()> {
    let known: Vec<_> = {
        let state = core.state.read();
        let known = |partition: &super::state::PartitionState| Known {
            end: partition.end,
            reserved: partition.reserved.max(partition.needed),
        };
        state.partitions.iter().map(|(of, partition)| (of.clone(), known(partition))).collect()
    };
    file.ends.partitions = known.iter().map(|(of, known)| (of.to_string(), *known)).collect();
    file.ends.closed = false;
    file.write()?;
    let mut state = core.state.write();
    for (of, known) in known {
        if let Some(partition) = state.partitions.get_mut(&of) {
            partition.reserved = partition.reserved.max(known.reserved);
        }
    }
    Ok(())
}

/// The last write: nothing is reserved any more, and all that was given is known.
pub(super) fn close(core: &Core, mut file: EndsFile, synced: bool) -> io::Result<()> {
    let state = core.state.read();
    let known = |partition: &super::state::PartitionState| Known {
        end: partition.end,
        reserved: if synced { partition.next } else { partition.reserved },
    };
    file.ends.partitions = state.partitions.iter().map(|(of, partition)| (of.to_string(), known(partition))).collect();
    drop(state);
    file.ends.closed = synced;
    file.write()
}
