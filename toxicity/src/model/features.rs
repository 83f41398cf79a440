//! What a model sees of a message: words, pairs of words, letters, and what the rules say of it, hashed.

use super::BITS;
use crate::rules::{sentiment, verdict_and_words};
use crate::text::{NONE, Token, Words};
use crate::verdict::{Label, Verdict};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Changes when features are made in another way: models of before are refused.
pub(crate) const VERSION: u32 = 1;

/// Letters that stand together in a feature.
const LETTERS: std::ops::RangeInclusive<usize> = 2..=5;

/// Kinds of features; each kind together weighs the same in every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Word,
    Pair,
    Letters,
    Rules,
}

const KINDS: [Kind; 4] = [Kind::Word, Kind::Pair, Kind::Letters, Kind::Rules];
/// How much each kind weighs.
const SCALE: [f32; 4] = [1.0, 0.7, 1.0, 0.8];

#[derive(Debug, Clone, Copy)]
struct Feature {
    place: u32,
    kind: Kind,
    /// The number of the word that it belongs to.
    word: u32,
}

/// The features of one message.
#[derive(Debug, Default)]
pub(crate) struct Features {
    features: Vec<Feature>,
    spans: Vec<Range<usize>>,
    scales: [f32; 4],
    seed: u64,
}

/// Belongs to no word.
const WHOLE: u32 = u32::MAX;

impl Features {
    /// Reads a message; what was there before is forgotten.
    pub(crate) fn read(&mut self, text: &str, seed: u64) {
        self.features.clear();
        self.spans.clear();
        self.seed = seed;
        verdict_and_words(text, |verdict, words| {
            self.words_of(words);
            self.rules_of(text, verdict, words);
        });
        self.letters_of(text);
        let mut counts = [0.0_f32; 4];
        for feature in &self.features {
            counts[feature.kind as usize] += 1.0;
        }
        for kind in KINDS {
            let kind = kind as usize;
            self.scales[kind] = SCALE[kind] / counts[kind].max(1.0).sqrt();
        }
    }

    /// All features, with their values.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.features.iter().map(|feature| (feature.place, self.scales[feature.kind as usize]))
    }

    /// Each word's place in the message, and its own features.
    pub(crate) fn words(&self) -> impl Iterator<Item = (Range<usize>, impl Iterator<Item = (u32, f32)> + '_)> + '_ {
        (0_u32..).zip(&self.spans).map(|(number, span)| {
            let own = self.features.iter().filter(move |feature| feature.word == number);
            (span.clone(), own.map(|feature| (feature.place, self.scales[feature.kind as usize])))
        })
    }

    fn add(&mut self, kind: Kind, word: u32, what: u64) {
        let mixed = xxh3_64_with_seed(&what.to_le_bytes(), self.seed ^ kind as u64);
        let place = u32::try_from(mixed >> (64 - BITS)).unwrap_or(0);
        self.features.push(Feature { place, kind, word });
    }

    fn words_of(&mut self, words: &Words) {
        let mut before = START;
        for (number, token) in (0_u32..).zip(&words.tokens) {
            self.spans.push(token.start as usize..token.end as usize);
            let name = name(words, token);
            self.add(Kind::Word, number, name);
            self.add(Kind::Pair, number, pair(before, name));
            before = name;
        }
        self.add(Kind::Pair, WHOLE, pair(before, END));
    }

    /// Letters that stand together within a word, with its borders.
    fn letters_of(&mut self, text: &str) {
        let mut letters: Vec<char> = Vec::new();
        let mut at = 0;
        let mut number = 0;
        for word in text.split_whitespace() {
            let begin = text[at..].find(word).map_or(at, |place| at + place);
            at = begin + word.len();
            while self.spans.get(number).is_some_and(|span| span.end <= begin) {
                number += 1;
            }
            let owner = match self.spans.get(number) {
                Some(span) if span.start < at => u32::try_from(number).unwrap_or(WHOLE),
                _ => WHOLE,
            };
            letters.clear();
            letters.push(' ');
            for letter in word.chars().flat_map(char::to_lowercase) {
                // A letter of which there are three is one that was drawn out.
                if !letters.ends_with(&[letter, letter]) {
                    letters.push(letter);
                }
            }
            letters.push(' ');
            for length in LETTERS {
                for part in letters.windows(length) {
                    self.add(Kind::Letters, owner, hash_chars(part));
                }
            }
        }
    }

    /// What the rules say, roughly, and what kinds of words stand beside each other.
    fn rules_of(&mut self, text: &str, verdict: &Verdict, words: &Words) {
        let mut said = |what: u64, level: f32| {
            let level = level_of(level);
            for reached in 0..=level {
                self.add(Kind::Rules, WHOLE, what << 8 | reached);
            }
        };
        said(1, verdict.score);
        for label in Label::ALL {
            said(2 + label.index() as u64, verdict.strength(label));
        }
        said(8, f32::midpoint(sentiment(text), 1.0));
        let mut before = 0;
        for token in &words.tokens {
            let class = u64::from(token.class);
            self.add(Kind::Rules, WHOLE, 9 << 40 | before << 16 | class);
            before = class;
        }
        let length = words.tokens.len().min(12) as u64;
        self.add(Kind::Rules, WHOLE, 10 << 40 | length);
        let capitals = text.chars().filter(|letter| letter.is_uppercase()).count();
        let small = text.chars().filter(|letter| letter.is_lowercase()).count();
        self.add(Kind::Rules, WHOLE, 11 << 40 | u64::from(capitals > small));
    }
}

const START: u64 = 1;
const END: u64 = 2;

/// A strength as one of eight levels.
fn level_of(strength: f32) -> u64 {
    (1..8_u8).take_while(|level| strength * 8.0 >= f32::from(*level)).last().map_or(0, u64::from)
}

/// A word as the lexicon knows it, so that all ways to write it are one; else by its letters.
fn name(words: &Words, token: &Token) -> u64 {
    if token.entry != NONE {
        return 1 << 40 | u64::from(token.entry);
    }
    let (key, _) = words.key(token);
    xxh3_64_with_seed(key, 7)
}

const fn pair(before: u64, word: u64) -> u64 {
    before.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word
}

fn hash_chars(part: &[char]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for letter in part {
        hash = (hash ^ u64::from(u32::from(*letter))).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 31)
}
