//! A message read by the lexicon: letters set apart are joined, and every word has its meaning.

use crate::lexicon::{LEXICON, Lexicon};
use crate::sections::{Meaning, Weight, class};
use crate::text::{NONE, Token, Words};
use crate::verdict::Label;
use std::cell::RefCell;

/// Letters that a word set apart may have.
const APART_MAX: usize = 12;

/// What a low rank such as `2k` says.
const RANK: Weight = Weight { label: Some(Label::Insult), base: 0.4, aimed: 0.62, myself: 0.05, alone: 0.4 };

thread_local! {
    static WORDS: RefCell<Words> = RefCell::default();
}

/// The words of a message, looked up; kept between messages, so that their memory is asked for once.
pub(crate) fn read<T>(message: &str, then: impl FnOnce(&Words, &Lexicon) -> T) -> T {
    let lexicon = &*LEXICON;
    // Taken, not borrowed: `then` may read another message.
    let mut words = WORDS.take();
    words.read(message);
    lexicon.look_up(&mut words);
    join_letters(&mut words, lexicon);
    let read = then(&words, lexicon);
    WORDS.set(words);
    read
}

/// What a word means where it stands alone.
pub(crate) fn meaning(token: &Token, lexicon: &Lexicon) -> Meaning {
    if token.entry != NONE {
        return lexicon.entries[token.entry as usize].meaning;
    }
    if token.class & class::RANK != 0 {
        return Meaning { class: class::RANK, weight: Some(RANK), feeling: 0.0 };
    }
    Meaning::default()
}

/// `k y s` is a word.
fn join_letters(words: &mut Words, lexicon: &Lexicon) {
    let single = |token: &Token| token.key_len == 1 && token.end - token.start <= 4 && (token.letters || token.leet);
    // Words move down as letters are joined: `kept` of them stand.
    let (mut at, mut kept) = (0, 0);
    while at < words.tokens.len() {
        let run = words.tokens[at..].iter().take_while(|token| single(token)).count();
        let end = at + run;
        while at < end {
            let (token, length) = joined(words, lexicon, at, end, run).unwrap_or((words.tokens[at], 1));
            words.tokens[kept] = token;
            (at, kept) = (at + length, kept + 1);
        }
        if let Some(token) = words.tokens.get(at).copied() {
            words.tokens[kept] = token;
            (at, kept) = (at + 1, kept + 1);
        }
    }
    words.tokens.truncate(kept);
}

/// The longest word that the letters from `begin` make, and how many letters it has.
fn joined(words: &Words, lexicon: &Lexicon, begin: usize, end: usize, run: usize) -> Option<(Token, usize)> {
    let longest = (end - begin).min(APART_MAX);
    let (mut key, mut runs) = ([0_u8; APART_MAX], [0_u8; APART_MAX]);
    let (mut length, mut best) = (0, None);
    for (place, token) in words.tokens[begin..begin + longest].iter().enumerate() {
        let (letter, run_of) = words.key(token);
        let letter = crate::text::leet(letter[0]);
        if length > 0 && key[length - 1] == letter {
            runs[length - 1] = runs[length - 1].saturating_add(run_of[0]);
        } else {
            (key[length], runs[length]) = (letter, run_of[0]);
            length += 1;
        }
        // Two letters are a word only if they are all that stands apart: `e z`.
        if place < 1 || (place == 1 && run != 2) {
            continue;
        }
        if let Some(number) = lexicon.find(&key[..length], &runs[..length])
            && lexicon.entries[number as usize].meaning.weight.is_some_and(|weight| weight.base >= 0.7)
        {
            best = Some((number, place + 1));
        }
    }
    let (number, length) = best?;
    let token = Token {
        end: words.tokens[begin + length - 1].end,
        entry: number,
        class: lexicon.entries[number as usize].meaning.class,
        letters: true,
        ..words.tokens[begin]
    };
    Some((token, length))
}
