//! A message as words, with what hides a word undone: accents, look-alikes, repeated letters, leet.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// Bytes that the key of a word may have; a longer one is no word that anybody lists.
pub(crate) const KEY_MAX: usize = 40;

/// A word of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// Where it stands in the message, in bytes.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Where its key stands in [`Words::keys`].
    pub(crate) key: u32,
    pub(crate) key_len: u16,
    /// It has a letter.
    pub(crate) letters: bool,
    /// It has a digit or sign that may stand for a letter.
    pub(crate) leet: bool,
    /// It has a `*` between letters.
    pub(crate) wild: bool,
    /// It stands in the lexicon as it is written.
    pub(crate) known: bool,
    /// Its place in the lexicon, or [`NONE`].
    pub(crate) entry: u32,
    /// What it is to others; the bits of `lexicon::class`.
    pub(crate) class: u16,
}

/// No entry of the lexicon.
pub(crate) const NONE: u32 = u32::MAX;

/// The words of a message, and their keys: lower case, without accents, each run of a letter once.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) tokens: Vec<Token>,
    pub(crate) keys: Vec<u8>,
    /// How often each byte of `keys` was repeated.
    pub(crate) runs: Vec<u8>,
}

impl Words {
    /// The key of a word, and its runs.
    pub(crate) fn key(&self, token: &Token) -> (&[u8], &[u8]) {
        let range = token.key as usize..token.key as usize + token.key_len as usize;
        (&self.keys[range.clone()], &self.runs[range])
    }

    /// Reads a message; what was there before is forgotten.
    pub(crate) fn read(&mut self, message: &str) {
        self.tokens.clear();
        self.keys.clear();
        self.runs.clear();
        let bytes = message.as_bytes();
        let mut open: Option<Open> = None;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte < 0x80 {
                let next = bytes.get(at + 1).copied().unwrap_or(b' ');
                match ascii(byte, next, open.is_some()) {
                    Kind::Letter => open = self.push(open, at, at + 1, byte.to_ascii_lowercase(), Kind::Letter),
                    Kind::Apart => open = self.close(open),
                    Kind::Nothing => {}
                    kind => open = self.push(open, at, at + 1, byte, kind),
                }
                at += 1;
            } else {
                let Some(character) = message[at..].chars().next() else { break };
                let end = at + character.len_utf8();
                open = self.beyond_ascii(character, at, end, open);
                at = end;
            }
        }
        self.close(open);
    }

    fn beyond_ascii(&mut self, character: char, at: usize, end: usize, mut open: Option<Open>) -> Option<Open> {
        if invisible(character) {
            return open;
        }
        if !character.is_alphanumeric() && canonical_combining_class(character) == 0 && !styled_letter(character) {
            open = self.close(open);
            if !character.is_whitespace() && !character.is_control() {
                // A sign, such as an emoji, is a word by itself.
                let alone = self.push_char(None, at, end, character);
                self.close(alone);
            }
            return open;
        }
        decompose_compatible(character, |part| {
            if canonical_combining_class(part) == 0 {
                for lower in part.to_lowercase() {
                    open = self.push_char(open.take(), at, end, lower);
                }
            }
        });
        // An accent belongs to the letter before it.
        if let Some(word) = &mut open {
            word.end = end;
        }
        open
    }

    fn push_char(&mut self, mut open: Option<Open>, at: usize, end: usize, character: char) -> Option<Open> {
        if character.is_ascii() {
            let kind = if character.is_ascii_digit() { Kind::Leet } else { Kind::Letter };
            return self.push(open, at, end, character as u8, kind);
        }
        let mut buffer = [0; 4];
        let coded = character.encode_utf8(&mut buffer).as_bytes();
        // A repeated character is seen by its last bytes.
        if let Some(word) = &mut open {
            let begin = self.keys.len().saturating_sub(coded.len());
            if begin >= word.key && &self.keys[begin..] == coded {
                self.runs[begin] = self.runs[begin].saturating_add(1);
                word.end = end;
                return open;
            }
        }
        for (place, byte) in coded.iter().enumerate() {
            let mut word = open.take().unwrap_or_else(|| Open::at(at, self.keys.len()));
            self.keys.push(*byte);
            self.runs.push(1);
            word.end = end;
            word.letters = true;
            word.foreign |= place == 0;
            open = Some(word);
        }
        open
    }

    fn push(&mut self, open: Option<Open>, at: usize, end: usize, byte: u8, kind: Kind) -> Option<Open> {
        let mut word = open.unwrap_or_else(|| Open::at(at, self.keys.len()));
        word.end = end;
        match kind {
            Kind::Letter => (word.letters, word.latin) = (true, true),
            Kind::Wild => word.wild = true,
            _ => word.leet = true,
        }
        if self.keys.len() > word.key && self.keys.last() == Some(&byte) && kind != Kind::Wild {
            let last = self.runs.len() - 1;
            self.runs[last] = self.runs[last].saturating_add(1);
        } else {
            self.keys.push(byte);
            self.runs.push(1);
        }
        Some(word)
    }

    fn close(&mut self, open: Option<Open>) -> Option<Open> {
        let word = open?;
        if word.foreign && word.latin {
            self.latinize(word.key);
        }
        let length = self.keys.len() - word.key;
        // The bounds hold: a message is cut at `LIMIT_BYTES`.
        let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        self.tokens.push(Token {
            start: narrow(word.start),
            end: narrow(word.end),
            key: narrow(word.key),
            key_len: u16::try_from(length.min(KEY_MAX + 1)).unwrap_or(u16::MAX),
            letters: word.letters,
            leet: word.leet,
            wild: word.wild,
            known: false,
            entry: NONE,
            class: 0,
        });
        None
    }

    /// Letters of other scripts in a word that also has Latin ones look like Latin ones.
    fn latinize(&mut self, from: usize) {
        let Ok(key) = std::str::from_utf8(&self.keys[from..]) else { return };
        let latin: Vec<(u8, u8)> = key
            .char_indices()
            .map(|(place, letter)| (look_alike(letter).unwrap_or(b'?'), self.runs[from + place]))
            .collect();
        self.keys.truncate(from);
        self.runs.truncate(from);
        for (byte, run) in latin {
            if self.keys.len() > from && self.keys.last() == Some(&byte) {
                let last = self.runs.len() - 1;
                self.runs[last] = self.runs[last].saturating_add(run);
            } else {
                self.keys.push(byte);
                self.runs.push(run);
            }
        }
    }
}

/// A word that is being read.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: usize,
    end: usize,
    key: usize,
    letters: bool,
    latin: bool,
    foreign: bool,
    leet: bool,
    wild: bool,
}

impl Open {
    const fn at(start: usize, key: usize) -> Self {
        Self { start, end: start, key, letters: false, latin: false, foreign: false, leet: false, wild: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    /// May stand for a letter.
    Leet,
    /// Stands for one that the writer left out.
    Wild,
    /// Ends a word.
    Apart,
    /// Isn't there: `don't` is `dont`.
    Nothing,
}

fn ascii(byte: u8, next: u8, inside: bool) -> Kind {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Kind::Letter,
        b'0'..=b'9' => Kind::Leet,
        b'\'' | b'`' if inside => Kind::Nothing,
        b'$' if next.is_ascii_alphabetic() || inside => Kind::Leet,
        b'@' | b'!' if inside && next.is_ascii_alphabetic() => Kind::Leet,
        b'*' if inside && (next.is_ascii_alphabetic() || next == b'*') => Kind::Wild,
        _ => Kind::Apart,
    }
}

/// The letter that a digit or sign stands for.
pub(crate) const fn leet(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' => b't',
        b'8' => b'b',
        b'9' => b'g',
        other => other,
    }
}

/// Characters without a shape of their own, which some put between letters.
const fn invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{2019}')
}

/// Signs that are letters in a frame, which decomposition turns into letters.
const fn styled_letter(character: char) -> bool {
    matches!(character, '\u{24b6}'..='\u{24e9}' | '\u{249c}'..='\u{24b5}')
}

/// The Latin letter that a Greek or Cyrillic one looks like.
const fn look_alike(character: char) -> Option<u8> {
    Some(match character {
        'а' | 'α' => b'a',
        'в' | 'β' => b'b',
        'с' | 'ϲ' => b'c',
        'ԁ' => b'd',
        'е' | 'ё' | 'є' | 'ε' => b'e',
        'ғ' => b'f',
        'һ' | 'н' => b'h',
        'і' | 'ι' | 'ї' => b'i',
        'ј' => b'j',
        'к' | 'κ' => b'k',
        'м' => b'm',
        'п' | 'η' => b'n',
        'о' | 'ο' | 'σ' => b'o',
        'р' | 'ρ' => b'p',
        'ѕ' => b's',
        'т' | 'τ' => b't',
        'υ' | 'и' => b'u',
        'ѵ' | 'ν' => b'v',
        'ѡ' | 'ω' | 'ш' => b'w',
        'х' | 'χ' => b'x',
        'у' | 'γ' => b'y',
        'ᴢ' => b'z',
        c if c.is_ascii() => c as u8,
        _ => return None,
    })
}
