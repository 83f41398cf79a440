//! Reads a segment from front to back, a good piece at a time.

use super::files::Files;
use super::record;
use std::io;

/// Read at once, in bytes.
const READ: usize = 64 << 10;

/// What was read ahead of a place in a segment.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Where the place is in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// Where the place is in the buffer.
    at: usize,
}

impl Ahead {
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.at = (self.at + bytes).min(self.buffer.len());
    }

    /// `bytes` from `from` on, counted from the place; fewer if they were not read.
    pub(super) fn get(&self, from: usize, bytes: usize) -> &[u8] {
        let start = (self.at + from).min(self.buffer.len());
        &self.buffer[start..(start + bytes).min(self.buffer.len())]
    }

    /// Reads until the record at the place is there as a whole: the length of its payload. `None` if there is none, or
    /// none that is sound as the record of this index.
    pub(super) fn record(
        &mut self,
        files: &mut dyn Files,
        name: &str,
        file_bytes: u64,
        index: u64,
    ) -> io::Result<Option<usize>> {
        if !self.have(files, name, file_bytes, record::HEAD)? {
            return Ok(None);
        }
        let Some(length) = record::payload_length(self.get(0, record::HEAD)) else { return Ok(None) };
        if !self.have(files, name, file_bytes, record::HEAD + length)? {
            return Ok(None);
        }
        let sound = record::is_sound(index, self.get(0, record::HEAD), self.get(record::HEAD, length));
        Ok(sound.then_some(length))
    }

    /// Sees that so many bytes from the place on are there: whether the file has them.
    fn have(&mut self, files: &mut dyn Files, name: &str, file_bytes: u64, bytes: usize) -> io::Result<bool> {
        if self.offset + bytes as u64 > file_bytes {
            return Ok(false);
        }
        if self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.at = 0;
            let from = self.offset + self.buffer.len() as u64;
            let left = usize::try_from(file_bytes - from).unwrap_or(usize::MAX);
            self.buffer.extend_from_slice(&files.read(name, from, READ.max(bytes).min(left))?);
        }
        Ok(self.buffer.len() - self.at >= bytes)
    }
}
