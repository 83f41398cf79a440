//! The built-in scorer: what words and phrases say, by who is meant, what is denied, and what else is said.

use crate::foreign;
use crate::lexicon::Lexicon;
use crate::reading::{meaning, read};
use crate::sections::{Weight, class};
use crate::text::{Token, Words};
use crate::verdict::{Label, Verdict, WORDS_MAX, Word, limited};
use std::ops::Range;

/// How far from a word somebody is named who is meant by it.
const NEAR: usize = 3;
/// What is left of a weight that is denied: `not bad`.
const DENIED: f32 = 0.2;
/// What is left of a phrase that the speaker says of themselves.
const OWN: f32 = 0.3;
/// How much further signs add to the strongest one.
const FURTHER: f32 = 0.35;
/// How much of spam counts as toxic.
const SPAM: f32 = 0.5;
/// From this strength on, a word is named.
const NAMED: f32 = 0.2;

/// How toxic a message is, in which way, and which words decided. Looks at the first [`crate::LIMIT_BYTES`].
///
/// The same text always gets the same verdict; nothing is read but the text.
#[must_use]
pub fn score(text: &str) -> Verdict {
    let text = limited(text);
    let (mut evidence, plain) = read(text, |words, lexicon| (find(words, lexicon), plain(words)));
    if !plain {
        add_foreign(text, &mut evidence);
    }
    weigh(evidence)
}

/// How a message feels: from -1, hostile or sad, over 0 to 1, friendly or glad.
#[must_use]
pub fn sentiment(text: &str) -> f32 {
    let text = limited(text);
    let felt = read(text, feeling) + emoticons(text);
    felt / (felt * felt + 0.6).sqrt()
}

/// What the rules say of a message, and what its words are: what a model learns from, beside the text.
pub(crate) fn verdict_and_words<T>(text: &str, then: impl FnOnce(&Verdict, &Words) -> T) -> T {
    let verdict = score(text);
    read(text, |words, _| then(&verdict, words))
}

/// A sign of toxicity.
#[derive(Debug, Clone)]
struct Evidence {
    label: Option<Label>,
    strength: f32,
    span: Range<usize>,
}

/// Every word is listed, as it is written, and no letters stand apart: nothing can be hidden in it. What rustrict would still find reaches
/// across words that mean something else.
fn plain(words: &Words) -> bool {
    let single = |token: &Token| token.key_len == 1;
    let apart = words.tokens.windows(2).any(|two| single(&two[0]) && single(&two[1]));
    !apart && words.tokens.iter().all(|token| if token.letters { token.known } else { token.leet })
}

/// What words and phrases of the lexicon say, in the order of the message.
fn find(words: &Words, lexicon: &Lexicon) -> Vec<Evidence> {
    let tokens = &words.tokens;
    let mut evidence = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let mut found = meaning(token, lexicon).weight.map(|weight| (weight, aimed(tokens, place)));
        if token.class & class::RANK != 0 {
            found = found.map(|(weight, _)| (weight, ranked(tokens, place)));
        }
        if token.entry == crate::text::NONE && token.letters {
            let (key, runs) = words.key(token);
            found = found.or_else(|| {
                let (number, named) = lexicon.compound(key, runs)?;
                let weight = lexicon.entries[number as usize].meaning.weight?;
                Some((weight, named || aimed(tokens, place)))
            });
        }
        let Some((weight, aimed)) = found else { continue };
        if let Some(found) = judged(tokens, place, weight, aimed) {
            evidence.push(found);
        }
    }
    for place in 0..tokens.len() {
        lexicon.phrases.beginning(&tokens[place..], |phrase, length| {
            let mut strength = phrase.strength;
            let before = &tokens[place.saturating_sub(2)..place];
            if phrase.label != Label::Hate && before.iter().any(|token| token.class & class::NOT != 0) {
                strength *= DENIED;
            }
            if phrase.label == Label::Insult && place > 0 && tokens[place - 1].class & class::ME != 0 {
                strength *= OWN;
            }
            let span = tokens[place].start as usize..tokens[place + length - 1].end as usize;
            evidence.push(Evidence { label: Some(phrase.label), strength, span });
        });
    }
    evidence
}

/// What a word says where it stands.
fn judged(tokens: &[Token], place: usize, weight: Weight, aimed: bool) -> Option<Evidence> {
    let token = &tokens[place];
    let hateful = weight.label == Some(Label::Hate);
    let mut label = weight.label;
    let mut strength = if myself(tokens, place) {
        weight.myself
    } else if aimed {
        // Swearing at somebody insults them.
        label = label.or(Some(Label::Insult));
        weight.aimed
    } else if weight.alone > weight.base && alone(tokens, place) {
        weight.alone
    } else {
        weight.base
    };
    if !hateful && weight.label.is_some() && denied(tokens, place) {
        strength *= DENIED;
    }
    (strength > 0.0).then_some(Evidence { label, strength, span: token.start as usize..token.end as usize })
}

fn around(tokens: &[Token], place: usize) -> impl Iterator<Item = &Token> {
    let before = &tokens[place.saturating_sub(NEAR)..place];
    let after = &tokens[place + 1..(place + 1 + NEAR).min(tokens.len())];
    before.iter().chain(after)
}

/// Somebody is named near this word.
fn aimed(tokens: &[Token], place: usize) -> bool {
    around(tokens, place).any(|token| token.class & (class::YOU | class::THEM) != 0)
}

/// Somebody stands right beside a rank: `2k mid`, not `they have 2k gold`.
fn ranked(tokens: &[Token], place: usize) -> bool {
    let whom = class::YOU | class::THEM | class::INSULT;
    let beside = |place: usize| tokens.get(place).is_some_and(|token| token.class & whom != 0);
    place.checked_sub(1).is_some_and(beside) || beside(place + 1)
}

/// The speaker is named last before this word, and nobody is after it.
fn myself(tokens: &[Token], place: usize) -> bool {
    let named = |token: &&Token| token.class & (class::ME | class::YOU | class::THEM) != 0;
    let before = tokens[place.saturating_sub(NEAR)..place].iter().rev().find(named);
    let after = tokens.get(place + 1);
    before.is_some_and(|token| token.class & class::ME != 0)
        && after.is_none_or(|token| token.class & (class::YOU | class::THEM | class::INSULT) == 0)
}

/// `not` stands before it, with at most an intensifier between.
fn denied(tokens: &[Token], place: usize) -> bool {
    tokens[place.saturating_sub(NEAR)..place]
        .iter()
        .rev()
        .take_while(|token| token.class & (class::NOT | class::VERY | class::FILLER) != 0)
        .any(|token| token.class & class::NOT != 0)
}

/// Nothing is said but this word, and what says nothing.
fn alone(tokens: &[Token], place: usize) -> bool {
    let idle = class::FILLER | class::VERY;
    tokens.iter().enumerate().all(|(other, token)| other == place || token.class & idle != 0 || !token.letters)
}

/// Adds what rustrict finds and the lexicon doesn't.
fn add_foreign(text: &str, evidence: &mut Vec<Evidence>) {
    for found in foreign::analyze(text) {
        let known = evidence.iter().any(|known| {
            let same = known.label == found.label || found.label.is_none() || found.label == Some(Label::Insult);
            same && known.strength >= found.strength
        });
        if found.strength > 0.0 && !known {
            let spans = foreign::spans(text, found);
            evidence.extend(spans.into_iter().map(|span| Evidence {
                label: found.label,
                strength: found.strength,
                span,
            }));
        }
    }
}

/// Of two signs of one label, one within the other, the stronger: a phrase and its words say one thing.
fn without_repetition(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort_by_key(|one| (one.span.start, std::cmp::Reverse(one.span.end), one.label));
    let mut kept: Vec<Evidence> = Vec::with_capacity(evidence.len());
    for one in evidence {
        // Phrases are short: what this one may lie within was kept lately.
        let lately = kept.len().saturating_sub(8);
        match kept[lately..].iter_mut().find(|wide| wide.label == one.label && one.span.end <= wide.span.end) {
            Some(wide) if wide.strength >= one.strength => {}
            Some(wide) => *wide = one,
            None => kept.push(one),
        }
    }
    kept
}

/// One verdict of all signs.
fn weigh(evidence: Vec<Evidence>) -> Verdict {
    let mut evidence = without_repetition(evidence);
    let mut strengths = [0.0; 5];
    for label in Label::ALL {
        strengths[label.index()] =
            together(evidence.iter().filter(|one| one.label == Some(label)).map(|one| one.strength));
    }
    let score = together(
        evidence.iter().map(|one| if one.label == Some(Label::Spam) { one.strength * SPAM } else { one.strength }),
    );
    evidence.retain(|one| one.strength >= NAMED);
    evidence.sort_by_key(|one| (one.span.start, one.span.end, one.label));
    evidence.truncate(WORDS_MAX);
    let words = evidence.into_iter().map(|one| Word { span: one.span, label: one.label, strength: one.strength });
    Verdict { score, strengths, words: words.collect() }
}

/// The strongest, and a part of what the others add to it.
fn together(strengths: impl Iterator<Item = f32>) -> f32 {
    let (mut strongest, mut none) = (0.0_f32, 1.0_f32);
    for strength in strengths {
        strongest = strongest.max(strength);
        none *= 1.0 - strength;
    }
    (strongest + FURTHER * (1.0 - none - strongest)).clamp(0.0, 1.0)
}

/// The sum of what words feel like.
fn feeling(words: &Words, lexicon: &Lexicon) -> f32 {
    let tokens = &words.tokens;
    let mut sum = 0.0;
    for (place, token) in tokens.iter().enumerate() {
        let felt = meaning(token, lexicon).feeling;
        if felt == 0.0 {
            continue;
        }
        let turned = if denied(tokens, place) { -0.6 } else { 1.0 };
        let stressed = place > 0 && tokens[place - 1].class & class::VERY != 0;
        sum += felt * turned * if stressed { 1.3 } else { 1.0 };
    }
    let mut hostile = 0.0_f32;
    for one in find(words, lexicon) {
        hostile = hostile.max(one.strength);
    }
    if hostile >= crate::THRESHOLD { sum.min(0.0) - hostile } else { sum }
}

/// What faces made of signs feel like.
fn emoticons(text: &str) -> f32 {
    let mut sum = 0.0;
    for pair in text.as_bytes().windows(2) {
        sum += match pair {
            b":)" | b":D" | b";)" | b"=)" | b"^^" | b"<3" | b":P" | b":p" | b"(:" => 0.4,
            b":(" | b"=(" | b"D:" | b":/" | b"):" => -0.4,
            _ => 0.0,
        };
    }
    sum
}
