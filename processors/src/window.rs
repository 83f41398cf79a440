//! The table of fingerprints of one partition: who holds a key, and until when.
//!
//! An open-addressing table, cut into [`SHARDS`] by the fingerprint's top bits so that growing
//! never stops the world, at 33 bytes a bucket. Time is append time and nothing else: a claim made
//! at t with window w holds for records appended before t + w. Claims past that are swept out a few
//! buckets at a time, as others come in. Past the [`Budget`] the claims that expire first go to
//! disk ([`crate::spill`]); they are found there all the same.

use crate::error::Error;
use crate::spill::{Scratch, Spilled};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts of one table.
pub const SHARDS: usize = 256;
/// Buckets looked at for expired claims with each admission: a round over a table takes fewer
/// admissions than a quarter of its size.
const SWEPT_PER_ADMISSION: usize = 4;
/// A table below this size is not worth a file.
const SPILL_BYTES_MIN: usize = 1 << 20;

/// One claimed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// See [`crate::fingerprint`].
    pub fingerprint: u128,
    /// The same.
    pub payload_hash: u64,
    /// Append time from which on the key is free again, ms.
    pub expires_ms: i64,
}

/// What the table says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key was free; it is claimed now.
    Admitted,
    /// Claimed, with the same payload.
    Duplicate,
    /// Claimed, with another payload.
    Conflict,
}

/// Memory that the tables of one process share.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Budget {
    /// Of `bytes_max` in all.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0) })
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn is_exceeded(&self) -> bool {
        self.bytes() > self.bytes_max
    }
}

/// The table.
#[derive(Debug)]
pub struct Window {
    shards: Box<[HashTable<Claim>]>,
    seed: [u64; 2],
    swept: (usize, usize),
    budget: Arc<Budget>,
    counted_bytes: usize,
    spilled: Spilled,
}

impl Window {
    /// An empty one, of the partition called `name`.
    pub fn new(name: &str, budget: Arc<Budget>, scratch: Arc<Scratch>) -> Self {
        let seed = std::array::from_fn(|_| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(name)
        });
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        let spilled = Spilled::new(name, scratch);
        Self { shards, seed, swept: (0, 0), budget, counted_bytes: 0, spilled }
    }

    /// Claims a key for an event appended at `now_ms`, if it is free.
    ///
    /// # Errors
    /// If claims on disk can't be read.
    #[inline]
    pub fn admit(&mut self, claim: Claim, now_ms: i64) -> Result<Verdict, Error> {
        let seed = self.seed;
        let shard = &mut self.shards[shard_of(claim.fingerprint)];
        let hash = hash_of(seed, claim.fingerprint);
        let found =
            shard.entry(hash, |held| held.fingerprint == claim.fingerprint, |held| hash_of(seed, held.fingerprint));
        match found {
            Entry::Occupied(held) if held.get().expires_ms > now_ms => return Ok(told_apart(held.get(), &claim)),
            Entry::Occupied(mut expired) => *expired.get_mut() = claim,
            Entry::Vacant(free) => {
                if let Some(held) = self.spilled.find(claim.fingerprint, now_ms)? {
                    return Ok(told_apart(&held, &claim));
                }
                free.insert(claim);
            }
        }
        self.sweep(now_ms);
        Ok(Verdict::Admitted)
    }

    /// Brings the cache lines of a fingerprint near. To be called for a handful of records before
    /// they are admitted one after the other: the waits for memory then overlap.
    #[inline]
    pub fn touch(&self, fingerprint: u128) -> bool {
        let shard = &self.shards[shard_of(fingerprint)];
        shard.find(hash_of(self.seed, fingerprint), |held| held.fingerprint == fingerprint).is_some()
    }

    /// Takes claims read from the log, oldest first; `now_ms` is the append time reached there.
    pub fn restore(&mut self, claims: impl Iterator<Item = Claim>, now_ms: i64) {
        let seed = self.seed;
        for claim in claims.filter(|claim| claim.expires_ms > now_ms) {
            let shard = &mut self.shards[shard_of(claim.fingerprint)];
            let hash = hash_of(seed, claim.fingerprint);
            let same = |held: &Claim| held.fingerprint == claim.fingerprint;
            match shard.entry(hash, same, |held| hash_of(seed, held.fingerprint)) {
                Entry::Occupied(mut older) => *older.get_mut() = claim,
                Entry::Vacant(free) => _ = free.insert(claim),
            }
        }
    }

    /// Counts the memory in use, and moves claims to disk if the budget is exceeded. To be called
    /// after each batch.
    ///
    /// # Errors
    /// If the disk fails; then nothing was forgotten.
    pub fn settle(&mut self, now_ms: i64) -> Result<(), Error> {
        self.count_bytes();
        self.spilled.expire(now_ms)?;
        while self.budget.is_exceeded() && self.counted_bytes > SPILL_BYTES_MIN && self.spill(now_ms)? {
            self.count_bytes();
        }
        Ok(())
    }

    /// Claims held, in memory and on disk; expired ones not yet swept out among them.
    pub fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum::<usize>() + self.spilled.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Claims on disk.
    pub fn spilled(&self) -> usize {
        self.spilled.len()
    }

    /// Memory in use as of the last [`Self::settle`], in bytes.
    pub fn bytes(&self) -> usize {
        self.counted_bytes
    }

    /// Moves the half that expires first to disk. False if there is nothing to move.
    fn spill(&mut self, now_ms: i64) -> Result<bool, Error> {
        let sample = self.shards.iter().flat_map(|shard| shard.iter().take(64));
        let mut sample: Vec<i64> = sample.map(|claim| claim.expires_ms).collect();
        if sample.is_empty() {
            return Ok(false);
        }
        let middle = sample.len() / 2;
        let (_, &mut cut_ms, _) = sample.select_nth_unstable(middle);
        let shards = &self.shards;
        let moved = shards.iter().map(|shard| {
            let mut claims: Vec<Claim> =
                shard.iter().filter(|claim| claim.expires_ms <= cut_ms && claim.expires_ms > now_ms).copied().collect();
            claims.sort_unstable_by_key(|claim| claim.fingerprint);
            claims
        });
        self.spilled.add(moved)?;
        let seed = self.seed;
        for shard in &mut self.shards {
            shard.retain(|claim| claim.expires_ms > cut_ms);
            shard.shrink_to_fit(|held| hash_of(seed, held.fingerprint));
        }
        Ok(true)
    }

    /// Looks at the next few buckets, and frees those whose claim has expired.
    #[inline]
    fn sweep(&mut self, now_ms: i64) {
        let (mut place, mut bucket) = self.swept;
        for _ in 0..SWEPT_PER_ADMISSION {
            let shard = &mut self.shards[place];
            if bucket >= shard.num_buckets() {
                (place, bucket) = ((place + 1) % SHARDS, 0);
                continue;
            }
            if let Ok(held) = shard.get_bucket_entry(bucket)
                && held.get().expires_ms <= now_ms
            {
                held.remove();
            }
            bucket += 1;
        }
        self.swept = (place, bucket);
    }

    fn count_bytes(&mut self) {
        let bytes = self.shards.iter().map(HashTable::allocation_size).sum();
        self.budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.counted_bytes, Ordering::Relaxed);
        self.counted_bytes = bytes;
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.counted_bytes, Ordering::Relaxed);
    }
}

#[inline]
fn told_apart(held: &Claim, claim: &Claim) -> Verdict {
    if held.payload_hash == claim.payload_hash { Verdict::Duplicate } else { Verdict::Conflict }
}

#[inline]
fn shard_of(fingerprint: u128) -> usize {
    usize::from(fingerprint.to_be_bytes()[0])
}

/// Both halves, folded with numbers that nobody outside knows: who can craft fingerprints that
/// share bits still can't make them share a bucket.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "halves are meant")]
fn hash_of([first, second]: [u64; 2], fingerprint: u128) -> u64 {
    let product = u128::from(fingerprint as u64 ^ first) * u128::from((fingerprint >> 64) as u64 ^ second);
    (product as u64) ^ ((product >> 64) as u64)
}
