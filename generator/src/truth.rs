//! What the reports and tables must say of a generated stream, counted from the plan.
//!
//! Nothing here reads events or SQL: a mistake in either shows as a difference. Shares and scores
//! are whole numbers divided once and rounded once, so that they can be compared to the last digit.
//! The definitions stand in docs/reports.md.

use crate::activity::Activity;
use crate::chatter::Chatter;
use crate::plan::{Game, Happening, PLAYERS, Sample, spell_name};
use crate::players::Pool;
use crate::render::event_type;
use crate::support::Support;
use crate::world::{CHAMPIONS, REGIONS};
use events::clock::Micros;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What must come of a stream once all of it was sent and flushed.
#[derive(Debug, Clone, Serialize)]
pub struct Truth {
    /// The rows of each report with its default parameters, in order, as objects by column. The
    /// report `freshness` is missing: what it says depends on when one asks.
    pub reports: BTreeMap<&'static str, Vec<Value>>,
    /// Rows of each table: the distinct events of its type.
    pub tables: BTreeMap<String, u64>,
    /// Events sent again as they were.
    pub duplicates: u64,
    /// Events sent again with other data.
    pub conflicts: u64,
    /// Lines that ingest refuses.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Mastery {
    games: u64,
    wins: u64,
    kills: u64,
    deaths: u64,
    assists: u64,
}

#[derive(Debug, Default)]
struct Quality {
    players: BTreeSet<usize>,
    /// Samples that are great, good, OK and poor.
    grades: [u64; 4],
}

/// The counts on the way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) duplicates: u64,
    pub(crate) conflicts: u64,
    pub(crate) refused: u64,
    tables: BTreeMap<String, u64>,
    /// By champion: games with it, and first bloods of it.
    champions: BTreeMap<&'static str, (u64, u64)>,
    mastery: BTreeMap<(String, &'static str), Mastery>,
    connections: BTreeMap<&'static str, BTreeMap<&'static str, BTreeSet<usize>>>,
    providers: BTreeMap<&'static str, Quality>,
    /// The latest key by spell and player, with its time.
    bindings: BTreeMap<(&'static str, usize), (Micros, &'static str)>,
    crashes: BTreeMap<(&'static str, &'static str), (u64, BTreeSet<usize>)>,
    activity: Activity,
    support: Support,
    chatter: Chatter,
}

/// Points for a sample that is great, good, OK or poor.
const POINTS: [u64; 4] = [100, 75, 40, 0];

/// The place of a sample's grade in [`POINTS`]: the worst of its three measurements decides.
fn grade(sample: &Sample) -> usize {
    // Most latency in ms, jitter in ms and loss in hundredths of a percent of great, good and OK.
    [(40, 8, 10), (80, 15, 50), (140, 30, 200)]
        .iter()
        .position(|&(latency, jitter, loss)| {
            sample.latency_ms <= latency && sample.jitter_ms <= jitter && sample.loss <= loss
        })
        .unwrap_or(3)
}

impl Tally {
    /// Counts a game.
    pub(crate) fn game(&mut self, game: &Game, pool: &Pool) {
        let champion = |slot: usize| CHAMPIONS[game.picks[slot].champion].0;
        let played: BTreeSet<&str> = (0..PLAYERS).map(champion).collect();
        for name in played {
            self.champions.entry(name).or_default().0 += 1;
        }
        self.activity.game(game);
        self.support.game(game, pool);
        self.chatter.game(game, pool);
        for (at_ms, happening) in &game.happenings {
            *self.tables.entry(event_type(happening).replace('.', "_")).or_default() += 1;
            match happening {
                Happening::FirstBlood { slot, .. } => self.champions.entry(champion(*slot)).or_default().1 += 1,
                Happening::PlayerResult { slot } => self.result(game, *slot, pool),
                Happening::Quality(sample) => self.sample(game, sample),
                Happening::Binding { slot, spell, key } => {
                    let time = game.start_us + Micros::from(*at_ms) * 1_000;
                    let latest = self.bindings.entry((spell_name(*spell), game.picks[*slot].player));
                    let latest = latest.or_insert((time, key));
                    if time >= latest.0 {
                        *latest = (time, key);
                    }
                }
                Happening::Crash { slot, signature, .. } => {
                    let crash = self.crashes.entry((signature, game.version)).or_default();
                    crash.0 += 1;
                    crash.1.insert(game.picks[*slot].player);
                }
                _ => {}
            }
        }
    }

    fn result(&mut self, game: &Game, slot: usize, pool: &Pool) {
        let pick = &game.picks[slot];
        let player = pool.players[pick.player].id.clone();
        let mastery = self.mastery.entry((player, CHAMPIONS[pick.champion].0)).or_default();
        mastery.games += 1;
        mastery.wins += u64::from(Game::team(slot) == game.winner);
        mastery.kills += u64::from(pick.kills);
        mastery.deaths += u64::from(pick.deaths);
        mastery.assists += u64::from(pick.assists);
    }

    fn sample(&mut self, game: &Game, sample: &Sample) {
        let pick = &game.picks[sample.slot];
        let provider = pick.line.network.map(crate::world::Network::provider);
        let connection = provider.map_or("unknown", |provider| provider.connection);
        let region = self.connections.entry(REGIONS[game.region].code).or_default();
        region.entry(connection).or_default().insert(pick.player);
        if let Some(provider) = provider {
            let quality = self.providers.entry(provider.name).or_default();
            quality.players.insert(pick.player);
            quality.grades[grade(sample)] += 1;
        }
    }

    /// The sums of it all.
    pub(crate) fn truth(&self) -> Truth {
        let reports = [
            ("first_blood", self.first_blood()),
            ("champion_mastery", self.champion_mastery()),
            ("connection_types", self.connection_types()),
            ("provider_leaderboard", self.provider_leaderboard()),
            ("key_bindings", self.key_bindings()),
            ("crashes", self.crashes()),
            ("pipeline_health", self.pipeline_health()),
        ];
        let reports = reports.into_iter().chain(self.activity.reports()).chain(self.support.reports());
        let reports = reports.chain(self.chatter.reports());
        Truth {
            reports: reports.collect(),
            tables: self.tables.clone(),
            duplicates: self.duplicates,
            conflicts: self.conflicts,
            refused: self.refused,
        }
    }

    /// As if one stream took them all and nothing was refused later.
    fn pipeline_health(&self) -> Vec<Value> {
        let clean: u64 = self.tables.values().sum();
        let accepted = clean + self.duplicates + self.conflicts;
        if accepted == 0 {
            return Vec::new();
        }
        vec![json!({
            "stream": "events",
            "accepted": accepted,
            "clean": clean,
            "duplicates": self.duplicates,
            "duplicate_share": ratio(self.duplicates, accepted, 4),
            "conflicts": self.conflicts,
            "dead": 0,
            "dead_share": 0.0,
        })]
    }

    fn first_blood(&self) -> Vec<Value> {
        let mut rows: Vec<_> = self
            .champions
            .iter()
            .map(|(champion, &(games, first_bloods))| (ratio(first_bloods, games, 4), games, first_bloods, *champion))
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(a.3.cmp(b.3)));
        rows.into_iter()
            .map(|(rate, games, first_bloods, champion)| {
                json!({"champion": champion, "games": games, "first_bloods": first_bloods, "rate": rate})
            })
            .collect()
    }

    fn champion_mastery(&self) -> Vec<Value> {
        let mut rows: Vec<_> = self
            .mastery
            .iter()
            .map(|(who, mastery)| {
                let win_rate = ratio(mastery.wins, mastery.games, 4);
                let kda = ratio(mastery.kills + mastery.assists, mastery.deaths.max(1), 2);
                (mastery, win_rate, kda, who)
            })
            .collect();
        rows.sort_by(|a, b| {
            let games = b.0.games.cmp(&a.0.games);
            games.then(b.1.total_cmp(&a.1)).then(b.2.total_cmp(&a.2)).then(a.3.cmp(b.3))
        });
        rows.into_iter()
            .map(|(mastery, win_rate, kda, (player, champion))| {
                json!({
                    "player_id": player,
                    "champion": champion,
                    "games": mastery.games,
                    "win_rate": win_rate,
                    "kda": kda,
                    "kills": mastery.kills,
                    "deaths": mastery.deaths,
                    "assists": mastery.assists,
                })
            })
            .collect()
    }

    fn connection_types(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for (region, connections) in &self.connections {
            let all: u64 = connections.values().map(count).sum();
            let mut here: Vec<_> = connections
                .iter()
                .map(|(connection, players)| (ratio(count(players), all, 4), count(players), *connection))
                .collect();
            here.sort_by(|a, b| b.1.cmp(&a.1).then(a.2.cmp(b.2)));
            rows.extend(here.into_iter().map(|(share, players, connection)| {
                json!({"region": region, "connection": connection, "share": share, "players": players})
            }));
        }
        rows
    }

    fn provider_leaderboard(&self) -> Vec<Value> {
        let all: u64 = self.providers.values().map(|quality| count(&quality.players)).sum();
        let mut rows: Vec<_> = self
            .providers
            .iter()
            .map(|(provider, quality)| {
                let samples: u64 = quality.grades.iter().sum();
                let points: u64 = quality.grades.iter().zip(POINTS).map(|(samples, points)| samples * points).sum();
                (ratio(points, samples, 1), samples, *provider, quality)
            })
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(b.2)));
        rows.into_iter()
            .map(|(score, samples, provider, quality)| {
                let [great, good, ok, poor] = quality.grades.map(|grade| ratio(grade, samples, 4));
                json!({
                    "provider": provider,
                    "score": score,
                    "share": ratio(count(&quality.players), all, 4),
                    "great": great,
                    "good": good,
                    "ok": ok,
                    "poor": poor,
                    "players": quality.players.len(),
                    "samples": samples,
                })
            })
            .collect()
    }

    fn key_bindings(&self) -> Vec<Value> {
        let mut spells: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((spell, _), (_, key)) in &self.bindings {
            *spells.entry(spell).or_default().entry(key).or_default() += 1;
        }
        let mut rows = Vec::new();
        for (spell, keys) in spells {
            let all: u64 = keys.values().sum();
            let mut here: Vec<_> = keys.into_iter().collect();
            here.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            rows.extend(here.into_iter().map(
                |(key, players)| json!({"spell": spell, "key": key, "share": ratio(players, all, 4), "players": players}),
            ));
        }
        rows
    }

    fn crashes(&self) -> Vec<Value> {
        let mut rows: Vec<_> = self.crashes.iter().collect();
        rows.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
        rows.into_iter()
            .map(|((signature, version), (crashes, players))| {
                json!({"signature": signature, "version": version, "crashes": crashes, "players": players.len()})
            })
            .collect()
    }
}

fn count(players: &BTreeSet<usize>) -> u64 {
    players.len() as u64
}

/// `part / whole` rounded half away from zero to `digits` places, with the operations that SQL's
/// `round` uses. Counts stay far below 2^53, where a double is still exact.
#[expect(clippy::cast_precision_loss, reason = "counts of events, see above")]
pub(crate) fn ratio(part: u64, whole: u64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (part as f64 / whole as f64 * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::{grade, ratio};
    use crate::plan::Sample;

    #[test]
    fn the_worst_measurement_decides_the_grade_and_thresholds_belong_to_the_better_side() {
        let table = [
            (40, 8, 10, 0),
            (41, 8, 10, 1),
            (40, 9, 10, 1),
            (40, 8, 11, 1),
            (80, 15, 50, 1),
            (81, 15, 50, 2),
            (10, 30, 0, 2),
            (10, 31, 0, 3),
            (140, 30, 200, 2),
            (140, 30, 201, 3),
            (141, 1, 0, 3),
        ];
        for (latency_ms, jitter_ms, loss, expected) in table {
            let sample = Sample { slot: 0, latency_ms, jitter_ms, loss };
            assert_eq!(grade(&sample), expected, "{sample:?}");
        }
    }

    #[test]
    fn ratios_round_half_away_from_zero() {
        assert_eq!(ratio(1, 3, 4), 0.3333);
        assert_eq!(ratio(2, 3, 4), 0.6667);
        assert_eq!(ratio(1, 8, 2), 0.13);
        assert_eq!(ratio(5, 1, 2), 5.0);
    }
}
