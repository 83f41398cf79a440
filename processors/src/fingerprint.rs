//! What makes two events the same, and what makes them conflict.
//!
//! The **fingerprint** is XXH3-128 over the type and the dedupe key: source, id and partition key,
//! or the attributes that the schema declares. Each part is preceded by its length, so that no two
//! lists of parts read the same. The **payload hash** is XXH3-64 over data and its content type,
//! and over nothing else: an event that is sent again with another `sentat` is still the same one.
//!
//! XXH3 is no cryptographic hash. Why that is enough: docs/decisions, "dedupe".

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// What an absent `datacontenttype` means, by CloudEvents 1.0, JSON format, section 3.1.
const CONTENT_TYPE_DEFAULT: &[u8] = b"application/json";

/// Computes fingerprints; keeps its buffer from one to the next.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    parts: Vec<u8>,
}

impl Fingerprinter {
    /// The fingerprint of these parts: the event's type first, then its dedupe key's.
    #[inline]
    pub fn of<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
        self.parts.clear();
        for part in parts {
            self.parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.parts.extend_from_slice(part);
        }
        xxh3_128(&self.parts)
    }
}

/// The hash by which a repetition is told from a conflict. No data and empty data differ.
#[inline]
pub fn payload_hash(content_type: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let mut both = [0; 17];
    if let Some(payload) = payload {
        both[0] = 1;
        both[1..9].copy_from_slice(&xxh3_64(payload).to_le_bytes());
        both[9..].copy_from_slice(&xxh3_64(content_type.unwrap_or(CONTENT_TYPE_DEFAULT)).to_le_bytes());
    }
    xxh3_64(&both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_join_to_the_same_bytes_differ() {
        let mut of = Fingerprinter::default();
        let base = of.of([&b"ab"[..], b"c"]);
        assert_eq!(base, of.of([&b"ab"[..], b"c"]));
        for other in [vec![&b"a"[..], b"bc"], vec![b"abc"], vec![b"ab", b"c", b""], vec![b"c", b"ab"]] {
            assert_ne!(base, of.of(other.iter().copied()), "{other:?}");
        }
    }

    #[test]
    fn the_payload_hash_sees_data_and_content_type_only() {
        let json = payload_hash(Some(b"application/json"), Some(b"{}"));
        assert_eq!(json, payload_hash(None, Some(b"{}")), "absent means JSON");
        assert_ne!(json, payload_hash(Some(b"text/plain"), Some(b"{}")));
        assert_ne!(json, payload_hash(Some(b"application/json"), Some(b"{ }")));
        assert_ne!(payload_hash(None, None), payload_hash(None, Some(b"")));
    }

    /// State in the log outlives the program: neither hash may ever change.
    #[test]
    fn hashes_are_for_ever() {
        let fingerprint = Fingerprinter::default().of([&b"lol.kill"[..], b"/game/1", b"7", b"g1"]);
        assert_eq!(format!("{fingerprint:032x}"), "940de938b96b76e02094f8f636a84079");
        assert_eq!(format!("{:016x}", payload_hash(None, Some(b"{\"a\":1}"))), "b6ec8f736b926a6d");
    }
}
