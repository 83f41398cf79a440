//! Room on the disk: how much there is, and which errors mean that there is none.

use crate::log::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Says how many bytes are free for us where a path lies. Handed in, so that tests can fill a disk.
#[derive(Clone)]
pub struct SpaceProbe(Arc<Probe>);

type Probe = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

impl SpaceProbe {
    /// A probe that asks `probe`.
    pub fn new(probe: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }

    pub(super) fn free(&self, path: &Path) -> io::Result<u64> {
        (self.0)(path)
    }
}

impl Default for SpaceProbe {
    /// Asks the file system.
    fn default() -> Self {
        Self::new(|path| {
            let found = rustix::fs::statvfs(path)?;
            Ok(found.f_bavail.saturating_mul(found.f_frsize))
        })
    }
}

impl fmt::Debug for SpaceProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpaceProbe")
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// An IO error as the log's, by what the caller can do; `doing` says what was to be done.
pub(super) fn io_error(doing: &str, error: &io::Error) -> Error {
    let text = format!("{doing}: {error}");
    if is_full(error) { Error::Full(text) } else { Error::Unavailable(text) }
}

/// A store's error as the log's.
pub(super) fn store_error(doing: &str, error: &fjall::Error) -> Error {
    match error {
        fjall::Error::Io(error) => io_error(doing, error),
        fjall::Error::Storage(inner) => match std::error::Error::source(inner).and_then(|it| it.downcast_ref()) {
            Some(error) => io_error(doing, error),
            None => Error::Corrupt(format!("{doing}: {inner}")),
        },
        fjall::Error::Locked => Error::Unavailable(format!("{doing}: another process has it open")),
        fjall::Error::Poisoned => Error::Unavailable(format!("{doing}: an earlier write failed")),
        other => Error::Corrupt(format!("{doing}: {other}")),
    }
}
