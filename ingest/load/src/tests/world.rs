//! What players may and may not do.

use super::s;
use crate::world::{Deed, World, WorldOptions};
use killfeed_client::Event;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn deeds(players: usize, seed: u64, until: Duration) -> Vec<Deed> {
    let mut world = World::new(WorldOptions { players, ramp: s(20), speed: 10, seed, run: "t".into() });
    let mut deeds = Vec::new();
    while world.next_at().is_some_and(|at| at < until) {
        deeds.extend(world.next_deed());
    }
    world.end(until);
    deeds.extend(std::iter::from_fn(|| world.next_deed()));
    assert_eq!(world.online(), 0);
    deeds
}

fn data(event: &Event) -> Value {
    event.payload().map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What is known of a match.
#[derive(Default)]
struct Match {
    teams: BTreeMap<String, i64>,
    kills: BTreeMap<String, i64>,
    deaths: BTreeMap<String, i64>,
    results: BTreeSet<String>,
    first_blood: bool,
    winner: Option<i64>,
    ended: bool,
}

impl Match {
    fn happen(&mut self, event: &Event) {
        let kind = event.event_type();
        assert!(!self.ended, "{kind} after the end");
        let data = data(event);
        if kind == "lol.game_start" {
            assert!(self.teams.is_empty(), "begun twice");
            for one in data["participants"].as_array().unwrap() {
                self.teams.insert(text(&one["player_id"]), one["team_id"].as_i64().unwrap());
            }
            assert_eq!(self.teams.len(), 10);
            return;
        }
        assert!(!self.teams.is_empty(), "{kind} before the start");
        if let Some(player) = event.get("playerid") {
            assert!(self.teams.contains_key(player), "{kind} of {player}, who doesn't play here");
        }
        match kind {
            "lol.champion_kill" => {
                let (killer, victim) = (text(&data["killer"]), text(&data["victim"]));
                assert_ne!(self.teams[&killer], self.teams[&victim], "killed a friend");
                assert!(self.results.is_empty(), "a kill after the game was over");
                *self.kills.entry(killer).or_default() += 1;
                *self.deaths.entry(victim).or_default() += 1;
            }
            "lol.champion_special_kill" if data["kill_type"] == "KILL_FIRST_BLOOD" => {
                assert!(!self.first_blood && self.kills.values().sum::<i64>() == 1, "first blood is the first kill");
                assert_eq!(self.kills.keys().next().unwrap(), &text(&data["killer"]));
                self.first_blood = true;
            }
            "lol.player_result" => {
                let player = event.get("playerid").unwrap().to_owned();
                assert_eq!(data["kills"].as_i64().unwrap(), self.kills.get(&player).copied().unwrap_or(0));
                assert_eq!(data["deaths"].as_i64().unwrap(), self.deaths.get(&player).copied().unwrap_or(0));
                assert!(self.results.insert(player));
            }
            "lol.game_result" => {
                assert_eq!(self.results.len(), 10);
                self.winner = data["winning_team"].as_i64();
            }
            "lol.game_end" => {
                assert_eq!(data["winning_team"].as_i64(), self.winner);
                assert!(self.first_blood);
                self.ended = true;
            }
            _ => {}
        }
    }
}

#[test]
fn nobody_does_what_the_game_does_not_allow() {
    for seed in 0..4 {
        let deeds = deeds(60, seed, s(900));
        assert!(deeds.is_sorted_by_key(|deed| deed.at));
        let mut matches: BTreeMap<String, Match> = BTreeMap::new();
        // The session of each player who is online.
        let mut sessions: BTreeMap<String, String> = BTreeMap::new();
        let mut known = BTreeSet::new();
        let mut crashed = BTreeSet::new();
        let mut returned = 0;
        for deed in &deeds {
            let (event, kind) = (&deed.event, deed.event.event_type());
            let key = event.get("gameid").or(event.get("playerid")).unwrap();
            assert_eq!(key, deed.key, "{kind} would lose its order");
            if let Some(player) = event.get("playerid").map(ToOwned::to_owned) {
                let session = event.get("sessionid").unwrap().to_owned();
                if kind == "session.start" {
                    assert!(!sessions.contains_key(&player), "{player} is here already");
                    assert!(known.insert(session.clone()), "a session that was there before");
                    returned += u64::from(crashed.remove(&player));
                    sessions.insert(player, session);
                } else {
                    assert_eq!(sessions.get(&player), Some(&session), "{kind} of {player}, who isn't here");
                    if kind == "session.end" || kind == "client.crash" {
                        sessions.remove(&player);
                    }
                    if kind == "client.crash" {
                        crashed.insert(player);
                    }
                }
            }
            if let Some(game) = event.get("gameid") {
                matches.entry(game.to_owned()).or_default().happen(event);
            } else {
                let free = [
                    "session.start",
                    "session.end",
                    "queue.join",
                    "chat.message",
                    "settings.key_binding",
                    "store.purchase",
                ];
                assert!(free.contains(&kind), "{kind} outside of a match");
            }
        }
        let ended = matches.values().filter(|one| one.ended).count();
        assert!(ended > 10, "seed {seed}: only {ended} of {} matches ended", matches.len());
        assert!(returned > 0, "seed {seed}: nobody came back after a crash");
        assert!(sessions.is_empty(), "sessions without an end, of players who are here: {sessions:?}");
    }
}

#[test]
fn equal_seeds_give_equal_games_and_others_others() {
    let played = |seed| -> Vec<_> {
        let all = deeds(30, seed, s(300)).into_iter();
        all.map(|deed| (deed.at, deed.key, deed.event.event_type().to_owned(), data(&deed.event).to_string())).collect()
    };
    assert_eq!(played(5), played(5));
    assert_ne!(played(5), played(6));
}

#[test]
fn as_many_stay_online_as_were_asked_for() {
    let mut world = World::new(WorldOptions { players: 40, ramp: s(5), speed: 10, seed: 3, run: "t".into() });
    let mut least = 40;
    while world.next_at().unwrap() < s(600) {
        let deed = world.next_deed().unwrap();
        // Who logs out makes room for the next at the same moment.
        if deed.at > s(6) && world.next_at() > Some(deed.at) {
            least = least.min(world.online());
        }
        assert!(world.online() <= 40);
    }
    assert!(least >= 36, "{least}");
    assert!(world.matches() > 10);
}
