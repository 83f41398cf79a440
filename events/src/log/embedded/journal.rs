//! Looks the store's journals over before the store does, so that a damaged tail is cut with its
//! bytes kept and its records named, and never silently.
//!
//! The layout is fjall 3's: batches of a start (tag 1, count u32, sequence number u64), items (tag 2,
//! type u8, compression u8, keyspace u64, lengths u16 u32 u32, key, value) or clears (tag 4, keyspace
//! u64), and an end (tag 3, XXH3-64 of the items, trailer); integers are little-endian. Behind the last
//! batch lie zeros, since files are made 64 MiB long.

use super::packed::{self, Chunk, Place};
use crate::log::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const TRAILER: &[u8] = b"FJL\x03";
/// Bytes of an item before its key.
const ITEM_HEAD: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;

/// A tail that was cut off.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Bytes up to the last that is not zero.
    pub(super) bytes: u64,
    /// Where they were saved.
    pub(super) saved: PathBuf,
    /// The chunks of records whose keys can be made out in them.
    pub(super) chunks: Vec<(Place, Chunk)>,
}

/// Checks every journal of the store in `dir`; cuts the newest one's damaged tail, and saves what it
/// cuts in `lost`. Damage in an older one is an error: what follows it stands, so a hole would stay.
pub(super) fn check(dir: &Path, lost: &Path) -> Result<Option<Cut>> {
    let failed = |path: &Path, error: std::io::Error| Error::Unavailable(format!("{}: {error}", path.display()));
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    if !dir.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort_unstable();
    let Some((_, newest)) = journals.pop() else { return Ok(None) };
    for (_, path) in &journals {
        let bytes = fs::read(path).map_err(|error| failed(path, error))?;
        let valid = valid_prefix(&bytes);
        if !is_blank(&bytes[valid..]) {
            return Err(Error::Corrupt(format!(
                "journal {} is damaged from byte {valid} on, and newer journals follow it: restore it from a backup, \
                 or move it away to accept the loss",
                path.display()
            )));
        }
    }
    let bytes = fs::read(&newest).map_err(|error| failed(&newest, error))?;
    let valid = valid_prefix(&bytes);
    let tail = &bytes[valid..];
    if is_blank(tail) {
        return Ok(None);
    }
    let tail = &tail[..tail.len() - tail.iter().rev().take_while(|byte| **byte == 0).count()];
    let saved = save(&newest, valid, tail, lost).map_err(|error| failed(lost, error))?;
    Ok(Some(Cut { bytes: tail.len() as u64, saved, chunks: recognise(tail) }))
}

fn save(journal: &Path, valid: usize, tail: &[u8], lost: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(lost)?;
    let name = journal.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let saved = (0..).map(|n| lost.join(format!("{name}-{valid}-{n}.bytes"))).find(|path| !path.exists());
    let saved = saved.unwrap_or_else(|| lost.join(name));
    fs::write(&saved, tail)?;
    let file = fs::OpenOptions::new().write(true).open(journal)?;
    file.set_len(valid as u64)?;
    file.sync_all()?;
    Ok(saved)
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// How many bytes from the start on are whole, sound batches.
fn valid_prefix(bytes: &[u8]) -> usize {
    let mut valid = 0;
    while let Some(end) = batch(bytes, valid) {
        valid = end;
    }
    valid
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The end of the sound batch that begins at `at`.
fn batch(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != 1 {
        return None;
    }
    let count = u32::from_le_bytes(number(bytes, at + 1)?);
    let first = at + 13;
    let mut here = first;
    for _ in 0..count {
        here = match bytes.get(here)? {
            2 => item(bytes, here)?,
            4 => here + 9,
            _ => return None,
        };
    }
    let sound = *bytes.get(here)? == 3
        && u64::from_le_bytes(number(bytes, here + 1)?) == xxh3_64(bytes.get(first..here)?)
        && bytes.get(here + 9..here + 13)? == TRAILER;
    sound.then_some(here + 13)
}

/// The end of the item that begins at `at`.
fn item(bytes: &[u8], at: usize) -> Option<usize> {
    let key_len = usize::from(u16::from_le_bytes(number(bytes, at + 11)?));
    let value_len = usize::try_from(u32::from_le_bytes(number(bytes, at + 17)?)).ok()?;
    (at + ITEM_HEAD + key_len).checked_add(value_len).filter(|end| *end <= bytes.len())
}

/// Finds the keys of records in bytes that can't be walked: an item's head, then a key that parses.
fn recognise(bytes: &[u8]) -> Vec<(Place, Chunk)> {
    let mut found = Vec::new();
    for at in memchr::memchr_iter(2, bytes) {
        let Some(length) = number(bytes, at + 11).map(|length| usize::from(u16::from_le_bytes(length))) else { break };
        let key = bytes.get(at + ITEM_HEAD..at + ITEM_HEAD + length);
        found.extend(key.and_then(packed::parse_key).filter(|(_, chunk)| chunk.base >= 0 && chunk.time_ms >= 0));
    }
    found
}
