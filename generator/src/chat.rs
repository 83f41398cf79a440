//! What players write to each other: slang, praise, tactics, and some that nobody should read. Each line is plainly
//! one or the other, so that the truth about them doesn't hang on a scorer's taste; what scorers miss is measured elsewhere,
//! on real chat.

use crate::world::CHAMPIONS;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

const FRIENDLY: [&str; 24] = [
    "gl hf",
    "gg wp",
    "nice one {c}",
    "thx for the help",
    "sry lag",
    "omw",
    "ss mid",
    "{c} no flash",
    "drake in 30",
    "group mid pls",
    "wp all",
    "can someone ward bot",
    "back back back",
    "baron after this",
    "brb 1 min",
    "lol that ult",
    "care jungle top side",
    "np",
    "?",
    "wtf that dmg :D",
    "i have tp",
    "focus {c} next fight",
    "nt nt",
    "good try, reset and def",
];

const TOXIC: [&str; 16] = [
    "report this noob {c}",
    "uninstall pls {c}",
    "ez",
    "trash team as always",
    "{c} u are so bad omg",
    "jungle diff, open",
    "0 iq {c}",
    "noob team gg ff15",
    "stop feeding u clown",
    "{c} is such a noob",
    "ur the worst {c} i ever saw",
    "shut up and play",
    "garbage player, go play bots",
    "{c} u idiot stop inting",
    "ez mid ez life",
    "{c} uninstall the game, idiot",
];

/// Out of a hundred lines, how many are toxic.
const TOXIC_PERCENT: u32 = 18;

/// One line: the channel, the text, and whether it is toxic.
pub(crate) fn line(random: &mut ChaCha8Rng) -> (&'static str, String, bool) {
    let toxic = random.random_ratio(TOXIC_PERCENT, 100);
    let lines: &[&str] = if toxic { &TOXIC } else { &FRIENDLY };
    let template = lines.choose(random).copied().unwrap_or_default();
    let (champion, _) = CHAMPIONS[random.random_range(0..CHAMPIONS.len())];
    let mut text = template.replace("{c}", &champion.to_lowercase());
    if toxic && random.random_ratio(1, 4) {
        text = text.to_uppercase();
    }
    let channel = if random.random_ratio(if toxic { 2 } else { 1 }, 5) { "all" } else { "team" };
    (channel, text, toxic)
}
