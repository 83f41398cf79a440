//! Where the store's files lie: a directory, or whatever a test hands in.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// Files by name, in one place that is this store's alone. A failed call may have done its work in part.
pub trait Files: Send {
    /// Names and lengths in bytes, in any order.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;
    /// Up to `bytes` from `offset` on; fewer only at the file's end.
    fn read(&mut self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;
    /// Writes at `offset`, which is at most the file's length; makes the file if there is none.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Forces a file, and the fact that it is there, onto the disk.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Removes a file; none is no error.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// Name of the file that says that a process has this directory.
const LOCK: &str = "lock";

/// A directory on disk, locked for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    open: HashMap<String, File>,
    /// Files that are new since the directory was last forced onto the disk.
    unlisted: bool,
    _lock: File,
}

impl Directory {
    /// Opens a directory, made if it isn't there.
    ///
    /// # Errors
    /// `WouldBlock` if another client has it; what the operating system says if it can't be made or written.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, open: HashMap::new(), unlisted: true, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file, opened once.
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if !self.open.contains_key(name) {
            let path = self.path.join(name);
            self.unlisted |= !path.exists();
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
            self.open.insert(name.to_owned(), file);
        }
        self.open.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for Directory {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if let (true, Ok(name)) = (data.is_file(), entry.file_name().into_string()) {
                names.push((name, data.len()));
            }
        }
        names.retain(|(name, _)| name != LOCK);
        Ok(names)
    }

    fn read(&mut self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.file(name)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut read = Vec::with_capacity(bytes);
        io::Read::by_ref(file).take(bytes as u64).read_to_end(&mut read)?;
        Ok(read)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()?;
        if self.unlisted {
            // A directory can't be opened as a file everywhere; where it can't, names are as safe as that system makes
            // them.
            if let Ok(directory) = File::open(&self.path) {
                let _ = directory.sync_all();
            }
            self.unlisted = false;
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.remove(name);
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Directory::open(dir.path().join("new/one")).unwrap();
        assert_eq!(Directory::open(dir.path().join("new/one")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        first.write("a", 0, b"hello").unwrap();
        first.sync("a").unwrap();
        assert_eq!(first.read("a", 1, 100).unwrap(), b"ello");
        first.truncate("a", 2).unwrap();
        assert_eq!(first.list().unwrap(), [("a".to_owned(), 2)]);
        drop(first);
        let mut second = Directory::open(dir.path().join("new/one")).unwrap();
        assert_eq!(second.read("a", 0, 100).unwrap(), b"he");
        second.remove("a").unwrap();
        second.remove("a").unwrap();
        assert_eq!(second.list().unwrap(), []);
    }
}
