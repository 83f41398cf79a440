//! A small file beside the store that knows, whatever happens to the store's tail, where each
//! partition stood: so that no offset is given twice, and what was lost can be named.
//!
//! Two copies, `ends.a` and `ends.b`, are written in turn and fsynced, each under a checksum: a
//! torn write leaves the other one. Offsets are reserved in blocks before any is given; the ends are
//! those of acknowledged records, at most a second old while the log is open, exact once it is closed.

use crate::log::{Error, Offset, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a copy's length is a multiple of, in bytes.
const BLOCK: usize = 4_096;

/// What is known of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Below it, records are acknowledged (if there are any from the next one's on).
    pub(super) end: Offset,
    /// No offset at or above it was ever given.
    pub(super) reserved: Offset,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ends {
    /// Grows with each write; the copy with the higher one counts.
    written: u64,
    /// How often the log was opened.
    pub(super) opened: u32,
    /// Whether the log was closed after this was written.
    pub(super) closed: bool,
    /// By `topic/partition`.
    pub(super) partitions: BTreeMap<String, Known>,
}

/// The two copies.
#[derive(Debug)]
pub(super) struct EndsFile {
    paths: [PathBuf; 2],
    pub(super) ends: Ends,
}

impl EndsFile {
    /// Reads the newer copy that is whole, or starts anew where there is none.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let paths = [dir.join("ends.a"), dir.join("ends.b")];
        let mut found: Vec<Ends> = Vec::new();
        let mut torn = 0;
        for path in &paths {
            match fs::read(path) {
                Ok(bytes) => match parse(&bytes) {
                    Some(ends) => found.push(ends),
                    None => torn += 1,
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::Unavailable(format!("{}: {error}", path.display()))),
            }
        }
        if found.is_empty() && torn == 2 {
            let path = paths[0].display();
            return Err(Error::Corrupt(format!(
                "neither copy of {path} can be read: which offsets were given is unknown"
            )));
        }
        let ends = found.into_iter().max_by_key(|ends| ends.written).unwrap_or_default();
        Ok(Self { paths, ends })
    }

    /// Writes the older copy anew; if that fails, the newer one still stands, and is kept next time.
    ///
    /// The copy is padded to whole blocks, so that it mostly stays as long as it is: then its sync
    /// need not wait for the file system's journal, which would wait for others' data.
    pub(super) fn write(&mut self) -> std::io::Result<()> {
        let next = Ends { written: self.ends.written + 1, ..self.ends.clone() };
        let json = serde_json::to_string(&next)?;
        let sum = xxhash_rust::xxh3::xxh3_64(json.as_bytes());
        let path = &self.paths[usize::from(next.written.is_multiple_of(2))];
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let had = file.metadata()?.len();
        let mut text = format!("{sum:016x}\n{json}").into_bytes();
        let length = text.len().next_multiple_of(BLOCK).max(usize::try_from(had).unwrap_or(0));
        text.resize(length, b' ');
        file.write_all_at(&text, 0)?;
        if had == text.len() as u64 {
            file.sync_data()?
        } else {
            file.sync_all()?
        }
        self.ends = next;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Option<Ends> {
    let (sum, text) = bytes.trim_ascii_end().split_at_checked(17)?;
    let sum = u64::from_str_radix(std::str::from_utf8(&sum[..16]).ok()?, 16).ok()?;
    (sum == xxhash_rust::xxh3::xxh3_64(text)).then(|| serde_json::from_slice(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_copy_leaves_the_other_and_two_torn_ones_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = EndsFile::open(dir.path()).unwrap();
        assert_eq!(file.ends, Ends::default());
        for end in 1..=3 {
            file.ends.partitions.insert("events.raw/0".into(), Known { end, reserved: 100 });
            file.write().unwrap();
        }
        let newest = &file.paths[usize::from(file.ends.written.is_multiple_of(2))];
        assert_eq!(EndsFile::open(dir.path()).unwrap().ends.partitions["events.raw/0"].end, 3);
        fs::write(newest, b"torn").unwrap();
        assert_eq!(EndsFile::open(dir.path()).unwrap().ends.partitions["events.raw/0"].end, 2);
        let whole = fs::read_to_string(&file.paths[usize::from(!file.ends.written.is_multiple_of(2))]).unwrap();
        fs::write(newest, whole.replace("\"end\":2", "\"end\":9").replace("\"written\":2", "\"written\":9")).unwrap();
        let found = EndsFile::open(dir.path()).unwrap().ends.partitions["events.raw/0"].end;
        assert_eq!(found, 2, "a copy that reads well and has another checksum");
        for path in &file.paths {
            fs::write(path, b"torn").unwrap();
        }
        assert!(matches!(EndsFile::open(dir.path()), Err(Error::Corrupt(_))));
    }
}
