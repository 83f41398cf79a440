//! Where claims go when memory ends: sorted files in a scratch directory, a segment for each time
//! that a table had to give way.
//!
//! A segment is a fjall keyspace, written once in fingerprint order (16 bytes, big-endian) with
//! payload hash and expiry as value; its bloom filters answer for keys that it doesn't hold. The
//! claims that expire first are moved first, so a segment is dropped whole when its last claim has
//! expired. All of it is a cache: the directory is emptied at start, and what was in it is read
//! from the log again. Nothing is ever forgotten to make room; a disk that fails stops the step.

use crate::error::Error;
use crate::window::Claim;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory for blocks read from disk, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// The scratch directory of one process. Nothing is created before the first spill.
pub struct Scratch {
    dir: PathBuf,
    open: Mutex<Option<Database>>,
    named: AtomicU64,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "scratch directory {}", self.dir.display())
    }
}

impl Scratch {
    /// In `dir`, which belongs to this process alone and is emptied now.
    ///
    /// # Errors
    /// If what an earlier process left there can't be removed.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Arc<Self>, Error> {
        let dir = dir.into();
        match std::fs::remove_dir_all(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Spill(format!("emptying {}: {error}", dir.display()))),
        }
        Ok(Arc::new(Self { dir, open: Mutex::new(None), named: AtomicU64::new(0) }))
    }

    fn database(&self) -> Result<Database, Error> {
        let mut open = self.open.lock();
        if let Some(database) = &*open {
            return Ok(database.clone());
        }
        std::fs::create_dir_all(&self.dir).map_err(|error| self.failed(&error))?;
        let database =
            Database::builder(&self.dir).cache_size(CACHE_BYTES).open().map_err(|error| self.failed(&error))?;
        Ok(open.insert(database).clone())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Spill(format!("{}: {error}", self.dir.display()))
    }
}

/// What one table has on disk.
pub(crate) struct Spilled {
    name: String,
    scratch: Arc<Scratch>,
    segments: Vec<Segment>,
}

struct Segment {
    database: Database,
    keyspace: Keyspace,
    expires_last_ms: i64,
    claims: usize,
}

impl std::fmt::Debug for Spilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} segments of {} claims", self.segments.len(), self.len())
    }
}

impl Spilled {
    pub(crate) fn new(name: &str, scratch: Arc<Scratch>) -> Self {
        let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Self { name, scratch, segments: Vec::new() }
    }

    /// Claims on disk.
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.claims).sum()
    }

    /// The claim on this key that holds at `now_ms`.
    #[inline]
    pub(crate) fn find(&self, fingerprint: u128, now_ms: i64) -> Result<Option<Claim>, Error> {
        if self.segments.is_empty() {
            return Ok(None);
        }
        self.find_on_disk(fingerprint, now_ms)
    }

    #[cold]
    fn find_on_disk(&self, fingerprint: u128, now_ms: i64) -> Result<Option<Claim>, Error> {
        let key = fingerprint.to_be_bytes();
        for segment in self.segments.iter().filter(|segment| segment.expires_last_ms > now_ms) {
            let Some(value) = segment.keyspace.get(key).map_err(|error| self.scratch.failed(&error))? else { continue };
            let (Some(hash), Some(expires)) = (value.first_chunk(), value.last_chunk()) else {
                return Err(self.scratch.failed(&"a claim of the wrong size"));
            };
            let claim = Claim {
                fingerprint,
                payload_hash: u64::from_be_bytes(*hash),
                expires_ms: i64::from_be_bytes(*expires),
            };
            if claim.expires_ms > now_ms {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    /// Writes a segment of these claims: each part sorted, and part after part.
    pub(crate) fn add(&mut self, parts: impl Iterator<Item = Vec<Claim>>) -> Result<(), Error> {
        let number = self.scratch.named.fetch_add(1, Ordering::Relaxed);
        let database = self.scratch.database()?;
        let failed = |error: fjall::Error| self.scratch.failed(&error);
        let name = format!("{}_{number}", self.name);
        let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default).map_err(failed)?;
        let (mut expires_last_ms, mut claims) = (i64::MIN, 0);
        let mut ingestion = keyspace.start_ingestion().map_err(failed)?;
        for claim in parts.flatten() {
            let mut value = [0; 16];
            value[..8].copy_from_slice(&claim.payload_hash.to_be_bytes());
            value[8..].copy_from_slice(&claim.expires_ms.to_be_bytes());
            ingestion.write(claim.fingerprint.to_be_bytes(), value).map_err(failed)?;
            expires_last_ms = expires_last_ms.max(claim.expires_ms);
            claims += 1;
        }
        ingestion.finish().map_err(failed)?;
        tracing::info!(partition = self.name, claims, "fingerprints moved to disk: memory limit reached");
        self.segments.push(Segment { database, keyspace, expires_last_ms, claims });
        Ok(())
    }

    /// Drops the segments in which nothing holds any more.
    pub(crate) fn expire(&mut self, now_ms: i64) -> Result<(), Error> {
        let mut failed = Ok(());
        self.segments.retain(|segment| {
            let holds = segment.expires_last_ms > now_ms;
            if !holds {
                failed = segment.drop_files().map_err(|error| self.scratch.failed(&error));
            }
            holds
        });
        failed
    }
}

impl Segment {
    fn drop_files(&self) -> fjall::Result<()> {
        self.database.delete_keyspace(self.keyspace.clone())
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        for segment in &self.segments {
            if let Err(error) = segment.drop_files() {
                tracing::warn!(%error, "a segment of fingerprints could not be removed; the next start empties its directory");
            }
        }
    }
}
