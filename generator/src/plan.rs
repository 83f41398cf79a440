//! What happens in each game. The plan knows no JSON: [`crate::render`] writes it down as events,
//! [`crate::truth`] counts it.

use crate::chat;
use crate::options::Options;
use crate::players::{Line, Pool};
use crate::world::{CRASHES, GPUS, ITEMS, KEYS, NOTES, REGIONS, SPELLS, VERSIONS, WARES};
use events::clock::Micros;
use rand::Rng;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Players of one game: places 0 to 4 are team 100, 5 to 9 team 200.
pub(crate) const PLAYERS: usize = 10;
/// Games start this far apart, unless that would take longer than [`SPAN_US`] in all.
const SPACING_US: Micros = 90_000_000;
const SPAN_US: Micros = 30 * 86_400_000_000;
/// A break after a game, in which players rebind keys and go shopping.
const BREAK_MS: u32 = 120_000;

/// One player in one game.
#[derive(Debug)]
pub(crate) struct Pick {
    /// Place in the pool.
    pub(crate) player: usize,
    /// Place in [`crate::world::CHAMPIONS`].
    pub(crate) champion: usize,
    pub(crate) spells: [usize; 2],
    pub(crate) line: Line,
    pub(crate) kills: u32,
    pub(crate) deaths: u32,
    pub(crate) assists: u32,
}

/// One champion killed by another; the numbers are places in the game.
#[derive(Debug)]
pub(crate) struct Kill {
    pub(crate) killer: usize,
    pub(crate) victim: usize,
    pub(crate) assists: Vec<usize>,
    pub(crate) position: (u32, u32),
    /// Kills of the killer since the last death.
    pub(crate) streak: u32,
    /// Damage by: player, spell slot, amount. First the victim's, then what the victim took.
    pub(crate) dealt: Vec<(usize, u32, u32)>,
    pub(crate) received: Vec<(usize, u32, u32)>,
}

/// A measurement of one player's connection.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) slot: usize,
    pub(crate) latency_ms: u32,
    pub(crate) jitter_ms: u32,
    /// Hundredths of a percent: packets lost of ten thousand.
    pub(crate) loss: u32,
}

/// One thing that happens, and will be one event.
#[derive(Debug)]
pub(crate) enum Happening {
    Start,
    SkillUp {
        slot: usize,
        skill: u32,
    },
    Item {
        slot: usize,
        item: u32,
    },
    LevelUp {
        slot: usize,
        level: u32,
    },
    Kill(Kill),
    FirstBlood {
        slot: usize,
        position: (u32, u32),
    },
    MultiKill {
        slot: usize,
        position: (u32, u32),
        length: u32,
    },
    Building {
        slot: usize,
        tower: &'static str,
        lane: &'static str,
    },
    Chat {
        slot: usize,
        channel: &'static str,
        text: String,
        is_toxic: bool,
    },
    Quality(Sample),
    /// `contact`: whether name and mail were left, and then whether they may be used.
    Crash {
        slot: usize,
        signature: &'static str,
        gpu: usize,
        note: Option<&'static str>,
        contact: Option<bool>,
    },
    PlayerResult {
        slot: usize,
    },
    GameResult,
    GameEnd,
    Binding {
        slot: usize,
        spell: usize,
        key: &'static str,
    },
    Purchase {
        slot: usize,
        ware: usize,
    },
}

/// One game, from the lobby to the break after it.
#[derive(Debug)]
pub(crate) struct Game {
    /// Counted over all regions; unique for a seed.
    pub(crate) number: u64,
    /// As the envelope's `gameid` has it.
    pub(crate) id: String,
    pub(crate) region: usize,
    pub(crate) start_us: Micros,
    pub(crate) duration_ms: u32,
    pub(crate) aram: bool,
    pub(crate) version: &'static str,
    pub(crate) picks: Vec<Pick>,
    /// 100 or 200.
    pub(crate) winner: u32,
    /// In order, with milliseconds since the start.
    pub(crate) happenings: Vec<(u32, Happening)>,
}

impl Game {
    /// The team of a place in the game.
    pub(crate) fn team(slot: usize) -> u32 {
        if slot < PLAYERS / 2 { 100 } else { 200 }
    }
}

/// Plans game after game.
#[derive(Debug)]
pub(crate) struct Planner {
    options: Options,
    pub(crate) pool: Pool,
    next: u64,
}

impl Planner {
    pub(crate) fn new(options: Options) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let pool = Pool::draw(&options, &mut random);
        Self { options, pool, next: 0 }
    }

    /// The next game, or `None` after the last.
    pub(crate) fn next_game(&mut self) -> Option<Game> {
        if self.next == self.options.games {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // A stream of its own for each game: a change in one doesn't reach the others' dice.
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed);
        random.set_stream(index + 1);
        let random = &mut random;
        let region = random.random_range(0..REGIONS.len());
        let (players, free_us) = self.draw_players(region, random);
        let games = Micros::try_from(self.options.games).unwrap_or(Micros::MAX);
        // Whole milliseconds, since events are written with these.
        let spacing = self.options.span_us.map_or(SPACING_US.min(SPAN_US / games), |span| span / games / 1_000 * 1_000);
        let planned = self.options.start_us + spacing * Micros::try_from(index).unwrap_or(0);
        let number = 1_000_000_000_000 + self.options.seed_tag() * 1_000_000 + index;
        let picks = players.iter().map(|&player| self.pick(player, random)).collect();
        let mut game = Game {
            number,
            id: format!("{}_{number}", REGIONS[region].code),
            region,
            start_us: planned.max(free_us),
            duration_ms: random.random_range(900_000..1_900_000),
            aram: random.random_ratio(1, 3),
            version: VERSIONS[usize::try_from(index * VERSIONS.len() as u64 / self.options.games).unwrap_or(0)],
            picks,
            winner: if random.random() { 100 } else { 200 },
            happenings: Vec::with_capacity(160),
        };
        self.play(&mut game, index == 0, random);
        let end_us = game.start_us + Micros::from(game.duration_ms + BREAK_MS) * 1_000;
        for pick in &game.picks {
            self.pool.players[pick.player].busy_until_us = end_us;
        }
        Some(game)
    }

    /// Ten players of the region who are not in another game, and when the last of them is free.
    fn draw_players(&self, region: usize, random: &mut ChaCha8Rng) -> (Vec<usize>, Micros) {
        let mut here = self.pool.by_region[region].clone();
        here.shuffle(random);
        // Stable: among the free the shuffled order stays.
        let planned = self.options.start_us;
        here.sort_by_key(|&player| self.pool.players[player].busy_until_us.max(planned));
        here.truncate(PLAYERS);
        let free = here.iter().map(|&player| self.pool.players[player].busy_until_us).max();
        here.shuffle(random);
        (here, free.unwrap_or(planned))
    }

    fn pick(&self, player: usize, random: &mut ChaCha8Rng) -> Pick {
        let who = &self.pool.players[player];
        let main = match random.random_range(0..100) {
            0..62 => 0,
            62..88 => 1,
            _ => 2,
        };
        let away = random.random_ratio(1, 3);
        Pick {
            player,
            champion: who.mains[main],
            spells: who.spells,
            line: who.mobile.filter(|_| away).unwrap_or(who.home),
            kills: 0,
            deaths: 0,
            assists: 0,
        }
    }

    fn play(&mut self, game: &mut Game, is_first: bool, random: &mut ChaCha8Rng) {
        game.happenings.push((0, Happening::Start));
        grow(game, random);
        self.fight(game, random);
        talk(game, is_first, random);
        measure(game, random);
        crash(game, is_first, random);
        game.happenings.sort_by_key(|(at_ms, _)| *at_ms);
        let end = game.duration_ms;
        for slot in 0..PLAYERS {
            game.happenings.push((end, Happening::PlayerResult { slot }));
        }
        game.happenings.push((end, Happening::GameResult));
        game.happenings.push((end + 750, Happening::GameEnd));
        self.rest(game, random);
    }

    /// Kills, the first of them first blood, and what falls with them.
    fn fight(&self, game: &mut Game, random: &mut ChaCha8Rng) {
        let kills = random.random_range(9..26);
        let mut times: Vec<u32> = (0..kills).map(|_| random.random_range(90_000..game.duration_ms)).collect();
        times.sort_unstable();
        let mut streaks = [0u32; PLAYERS];
        let mut previous: Option<(usize, u32, u32)> = None;
        for (count, at_ms) in times.into_iter().enumerate() {
            let kill = self.kill(game, &streaks, random);
            let (killer, victim, position) = (kill.killer, kill.victim, kill.position);
            streaks[killer] += 1;
            streaks[victim] = 0;
            game.picks[killer].kills += 1;
            game.picks[victim].deaths += 1;
            for &slot in &kill.assists {
                game.picks[slot].assists += 1;
            }
            game.happenings.push((at_ms, Happening::Kill(kill)));
            if count == 0 {
                game.happenings.push((at_ms, Happening::FirstBlood { slot: killer, position }));
            }
            let length = match previous {
                Some((who, before_ms, length)) if who == killer && at_ms - before_ms < 10_000 => (length + 1).min(5),
                _ => 1,
            };
            if length > 1 {
                game.happenings.push((at_ms, Happening::MultiKill { slot: killer, position, length }));
            }
            previous = Some((killer, at_ms, length));
        }
    }

    fn kill(&self, game: &Game, streaks: &[u32; PLAYERS], random: &mut ChaCha8Rng) -> Kill {
        let weight = |slot: usize| {
            let winning = u32::from(Game::team(slot) == game.winner) * 3;
            self.pool.players[game.picks[slot].player].skill + winning
        };
        let mut ticket = random.random_range(0..(0..PLAYERS).map(weight).sum());
        let mut killer = 0;
        while ticket >= weight(killer) {
            ticket -= weight(killer);
            killer += 1;
        }
        let half = PLAYERS / 2;
        let (own, other) = if killer < half { (0, half) } else { (half, 0) };
        let victim = other + random.random_range(0..half);
        let mut assists: Vec<usize> =
            (own..own + half).filter(|&slot| slot != killer && random.random_ratio(2, 5)).collect();
        assists.shuffle(random);
        let blow =
            |slot: usize, random: &mut ChaCha8Rng| (slot, random.random_range(0..4), random.random_range(20..400));
        let mut received = vec![blow(killer, random), blow(killer, random)];
        received.extend(assists.iter().map(|&slot| blow(slot, random)));
        Kill {
            killer,
            victim,
            position: (random.random_range(500..14_500), random.random_range(500..14_500)),
            streak: streaks[killer],
            dealt: (0..random.random_range(1..3)).map(|_| blow(victim, random)).collect(),
            received,
            assists,
        }
    }

    /// The break: keys, and shopping. Each player's moments are apart, so that "the latest" is one.
    fn rest(&mut self, game: &mut Game, random: &mut ChaCha8Rng) {
        let mut after = Vec::new();
        for slot in 0..PLAYERS {
            let player = &mut self.pool.players[game.picks[slot].player];
            let mut at_ms = game.duration_ms + 5_000 + random.random_range(0..20_000);
            for spell in player.spells {
                if !player.bound || random.random_ratio(1, 25) {
                    let key = KEYS.choose(random).copied().unwrap_or("D");
                    after.push((at_ms, Happening::Binding { slot, spell, key }));
                    at_ms += random.random_range(2_000..9_000);
                }
            }
            player.bound = true;
            if random.random_ratio(1, 9) {
                after.push((at_ms, Happening::Purchase { slot, ware: random.random_range(0..WARES.len()) }));
            }
        }
        after.sort_by_key(|(at_ms, _)| *at_ms);
        game.happenings.append(&mut after);
    }
}

/// Skills, items, levels and towers.
fn grow(game: &mut Game, random: &mut ChaCha8Rng) {
    for slot in 0..PLAYERS {
        let skill = random.random_range(1..4);
        game.happenings.push((random.random_range(1_000..9_000), Happening::SkillUp { slot, skill }));
        for item in ITEMS.choose_multiple(random, 2) {
            game.happenings.push((random.random_range(3_000..game.duration_ms), Happening::Item { slot, item: *item }));
        }
        for level in [6, 11] {
            let around = game.duration_ms / 20 * level;
            game.happenings.push((around + random.random_range(0..60_000), Happening::LevelUp { slot, level }));
        }
    }
    let (from, lane) = if game.winner == 100 { (0, "TOP_LANE") } else { (PLAYERS / 2, "BOT_LANE") };
    for tower in ["OUTER_TURRET", "INNER_TURRET", "BASE_TURRET"] {
        let slot = from + random.random_range(0..PLAYERS / 2);
        let at_ms = random.random_range(game.duration_ms / 3..game.duration_ms);
        game.happenings.push((at_ms, Happening::Building { slot, tower, lane }));
    }
}

/// In the first game somebody offends twice: so the shortest of streams fills every report.
fn talk(game: &mut Game, is_first: bool, random: &mut ChaCha8Rng) {
    for (part, text) in [(3, "noob team gg ff15"), (2, "trash team as always")].into_iter().filter(|_| is_first) {
        let line = Happening::Chat { slot: 0, channel: "all", text: text.to_owned(), is_toxic: true };
        game.happenings.push((game.duration_ms / part, line));
    }
    for _ in 0..random.random_range(6..18) {
        let (channel, text, is_toxic) = chat::line(random);
        let slot = random.random_range(0..PLAYERS);
        game.happenings
            .push((random.random_range(0..game.duration_ms), Happening::Chat { slot, channel, text, is_toxic }));
    }
}

/// Two measurements for each player, by what the line is like.
fn measure(game: &mut Game, random: &mut ChaCha8Rng) {
    for slot in 0..PLAYERS {
        let (base_ms, unrest) = match game.picks[slot].line.network {
            Some(network) => (network.city().2 + network.provider().latency_ms, network.provider().unrest),
            None => (40, 4),
        };
        for part in [1, 2] {
            let spike = if random.random_ratio(unrest, 80) { random.random_range(40..160) } else { 0 };
            let sample = Sample {
                slot,
                latency_ms: 8 + base_ms + random.random_range(0..=3 * unrest) + spike,
                jitter_ms: 1 + random.random_range(0..=3 * unrest) + spike / 6,
                loss: random.random_range(0..4 * unrest * unrest) + spike,
            };
            game.happenings.push((game.duration_ms / 3 * part + 17 * sample.latency_ms, Happening::Quality(sample)));
        }
    }
}

/// One game in eight takes somebody's client down. The first always does: so the shortest of streams
/// fills every report.
fn crash(game: &mut Game, is_first: bool, random: &mut ChaCha8Rng) {
    if !random.random_ratio(1, 8) && !is_first {
        return;
    }
    let mut ticket = random.random_range(0..100);
    let mut signature = CRASHES[0].0;
    for (name, weight) in CRASHES {
        signature = name;
        if ticket < weight {
            break;
        }
        ticket -= weight;
    }
    let slot = random.random_range(0..PLAYERS);
    let gpu = random.random_range(0..GPUS.len());
    let note = if random.random() { NOTES.choose(random).copied() } else { None };
    let note = note.or(is_first.then_some(NOTES[0]));
    // Of those who write, a quarter wants to be written to, a quarter leaves a name but doesn't agree to its use.
    let contact = note.and_then(|_| match game.picks[slot].player % 4 {
        _ if is_first => Some(true),
        0 => Some(true),
        1 => Some(false),
        _ => None,
    });
    let happening = Happening::Crash { slot, signature, gpu, note, contact };
    game.happenings.push((random.random_range(10_000..game.duration_ms), happening));
}

/// The name of a summoner spell.
pub(crate) fn spell_name(spell: usize) -> &'static str {
    SPELLS[spell].0
}
