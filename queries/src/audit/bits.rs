//! A set of offsets: one bit each, in chunks that exist only where there are members.

use std::collections::HashMap;

/// Offsets of one chunk.
const CHUNK: i64 = 1 << 16;
const WORDS: usize = 1 << 10;
/// Bytes that a chunk takes.
pub(crate) const CHUNK_BYTES: u64 = (WORDS * 8) as u64;
/// Offsets of a chunk.
pub(crate) const CHUNK_OFFSETS: u64 = CHUNK.unsigned_abs();

/// A set of offsets of 0 and more.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    chunks: HashMap<i64, Box<[u64; WORDS]>>,
    count: u64,
}

impl Bits {
    /// Adds an offset; whether it was new.
    pub(crate) fn insert(&mut self, offset: i64) -> bool {
        let chunk = self.chunks.entry(offset.div_euclid(CHUNK)).or_insert_with(|| Box::new([0; WORDS]));
        let within = offset.rem_euclid(CHUNK).unsigned_abs();
        let (word, bit) = (usize::try_from(within / 64).unwrap_or(0), 1_u64 << (within % 64));
        let is_new = chunk[word] & bit == 0;
        chunk[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    /// Whether it has this offset.
    pub(crate) fn contains(&self, offset: i64) -> bool {
        self.count(offset, offset.saturating_add(1)) == 1
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> u64 {
        self.count
    }

    /// How many there are in [from, to).
    pub(crate) fn count(&self, from: i64, to: i64) -> u64 {
        let mut count = 0;
        let mut at = from.max(0);
        while at < to {
            let number = at.div_euclid(CHUNK);
            let end = ((number + 1) * CHUNK).min(to);
            if let Some(chunk) = self.chunks.get(&number) {
                count += in_chunk(chunk, at - number * CHUNK, end - number * CHUNK);
            }
            at = end;
        }
        count
    }
}

fn in_chunk(chunk: &[u64; WORDS], from: i64, to: i64) -> u64 {
    let (from, to) = (from.unsigned_abs(), to.unsigned_abs());
    let mut count = 0;
    let mut at = from;
    while at < to {
        let end = (at / 64 * 64 + 64).min(to);
        let width = end - at;
        let mask = if width == 64 { u64::MAX } else { ((1_u64 << width) - 1) << (at % 64) };
        let word = usize::try_from(at / 64).map_or(0, |word| chunk[word]);
        count += u64::from((word & mask).count_ones());
        at = end;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_put_in() {
        let mut bits = Bits::default();
        let members = [0, 1, 63, 64, 127, 128, 65_535, 65_536, 200_000, 10_000_000];
        for offset in members {
            assert!(bits.insert(offset));
            assert!(!bits.insert(offset));
        }
        assert_eq!(bits.len(), 10);
        let borders = [0, 1, 2, 63, 64, 65, 128, 129, 65_535, 65_536, 65_537, 200_001, 10_000_001];
        for from in borders {
            for to in borders {
                let expected = members.iter().filter(|member| (from..to).contains(*member)).count() as u64;
                assert_eq!(bits.count(from, to), expected, "[{from}, {to})");
            }
        }
    }
}
