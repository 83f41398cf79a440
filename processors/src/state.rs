//! The format in which a partition's fingerprints stand on `.state`.
//!
//! One step writes one record, or several of at most 512 KB when it admitted many; each covers a
//! half-open range of raw offsets, and ranges tile. All numbers are little-endian:
//!
//! ```text
//! "KFST"  version u8 = 1
//! incarnation: length u8, bytes
//! from i64   to i64           raw offsets covered
//! time i64                    the highest raw append time up to `to`, ms
//! horizon u64                 ms before `time` in which every fingerprint still live was admitted
//! base i64                    append time that the entries count from, ms
//! windows: count u16, u64 each, ms
//! entries: count u32, then column by column
//!   fingerprint u128 · payload hash u64 · key hash u32 · append time - base u32 · window's place u16
//! checksum u64                XXH3-64 of all before
//! ```
//!
//! The key hash is murmur2 of the partition key, so that a stream that grows can re-split its state.
//! Formats are read for ever: a new one gets a new version, and a golden file.

use bytes::Bytes;
use events::log::Offset;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"KFST";
const VERSION: u8 = 1;
/// Entries of one record: 34 bytes each, and the head and the windows beside them, under 512 KB.
pub const ENTRIES_MAX: usize = 14_000;
/// Different windows in one record.
const WINDOWS_MAX: usize = 2_000;

/// One admitted event, as dedupe remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// See [`crate::fingerprint`].
    pub fingerprint: u128,
    /// The same.
    pub payload_hash: u64,
    /// murmur2 of the partition key.
    pub key_hash: u32,
    /// Append time of the raw record, ms.
    pub time_ms: i64,
    /// For how long the key is claimed from then on, ms.
    pub window_ms: u64,
}

/// What a state record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The stream's incarnation.
    pub incarnation: String,
    /// First raw offset covered.
    pub from: Offset,
    /// Raw offset past those covered.
    pub to: Offset,
    /// The highest raw append time up to `to`, in ms; 0 if there was no record yet.
    pub time_ms: i64,
    /// Everything still live was admitted less than this many ms before `time_ms`.
    pub horizon_ms: u64,
    /// What was admitted in the range.
    pub entries: Vec<Entry>,
}

/// What all records of one step share.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The stream's incarnation.
    pub incarnation: &'a str,
    /// First raw offset that the step covers.
    pub from: Offset,
    /// Raw offset past it.
    pub to: Offset,
    /// See [`Page::time_ms`].
    pub time_ms: i64,
    /// See [`Page::horizon_ms`].
    pub horizon_ms: u64,
}

/// Packs a step's admissions, each with its raw offset and in their order, into records that tile
/// [from, to). At least one record, also without admissions.
pub fn pack(head: Head<'_>, admitted: &[(Offset, Entry)]) -> Vec<Bytes> {
    let mut records = Vec::new();
    let mut rest = admitted;
    let mut from = head.from;
    loop {
        let taken = fitting(rest);
        let (page, after) = rest.split_at(taken);
        let to = after.first().map_or(head.to, |(offset, _)| *offset);
        records.push(pack_one(Head { from, to, ..head }, page));
        if after.is_empty() {
            return records;
        }
        (from, rest) = (to, after);
    }
}

/// How many of `admitted` one record takes.
fn fitting(admitted: &[(Offset, Entry)]) -> usize {
    let Some((_, first)) = admitted.first() else { return 0 };
    let mut windows: Vec<u64> = Vec::new();
    for (place, (_, entry)) in admitted.iter().enumerate() {
        if !windows.contains(&entry.window_ms) {
            windows.push(entry.window_ms);
        }
        let fits = u32::try_from(entry.time_ms - first.time_ms).is_ok();
        if place == ENTRIES_MAX || windows.len() > WINDOWS_MAX || !fits {
            return place;
        }
    }
    admitted.len()
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by `fitting`")]
fn pack_one(head: Head<'_>, admitted: &[(Offset, Entry)]) -> Bytes {
    let base = admitted.first().map_or(0, |(_, entry)| entry.time_ms);
    let mut windows: Vec<u64> = Vec::new();
    let mut places = Vec::with_capacity(admitted.len());
    for (_, entry) in admitted {
        let known = windows.iter().position(|window| *window == entry.window_ms);
        places.push(known.unwrap_or(windows.len()) as u16);
        if known.is_none() {
            windows.push(entry.window_ms);
        }
    }
    let mut out = Vec::with_capacity(80 + head.incarnation.len() + 8 * windows.len() + 34 * admitted.len());
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    let incarnation = &head.incarnation.as_bytes()[..head.incarnation.len().min(255)];
    out.push(incarnation.len() as u8);
    out.extend_from_slice(incarnation);
    for number in [head.from, head.to, head.time_ms] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&head.horizon_ms.to_le_bytes());
    out.extend_from_slice(&base.to_le_bytes());
    out.extend_from_slice(&(windows.len() as u16).to_le_bytes());
    windows.iter().for_each(|window| out.extend_from_slice(&window.to_le_bytes()));
    out.extend_from_slice(&(admitted.len() as u32).to_le_bytes());
    admitted.iter().for_each(|(_, entry)| out.extend_from_slice(&entry.fingerprint.to_le_bytes()));
    admitted.iter().for_each(|(_, entry)| out.extend_from_slice(&entry.payload_hash.to_le_bytes()));
    admitted.iter().for_each(|(_, entry)| out.extend_from_slice(&entry.key_hash.to_le_bytes()));
    admitted.iter().for_each(|(_, entry)| out.extend_from_slice(&((entry.time_ms - base) as u32).to_le_bytes()));
    places.iter().for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
    let checksum = xxh3_64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.into()
}

/// Reads a state record.
///
/// # Errors
/// One sentence on what is wrong with it.
pub fn unpack(record: &[u8]) -> Result<Page, String> {
    let (body, checksum) = record.split_last_chunk::<8>().ok_or("shorter than its checksum")?;
    if xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return Err("its checksum is wrong".into());
    }
    let mut rest = Cursor(body);
    if rest.take(4)? != MAGIC {
        return Err("it doesn't begin with KFST".into());
    }
    let version = rest.take(1)?[0];
    if version != VERSION {
        return Err(format!("its version is {version}, known is {VERSION}"));
    }
    let length = usize::from(rest.take(1)?[0]);
    let incarnation = String::from_utf8(rest.take(length)?.to_vec()).map_err(|_| "its incarnation is no UTF-8")?;
    let [from, to, time_ms] = [rest.i64()?, rest.i64()?, rest.i64()?];
    let horizon_ms = u64::from_le_bytes(rest.array()?);
    let base = rest.i64()?;
    let windows = u16::from_le_bytes(rest.array()?);
    let windows = (0..windows).map(|_| rest.array().map(u64::from_le_bytes)).collect::<Result<Vec<_>, _>>()?;
    let count = u32::from_le_bytes(rest.array()?) as usize;
    if rest.0.len() != count.saturating_mul(34) {
        return Err(format!("it says {count} entries and holds {} bytes of them", rest.0.len()));
    }
    let (fingerprints, rest) = rest.0.split_at(16 * count);
    let (hashes, rest) = rest.split_at(8 * count);
    let (keys, rest) = rest.split_at(4 * count);
    let (times, places) = rest.split_at(4 * count);
    let entries = columns::<16>(fingerprints)
        .zip(columns::<8>(hashes))
        .zip(columns::<4>(keys).zip(columns::<4>(times)))
        .zip(columns::<2>(places))
        .map(|(((fingerprint, hash), (key, time)), place)| {
            let place = usize::from(u16::from_le_bytes(place));
            Ok(Entry {
                fingerprint: u128::from_le_bytes(fingerprint),
                payload_hash: u64::from_le_bytes(hash),
                key_hash: u32::from_le_bytes(key),
                time_ms: base + i64::from(u32::from_le_bytes(time)),
                window_ms: *windows.get(place).ok_or("an entry names a window that is not there")?,
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    if from > to {
        return Err(format!("its range [{from}, {to}) runs backwards"));
    }
    Ok(Page { incarnation, from, to, time_ms, horizon_ms, entries })
}

fn columns<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*head)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(from: Offset, to: Offset) -> Head<'static> {
        Head { incarnation: "a1b2", from, to, time_ms: 1_700_000_000_000, horizon_ms: 86_400_000 }
    }

    fn entry(number: u64) -> Entry {
        Entry {
            fingerprint: (u128::from(number) << 64) | 7,
            payload_hash: number * 3,
            key_hash: 9,
            time_ms: 1_700_000_000_000 + i64::try_from(number).unwrap(),
            window_ms: if number.is_multiple_of(2) { 86_400_000 } else { 259_200_000 },
        }
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let golden = include_bytes!("../tests/formats/state-v1.bin");
        let page = unpack(golden).unwrap();
        assert_eq!((page.from, page.to, page.incarnation.as_str()), (100, 120, "a1b2"));
        assert_eq!(page.entries, [entry(1), entry(2), entry(3)]);
        let admitted = [(100, entry(1)), (104, entry(2)), (110, entry(3))];
        assert_eq!(pack(head(100, 120), &admitted), [Bytes::from_static(golden)], "and still written so");
    }

    #[test]
    fn a_step_of_many_tiles_its_range_in_records_under_512_kb() {
        let admitted: Vec<_> = (0..40_000).map(|n| (i64::try_from(n).unwrap() * 2, entry(n))).collect();
        let records = pack(head(0, 90_000), &admitted);
        let pages: Vec<_> = records.iter().map(|record| unpack(record).unwrap()).collect();
        assert!(records.len() > 1 && records.iter().all(|record| record.len() <= 512 << 10));
        assert_eq!((pages[0].from, pages[pages.len() - 1].to), (0, 90_000));
        assert!(pages.windows(2).all(|pair| pair[0].to == pair[1].from));
        let entries: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
        assert_eq!(entries, admitted.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>());
        assert_eq!(pack(head(5, 5), &[]).len(), 1, "a step that admitted nothing writes one, too");
    }

    #[test]
    fn a_batch_that_spans_months_is_cut_where_times_no_longer_fit() {
        let late = Entry { time_ms: entry(1).time_ms + (1 << 33), ..entry(2) };
        let pages = pack(head(0, 9), &[(1, entry(1)), (7, late)]);
        assert_eq!(pages.len(), 2);
        assert_eq!(unpack(&pages[1]).unwrap().entries, [late]);
    }

    proptest! {
        #[test]
        fn no_damage_goes_unseen(place in 0usize..200, bit in 0u8..8) {
            let record = pack(head(1, 4), &[(1, entry(1)), (2, entry(2)), (3, entry(3))]).remove(0);
            let mut broken = record.to_vec();
            let place = place % broken.len();
            broken[place] ^= 1 << bit;
            prop_assert!(unpack(&broken).is_err());
            prop_assert!(unpack(&record[..place]).is_err());
        }
    }
}
