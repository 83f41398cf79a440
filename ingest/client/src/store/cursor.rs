//! How far the store's events have come: two slots in one small file, written in turn, over what is there. So it needs
//! no room on a full disk, and a torn write leaves the slot before.

use super::files::Files;
use std::collections::BTreeSet;
use std::io;

/// The file.
pub(super) const NAME: &str = "cursor";
/// Bytes of a slot.
const SLOT: usize = 2048;
/// Bytes before the bits.
const FIXED: usize = 4 + 8 * 4 + 2;
/// Bits that a slot holds: acknowledged events beyond the first that isn't.
const BITS_MAX: u64 = 10_000;

/// What is known about the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Counts the writes; the slot with the higher one stands.
    pub(super) generation: u64,
    /// All events before this index are done with.
    pub(super) done_below: u64,
    /// Events at or after `done_below` that are done with, too.
    pub(super) done: BTreeSet<u64>,
    /// Events before this index may have been sent, and have no answer.
    pub(super) sent_below: u64,
    /// When the first of them was, in microseconds by the local wall clock.
    pub(super) sent_us: i64,
}

impl Cursor {
    /// The newest of the two slots; the beginning of everything if there is none.
    pub(super) fn open(files: &mut dyn Files) -> io::Result<Self> {
        let bytes = match files.read(NAME, 0, 2 * SLOT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let newest = bytes.chunks_exact(SLOT).filter_map(Self::read).max_by_key(|cursor| cursor.generation);
        Ok(newest.unwrap_or_default())
    }

    /// Makes both slots, so that later writes need no room.
    pub(super) fn reserve(&mut self, files: &mut dyn Files) -> io::Result<()> {
        self.write(files)?;
        self.write(files)
    }

    /// Writes the next generation.
    pub(super) fn write(&mut self, files: &mut dyn Files) -> io::Result<()> {
        self.generation += 1;
        let mut slot = vec![0; SLOT];
        let mut bits = 0;
        for index in self.done.range(self.done_below..self.done_below + BITS_MAX) {
            let bit = usize::try_from(index - self.done_below).unwrap_or(0);
            slot[FIXED + bit / 8] |= 1 << (bit % 8);
            bits = bit + 1;
        }
        let numbers = [self.generation, self.done_below, self.sent_below, self.sent_us.cast_unsigned()];
        for (place, number) in slot[4..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        slot[36..38].copy_from_slice(&u16::try_from(bits).unwrap_or(0).to_le_bytes());
        let crc = crc32fast::hash(&slot[4..]);
        slot[..4].copy_from_slice(&crc.to_le_bytes());
        // The first write of all fills the first slot, so that a file never has a hole.
        let place = if self.generation % 2 == 1 { 0 } else { SLOT };
        files.write(NAME, place as u64, &slot)
    }

    fn read(slot: &[u8]) -> Option<Self> {
        let (crc, rest) = slot.split_first_chunk()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
            return None;
        }
        let number = |place: usize| rest.get(place * 8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let done_below = number(1)?;
        let bits = u16::from_le_bytes(*rest.get(32..)?.first_chunk()?);
        let is_set =
            |bit: &u16| slot.get(FIXED + usize::from(*bit / 8)).is_some_and(|byte| byte & (1 << (bit % 8)) != 0);
        Some(Self {
            generation: number(0)?,
            done_below,
            done: (0..bits).filter(is_set).map(|bit| done_below + u64::from(bit)).collect(),
            sent_below: number(2)?,
            sent_us: number(3)?.cast_signed(),
        })
    }
}
