//! Files in memory: a crash loses what was not forced down, in part or whole; a full disk takes a part of a write; bits
//! rot.

use crate::store::Files;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
struct File {
    /// As the operating system shows it.
    now: Vec<u8>,
    /// As it stood when it was last forced down; `None` if it never was.
    synced: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Bytes that all files may have together.
    room: Option<usize>,
}

/// Files that may be shared with the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnsafeFiles(Arc<Mutex<State>>);

impl UnsafeFiles {
    /// From now on no file grows.
    pub(crate) fn fill_up(&self) {
        let mut state = self.0.lock();
        state.room = Some(state.files.values().map(|file| file.now.len()).sum());
    }

    /// The same, with so many bytes left.
    pub(crate) fn fill_up_to(&self, left: usize) {
        self.fill_up();
        if let Some(room) = &mut self.0.lock().room {
            *room += left;
        }
    }

    pub(crate) fn make_room(&self) {
        self.0.lock().room = None;
    }

    /// The power goes. `keep` says of each file that was not forced down how much of the difference is there (0 none,
    /// 255 all).
    pub(crate) fn crash(&self, keep: u8) {
        for file in self.0.lock().files.values_mut() {
            let synced = file.synced.clone().unwrap_or_default();
            let now = std::mem::replace(&mut file.now, synced);
            if file.now.len() < now.len() {
                // An appended end, of which a part arrived.
                let kept = (now.len() - file.now.len()) * usize::from(keep) / 255;
                let from = file.now.len();
                file.now.extend_from_slice(&now[from..from + kept]);
            } else if keep >= 128 {
                file.now = now;
            }
            file.synced = Some(file.now.clone());
        }
    }

    /// Cuts the last file of this ending.
    pub(crate) fn cut_last(&self, ending: &str, bytes: usize) {
        let mut state = self.0.lock();
        if let Some((_, file)) = state.files.iter_mut().rfind(|(name, _)| name.ends_with(ending)) {
            let length = file.now.len().saturating_sub(bytes);
            file.now.truncate(length);
        }
    }

    /// Turns a bit of the first file of this ending.
    pub(crate) fn flip_first(&self, ending: &str, at: usize) {
        let mut state = self.0.lock();
        if let Some((_, file)) = state.files.iter_mut().find(|(name, _)| name.ends_with(ending)) {
            file.now[at] ^= 1;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().files.iter().filter(|(name, _)| name.ends_with(".kfq")).map(|(_, file)| file.now.len()).sum()
    }
}

impl Files for UnsafeFiles {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.0.lock().files.iter().map(|(name, file)| (name.clone(), file.now.len() as u64)).collect())
    }

    fn read(&mut self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        let file = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap().min(file.now.len());
        Ok(file.now[from..(from + bytes).min(file.now.len())].to_vec())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let used: usize = state.files.values().map(|file| file.now.len()).sum();
        let room = state.room.map_or(usize::MAX, |room| room.saturating_sub(used));
        let file = state.files.entry(name.to_owned()).or_default();
        let offset = usize::try_from(offset).unwrap();
        assert!(offset <= file.now.len(), "a hole in {name}");
        let grows = (offset + bytes.len()).saturating_sub(file.now.len());
        let written = if grows > room { bytes.len() - (grows - room) } else { bytes.len() };
        let over = written.min(file.now.len() - offset);
        file.now[offset..offset + over].copy_from_slice(&bytes[..over]);
        file.now.extend_from_slice(&bytes[over..written]);
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.now.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.synced = Some(file.now.clone());
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.lock().files.remove(name);
        Ok(())
    }
}
