//! The session that is under way, so that the next start can end it if this process doesn't.

use super::DiskQueue;
use std::io;

/// The file: a checksum, a length, and a few bytes of text. It is written over, never grown.
const NAME: &str = "session";
/// Bytes of the file.
const BYTES: usize = 512;

impl DiskQueue {
    /// What was last kept, if it is sound.
    pub fn session(&mut self) -> Option<String> {
        let bytes = self.files.read(NAME, 0, BYTES).ok()?;
        let (crc, rest) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
            return None;
        }
        let (length, text) = rest.split_first_chunk()?;
        String::from_utf8(text.get(..usize::from(u16::from_le_bytes(*length)))?.to_vec()).ok().filter(|t| !t.is_empty())
    }

    /// Keeps a text of at most 506 bytes; an empty one for none.
    ///
    /// # Errors
    /// What writing says.
    pub fn set_session(&mut self, text: &str) -> io::Result<()> {
        let mut bytes = vec![0; BYTES];
        let room = bytes.get_mut(6..6 + text.len()).ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(text.as_bytes());
        let length = u16::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        bytes[4..6].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.files.write(NAME, 0, &bytes)
    }
}
