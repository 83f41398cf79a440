//! Records as they stand in the log, for the stages behind ingest.

use crate::samples;
use bytes::Bytes;
use events::Headers;
use events::log::{NewRecord, Record};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How many games, players and addresses the records of a run are spread over.
const GAMES: u64 = 200;

/// One raw record of type `bench.event` with a payload of about `payload_bytes`.
pub(crate) fn raw(random: &mut ChaCha8Rng, id: u64, payload_bytes: usize) -> NewRecord {
    let game = format!("game-{}", id % GAMES);
    let player = format!("player-{}", id % (GAMES * 10));
    let address = format!("198.18.{}.{}", id % 16, random.random_range(0..256));
    NewRecord {
        key: Bytes::copy_from_slice(game.as_bytes()),
        headers: Headers::of([
            ("ce_specversion", "1.0"),
            ("ce_id", format!("{id:016}").as_str()),
            ("ce_source", "/bench/gameserver"),
            ("ce_type", "bench.event"),
            ("ce_time", "2026-01-30T01:01:16.000Z"),
            ("content-type", "application/json"),
            ("ce_gameid", &game),
            ("ce_playerid", &player),
            ("ce_receivedat", "2026-01-30T01:01:16.123456Z"),
            ("ce_clientaddress", &address),
        ]),
        payload: Some(samples::payload(random, payload_bytes).into()),
    }
}

/// The same as a record of the clean topic, at `offset`.
pub(crate) fn clean(random: &mut ChaCha8Rng, offset: i64, payload_bytes: usize) -> NewRecord {
    let raw = raw(random, offset.unsigned_abs(), payload_bytes);
    let kept = raw.headers.iter().filter(|(name, _)| *name != b"ce_clientaddress");
    let mut builder = events::HeadersBuilder::default();
    for (name, value) in kept {
        builder.push(&String::from_utf8_lossy(name), value);
    }
    for (name, value) in
        [("kf_country", "DE"), ("kf_city", "Berlin"), ("kf_asn", "64500"), ("kf_isp", "Example"), ("kf_schema", "0")]
    {
        builder.push(name, value.as_bytes());
    }
    builder.push("kf_raw_offset", offset.to_string().as_bytes());
    NewRecord { headers: builder.build(), ..raw }
}

/// A record handed in, as it comes back at `offset`.
pub(crate) fn stored(new: NewRecord, offset: i64) -> Record {
    Record { offset, time_ms: 1_769_734_876_000, key: new.key, headers: new.headers, payload: new.payload }
}
