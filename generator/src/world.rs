//! The parts of the world that no seed changes: regions, cities, providers, champions, wares.
//!
//! Providers are invented. Their AS numbers are those set aside for documentation (RFC 5398), their
//! addresses lie in ranges that nobody on the internet has: 198.18.0.0/15 (RFC 2544) and
//! 2001:db8::/32 (RFC 3849). Each pair of a city and a provider is one network: a /24 and a /48.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A shard of the game, with the people near it.
pub(crate) struct Region {
    /// As the envelope's `region` has it.
    pub(crate) code: &'static str,
    /// As `source` has it.
    pub(crate) slug: &'static str,
    /// English name, ISO country, and milliseconds that distance adds to a round trip.
    pub(crate) cities: &'static [(&'static str, &'static str, u32)],
    /// Who connects its players.
    pub(crate) providers: &'static [Provider],
}

/// An invented internet provider.
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    pub(crate) asn: u32,
    /// MaxMind's word.
    pub(crate) connection: &'static str,
    /// Players per hundred of the region, roughly.
    pub(crate) weight: u32,
    /// Milliseconds that its network adds to a round trip.
    pub(crate) latency_ms: u32,
    /// How restless it is: 1 is calm, 10 is radio in the rain.
    pub(crate) unrest: u32,
}

const fn provider(
    name: &'static str,
    asn: u32,
    connection: &'static str,
    weight: u32,
    latency_ms: u32,
    unrest: u32,
) -> Provider {
    Provider { name, asn, connection, weight, latency_ms, unrest }
}

const CABLE: &str = "Cable/DSL";
const CELLULAR: &str = "Cellular";
const CORPORATE: &str = "Corporate";
const SATELLITE: &str = "Satellite";

/// All regions. The provider at place [`MOBILE`] of each is the one that players travel with.
pub(crate) const REGIONS: [Region; 5] = [
    Region {
        code: "NA1",
        slug: "na1",
        cities: &[
            ("Chicago", "US", 4),
            ("New York", "US", 14),
            ("Dallas", "US", 16),
            ("Los Angeles", "US", 34),
            ("Toronto", "CA", 12),
        ],
        providers: &[
            provider("Prairie Fiber", 64_496, CABLE, 30, 8, 1),
            provider("Lakeshore Mobile", 64_497, CELLULAR, 12, 32, 6),
            provider("Union Cable", 64_498, CABLE, 40, 18, 3),
            provider("Campus Exchange", 64_499, CORPORATE, 10, 10, 2),
            provider("High Orbit", 64_500, SATELLITE, 8, 75, 9),
        ],
    },
    Region {
        code: "EUW1",
        slug: "euw1",
        cities: &[
            ("Amsterdam", "NL", 3),
            ("London", "GB", 8),
            ("Paris", "FR", 9),
            ("Berlin", "DE", 12),
            ("Madrid", "ES", 26),
        ],
        providers: &[
            provider("Rhein Glasfaser", 64_501, CABLE, 35, 7, 1),
            provider("Kanaal Mobiel", 64_502, CELLULAR, 15, 28, 5),
            provider("Albion Broadband", 64_503, CABLE, 38, 17, 4),
            provider("Campus Ouest", 64_504, CORPORATE, 12, 9, 1),
        ],
    },
    Region {
        code: "EUN1",
        slug: "eun1",
        cities: &[("Warsaw", "PL", 8), ("Stockholm", "SE", 14), ("Prague", "CZ", 10), ("Athens", "GR", 32)],
        providers: &[
            provider("Vistula Net", 64_505, CABLE, 45, 14, 3),
            provider("Boreal Mobile", 64_506, CELLULAR, 25, 30, 6),
            provider("Norrsken Fiber", 64_507, CABLE, 30, 6, 1),
        ],
    },
    Region {
        code: "KR",
        slug: "kr",
        cities: &[("Seoul", "KR", 2), ("Busan", "KR", 7), ("Daegu", "KR", 6)],
        providers: &[
            provider("Hangang Fiber", 64_508, CABLE, 60, 3, 1),
            provider("Namsan Mobile", 64_509, CELLULAR, 20, 18, 3),
            provider("Bang Network", 64_510, CORPORATE, 20, 4, 1),
        ],
    },
    Region {
        code: "BR1",
        slug: "br1",
        cities: &[("São Paulo", "BR", 5), ("Rio de Janeiro", "BR", 13), ("Recife", "BR", 48)],
        providers: &[
            provider("Serra Fibra", 65_536, CABLE, 40, 12, 3),
            provider("Onda Celular", 65_537, CELLULAR, 35, 38, 8),
            provider("Litoral Cabo", 65_538, CABLE, 25, 26, 5),
        ],
    },
];

/// The place of the mobile provider in each region's list.
pub(crate) const MOBILE: usize = 1;

/// The network of one provider in one city.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    pub(crate) region: usize,
    pub(crate) city: usize,
    pub(crate) provider: usize,
}

impl Network {
    /// All of them, in the order in which their ranges are numbered.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        REGIONS.iter().enumerate().flat_map(|(region, here)| {
            let cities = 0..here.cities.len();
            cities.flat_map(move |city| (0..here.providers.len()).map(move |provider| Self { region, city, provider }))
        })
    }

    pub(crate) fn provider(self) -> &'static Provider {
        &REGIONS[self.region].providers[self.provider]
    }

    /// English name, ISO country, and what distance adds to a round trip.
    pub(crate) fn city(self) -> &'static (&'static str, &'static str, u32) {
        &REGIONS[self.region].cities[self.city]
    }

    fn number(self) -> u16 {
        let before: usize =
            REGIONS[..self.region].iter().map(|region| region.cities.len() * region.providers.len()).sum();
        let number = before + self.city * REGIONS[self.region].providers.len() + self.provider;
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    /// The first address of its /24.
    pub(crate) fn v4(self) -> Ipv4Addr {
        let number = self.number();
        Ipv4Addr::from(0xc612_0000 | u32::from(number) << 8)
    }

    /// The first address of its /48.
    pub(crate) fn v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.number(), 0, 0, 0, 0, 0)
    }

    /// The address of its `host`th subscriber; past 254 they share IPv4 addresses, as behind
    /// carrier-grade NAT.
    pub(crate) fn address(self, host: u32, v6: bool) -> IpAddr {
        if v6 {
            IpAddr::V6(Ipv6Addr::from(u128::from(self.v6()) | (u128::from(host) + 1) << 64 | 1))
        } else {
            IpAddr::V4(Ipv4Addr::from(u32::from(self.v4()) + 1 + host % 254))
        }
    }
}

/// The `host`th address of a range that no database knows: 192.0.2.0/24 (RFC 5737).
pub(crate) fn unknown_address(host: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0xc000_0201 + host % 254))
}

/// Name and number of champions.
pub(crate) const CHAMPIONS: [(&str, u32); 36] = [
    ("Ahri", 103),
    ("Akali", 84),
    ("Amumu", 32),
    ("Annie", 1),
    ("Ashe", 22),
    ("Blitzcrank", 53),
    ("Brand", 63),
    ("Caitlyn", 51),
    ("Darius", 122),
    ("Diana", 131),
    ("Draven", 119),
    ("Ekko", 245),
    ("Ezreal", 81),
    ("Fizz", 105),
    ("Garen", 86),
    ("Graves", 104),
    ("Irelia", 39),
    ("Janna", 40),
    ("Jhin", 202),
    ("Jinx", 222),
    ("Kaisa", 145),
    ("Katarina", 55),
    ("LeeSin", 64),
    ("Leona", 89),
    ("Lux", 99),
    ("MissFortune", 21),
    ("Nami", 267),
    ("Pyke", 555),
    ("Riven", 92),
    ("Senna", 235),
    ("Sett", 875),
    ("Thresh", 412),
    ("Veigar", 45),
    ("Volibear", 106),
    ("Yasuo", 157),
    ("Zed", 238),
];

/// Name and number of summoner spells; Flash is the first.
pub(crate) const SPELLS: [(&str, u32); 7] =
    [("Flash", 4), ("Ignite", 14), ("Heal", 7), ("Teleport", 12), ("Exhaust", 3), ("Barrier", 21), ("Smite", 11)];

/// Keys that players put a summoner spell on, the common ones more than once.
pub(crate) const KEYS: [&str; 12] = ["D", "D", "D", "D", "F", "F", "F", "F", "F", "T", "Mouse4", "Space"];

/// Items in the shop, by number.
pub(crate) const ITEMS: [u32; 12] = [1001, 1036, 1052, 2003, 2031, 3006, 3020, 3031, 3078, 3089, 3153, 6672];

/// Builds of the game, oldest first.
pub(crate) const VERSIONS: [&str; 4] = ["16.1.734", "16.1.741", "16.2.748", "16.2.752"];

/// Where the client crashes: signature, and how often among a hundred.
pub(crate) const CRASHES: [(&str, u32); 7] = [
    ("render::present DXGI_ERROR_DEVICE_REMOVED", 30),
    ("audio::mixer access violation", 18),
    ("net::session stack overflow", 8),
    ("ui::shop null dereference", 16),
    ("render::shader_cache out of memory", 14),
    ("anticheat::scan assertion failed", 6),
    ("loader::patch checksum mismatch", 8),
];

/// Graphics card and the driver's version.
pub(crate) const GPUS: [(&str, &str); 5] = [
    ("GeForce RTX 3060", "566.36"),
    ("GeForce GTX 1660", "552.44"),
    ("Radeon RX 6600", "24.12.1"),
    ("Radeon RX 580", "24.3.1"),
    ("Iris Xe", "31.0.101"),
];

/// What players write when asked about a crash.
pub(crate) const NOTES: [&str; 6] = [
    "happened when i alt tabbed",
    "black screen after the loading screen",
    "second time today!!",
    "froze in the middle of a team fight, then desktop",
    "opened the shop and it was gone",
    "fps drops first, then crash",
];

/// Wares: sku, name, price in the game's money.
pub(crate) const WARES: [(&str, &str, u32); 6] = [
    ("skin-103-21", "Spirit Blossom Ahri", 1820),
    ("skin-222-4", "Star Guardian Jinx", 1820),
    ("skin-157-2", "Project Yasuo", 1350),
    ("champion-875", "Sett", 880),
    ("pass-2026-1", "Season Pass", 1650),
    ("emote-77", "Thumbs Up", 350),
];
