//! Who plays: a pool of players drawn from the seed, each with a home, a provider and habits.

use crate::options::Options;
use crate::world::{CHAMPIONS, MOBILE, Network, REGIONS, SPELLS, unknown_address};
use events::clock::Micros;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::net::IpAddr;

/// Players of a region at the least: enough for one game, and a choice.
const REGION_PLAYERS_MIN: u64 = 16;
/// And at the most, so that memory and the choice of ten stay small in a long run.
const REGION_PLAYERS_MAX: u64 = 4_000;
/// Players of all regions per game played: each plays some five games.
const PLAYERS_PER_GAME: u64 = 2;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `None`: no database knows the address.
    pub(crate) network: Option<Network>,
    pub(crate) address: IpAddr,
}

/// One player.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) id: String,
    pub(crate) home: Line,
    /// The line of those who sometimes play over their telephone.
    pub(crate) mobile: Option<Line>,
    /// Places in [`CHAMPIONS`]; the first is played most.
    pub(crate) mains: [usize; 3],
    /// Places in [`SPELLS`].
    pub(crate) spells: [usize; 2],
    /// How likely to be the one who kills, 1 to 10.
    pub(crate) skill: u32,
    /// Until when the last game and what followed it takes, µs.
    pub(crate) busy_until_us: Micros,
    /// Whether key bindings were reported already.
    pub(crate) bound: bool,
}

impl Player {
    /// An invented name and an address under a domain that is nobody's (RFC 2606).
    pub(crate) fn contact(&self) -> (String, String) {
        let number = self.id.rsplit('-').next().unwrap_or_default();
        (format!("Sam Sample {number}"), format!("{}@example.com", self.id))
    }
}

/// All players, and who lives in which region.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) players: Vec<Player>,
    /// Places in `players`, by region.
    pub(crate) by_region: Vec<Vec<usize>>,
}

impl Pool {
    /// The pool for these options.
    pub(crate) fn draw(options: &Options, random: &mut ChaCha8Rng) -> Self {
        let regions = REGIONS.len() as u64;
        let each = (options.games * PLAYERS_PER_GAME).div_ceil(regions).clamp(REGION_PLAYERS_MIN, REGION_PLAYERS_MAX);
        let tag = options.seed_tag();
        let mut pool = Self { players: Vec::new(), by_region: vec![Vec::new(); REGIONS.len()] };
        for place in 0..each {
            for region in 0..REGIONS.len() {
                let number = place * regions + region as u64 + 1;
                pool.by_region[region].push(pool.players.len());
                pool.players.push(player(format!("player-{tag:06x}-{number:05}"), region, random));
            }
        }
        pool
    }
}

fn player(id: String, region: usize, random: &mut ChaCha8Rng) -> Player {
    let here = &REGIONS[region];
    // Squaring the choice fills the first cities more than the last.
    let spread = here.cities.len() * here.cities.len();
    let city = here.cities.len() - 1 - random.random_range(0..spread).isqrt();
    let weights: u32 = here.providers.iter().map(|provider| provider.weight).sum();
    let mut ticket = random.random_range(0..weights);
    let mut provider = 0;
    while ticket >= here.providers[provider].weight {
        ticket -= here.providers[provider].weight;
        provider += 1;
    }
    let host = random.random_range(0..60_000);
    let home = Network { region, city, provider };
    let home = if random.random_ratio(1, 64) {
        Line { network: None, address: unknown_address(host) }
    } else {
        Line { network: Some(home), address: home.address(host, random.random_ratio(1, 3)) }
    };
    let mobile = Network { region, city, provider: MOBILE };
    let mobile = random
        .random_ratio(1, 12)
        .then(|| Line { network: Some(mobile), address: mobile.address(random.random_range(0..60_000), true) });
    let first = random.random_range(0..CHAMPIONS.len());
    let mains =
        [first, (first + random.random_range(1..12)) % CHAMPIONS.len(), random.random_range(0..CHAMPIONS.len())];
    let spells = [0, random.random_range(1..SPELLS.len())];
    Player {
        id,
        home,
        mobile,
        mains,
        spells,
        skill: random.random_range(1..=10),
        busy_until_us: Micros::MIN,
        bound: false,
    }
}
