//! A plan as CloudEvents. Types and fields are those that a real League of Legends game server
//! sends; chat, connection quality, settings, crashes and purchases come from the players' clients
//! and carry their address.

use crate::event::{Event, rfc3339};
use crate::plan::{Game, Happening, Kill, Pick, spell_name};
use crate::players::Pool;
use crate::world::{CHAMPIONS, GPUS, REGIONS, SPELLS, WARES};
use events::clock::Micros;
use serde_json::{Value, json};

/// The events of a game, in the order in which they happen.
pub(crate) fn events(game: &Game, pool: &Pool) -> Vec<Event> {
    let writer = Writer { game, pool };
    game.happenings
        .iter()
        .enumerate()
        .map(|(number, (at_ms, happening))| writer.event(number, *at_ms, happening))
        .collect()
}

/// The event type of a happening.
pub(crate) fn event_type(happening: &Happening) -> &'static str {
    match happening {
        Happening::Start => "lol.game_start",
        Happening::SkillUp { .. } => "lol.skill_level_up",
        Happening::Item { .. } => "lol.item_purchased",
        Happening::LevelUp { .. } => "lol.level_up",
        Happening::Kill(_) => "lol.champion_kill",
        Happening::FirstBlood { .. } | Happening::MultiKill { .. } => "lol.champion_special_kill",
        Happening::Building { .. } => "lol.building_kill",
        Happening::PlayerResult { .. } => "lol.player_result",
        Happening::GameResult => "lol.game_result",
        Happening::GameEnd => "lol.game_end",
        Happening::Chat { .. } => "chat.message",
        Happening::Quality(_) => "network.quality",
        Happening::Crash { .. } => "client.crash",
        Happening::Binding { .. } => "settings.key_binding",
        Happening::Purchase { .. } => "store.purchase",
    }
}

struct Writer<'a> {
    game: &'a Game,
    pool: &'a Pool,
}

impl Writer<'_> {
    fn event(&self, number: usize, at_ms: u32, happening: &Happening) -> Event {
        let game = self.game;
        let slug = REGIONS[game.region].slug;
        let by_client = matches!(
            happening,
            Happening::Quality(_) | Happening::Crash { .. } | Happening::Binding { .. } | Happening::Purchase { .. }
        );
        // Settings and shopping belong to a player, whatever the game.
        let in_game = !matches!(happening, Happening::Binding { .. } | Happening::Purchase { .. });
        let slot = slot_of(happening);
        Event {
            specversion: "1.0",
            id: format!("{}-{number}", game.id),
            source: if by_client { format!("/lol/{slug}/client") } else { format!("/lol/{slug}/gameserver") },
            kind: event_type(happening),
            time: rfc3339(game.start_us + Micros::from(at_ms) * 1_000),
            datacontenttype: "application/json",
            gameid: in_game.then(|| game.id.clone()),
            playerid: slot.map(|slot| self.player(slot).to_owned()),
            region: REGIONS[game.region].code,
            clientaddress: slot.filter(|_| by_client).map(|slot| game.picks[slot].line.address.to_string()),
            data: self.data(at_ms, happening),
        }
    }

    fn data(&self, at_ms: u32, happening: &Happening) -> Value {
        match happening {
            Happening::Start => self.start(),
            Happening::SkillUp { skill, .. } => json!({"level_up_type": "NORMAL", "skill_slot": skill}),
            Happening::Item { item, .. } => json!({"item_id": item}),
            Happening::LevelUp { level, .. } => json!({"level": level}),
            Happening::Kill(kill) => self.kill(kill),
            Happening::FirstBlood { slot, position } => json!({
                "kill_type": "KILL_FIRST_BLOOD",
                "position": place(*position),
                "killer": self.player(*slot),
                "killer_champion": self.champion(*slot),
            }),
            Happening::MultiKill { slot, position, length } => json!({
                "kill_type": "KILL_MULTI",
                "multi_kill_length": length,
                "position": place(*position),
                "killer": self.player(*slot),
                "killer_champion": self.champion(*slot),
            }),
            Happening::Building { slot, tower, lane } => json!({
                "bounty": 0,
                "building_type": "TOWER_BUILDING",
                "lane_type": lane,
                "position": place((4_943, 4_929)),
                "team_id": 300 - Game::team(*slot),
                "tower_type": tower,
                "killer": self.player(*slot),
                "killer_champion": self.champion(*slot),
                "assists": [],
            }),
            Happening::Chat { channel, text, .. } => {
                json!({"channel": channel, "text": text, "game_time_s": f64::from(at_ms / 1_000)})
            }
            Happening::Quality(sample) => json!({
                "latency_ms": sample.latency_ms,
                "jitter_ms": sample.jitter_ms,
                "loss_pct": f64::from(sample.loss) / 100.0,
                "game_time_s": f64::from(at_ms / 1_000),
            }),
            Happening::Crash { slot, signature, gpu, note, contact } => {
                let (gpu, driver) = GPUS[*gpu];
                let mut data =
                    json!({"signature": signature, "app_version": self.game.version, "gpu": gpu, "driver": driver});
                if let Some(note) = note {
                    data["note"] = Value::from(*note);
                }
                if let Some(consent) = contact {
                    let (name, mail) = self.pool.players[self.pick(*slot).player].contact();
                    data["name"] = Value::from(name);
                    data["mail"] = Value::from(mail);
                    data["consent"] = Value::from(*consent);
                }
                data
            }
            Happening::PlayerResult { slot } => self.player_result(*slot),
            Happening::GameResult => {
                json!({"duration_s": self.game.duration_ms / 1_000, "winning_team": self.game.winner})
            }
            Happening::GameEnd => json!({"game_id": self.game.number, "winning_team": self.game.winner}),
            Happening::Binding { spell, key, .. } => json!({"spell": spell_name(*spell), "key": key}),
            Happening::Purchase { ware, .. } => {
                let (sku, name, price) = WARES[*ware];
                json!({"sku": sku, "name": name, "price": price, "currency": "RP"})
            }
        }
    }

    fn start(&self) -> Value {
        let participants: Vec<Value> = (0..self.game.picks.len())
            .map(|slot| {
                json!({"player_id": self.player(slot), "champion": self.champion(slot), "team_id": Game::team(slot)})
            })
            .collect();
        let (mode, map, queue) = if self.game.aram { ("ARAM", 12, 450) } else { ("CLASSIC", 11, 420) };
        json!({
            "mode": mode,
            "map_id": map,
            "queue_id": queue,
            "version": self.game.version,
            "participants": participants,
        })
    }

    fn kill(&self, kill: &Kill) -> Value {
        let assists: Vec<&str> = kill.assists.iter().map(|&slot| self.player(slot)).collect();
        json!({
            "bounty": 300,
            "kill_streak_length": kill.streak,
            "position": place(kill.position),
            "shutdown_bounty": kill.streak.saturating_sub(1) * 100,
            "victim_damage_dealt": kill.dealt.iter().map(|&blow| self.blow(blow)).collect::<Vec<_>>(),
            "victim_damage_received": kill.received.iter().map(|&blow| self.blow(blow)).collect::<Vec<_>>(),
            "killer": self.player(kill.killer),
            "killer_champion": self.champion(kill.killer),
            "victim": self.player(kill.victim),
            "victim_champion": self.champion(kill.victim),
            "assists": assists,
        })
    }

    fn blow(&self, (slot, spell, amount): (usize, u32, u32)) -> Value {
        let champion = self.champion(slot);
        let letter = ["q", "w", "e", "r"][spell as usize % 4];
        let magic = if spell % 2 == 0 { amount } else { 0 };
        json!({
            "basic": false,
            "magic_damage": magic,
            "name": champion,
            "physical_damage": amount - magic,
            "spell_name": format!("{}{letter}", champion.to_lowercase()),
            "spell_slot": spell,
            "true_damage": 0,
            "type": "OTHER",
            "player_id": self.player(slot),
        })
    }

    fn player_result(&self, slot: usize) -> Value {
        let pick = self.pick(slot);
        let first = self.game.happenings.iter().find_map(|(_, happening)| match happening {
            Happening::Kill(kill) => Some(kill),
            _ => None,
        });
        let minutes = self.game.duration_ms / 60_000;
        json!({
            "champion_name": self.champion(slot),
            "champion_id": CHAMPIONS[pick.champion].1,
            "champ_level": (6 + minutes / 3).min(18),
            "kills": pick.kills,
            "deaths": pick.deaths,
            "assists": pick.assists,
            "gold_earned": 380 * minutes + 300 * pick.kills + 150 * pick.assists,
            "total_damage_dealt_to_champions": 420 * minutes + 900 * pick.kills,
            "win": Game::team(slot) == self.game.winner,
            "first_blood_kill": first.is_some_and(|kill| kill.killer == slot),
            "first_blood_assist": first.is_some_and(|kill| kill.assists.contains(&slot)),
            "summoner1_id": SPELLS[pick.spells[0]].1,
            "summoner2_id": SPELLS[pick.spells[1]].1,
            "team_id": Game::team(slot),
            "time_played": self.game.duration_ms / 1_000,
        })
    }

    fn pick(&self, slot: usize) -> &Pick {
        &self.game.picks[slot]
    }

    fn player(&self, slot: usize) -> &str {
        &self.pool.players[self.pick(slot).player].id
    }

    fn champion(&self, slot: usize) -> &'static str {
        CHAMPIONS[self.pick(slot).champion].0
    }
}

/// Whose event it is; `None` for those of the whole game.
fn slot_of(happening: &Happening) -> Option<usize> {
    match happening {
        Happening::Start | Happening::GameResult | Happening::GameEnd => None,
        Happening::Kill(kill) => Some(kill.killer),
        Happening::Quality(sample) => Some(sample.slot),
        Happening::SkillUp { slot, .. }
        | Happening::Item { slot, .. }
        | Happening::LevelUp { slot, .. }
        | Happening::FirstBlood { slot, .. }
        | Happening::MultiKill { slot, .. }
        | Happening::Building { slot, .. }
        | Happening::Chat { slot, .. }
        | Happening::Crash { slot, .. }
        | Happening::PlayerResult { slot }
        | Happening::Binding { slot, .. }
        | Happening::Purchase { slot, .. } => Some(*slot),
    }
}

fn place((x, y): (u32, u32)) -> Value {
    json!({"x": x, "y": y})
}
