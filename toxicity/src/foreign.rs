//! What rustrict finds: swearing and slurs, with the ways to hide them that it knows.

use crate::verdict::Label;
use rustrict::{Censor, Type};
use std::ops::Range;

/// How strongly it speaks for each label, and for swearing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) label: Option<Label>,
    pub(crate) strength: f32,
}

fn severity(found: Type, kind: Type) -> usize {
    [Type::SEVERE, Type::MODERATE, Type::MILD]
        .iter()
        .position(|level| found.is(kind & *level))
        .map_or(0, |place| 3 - place)
}

/// Strengths by severity: none, mild, moderate, severe.
const HATE: [f32; 4] = [0.0, 0.3, 0.75, 0.9];
const SEXUAL: [f32; 4] = [0.0, 0.3, 0.6, 0.8];
const MEAN: [f32; 4] = [0.0, 0.3, 0.45, 0.7];
const PROFANE: [f32; 4] = [0.0, 0.4, 0.7, 0.8];
const SPAM: [f32; 4] = [0.0, 0.0, 0.0, 0.5];

/// What rustrict says of a message: at most one finding for each label.
pub(crate) fn analyze(message: &str) -> [Found; 5] {
    let found = Censor::from_str(message).analyze();
    let of = |label, strengths: [f32; 4], kind| Found { label, strength: strengths[severity(found, kind)] };
    [
        of(Some(Label::Hate), HATE, Type::OFFENSIVE),
        of(Some(Label::Sexual), SEXUAL, Type::SEXUAL),
        of(Some(Label::Insult), MEAN, Type::MEAN),
        of(None, PROFANE, Type::PROFANE),
        of(Some(Label::Spam), SPAM, Type::SPAM),
    ]
}

/// The words of a message in which rustrict finds as much as in the whole; the whole, if that lies across words.
pub(crate) fn spans(message: &str, wanted: Found) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut end = 0;
    for word in message.split_whitespace() {
        let Some(start) = message[end..].find(word).map(|place| end + place) else { break };
        end = start + word.len();
        let as_much = |found: &Found| found.label == wanted.label && found.strength >= wanted.strength;
        if analyze(word).iter().any(as_much) {
            spans.push(start..end);
        }
    }
    if spans.is_empty() {
        let start = message.len() - message.trim_start().len();
        spans.push(start..start + message.trim().len());
    }
    spans
}
