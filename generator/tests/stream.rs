//! The stream from outside: the same bytes for the same seed, disorder at the rates asked for, and
//! lines that agree with the truth.

#![allow(clippy::unwrap_used, reason = "a test may")]

use gamegen::{Error, Generator, Options, write_geoip};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn untidy() -> Options {
    Options { games: 60, seed: 7, duplicates: 0.05, conflicts: 0.02, malformed: 0.02, late: 0.05, ..Options::default() }
}

fn lines(options: &Options) -> Vec<Vec<u8>> {
    Generator::new(options.clone()).unwrap().collect()
}

fn text<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    event[name].as_str()
}

/// The event, if ingest would admit it: by the envelope's own rules, and by its limit of size.
fn admissible(line: &[u8]) -> Option<Value> {
    if line.len() > events::limits::EVENT_BYTES_MAX {
        return None;
    }
    let sound = events::envelope::Event::from_json_bytes(line).is_ok();
    sound.then(|| serde_json::from_slice(line).unwrap())
}

/// What makes two events the same: type, source, id and the partition key.
fn identity(event: &Value) -> String {
    let partition = text(event, "gameid").or(text(event, "playerid")).unwrap();
    [text(event, "type").unwrap(), text(event, "source").unwrap(), text(event, "id").unwrap(), partition].join("\0")
}

#[test]
fn the_same_options_give_the_same_bytes_and_another_seed_gives_others() {
    let options = untidy();
    let once = lines(&options);
    assert!(once == lines(&options));
    let other = Options { seed: 8, ..options };
    let ids = |lines: &[Vec<u8>]| {
        lines.iter().filter_map(|line| admissible(line)).map(|event| identity(&event)).collect::<BTreeSet<_>>()
    };
    assert!(ids(&once).is_disjoint(&ids(&lines(&other))), "two seeds share an event");
}

#[test]
fn admitting_the_first_of_each_event_gives_the_counts_of_the_truth() {
    let options = untidy();
    let truth = Generator::new(options.clone()).unwrap().truth();
    let mut admitted: HashMap<String, Value> = HashMap::new();
    let mut tables: BTreeMap<String, u64> = BTreeMap::new();
    let (mut duplicates, mut conflicts, mut refused) = (0, 0, 0);
    for line in lines(&options) {
        assert!(!line.contains(&b'\n'));
        let Some(event) = admissible(&line) else {
            refused += 1;
            continue;
        };
        match admitted.get(&identity(&event)) {
            Some(first) if first["data"] == event["data"] => {
                assert_eq!(first, &event, "a resend differs from its original");
                duplicates += 1;
            }
            Some(_) => conflicts += 1,
            None => {
                *tables.entry(text(&event, "type").unwrap().replace('.', "_")).or_default() += 1;
                admitted.insert(identity(&event), event);
            }
        }
    }
    assert_eq!(tables, truth.tables);
    assert_eq!((duplicates, conflicts, refused), (truth.duplicates, truth.conflicts, truth.refused));
    let events: u64 = truth.tables.values().sum();
    for (count, rate) in [(duplicates, 0.05), (conflicts, 0.02), (refused, 0.02)] {
        let share = f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(events).unwrap());
        assert!((share - rate).abs() < rate / 3.0, "{share} of the events where {rate} was asked for");
    }
}

#[test]
fn disorder_changes_neither_the_reports_nor_the_tables() {
    let untidy = untidy();
    let tidy = Options { duplicates: 0.0, conflicts: 0.0, malformed: 0.0, late: 0.0, ..untidy.clone() };
    let (mut truth, mut bad) = (Generator::new(tidy).unwrap().truth(), Generator::new(untidy).unwrap().truth());
    assert_eq!((truth.duplicates, truth.conflicts, truth.refused), (0, 0, 0));
    assert_eq!(truth.tables, bad.tables);
    // The one report that is about disorder.
    let (health, ill) = (truth.reports.remove("pipeline_health"), bad.reports.remove("pipeline_health"));
    assert_eq!(health.unwrap()[0]["duplicates"], 0);
    assert_eq!(ill.unwrap()[0]["duplicates"], bad.duplicates);
    assert_eq!(truth.reports, bad.reports);
}

#[test]
fn a_truth_asked_halfway_is_the_truth_of_the_whole() {
    let mut halfway = Generator::new(untidy()).unwrap();
    assert_eq!(halfway.by_ref().take(1_000).count(), 1_000);
    let whole = Generator::new(untidy()).unwrap().truth();
    assert_eq!(serde_json::to_value(halfway.truth()).unwrap(), serde_json::to_value(whole).unwrap());
}

#[test]
fn events_of_a_game_come_in_order_and_late_ones_do_not() {
    for (late, expected) in [(0.0, false), (0.05, true)] {
        let options = Options { games: 40, late, ..Options::default() };
        let mut latest: HashMap<String, String> = HashMap::new();
        let mut behind = 0_u32;
        let mut events = 0_u32;
        for line in lines(&options) {
            let event: Value = serde_json::from_slice(&line).unwrap();
            events += 1;
            let Some(game) = text(&event, "gameid") else { continue };
            let time = text(&event, "time").unwrap().to_owned();
            let before = latest.entry(game.to_owned()).or_default();
            behind += u32::from(time < *before);
            *before = time.max(before.clone());
        }
        assert_eq!(behind > 0, expected, "{behind} of {events} events are behind at rate {late}");
    }
}

#[test]
fn each_game_has_one_first_blood_ten_results_and_agreeing_scores() {
    let mut games: BTreeMap<String, (u32, u32, i64, i64, i64)> = BTreeMap::new();
    for line in lines(&Options { games: 30, ..Options::default() }) {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let Some(game) = text(&event, "gameid") else { continue };
        let counts = games.entry(game.to_owned()).or_default();
        let data = &event["data"];
        match text(&event, "type").unwrap() {
            "lol.champion_special_kill" => counts.0 += u32::from(data["kill_type"] == "KILL_FIRST_BLOOD"),
            "lol.player_result" => {
                counts.1 += 1;
                counts.2 += data["kills"].as_i64().unwrap();
                counts.3 += data["deaths"].as_i64().unwrap();
            }
            "lol.champion_kill" => counts.4 += 1,
            _ => {}
        }
    }
    assert_eq!(games.len(), 30);
    for (game, (first_bloods, results, kills, deaths, kill_events)) in games {
        assert_eq!((first_bloods, results), (1, 10), "{game}");
        assert_eq!((kills, deaths), (kill_events, kill_events), "{game}");
    }
}

#[test]
fn a_single_game_fills_every_report() {
    for seed in 0..20 {
        let truth = Generator::new(Options { games: 1, seed, ..Options::default() }).unwrap().truth();
        let empty: Vec<_> = truth.reports.iter().filter(|(_, rows)| rows.is_empty()).collect();
        assert!(empty.is_empty(), "seed {seed}: {empty:?}");
    }
}

#[test]
fn nobody_plays_two_games_at_once() {
    let mut starts: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut ends: HashMap<String, String> = HashMap::new();
    for line in lines(&Options { games: 80, ..Options::default() }) {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let time = text(&event, "time").unwrap().to_owned();
        match text(&event, "type").unwrap() {
            "lol.game_start" => {
                let game = text(&event, "gameid").unwrap();
                let participants = event["data"]["participants"].as_array().unwrap();
                let players: BTreeSet<&str> =
                    participants.iter().map(|who| who["player_id"].as_str().unwrap()).collect();
                assert_eq!(players.len(), 10, "{game}");
                for player in players {
                    starts.entry(player.to_owned()).or_default().push((time.clone(), game.to_owned()));
                }
            }
            "lol.game_end" => {
                ends.insert(text(&event, "gameid").unwrap().to_owned(), time);
            }
            _ => {}
        }
    }
    assert!(starts.values().any(|games| games.len() > 2));
    for (player, mut games) in starts {
        games.sort();
        for pair in games.windows(2) {
            assert!(ends[&pair[0].1] < pair[1].0, "{player} in {} and {}", pair[0].1, pair[1].1);
        }
    }
}

#[test]
fn every_number_that_may_be_a_fraction_is_written_as_one() {
    for line in lines(&Options { games: 5, ..Options::default() }) {
        let event: Value = serde_json::from_slice(&line).unwrap();
        for name in ["loss_pct", "game_time_s"] {
            let value = &event["data"][name];
            assert!(value.is_null() || value.is_f64(), "{name} is {value}");
        }
    }
}

#[derive(serde::Deserialize)]
struct Found {
    country: BTreeMap<String, String>,
    city: City,
    autonomous_system_number: u32,
    autonomous_system_organization: String,
    isp: String,
    organization: String,
    connection_type: String,
}

#[derive(serde::Deserialize)]
struct City {
    names: BTreeMap<String, String>,
}

#[test]
fn the_database_knows_every_player_but_those_of_the_unknown_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generated.mmdb");
    write_geoip(&path).unwrap();
    let again = folder.path().join("again.mmdb");
    write_geoip(&again).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
    let database = maxminddb::Reader::open_readfile(&path).unwrap();
    assert_eq!(database.metadata().database_type, "killfeed-generated-City-ISP-ASN-Connection");

    let options = Options { games: 200, ..Options::default() };
    let mut known = BTreeMap::<(String, String), BTreeSet<String>>::new();
    let mut unknown = 0;
    let (mut v4, mut v6) = (0, 0);
    for line in lines(&options) {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let is_sample = event["type"] == "network.quality";
        let Some(address) = text(&event, "clientaddress").filter(|_| is_sample) else {
            assert!(!is_sample, "a sample without an address");
            continue;
        };
        let address: std::net::IpAddr = address.parse().unwrap();
        let found: Option<Found> = database.lookup(address).unwrap().decode().unwrap();
        let Some(found) = found else {
            assert!(address.to_string().starts_with("192.0.2."), "{address} is not in the database");
            unknown += 1;
            continue;
        };
        *(if address.is_ipv4() { &mut v4 } else { &mut v6 }) += 1;
        assert_eq!(found.country["iso_code"].len(), 2);
        assert!(!found.city.names["en"].is_empty());
        assert!((64_496..=65_551).contains(&found.autonomous_system_number));
        assert_eq!(found.autonomous_system_organization, found.isp);
        assert_eq!(found.organization, found.isp);
        let region = text(&event, "region").unwrap().to_owned();
        known.entry((region, found.connection_type)).or_default().insert(text(&event, "playerid").unwrap().to_owned());
    }
    assert!(unknown > 0 && v4 > 0 && v6 > 0, "{unknown} unknown, {v4} IPv4, {v6} IPv6");
    let truth = Generator::new(options).unwrap().truth();
    for row in &truth.reports["connection_types"] {
        let key = (text(row, "region").unwrap().to_owned(), text(row, "connection").unwrap().to_owned());
        if key.1 != "unknown" {
            assert_eq!(row["players"], known.remove(&key).map_or(0, |players| players.len()), "{key:?}");
        }
    }
    assert!(known.is_empty(), "not in the truth: {known:?}");
    for other in ["8.8.8.8", "127.0.0.1", "2001:db9::1", "::1"] {
        let address: std::net::IpAddr = other.parse().unwrap();
        assert!(database.lookup(address).unwrap().decode::<Value>().unwrap().is_none(), "{other}");
    }
}

#[test]
fn options_out_of_bounds_are_refused_by_name() {
    let refused = |options: Options| Generator::new(options).err().map(|error| error.to_string());
    let default = Options::default();
    let table = [
        (Options { duplicates: 0.6, ..default.clone() }, "rate of duplicates is 0.6, it must lie between 0 and 0.5"),
        (Options { late: -0.1, ..default.clone() }, "rate of late is -0.1, it must lie between 0 and 0.5"),
        (Options { malformed: f64::NAN, ..default.clone() }, "rate of malformed is NaN, it must lie between 0 and 0.5"),
        (Options { games: 1_000_001, ..default.clone() }, "1000001 games were asked for, the most is 1000000"),
    ];
    for (options, message) in table {
        assert_eq!(refused(options).as_deref(), Some(message));
    }
    assert!(matches!(Generator::new(Options { conflicts: 2.0, ..default }), Err(Error::Rate { .. })));
    assert_eq!(lines(&Options { games: 0, ..Options::default() }).len(), 0);
}

#[test]
fn first_blood_is_the_first_kill_and_the_truth_counts_the_winners_wins() {
    let options = Options { games: 30, ..Options::default() };
    let mut kills: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut bloods: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut wins: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for line in lines(&options) {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let Some(game) = text(&event, "gameid") else { continue };
        let data = &event["data"];
        let who = || (text(&event, "time").unwrap().to_owned(), text(data, "killer").unwrap_or_default().to_owned());
        match text(&event, "type").unwrap() {
            "lol.champion_kill" => _ = kills.entry(game.to_owned()).or_insert_with(who),
            "lol.champion_special_kill" if data["kill_type"] == "KILL_FIRST_BLOOD" => {
                bloods.insert(game.to_owned(), who());
            }
            "lol.player_result" => {
                let player = text(&event, "playerid").unwrap().to_owned();
                let played = wins.entry((player, text(data, "champion_name").unwrap().to_owned())).or_default();
                played.0 += 1;
                played.1 += u64::from(data["win"] == true);
            }
            _ => {}
        }
    }
    assert_eq!(bloods, kills, "time and killer of first blood and of the first kill, by game");
    let truth = Generator::new(options).unwrap().truth();
    let told = truth.reports["champion_mastery"].iter().map(|row| {
        let games = row["games"].as_u64().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a few games")]
        let won = row["win_rate"].as_f64().unwrap() * games as f64;
        let of = (text(row, "player_id").unwrap().to_owned(), text(row, "champion").unwrap().to_owned());
        (of, (games, format!("{won:.0}").parse().unwrap()))
    });
    assert_eq!(told.collect::<BTreeMap<_, (u64, u64)>>(), wins);
}
