//! What is found in a message.

use serde::Serialize;
use std::ops::Range;

/// From this strength on, a message counts as toxic, and a label as given.
pub const THRESHOLD: f32 = 0.5;
/// Bytes of a message that are looked at; what follows is ignored. Chat of games is a hundredth of it.
pub const LIMIT_BYTES: usize = 16 * 1024;
/// Words that a verdict names at most: the first ones.
pub(crate) const WORDS_MAX: usize = 64;

/// In which way a message is toxic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Degrades a person or a team: their skill, their wits, their family.
    Insult,
    /// Degrades people for what they are: origin, faith, disability, sex, whom they love.
    Hate,
    /// Wishes or announces harm outside the game.
    Threat,
    /// Sexual language.
    Sexual,
    /// Advertises, or sells.
    Spam,
}

impl Label {
    /// Every label, in the order in which they are always listed.
    pub const ALL: [Self; 5] = [Self::Insult, Self::Hate, Self::Threat, Self::Sexual, Self::Spam];

    /// Its name in SQL, in label files and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insult => "insult",
            Self::Hate => "hate",
            Self::Threat => "threat",
            Self::Sexual => "sexual",
            Self::Spam => "spam",
        }
    }

    /// The label of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A part of the message that decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Word {
    /// Its bytes in the message; both ends lie on borders of characters.
    #[serde(skip)]
    pub span: Range<usize>,
    /// The label that it speaks for; none if it is swearing at nobody.
    pub label: Option<Label>,
    /// How strongly, from 0 to 1.
    pub strength: f32,
}

/// How toxic a message is, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// From 0 to 1; toxic from [`THRESHOLD`] on. An order, not a probability.
    pub score: f32,
    /// A strength from 0 to 1 for each of [`Label::ALL`].
    pub strengths: [f32; 5],
    /// What decided, in the order of the message.
    pub words: Vec<Word>,
}

impl Verdict {
    /// Whether the message counts as toxic.
    #[must_use]
    pub fn toxic(&self) -> bool {
        self.score >= THRESHOLD
    }

    /// The strength of a label, from 0 to 1.
    #[must_use]
    pub fn strength(&self, label: Label) -> f32 {
        self.strengths[label.index()]
    }

    /// Labels that reach [`THRESHOLD`].
    pub fn labels(&self) -> impl Iterator<Item = Label> + '_ {
        Label::ALL.into_iter().filter(|label| self.strength(*label) >= THRESHOLD)
    }

    /// The texts of the words that decided, each once, as they stand in the message.
    #[must_use]
    pub fn texts<'a>(&self, message: &'a str) -> Vec<&'a str> {
        let mut texts: Vec<&str> = Vec::new();
        for word in &self.words {
            let Some(text) = message.get(word.span.clone()) else { continue };
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }
}

/// The part of a message that is looked at.
pub(crate) fn limited(message: &str) -> &str {
    &message[..message.floor_char_boundary(LIMIT_BYTES)]
}
