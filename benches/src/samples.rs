//! Events of a given size, as a game would send them.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// A random source that gives the same events in every run.
pub(crate) fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// One payload of about `bytes`: position, numbers, a name, and enough damage entries to fill it.
pub(crate) fn payload(random: &mut ChaCha8Rng, bytes: usize) -> String {
    let mut json = format!(
        r#"{{"level":{},"x":{},"y":{},"gold":{},"ratio":{:.3},"champion":"Champion{}","win":{},"damage":["#,
        random.random_range(1..19),
        random.random_range(0..15_000),
        random.random_range(0..15_000),
        random.random_range(0..20_000),
        random.random_range(0.0..1.0),
        random.random_range(0..160),
        random.random_bool(0.5),
    );
    let mut first = true;
    while json.len() + 90 < bytes || first {
        if !first {
            json.push(',');
        }
        first = false;
        let _ = write!(
            json,
            r#"{{"magic":{},"physical":{},"true":{},"spell":"spell{}","slot":{}}}"#,
            random.random_range(0..900),
            random.random_range(0..900),
            random.random_range(0..90),
            random.random_range(0..300),
            random.random_range(0..5),
        );
    }
    json.push_str("]}");
    json
}

/// One structured CloudEvent of about `bytes` in all, of game `game`, with id `id`.
pub(crate) fn event(random: &mut ChaCha8Rng, id: u64, game: u64, bytes: usize) -> String {
    let envelope = format!(
        r#"{{"specversion":"1.0","id":"{id:016}","source":"/bench/gameserver","type":"bench.event","time":"2026-01-30T01:01:16.000Z","datacontenttype":"application/json","gameid":"game-{game}","playerid":"player-{}","data":"#,
        id % 1_000
    );
    let data = payload(random, bytes.saturating_sub(envelope.len() + 1));
    format!("{envelope}{data}}}")
}
