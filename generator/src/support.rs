//! Crashes and those who suffer them: what the reports for support must say.

use crate::activity::{date, day, time};
use crate::plan::{Game, Happening};
use crate::players::Pool;
use crate::truth::ratio;
use crate::world::GPUS;
use events::clock::Micros;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How far back `recent` looks, and `before` from there.
const WINDOW_US: Micros = 7 * 86_400_000_000;

#[derive(Debug)]
struct Crash {
    time_us: Micros,
    signature: &'static str,
    version: &'static str,
    gpu: usize,
    player: String,
    note: Option<&'static str>,
    /// Name and mail, if they may be used.
    contact: Option<(String, String)>,
}

/// All crashes.
#[derive(Debug, Default)]
pub(crate) struct Support(Vec<Crash>);

impl Support {
    /// Takes down a game's crashes.
    pub(crate) fn game(&mut self, game: &Game, pool: &Pool) {
        for (at_ms, happening) in &game.happenings {
            if let Happening::Crash { slot, signature, gpu, note, contact } = happening {
                let player = &pool.players[game.picks[*slot].player];
                self.0.push(Crash {
                    time_us: (game.start_us + Micros::from(*at_ms) * 1_000) / 1_000 * 1_000,
                    signature,
                    version: game.version,
                    gpu: *gpu,
                    player: player.id.clone(),
                    note: *note,
                    contact: (*contact == Some(true)).then(|| player.contact()),
                });
            }
        }
    }

    /// The reports by name.
    pub(crate) fn reports(&self) -> [(&'static str, Vec<Value>); 4] {
        [
            ("crash_groups", self.groups()),
            ("crash_trend", self.trend()),
            ("crash_drivers", self.drivers()),
            ("player_support", self.notes()),
        ]
    }

    fn groups(&self) -> Vec<Value> {
        let newest = self.0.iter().map(|crash| crash.time_us).max().unwrap_or(0);
        let mut groups: BTreeMap<&str, Vec<&Crash>> = BTreeMap::new();
        for crash in &self.0 {
            groups.entry(crash.signature).or_default().push(crash);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(signature, crashes)| (std::cmp::Reverse(crashes.len()), *signature));
        let row = |(signature, crashes): (&str, Vec<&Crash>)| {
            let all = |of: &dyn Fn(&Crash) -> String| -> Vec<String> {
                crashes.iter().map(|crash| of(crash)).collect::<BTreeSet<String>>().into_iter().collect()
            };
            let within = |from: Micros, to: Micros| {
                crashes.iter().filter(|crash| (from..to).contains(&(newest - crash.time_us))).count() as u64
            };
            let (recent, before) = (within(0, WINDOW_US), within(WINDOW_US, 2 * WINDOW_US));
            let times = || crashes.iter().map(|crash| crash.time_us);
            json!({
                "signature": signature,
                "crashes": crashes.len(),
                "players": all(&|crash| crash.player.clone()).len(),
                "recent": recent,
                "before": before,
                "trend": recent.cast_signed() - before.cast_signed(),
                "versions": all(&|crash| crash.version.to_owned()).join(", "),
                "drivers": all(&driver).join(", "),
                "first_seen": time(times().min().unwrap_or(0)),
                "last_seen": time(times().max().unwrap_or(0)),
            })
        };
        groups.into_iter().map(row).collect()
    }

    fn trend(&self) -> Vec<Value> {
        let mut days: BTreeMap<(Micros, &str), (u64, BTreeSet<&str>)> = BTreeMap::new();
        for crash in &self.0 {
            let here = days.entry((day(crash.time_us), crash.signature)).or_default();
            here.0 += 1;
            here.1.insert(&crash.player);
        }
        days.into_iter()
            .map(|((day, signature), (crashes, players))| {
                json!({"day": date(day), "signature": signature, "crashes": crashes, "players": players.len()})
            })
            .collect()
    }

    fn drivers(&self) -> Vec<Value> {
        let mut drivers: BTreeMap<(&str, &str), Vec<&Crash>> = BTreeMap::new();
        for crash in &self.0 {
            drivers.entry(GPUS[crash.gpu]).or_default().push(crash);
        }
        let mut drivers: Vec<_> = drivers.into_iter().collect();
        drivers.sort_by_key(|(driver, crashes)| (std::cmp::Reverse(crashes.len()), *driver));
        let row = |((gpu, driver), crashes): ((&str, &str), Vec<&Crash>)| {
            json!({
                "gpu": gpu,
                "driver": driver,
                "crashes": crashes.len(),
                "share": ratio(crashes.len() as u64, self.0.len() as u64, 4),
                "players": crashes.iter().map(|crash| &crash.player).collect::<BTreeSet<_>>().len(),
                "signatures": crashes.iter().map(|crash| crash.signature).collect::<BTreeSet<_>>().len(),
            })
        };
        drivers.into_iter().map(row).collect()
    }

    fn notes(&self) -> Vec<Value> {
        let mut written: Vec<&Crash> = self.0.iter().filter(|crash| crash.note.is_some()).collect();
        written.sort_by_key(|crash| (std::cmp::Reverse(crash.time_us), &crash.player));
        let row = |crash: &Crash| {
            let (gpu, driver) = GPUS[crash.gpu];
            json!({
                "time": time(crash.time_us),
                "signature": crash.signature,
                "version": crash.version,
                "gpu": gpu,
                "driver": driver,
                "player_id": crash.player,
                "note": crash.note,
                "name": crash.contact.as_ref().map(|(name, _)| name),
                "mail": crash.contact.as_ref().map(|(_, mail)| mail),
            })
        };
        written.into_iter().map(row).collect()
    }
}

fn driver(crash: &Crash) -> String {
    let (gpu, driver) = GPUS[crash.gpu];
    format!("{gpu} {driver}")
}
