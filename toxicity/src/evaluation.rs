//! How well verdicts agree with people.

use crate::csv_labels::Message;
use crate::verdict::{Label, THRESHOLD, Verdict};
use serde::Serialize;

/// Agreement on one question, over all messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Found, and people say so too.
    pub hits: u64,
    /// Found, and people say it isn't.
    pub false_alarms: u64,
    /// Not found, though people say it is.
    pub missed: u64,
    /// Not found, and people say so too.
    pub passed: u64,
}

impl Figures {
    fn count(&mut self, found: bool, truth: bool) {
        match (found, truth) {
            (true, true) => self.hits += 1,
            (true, false) => self.false_alarms += 1,
            (false, true) => self.missed += 1,
            (false, false) => self.passed += 1,
        }
    }

    /// The share of what was found that people find too; 1 if nothing was found.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.hits, self.hits + self.false_alarms)
    }

    /// The share of what people find that was found; 1 if they find nothing.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.hits, self.hits + self.missed)
    }

    /// The harmonic mean of both.
    #[must_use]
    pub fn f1(&self) -> f64 {
        share(2 * self.hits, 2 * self.hits + self.false_alarms + self.missed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, for people")]
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

/// A message on which people and verdict disagree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Error {
    /// Its line in the file.
    pub line: u64,
    /// What was said.
    pub text: String,
    /// The verdict's score.
    pub score: f32,
}

/// How well verdicts agree with people, over a file of labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Messages that were judged.
    pub messages: u64,
    /// Toxic or not.
    pub toxic: Figures,
    /// For each of [`Label::ALL`], over the messages of which people say in which way they are toxic, if at all.
    pub labels: Vec<(Label, Figures)>,
    /// Messages that people call harmless, with the highest scores; no text twice.
    pub worst_alarms: Vec<Error>,
    /// Messages that people call toxic, with the lowest scores; no text twice.
    pub worst_missed: Vec<Error>,
}

impl Evaluation {
    /// Judges each message, and compares; keeps so many of the worst errors of each kind.
    pub fn of(messages: &[Message], worst: usize, mut judge: impl FnMut(&str) -> Verdict) -> Self {
        let mut evaluation =
            Self { labels: Label::ALL.map(|label| (label, Figures::default())).into(), ..Self::default() };
        let (mut alarms, mut missed) = (Vec::new(), Vec::new());
        for message in messages {
            let verdict = judge(&message.text);
            evaluation.messages += 1;
            evaluation.toxic.count(verdict.toxic(), message.truth.toxic);
            if let Some(labels) = &message.truth.labels {
                for (label, figures) in &mut evaluation.labels {
                    figures.count(verdict.strength(*label) >= THRESHOLD, labels.contains(label));
                }
            }
            if verdict.toxic() != message.truth.toxic {
                let error = Error { line: message.line, text: message.text.clone(), score: verdict.score };
                if verdict.toxic() { alarms.push(error) } else { missed.push(error) }
            }
        }
        // Labels that people never gave say nothing of recall.
        evaluation.labels.retain(|(_, figures)| figures.hits + figures.missed > 0);
        alarms.sort_by(|one, other| other.score.total_cmp(&one.score));
        missed.sort_by(|one, other| one.score.total_cmp(&other.score));
        evaluation.worst_alarms = first_distinct(alarms, worst);
        evaluation.worst_missed = first_distinct(missed, worst);
        evaluation
    }
}

fn first_distinct(errors: Vec<Error>, count: usize) -> Vec<Error> {
    let mut seen = hashbrown::HashSet::new();
    errors.into_iter().filter(|error| seen.insert(error.text.to_lowercase())).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::{Evaluation, Figures};
    use crate::csv_labels::Labels;
    use crate::verdict::{Label, Verdict};

    #[test]
    fn figures_are_shares() {
        let figures = Figures { hits: 6, false_alarms: 2, missed: 4, passed: 88 };
        assert_eq!((figures.precision(), figures.recall()), (0.75, 0.6));
        assert!((figures.f1() - 2.0 * 0.75 * 0.6 / 1.35).abs() < 1e-12);
        assert_eq!(Figures::default().f1(), 1.0);
    }

    #[test]
    fn errors_are_ordered_from_the_worst_and_stand_once() {
        let file = "text,label\na9,none\nb7,none\nA9,none\nc2,insult\nd1,toxic\ne8,insult\n";
        let labels = Labels::read(file.as_bytes()).unwrap();
        let judge = |text: &str| {
            let score = f32::from(text.as_bytes()[1] - b'0') / 10.0;
            Verdict { score, strengths: [score, 0.0, 0.0, 0.0, 0.0], words: Vec::new() }
        };
        let found = Evaluation::of(&labels.messages, 5, judge);
        assert_eq!(found.toxic, Figures { hits: 1, false_alarms: 3, missed: 2, passed: 0 });
        assert_eq!(found.labels, [(Label::Insult, Figures { hits: 1, false_alarms: 3, missed: 1, passed: 0 })]);
        let texts = |errors: &[super::Error]| errors.iter().map(|error| error.text.clone()).collect::<Vec<_>>();
        assert_eq!(
            (texts(&found.worst_alarms), texts(&found.worst_missed)),
            (vec!["a9".into(), "b7".into()], vec!["d1".into(), "c2".into()])
        );
    }
}
