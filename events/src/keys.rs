//! Which partition an event goes to.
//!
//! The partition key is the game, else the player, else the session, else source and id: what
//! belongs together stays in order. A schema may declare another (`x-killfeed.partition_by`).
//! The partition is murmur2 of the key as Kafka's Java client computes it, so that any Kafka
//! producer agrees with ours.

use crate::headers::{self, Headers};
use std::borrow::Cow;

/// The default partition key of an event with these headers: `gameid`, else `playerid`, else
/// `sessionid`, else source and id, joined by a NUL (which no attribute may contain).
pub fn partition_key(record: &Headers) -> Cow<'_, [u8]> {
    let mut found: [Option<&[u8]>; 5] = [None; 5];
    for (name, value) in record.iter() {
        let place = match name {
            b"ce_gameid" => 0,
            b"ce_playerid" => 1,
            b"ce_sessionid" => 2,
            b"ce_source" => 3,
            b"ce_id" => 4,
            _ => continue,
        };
        found[place].get_or_insert(value);
    }
    match found {
        [Some(key), ..] | [None, Some(key), ..] | [None, None, Some(key), ..] => Cow::Borrowed(key),
        [.., source, id] => {
            let mut key = source.unwrap_or_default().to_vec();
            key.push(0);
            key.extend_from_slice(id.unwrap_or_default());
            Cow::Owned(key)
        }
    }
}

/// The key that a schema declares: the values of `attributes`, joined by a NUL; an attribute that
/// the event lacks counts as empty.
pub fn declared_key(record: &Headers, attributes: &[String]) -> Vec<u8> {
    let mut key = Vec::new();
    for (place, attribute) in attributes.iter().enumerate() {
        if place > 0 {
            key.push(0);
        }
        let name = format!("{}{attribute}", headers::CE_PREFIX);
        key.extend_from_slice(record.get(&name).unwrap_or_default());
    }
    key
}

/// The partition of `key` among `partitions`, as Kafka's Java client picks it.
///
/// # Panics
/// Never: zero partitions count as one.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    partition_of_hash(murmur2::murmur2(key, murmur2::KAFKA_SEED), partitions)
}

/// The same of a key of which only the murmur2 is known.
///
/// # Panics
/// Never: zero partitions count as one.
pub fn partition_of_hash(hash: u32, partitions: i32) -> i32 {
    let hash = hash & 0x7fff_ffff;
    #[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "31 bits fit both")]
    {
        (hash % partitions.max(1) as u32) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Apache Kafka's own unit tests of `Utils.murmur2`, masked to 31 bits.
    #[test]
    fn hashes_as_kafka_does() {
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            let expected = (hash & 0x7fff_ffff) % 1_000_003;
            assert_eq!(partition_of(key.as_bytes(), 1_000_003), expected, "{key}");
        }
    }

    #[test]
    fn the_game_comes_before_the_player_before_the_session() {
        let all =
            [("ce_source", "/s"), ("ce_id", "1"), ("ce_sessionid", "s"), ("ce_playerid", "p"), ("ce_gameid", "g")];
        for (taken, key) in [(5, "g"), (4, "p"), (3, "s"), (2, "/s\u{0}1")] {
            let headers = Headers::of(all[..taken].iter().copied());
            assert_eq!(partition_key(&headers), key.as_bytes());
        }
        let headers = Headers::of(all);
        assert_eq!(declared_key(&headers, &["playerid".into(), "region".into()]), b"p\0");
    }
}
