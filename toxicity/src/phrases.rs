//! Several words that mean something together.

use crate::lexicon::Lexicon;
use crate::sections::{Meaning, class, number};
use crate::text::{NONE, Token};
use crate::verdict::Label;

/// One place of a phrase: any of some words, or of a class.
#[derive(Debug, Default)]
struct Slot {
    class: u16,
    /// In order.
    words: Vec<u32>,
    optional: bool,
}

impl Slot {
    fn takes(&self, token: &Token) -> bool {
        token.class & self.class != 0 || (token.entry != NONE && self.words.binary_search(&token.entry).is_ok())
    }
}

#[derive(Debug)]
pub(crate) struct Phrase {
    pub(crate) label: Label,
    pub(crate) strength: f32,
    slots: Vec<Slot>,
}

/// All phrases, by the words that they may begin with.
#[derive(Debug, Default)]
pub(crate) struct Phrases {
    all: Vec<Phrase>,
    by_first: Vec<Vec<u16>>,
}

/// Words such as `so` that may stand between those of a phrase.
const BETWEEN: usize = 2;

impl Phrases {
    /// Reads phrases, and adds their words to the lexicon. Gives what could not be read.
    pub(crate) fn read(&mut self, text: &str, lexicon: &mut Lexicon) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match phrase(line, lexicon) {
                Ok(phrase) => self.all.push(phrase),
                Err(fault) => faults.push(format!("phrases.txt: line {}: {fault}", place + 1)),
            }
        }
        faults
    }

    /// Notes which phrases each word of the lexicon may begin.
    pub(crate) fn index(&mut self, lexicon: &Lexicon) {
        self.by_first = vec![Vec::new(); lexicon.entries.len()];
        for (number, phrase) in (0_u16..).zip(&self.all) {
            for slot in first_slots(&phrase.slots) {
                for (entry, firsts) in lexicon.entries.iter().zip(&mut self.by_first) {
                    if entry.meaning.class & slot.class != 0 {
                        firsts.push(number);
                    }
                }
                for word in &slot.words {
                    self.by_first[*word as usize].push(number);
                }
            }
        }
        for firsts in &mut self.by_first {
            firsts.sort_unstable();
            firsts.dedup();
        }
    }

    /// Calls back with each phrase that begins with the first of these words, and how many words it has.
    pub(crate) fn beginning(&self, tokens: &[Token], mut found: impl FnMut(&Phrase, usize)) {
        let Some(firsts) = tokens.first().and_then(|first| self.by_first.get(first.entry as usize)) else { return };
        for number in firsts {
            let phrase = &self.all[usize::from(*number)];
            if let Some(length) = matched(&phrase.slots, tokens, true) {
                found(phrase, length);
            }
        }
    }
}

/// The slots that a phrase may begin with.
fn first_slots(slots: &[Slot]) -> impl Iterator<Item = &Slot> {
    let required = slots.iter().position(|slot| !slot.optional).unwrap_or(slots.len());
    slots.iter().take(required + 1)
}

/// How many words these slots take from the beginning; intensifiers between them are passed over.
fn matched(slots: &[Slot], tokens: &[Token], first: bool) -> Option<usize> {
    let Some((slot, rest)) = slots.split_first() else { return Some(0) };
    let between = if first { 0 } else { BETWEEN };
    for (passed, token) in tokens.iter().enumerate().take(between + 1) {
        if slot.takes(token)
            && let Some(length) = matched(rest, &tokens[passed + 1..], false)
        {
            return Some(passed + 1 + length);
        }
        if token.class & class::VERY == 0 {
            break;
        }
    }
    if slot.optional { matched(rest, tokens, first) } else { None }
}

fn phrase(line: &str, lexicon: &mut Lexicon) -> Result<Phrase, String> {
    let (head, body) = line.split_once(':').ok_or("no colon")?;
    let mut head = head.split_whitespace();
    let label = head.next().and_then(Label::from_name).ok_or("no label")?;
    let strength = number(head.next())?;
    let mut slots = Vec::new();
    for place in body.split_whitespace() {
        let (place, optional) = place.strip_suffix('?').map_or((place, false), |place| (place, true));
        let mut slot = Slot { optional, ..Slot::default() };
        for word in place.split('|') {
            if let Some(name) = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
                slot.class |= match name {
                    "you" => class::YOU,
                    "them" => class::THEM,
                    "very" => class::VERY,
                    "insult" => class::INSULT,
                    "origin" => class::ORIGIN,
                    "rank" => class::RANK,
                    _ => return Err(format!("no words are called <{name}>")),
                };
            } else {
                let word = lexicon.add(word, Meaning::default()).ok_or_else(|| format!("{word} is no word"))?;
                slot.words.push(word);
            }
        }
        slot.words.sort_unstable();
        slots.push(slot);
    }
    if slots.iter().all(|slot| slot.optional) {
        return Err("every word may be missing".into());
    }
    Ok(Phrase { label, strength, slots })
}
