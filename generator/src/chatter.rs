//! What players write: what the reports on toxicity must say, by the plan, which knows what it meant.

use crate::activity::time;
use crate::plan::{Game, Happening};
use crate::players::Pool;
use crate::truth::ratio;
use crate::world::{CHAMPIONS, REGIONS};
use events::clock::Micros;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const HOUR_US: Micros = 3_600_000_000;
/// Matches that the report shows.
const MATCHES: usize = 10;
/// Messages of a player that it shows.
const EVIDENCE: usize = 5;
/// From how many toxic messages on somebody is a repeated offender.
const REPEATED: u64 = 2;

/// Messages, and the toxic ones of them.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    messages: u64,
    toxic: u64,
}

impl Share {
    fn add(&mut self, is_toxic: bool) {
        self.messages += 1;
        self.toxic += u64::from(is_toxic);
    }

    fn rate(self) -> f64 {
        ratio(self.toxic, self.messages, 4)
    }
}

#[derive(Debug, Default)]
struct Offender {
    share: Share,
    games: u64,
    /// The newest toxic messages, by time and id.
    evidence: BTreeSet<(Micros, String, String)>,
}

#[derive(Debug)]
struct Match {
    id: String,
    region: &'static str,
    first: Micros,
    share: Share,
    transcript: Vec<String>,
}

/// The counts on the way.
#[derive(Debug, Default)]
pub(crate) struct Chatter {
    hours: BTreeMap<Micros, Share>,
    /// With the players who wrote something toxic.
    regions: BTreeMap<&'static str, (Share, BTreeSet<usize>)>,
    champions: BTreeMap<&'static str, Share>,
    players: BTreeMap<String, Offender>,
    matches: Vec<Match>,
    /// By version: when its first game began, and what was written.
    versions: BTreeMap<&'static str, (Micros, Share)>,
}

impl Chatter {
    /// Counts a game.
    pub(crate) fn game(&mut self, game: &Game, pool: &Pool) {
        let version = self.versions.entry(game.version).or_insert((Micros::MAX, Share::default()));
        version.0 = version.0.min(game.start_us / 1_000 * 1_000);
        let mut offenders = BTreeSet::new();
        let mut said: Vec<(Micros, String, String)> = Vec::new();
        let mut whole = Share::default();
        for (number, (at_ms, happening)) in game.happenings.iter().enumerate() {
            let Happening::Chat { slot, text, is_toxic, .. } = happening else { continue };
            let pick = &game.picks[*slot];
            let (player, at) =
                (&pool.players[pick.player].id, (game.start_us + Micros::from(*at_ms) * 1_000) / 1_000 * 1_000);
            let event_id = format!("{}-{number}", game.id);
            whole.add(*is_toxic);
            version.1.add(*is_toxic);
            self.hours.entry(at.div_euclid(HOUR_US) * HOUR_US).or_default().add(*is_toxic);
            self.champions.entry(CHAMPIONS[pick.champion].0).or_default().add(*is_toxic);
            let region = self.regions.entry(REGIONS[game.region].code).or_default();
            region.0.add(*is_toxic);
            let offender = self.players.entry(player.clone()).or_default();
            offender.share.add(*is_toxic);
            if *is_toxic {
                region.1.insert(pick.player);
                offender.games += u64::from(offenders.insert(pick.player));
                offender.evidence.insert((at, event_id.clone(), text.clone()));
                if offender.evidence.len() > EVIDENCE {
                    offender.evidence.pop_first();
                }
            }
            said.push((at, event_id, format!("{}{player}: {text}", if *is_toxic { "! " } else { "" })));
        }
        said.sort();
        if let Some((first, ..)) = said.first().filter(|_| whole.toxic > 0) {
            let (id, region, first) = (game.id.clone(), REGIONS[game.region].code, *first);
            let transcript = said.into_iter().map(|(_, _, line)| line).collect();
            self.matches.push(Match { id, region, first, share: whole, transcript });
            self.matches.sort_by(|a, b| {
                let key = |of: &Match| (Reverse(of.share.toxic), of.share.messages);
                key(a).cmp(&key(b)).then(a.id.cmp(&b.id))
            });
            self.matches.truncate(MATCHES);
        }
    }

    /// The reports by name.
    pub(crate) fn reports(&self) -> [(&'static str, Vec<Value>); 6] {
        [
            ("toxicity_by_hour", self.by_hour()),
            ("toxicity_by_region", self.by_region()),
            ("toxicity_by_champion", self.by_champion()),
            ("toxic_players", self.offenders()),
            ("toxic_matches", self.worst()),
            ("toxicity_by_patch", self.by_patch()),
        ]
    }

    fn by_hour(&self) -> Vec<Value> {
        let row = |(hour, share): (&Micros, &Share)| json!({"hour": time(*hour), "messages": share.messages, "toxic": share.toxic, "rate": share.rate()});
        self.hours.iter().map(row).collect()
    }

    /// Which labels there are is for the scorer to say.
    fn by_region(&self) -> Vec<Value> {
        let mut regions: Vec<_> = self.regions.iter().collect();
        regions.sort_by(|a, b| b.1.0.rate().total_cmp(&a.1.0.rate()).then(a.0.cmp(b.0)));
        let row = |(region, (share, players)): (&&str, &(Share, BTreeSet<usize>))| {
            json!({
                "region": region,
                "messages": share.messages,
                "toxic": share.toxic,
                "rate": share.rate(),
                "players": players.len(),
            })
        };
        regions.into_iter().map(row).collect()
    }

    fn by_champion(&self) -> Vec<Value> {
        let mut champions: Vec<_> = self.champions.iter().collect();
        champions
            .sort_by(|a, b| b.1.rate().total_cmp(&a.1.rate()).then(b.1.messages.cmp(&a.1.messages)).then(a.0.cmp(b.0)));
        let row = |(champion, share): (&&str, &Share)| json!({"champion": champion, "messages": share.messages, "toxic": share.toxic, "rate": share.rate()});
        champions.into_iter().map(row).collect()
    }

    fn offenders(&self) -> Vec<Value> {
        let mut offenders: Vec<_> = self.players.iter().filter(|(_, who)| who.share.toxic >= REPEATED).collect();
        offenders.sort_by(|a, b| {
            let (left, right) = (a.1.share, b.1.share);
            right.toxic.cmp(&left.toxic).then(right.rate().total_cmp(&left.rate())).then(a.0.cmp(b.0))
        });
        let row = |(player, who): (&String, &Offender)| {
            let newest: Vec<&str> = who.evidence.iter().rev().map(|(_, _, text)| text.as_str()).collect();
            json!({
                "player_id": player,
                "toxic": who.share.toxic,
                "messages": who.share.messages,
                "rate": who.share.rate(),
                "games": who.games,
                "last": who.evidence.last().map(|(at, ..)| time(*at)),
                "evidence": newest,
            })
        };
        offenders.into_iter().map(row).collect()
    }

    fn worst(&self) -> Vec<Value> {
        let row = |of: &Match| {
            json!({
                "game_id": of.id,
                "region": of.region,
                "first": time(of.first),
                "toxic": of.share.toxic,
                "messages": of.share.messages,
                "rate": of.share.rate(),
                "transcript": of.transcript,
            })
        };
        self.matches.iter().map(row).collect()
    }

    fn by_patch(&self) -> Vec<Value> {
        let mut versions: Vec<_> = self.versions.iter().filter(|(_, (_, share))| share.messages > 0).collect();
        versions.sort_by_key(|(version, (since, _))| (*since, **version));
        let mut rows = Vec::new();
        let mut before: Option<Share> = None;
        for (version, (since, share)) in versions {
            let change = before.map(|before| {
                let (now, then) = (share.toxic * before.messages, before.toxic * share.messages);
                let size = ratio(now.abs_diff(then), share.messages * before.messages, 4);
                if now < then { -size } else { size }
            });
            rows.push(json!({
                "version": version,
                "since": time(*since),
                "messages": share.messages,
                "toxic": share.toxic,
                "rate": share.rate(),
                "before": before.map(Share::rate),
                "change": change,
            }));
            before = Some(*share);
        }
        rows
    }
}
