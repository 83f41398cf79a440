//! How a model is stored: one file, refused unless it is whole and was made with the same word lists.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `KFTOXIC` and a zero |
//! | 4 | version of the format: 1 |
//! | 4 | version of the features |
//! | 8 | xxh3-64 of the word lists, since the rules are among the features |
//! | 8 | seed of the hash of features |
//! | 1 | bits of a place: 20 |
//! | 1 | labels of the heads after the first, one bit each, in the order of `Label::ALL` |
//! | 2 | zero |
//! | 4, n | length of the origin, and the origin as JSON |
//! | 4 each | a bias for each head |
//! | 4 | how many places have weights |
//! | 4 + 4 each | a place, ascending, and a weight for each head; for each such place |
//! | 8 | xxh3-64 of all bytes before |
//!
//! Numbers are little-endian; weights and biases are 32-bit floats.

use super::{BITS, Model, Origin, features};
use crate::lexicon;
use crate::verdict::Label;
use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: &[u8; 8] = b"KFTOXIC\0";
const VERSION: u32 = 1;
/// Magic, versions, word lists, seed, bits, labels and the length of the origin.
const HEAD: usize = 8 + 4 + 4 + 8 + 8 + 4 + 4;
/// A larger file is none of ours: all places of all heads are half of it.
const SIZE_MAX: u64 = 64 << 20;

/// A file that holds no model for this program.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It begins with something else, or is too large.
    #[error("it is no model of killfeed")]
    NoModel,
    /// Another version of killfeed wrote it.
    #[error("it is a model of version {found}, this killfeed reads version {VERSION}: train it again")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// Its checksum or its parts don't agree.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// The rules have changed since, and the model learnt from what they said.
    #[error("it was trained with other word lists or features than this killfeed has: train it again")]
    OtherRules,
}

/// The hash of all word lists.
static LISTS: LazyLock<u64> = LazyLock::new(|| {
    let mut hash = Xxh3::new();
    for (_, text) in lexicon::LISTS {
        hash.update(text.as_bytes());
    }
    hash.update(lexicon::PHRASES.as_bytes());
    hash.digest()
});

impl Model {
    /// Writes the model to a file: whole, or not at all.
    ///
    /// # Errors
    /// The file or its folder can't be written.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&self.to_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        Ok(())
    }

    /// Reads a model from a file.
    ///
    /// # Errors
    /// The file can't be read, or is no whole model of this version.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        if std::fs::metadata(path)?.len() > SIZE_MAX {
            return Err(FileError::NoModel);
        }
        Self::from_bytes(&std::fs::read(path)?)
    }

    /// The model as it stands in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let origin = serde_json::to_vec(&self.origin).unwrap_or_default();
        let labels = self.labels.iter().fold(0_u8, |bits, label| bits | 1 << label.index());
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(features::VERSION.to_le_bytes());
        bytes.extend(LISTS.to_le_bytes());
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend([u8::try_from(BITS).unwrap_or(0), labels, 0, 0]);
        bytes.extend(u32::try_from(origin.len()).unwrap_or(0).to_le_bytes());
        bytes.extend(origin);
        for bias in &self.biases {
            bytes.extend(bias.to_le_bytes());
        }
        let used = || {
            (0_u32..)
                .zip(self.weights.chunks_exact(self.heads()))
                .filter(|(_, row)| row.iter().any(|weight| *weight != 0.0))
        };
        bytes.extend(u32::try_from(used().count()).unwrap_or(0).to_le_bytes());
        for (place, row) in used() {
            bytes.extend(place.to_le_bytes());
            for weight in row {
                bytes.extend(weight.to_le_bytes());
            }
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// The model of a file's bytes.
    ///
    /// # Errors
    /// They are no whole model of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(FileError::NoModel)?;
        let found = u32::from_le_bytes(take(&mut rest)?);
        if found != VERSION {
            return Err(FileError::Version { found });
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(CUT)?;
        if bytes.len() < HEAD + 8 {
            return Err(CUT);
        }
        if xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(FileError::Damaged("its checksum is wrong"));
        }
        let mut rest = &body[MAGIC.len() + 4..];
        if u32::from_le_bytes(take(&mut rest)?) != features::VERSION || u64::from_le_bytes(take(&mut rest)?) != *LISTS {
            return Err(FileError::OtherRules);
        }
        let seed = u64::from_le_bytes(take(&mut rest)?);
        let [bits, labels, 0, 0] = take(&mut rest)? else { return Err(STRANGE) };
        if u32::from(bits) != BITS || labels >> Label::ALL.len() != 0 {
            return Err(STRANGE);
        }
        let length = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (origin, mut rest) = rest.split_at_checked(length).ok_or(CUT)?;
        let origin: Origin = serde_json::from_slice(origin).map_err(|_| STRANGE)?;
        let labels: Vec<Label> = Label::ALL.into_iter().filter(|label| labels >> label.index() & 1 == 1).collect();
        let heads = 1 + labels.len();
        let biases = (0..heads).map(|_| number(&mut rest)).collect::<Result<Vec<f32>, _>>()?;
        let weights = weights(rest, heads)?;
        Ok(Self { origin, seed, labels, biases, weights })
    }
}

const CUT: FileError = FileError::Damaged("it ends too soon");
const STRANGE: FileError = FileError::Damaged("its head means nothing");

fn weights(mut rest: &[u8], heads: usize) -> Result<Vec<f32>, FileError> {
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    if count > 1 << BITS || rest.len() != count * (4 + 4 * heads) {
        return Err(CUT);
    }
    let mut weights = vec![0.0; heads << BITS];
    let mut next = 0;
    for _ in 0..count {
        let place = u32::from_le_bytes(take(&mut rest)?) as usize;
        if place < next || place >= 1 << BITS {
            return Err(FileError::Damaged("its weights are out of order"));
        }
        next = place + 1;
        for weight in &mut weights[place * heads..(place + 1) * heads] {
            *weight = number(&mut rest)?;
        }
    }
    Ok(weights)
}

fn number(rest: &mut &[u8]) -> Result<f32, FileError> {
    let number = f32::from_le_bytes(take(rest)?);
    if number.is_finite() { Ok(number) } else { Err(FileError::Damaged("a weight is no number")) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FileError> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(CUT)?;
    *rest = left;
    Ok(*taken)
}
