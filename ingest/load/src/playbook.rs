//! Matches as [`gamegen`] plans them, told of our players.

use gamegen::{Generator, Options, START_US};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Players of a match.
pub(crate) const PLAYERS: usize = 10;
/// Matches of one plan; then comes the next. The generator's memory grows with it.
const MATCHES: u64 = 64;

/// Something that happens in a match.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Since the match began, in game time.
    pub(crate) at: Duration,
    pub(crate) event_type: String,
    /// Whose deed it is; `None`: the game server's.
    pub(crate) slot: Option<usize>,
    /// Whether it belongs to the match, or to the player alone.
    pub(crate) in_game: bool,
    pub(crate) region: String,
    pub(crate) address: Option<String>,
    pub(crate) data: Value,
}

/// The attributes that are looked at.
#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    gameid: Option<String>,
    playerid: Option<String>,
    region: String,
    clientaddress: Option<String>,
    data: Value,
}

/// Match after match, without end.
#[derive(Debug)]
pub(crate) struct Playbook {
    seed: u64,
    games: Option<Generator>,
    /// The line that begins the next match.
    next: Option<Raw>,
}

impl Playbook {
    /// The same seed gives the same matches.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, games: None, next: None }
    }

    /// The next match, as played by `players` under the number `number`.
    pub(crate) fn next_match(&mut self, players: &[String], number: u64) -> Vec<Line> {
        let Some(start) = self.next.take().or_else(|| self.next_line()) else { return Vec::new() };
        let began_ms = millis(&start.time);
        let names: Vec<String> = participants(&start.data);
        let mut lines = vec![told(start, &names, players, began_ms, number)];
        while let Some(raw) = self.next_line() {
            if raw.event_type == "lol.game_start" {
                self.next = Some(raw);
                break;
            }
            lines.push(told(raw, &names, players, began_ms, number));
        }
        lines
    }

    fn next_line(&mut self) -> Option<Raw> {
        // At most twice: a plan that has ended is followed by one that has not begun.
        for _ in 0..2 {
            let line = match &mut self.games {
                Some(games) => games.next(),
                None => None,
            };
            if let Some(line) = line {
                return serde_json::from_slice(&line).ok();
            }
            let options = Options { games: MATCHES, seed: self.seed, start_us: START_US, ..Options::default() };
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.games = Generator::new(options).ok();
        }
        None
    }
}

fn participants(start: &Value) -> Vec<String> {
    let all = start["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|one| one["player_id"].as_str().map(ToOwned::to_owned)).collect()
}

/// A line with our names in place of the plan's.
fn told(raw: Raw, names: &[String], players: &[String], began_ms: u64, number: u64) -> Line {
    let mut data = raw.data;
    rename(&mut data, names, players);
    if let Some(game) = data.get_mut("game_id") {
        *game = number.into();
    }
    Line {
        at: Duration::from_millis(millis(&raw.time).saturating_sub(began_ms)),
        event_type: raw.event_type,
        slot: raw.playerid.and_then(|id| names.iter().position(|name| *name == id)),
        in_game: raw.gameid.is_some(),
        region: raw.region,
        address: raw.clientaddress,
        data,
    }
}

fn rename(value: &mut Value, names: &[String], players: &[String]) {
    match value {
        Value::String(text) => {
            let place = names.iter().position(|name| name == text);
            if let Some(player) = place.and_then(|place| players.get(place)) {
                text.clone_from(player);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names, players)),
        Value::Object(members) => members.values_mut().for_each(|value| rename(value, names, players)),
        _ => {}
    }
}

/// Milliseconds since the begin of the month, of a time as the generator writes it: `2026-01-05T00:00:00.000Z`. A plan is over
/// within days.
fn millis(time: &str) -> u64 {
    let part = |range: std::ops::Range<usize>| time.get(range).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (day, hour, minute, second) = (part(8..10), part(11..13), part(14..16), part(17..19));
    (((day * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + part(20..23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_go_on_beyond_a_plan_and_begin_with_their_start() {
        let players: Vec<String> = (0..PLAYERS).map(|n| format!("p{n}")).collect();
        let mut book = Playbook::new(1);
        for number in 0..MATCHES + 3 {
            let lines = book.next_match(&players, number);
            assert_eq!((lines[0].event_type.as_str(), lines[0].at), ("lol.game_start", Duration::ZERO));
            assert!(lines.len() > 60 && lines.is_sorted_by_key(|line| line.at), "{number}");
            assert!(lines.iter().all(|line| line.at < Duration::from_secs(3_600)));
            assert_eq!(lines.iter().filter(|line| line.event_type == "lol.player_result").count(), PLAYERS);
            let end = lines.iter().find(|line| line.event_type == "lol.game_end").unwrap();
            assert_eq!(end.data["game_id"], number);
            let kill = lines.iter().find(|line| line.event_type == "lol.champion_kill").unwrap();
            assert!(players.iter().any(|player| kill.data["killer"] == **player));
        }
    }
}
