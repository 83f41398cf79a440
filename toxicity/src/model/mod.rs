//! A linear model of a studio's own labels: logistic regression on hashed words, letters, and what the rules say.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Model::train`] | from labelled messages to a model, the same for the same seed |
//! | `features` | what the model sees of a message |
//! | `file` | how it is stored, and what is refused |

mod features;
mod file;
mod train;

pub use file::FileError;
pub use train::{Settings, TrainError};

use crate::verdict::{Label, THRESHOLD, Verdict, WORDS_MAX, Word, limited};
use features::Features;
use serde::{Deserialize, Serialize};

/// Features fall into 2 to the power of this many places.
const BITS: u32 = 20;
/// What a model may answer: toxic or not, and the labels.
const HEADS_MAX: usize = 1 + Label::ALL.len();
/// A word is named if it makes up this share of what speaks for toxicity.
const NAMED: f32 = 0.2;

/// How a model came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Messages that it learnt from.
    pub messages: u64,
    /// How many of them are toxic.
    pub toxic: u64,
    /// The seed of training.
    pub seed: u64,
    /// F1 on messages held back while it was tuned; on others it will be a little lower.
    pub tuned_f1: f64,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    origin: Origin,
    /// Seeds the hash of features.
    seed: u64,
    /// What the heads after the first one answer.
    labels: Vec<Label>,
    /// One for each head.
    biases: Vec<f32>,
    /// For each place one weight for each head.
    weights: Vec<f32>,
}

impl Model {
    /// How it came about.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Labels that it learnt to tell apart; of the others it says nothing.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    const fn heads(&self) -> usize {
        1 + self.labels.len()
    }

    /// How toxic a message is, in which way, and which words decided. The threshold is the same as that of the
    /// rules: training has moved the score so that [`THRESHOLD`] is where F1 was highest.
    #[must_use]
    pub fn score(&self, text: &str) -> Verdict {
        let text = limited(text);
        let mut features = Features::default();
        features.read(text, self.seed);
        let mut sums = [0.0_f32; HEADS_MAX];
        let heads = self.heads();
        sums[..heads].copy_from_slice(&self.biases);
        for (place, value) in features.all() {
            let from = place as usize * heads;
            for (sum, weight) in sums.iter_mut().zip(&self.weights[from..from + heads]) {
                *sum += weight * value;
            }
        }
        let mut verdict = Verdict { score: sigmoid(sums[0]), ..Verdict::default() };
        for (label, sum) in self.labels.iter().zip(&sums[1..]) {
            verdict.strengths[label.index()] = sigmoid(*sum);
        }
        if verdict.score >= THRESHOLD {
            verdict.words = self.words(&features, &verdict);
        }
        verdict
    }

    /// The words whose features speak most for toxicity.
    fn words(&self, features: &Features, verdict: &Verdict) -> Vec<Word> {
        let heads = self.heads();
        let spoken: Vec<f32> = features
            .words()
            .map(|(_, places)| places.map(|(place, value)| self.weights[place as usize * heads] * value).sum())
            .collect();
        let all: f32 = spoken.iter().filter(|said| **said > 0.0).sum();
        let label = verdict.labels().max_by(|one, other| verdict.strength(*one).total_cmp(&verdict.strength(*other)));
        let named = features.words().zip(&spoken).filter(|(_, said)| **said > 0.0 && **said >= NAMED * all);
        named
            .map(|((span, _), said)| Word { span, label, strength: (said / all * verdict.score).clamp(0.0, 1.0) })
            .take(WORDS_MAX)
            .collect()
    }
}

fn sigmoid(sum: f32) -> f32 {
    1.0 / (1.0 + (-sum).exp())
}
