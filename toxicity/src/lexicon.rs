//! The words that the built-in scorer knows, found by their key.

use crate::phrases::Phrases;
use crate::sections::{self, Meaning, class};
use crate::text::{KEY_MAX, NONE, Words, leet};
use hashbrown::HashTable;
use std::sync::LazyLock;

/// The files of words.
pub(crate) const LISTS: [(&str, &str); 8] = [
    ("targets", include_str!("../words/targets.txt")),
    ("insults", include_str!("../words/insults.txt")),
    ("languages", include_str!("../words/languages.txt")),
    ("hate", include_str!("../words/hate.txt")),
    ("swearing", include_str!("../words/swearing.txt")),
    ("praise", include_str!("../words/praise.txt")),
    ("common", include_str!("../words/common.txt")),
    ("plain", include_str!("../words/plain.txt")),
];

/// The file of phrases.
pub(crate) const PHRASES: &str = include_str!("../words/phrases.txt");

/// A word, by its letters without repetition.
#[derive(Debug)]
pub(crate) struct Entry {
    key: Box<[u8]>,
    /// How often each byte of the key stands in the word.
    runs: Box<[u8]>,
    pub(crate) meaning: Meaning,
}

impl Entry {
    /// How many letters the word has; of other scripts, bytes.
    fn letters(&self) -> u32 {
        self.runs.iter().map(|run| u32::from(*run)).sum()
    }
}

/// All words and phrases.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    pub(crate) entries: Vec<Entry>,
    table: HashTable<u32>,
    pub(crate) phrases: Phrases,
    /// How words that may begin a compound begin: a bit for each pair of letters.
    heads: Vec<u64>,
    scratch: Words,
}

/// The lexicon of this crate. Its files are a part of the program, and a test reads them all: what could not be
/// read would be missing, and nothing else.
pub(crate) static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::read().0);

impl Lexicon {
    /// Reads the files; what can't be read is left out and named.
    pub(crate) fn read() -> (Self, Vec<String>) {
        let mut lexicon = Self { heads: vec![0; 16], ..Self::default() };
        let mut faults = Vec::new();
        for (name, text) in LISTS {
            match sections::parse(text) {
                Ok(words) => {
                    for (word, meaning) in words {
                        if lexicon.add(word, meaning).is_none() {
                            faults.push(format!("{name}.txt: {word} is no word"));
                        }
                    }
                }
                Err(fault) => faults.push(format!("{name}.txt: {fault}")),
            }
        }
        let mut phrases = Phrases::default();
        faults.extend(phrases.read(PHRASES, &mut lexicon));
        phrases.index(&lexicon);
        lexicon.phrases = phrases;
        (lexicon, faults)
    }

    /// Adds a meaning to a word. Gives its number, or nothing if it isn't one word.
    pub(crate) fn add(&mut self, word: &str, meaning: Meaning) -> Option<u32> {
        let mut words = std::mem::take(&mut self.scratch);
        words.read(word);
        let token = match words.tokens.as_slice() {
            [token] if usize::from(token.key_len) <= KEY_MAX => *token,
            _ => return None,
        };
        let (key, runs) = words.key(&token);
        let same = self.of_key(key).find(|number| *self.entries[*number as usize].runs == *runs);
        let number = match same {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.entries.len()).ok()?;
                self.entries.push(Entry { key: key.into(), runs: runs.into(), meaning: Meaning::default() });
                let entries = &self.entries;
                let hasher = |number: &u32| hash(&entries[*number as usize].key);
                self.table.insert_unique(hash(key), number, hasher);
                if let Some(bit) = pair(key) {
                    self.heads[bit / 64] |= 1 << (bit % 64);
                }
                number
            }
        };
        self.entries[number as usize].meaning.add(meaning);
        self.scratch = words;
        Some(number)
    }

    fn of_key<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
        self.table.iter_hash(hash(key)).copied().filter(move |number| *self.entries[*number as usize].key == *key)
    }

    /// The entry that is written so, or with some letters repeated; of several the longest one.
    pub(crate) fn find(&self, key: &[u8], runs: &[u8]) -> Option<u32> {
        if key.len() > KEY_MAX {
            return None;
        }
        let mut best: Option<(u32, u32)> = None;
        for number in self.of_key(key) {
            let entry = &self.entries[number as usize];
            let covered = entry.runs.iter().zip(runs).all(|(mine, theirs)| mine <= theirs);
            // Plain words, and those of one letter, are themselves only as they are written.
            let exact = entry.meaning.class & class::PLAIN != 0 || key.len() < 2;
            if !covered || (exact && *entry.runs != *runs) {
                continue;
            }
            let length = entry.letters();
            if best.is_none_or(|(_, longest)| length > longest) {
                best = Some((number, length));
            }
        }
        best.map(|(number, _)| number)
    }

    /// Looks each word up, and notes what it is.
    pub(crate) fn look_up(&self, words: &mut Words) {
        let mut wild = 0;
        for place in 0..words.tokens.len() {
            let token = words.tokens[place];
            let (key, runs) = words.key(&token);
            let mut found = self.find(key, runs);
            let known = found.is_some();
            if found.is_none() && token.letters && token.leet {
                found = self.find_leet(key, runs);
            }
            let mut class = 0;
            if found.is_none() && token.wild && wild < WILD_MAX {
                wild += 1;
                found = self.find_wild(key, runs);
            }
            if found.is_none() && rank(key) {
                class = class::RANK;
            }
            if let Some(number) = found {
                words.tokens[place].entry = number;
                class |= self.entries[number as usize].meaning.class;
            } else {
                words.tokens[place].entry = NONE;
            }
            (words.tokens[place].class, words.tokens[place].known) = (class, known);
        }
    }

    fn find_leet(&self, key: &[u8], runs: &[u8]) -> Option<u32> {
        let as_letters = |one: u8| {
            let (mut letters, mut counts) = ([0; KEY_MAX], [0_u8; KEY_MAX]);
            let mut length = 0;
            for (byte, run) in key.iter().take(KEY_MAX).zip(runs) {
                let letter = if *byte == b'1' { one } else { leet(*byte) };
                if length > 0 && letters[length - 1] == letter {
                    counts[length - 1] = counts[length - 1].saturating_add(*run);
                } else {
                    (letters[length], counts[length]) = (letter, *run);
                    length += 1;
                }
            }
            self.find(&letters[..length], &counts[..length])
        };
        as_letters(b'i').or_else(|| if key.contains(&b'1') { as_letters(b'l') } else { None })
    }

    /// The strongest word that a `*` for each missing letter makes.
    fn find_wild(&self, key: &[u8], runs: &[u8]) -> Option<u32> {
        let spelled = |key: &[u8], runs: &[u8]| -> Vec<u8> {
            key.iter().zip(runs).flat_map(|(byte, run)| std::iter::repeat_n(*byte, usize::from(*run))).collect()
        };
        let written = spelled(key, runs);
        if written.len() < 3 || written.len() > KEY_MAX {
            return None;
        }
        let strength = |entry: &Entry| entry.meaning.weight.map_or(0.0, |weight| weight.base);
        (0_u32..)
            .zip(&self.entries)
            .filter(|(_, entry)| strength(entry) >= 0.7)
            .filter(|(_, entry)| {
                let word = spelled(&entry.key, &entry.runs);
                word.len() == written.len()
                    && word.iter().zip(&written).all(|(mine, theirs)| mine == theirs || *theirs == b'*')
            })
            .max_by(|(_, one), (_, other)| strength(one).total_cmp(&strength(other)))
            .map(|(number, _)| number)
    }

    /// Two words written as one, of which one insults: its number, and whether somebody is named by the other.
    pub(crate) fn compound(&self, key: &[u8], runs: &[u8]) -> Option<(u32, bool)> {
        if key.len() < 5 || key.len() > 24 || pair(key).is_none_or(|bit| self.heads[bit / 64] >> (bit % 64) & 1 == 0) {
            return None;
        }
        (2..key.len() - 1).find_map(|cut| {
            let head = self.find(&key[..cut], &runs[..cut])?;
            let tail = self.find(&key[cut..], &runs[cut..])?;
            let (one, other) = (&self.entries[head as usize], &self.entries[tail as usize]);
            let insults = |entry: &Entry| entry.meaning.class & class::INSULT != 0 && entry.letters() >= 4;
            let beside = |entry: &Entry| {
                entry.meaning.class & (class::YOU | class::THEM | class::FILLER | class::INSULT) != 0
                    && entry.key.len() >= 2
            };
            let named = |entry: &Entry| entry.meaning.class & (class::YOU | class::THEM) != 0;
            match (insults(one) && beside(other), insults(other) && beside(one)) {
                (true, _) => Some((head, named(other))),
                (_, true) => Some((tail, named(one))),
                _ => None,
            }
        })
    }
}

/// Words with `*` that are looked at in one message: each is held against all words.
const WILD_MAX: usize = 16;

/// `1k`, `2k`: a rank that is told to hurt.
fn rank(key: &[u8]) -> bool {
    matches!(key, [b'0'..=b'4', b'k'])
}

/// The first two letters as one number below 1,024.
fn pair(key: &[u8]) -> Option<usize> {
    let letter = |byte: u8| byte.is_ascii_lowercase().then(|| usize::from(byte - b'a'));
    Some(letter(*key.first()?)? * 32 + letter(*key.get(1)?)?)
}

/// FNV-1a with its upper half folded in: keys are short.
fn hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29) ^ (hash << 17)
}

#[cfg(test)]
mod tests {
    use super::{LEXICON, Lexicon};
    use crate::text::{NONE, Words};

    #[test]
    fn every_line_of_the_lists_is_read() {
        assert_eq!(Lexicon::read().1, Vec::<String>::new());
    }

    fn found(message: &str) -> Option<String> {
        let mut words = Words::default();
        words.read(message);
        LEXICON.look_up(&mut words);
        let entry = words.tokens[0].entry;
        (entry != NONE).then(|| {
            let entry = &LEXICON.entries[entry as usize];
            entry.key.iter().zip(&entry.runs).flat_map(|(b, n)| vec![char::from(*b); usize::from(*n)]).collect()
        })
    }

    #[test]
    fn what_hides_a_word_is_undone() {
        for (written, word) in [
            ("NOOB", "noob"),
            ("noooooob", "noob"),
            ("n00b", "noob"),
            ("nöób", "noob"),
            ("n\u{200b}oob", "noob"),
            ("nооb", "noob"),
            ("𝕟𝕠𝕠𝕓", "noob"),
            ("ｎｏｏｂ", "noob"),
            ("ⓝⓞⓞⓑ", "noob"),
            ("1di0t", "idiot"),
            ("СУКА", "сука"),
        ] {
            let found = found(written);
            if word.is_ascii() {
                assert_eq!(found.as_deref(), Some(word), "{written}");
            } else {
                assert!(found.is_some(), "{written}");
            }
        }
    }

    #[test]
    fn a_word_that_lacks_a_repeated_letter_is_another_word() {
        assert_ne!(found("as").as_deref(), Some("ass"));
        assert_eq!(found("good").as_deref(), Some("good"));
        assert_eq!(found("god").as_deref(), Some("god"));
    }
}
