//! When players play: what sessions, retention, concurrent players and match length must say.

use crate::plan::{Game, PLAYERS};
use crate::truth::ratio;
use chrono::{DateTime, SecondsFormat};
use events::clock::Micros;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DAY_US: Micros = 86_400_000_000;
const HOUR_US: Micros = 3_600_000_000;
/// A longer break ends a session.
const GAP_US: Micros = 30 * 60_000_000;

/// Who played from when to when, and how long games took.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// By player, in the order of time: nobody plays two games at once.
    played: BTreeMap<usize, Vec<(Micros, Micros)>>,
    /// By mode, whole seconds.
    lengths: BTreeMap<&'static str, Vec<u32>>,
}

/// One day's sessions.
#[derive(Debug, Default)]
struct Day {
    sessions: u64,
    players: BTreeSet<usize>,
    games: u64,
    length_us: Micros,
}

impl Activity {
    /// Counts a game.
    pub(crate) fn game(&mut self, game: &Game) {
        let seconds = game.duration_ms / 1_000;
        self.lengths.entry(if game.aram { "ARAM" } else { "CLASSIC" }).or_default().push(seconds);
        // Events carry milliseconds, and the time played whole seconds.
        let end_us = (game.start_us + Micros::from(game.duration_ms) * 1_000) / 1_000 * 1_000;
        let start_us = end_us - Micros::from(seconds) * 1_000_000;
        for pick in &game.picks[..PLAYERS] {
            self.played.entry(pick.player).or_default().push((start_us, end_us));
        }
    }

    /// The reports by name.
    pub(crate) fn reports(&self) -> [(&'static str, Vec<Value>); 4] {
        [
            ("sessions", self.sessions()),
            ("retention", self.retention()),
            ("concurrent_players", self.concurrent_players()),
            ("match_length", self.match_length()),
        ]
    }

    fn sessions(&self) -> Vec<Value> {
        let mut days: BTreeMap<Micros, Day> = BTreeMap::new();
        for (player, played) in &self.played {
            let mut session: Option<(Micros, Micros, u64)> = None;
            for &(start, end) in played {
                session = match session {
                    Some((from, to, games)) if start - to <= GAP_US => Some((from, end, games + 1)),
                    before => {
                        close(&mut days, *player, before);
                        Some((start, end, 1))
                    }
                };
            }
            close(&mut days, *player, session);
        }
        days.into_iter()
            .map(|(day, sums)| {
                json!({
                    "day": date(day),
                    "sessions": sums.sessions,
                    "players": sums.players.len(),
                    "games": sums.games,
                    "minutes": ratio(sums.length_us.unsigned_abs(), sums.sessions * 60_000_000, 1),
                    "games_per_session": ratio(sums.games, sums.sessions, 2),
                })
            })
            .collect()
    }

    fn retention(&self) -> Vec<Value> {
        let days_of = |played: &[(Micros, Micros)]| -> BTreeSet<Micros> {
            played.iter().map(|(_, end)| end.div_euclid(DAY_US)).collect()
        };
        let seen: Vec<BTreeSet<Micros>> = self.played.values().map(|played| days_of(played)).collect();
        let newest = seen.iter().filter_map(|days| days.last()).max().copied().unwrap_or(0);
        let mut cohorts: BTreeMap<Micros, Vec<&BTreeSet<Micros>>> = BTreeMap::new();
        for days in &seen {
            if let Some(first) = days.first() {
                cohorts.entry(*first).or_default().push(days);
            }
        }
        let back = |cohort: &[&BTreeSet<Micros>], day: Micros| -> Option<f64> {
            let returned = cohort.iter().filter(|days| days.contains(&day)).count();
            (day < newest).then(|| ratio(returned as u64, cohort.len() as u64, 4))
        };
        let row = |(first, cohort): (&Micros, &Vec<&BTreeSet<Micros>>)| {
            json!({
                "cohort": date(*first),
                "players": cohort.len(),
                "day_1": back(cohort, first + 1),
                "day_7": back(cohort, first + 7),
                "day_30": back(cohort, first + 30),
            })
        };
        cohorts.iter().map(row).collect()
    }

    fn concurrent_players(&self) -> Vec<Value> {
        let mut changes: BTreeMap<Micros, i64> = BTreeMap::new();
        for (start, end) in self.played.values().flatten() {
            *changes.entry(*start).or_default() += 1;
            *changes.entry(*end).or_default() -= 1;
        }
        let mut peaks: BTreeMap<Micros, i64> = BTreeMap::new();
        let mut playing = 0;
        for (at, change) in changes {
            let hour = at.div_euclid(HOUR_US) * HOUR_US;
            let peak = peaks.entry(hour).or_default();
            // Who played before this moment did so in this hour, too, unless it is the hour's first.
            if at > hour {
                *peak = playing.max(*peak);
            }
            playing += change;
            *peak = playing.max(*peak);
        }
        peaks.into_iter().map(|(hour, players)| json!({"hour": time(hour), "players": players})).collect()
    }

    fn match_length(&self) -> Vec<Value> {
        let row = |(mode, lengths): (&&'static str, &Vec<u32>)| {
            let mut lengths = lengths.clone();
            lengths.sort_unstable();
            // Nearest rank: the smallest that so many percent don't exceed.
            let at = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100).max(1) - 1];
            let all: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
            json!({
                "mode": mode,
                "games": lengths.len(),
                "shortest_s": at(0),
                "median_s": at(50),
                "p90_s": at(90),
                "longest_s": at(100),
                "mean_s": ratio(all, lengths.len() as u64, 1),
            })
        };
        self.lengths.iter().map(row).collect()
    }
}

fn close(days: &mut BTreeMap<Micros, Day>, player: usize, session: Option<(Micros, Micros, u64)>) {
    let Some((from, to, games)) = session else { return };
    let day = days.entry(from.div_euclid(DAY_US)).or_default();
    day.sessions += 1;
    day.players.insert(player);
    day.games += games;
    day.length_us += to - from;
}

/// A day since the epoch, as JSON has dates.
pub(crate) fn date(day: Micros) -> String {
    DateTime::from_timestamp_micros(day * DAY_US).unwrap_or_default().format("%Y-%m-%d").to_string()
}

/// As JSON has times: with the digits they need.
pub(crate) fn time(time_us: Micros) -> String {
    DateTime::from_timestamp_micros(time_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The day of a time.
pub(crate) const fn day(time_us: Micros) -> Micros {
    time_us.div_euclid(DAY_US)
}
