//! How a model learns: logistic regression by stochastic steps, and a threshold from messages held back.

use super::features::Features;
use super::{BITS, Model, Origin, sigmoid};
use crate::csv_labels::Message;
use crate::verdict::Label;
use hashbrown::HashSet;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Same seed, same messages: same model.
    pub seed: u64,
    /// Times that each message is learnt from.
    pub rounds: u32,
    /// How strongly weights are drawn to nothing.
    pub decay: f32,
    /// How far the first steps go.
    pub rate: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, rounds: 8, decay: 5e-4, rate: 0.1 }
    }
}

/// Messages that no model can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// Too few of a kind.
    #[error("{found} {kind} messages to learn from, at least {needed} are needed")]
    TooFew {
        /// `toxic` or `harmless`.
        kind: &'static str,
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// Messages of each kind that there must be, for a label as for the whole.
const NEEDED: usize = 20;
/// Parts that are held back in turn, to find the threshold.
const PARTS: usize = 5;

/// A message as training sees it.
struct Example {
    features: Vec<(u32, f32)>,
    toxic: bool,
    labels: Option<Vec<Label>>,
    part: usize,
    text: u64,
}

impl Model {
    /// Learns from labelled messages. `progress` hears how many of how many steps are done.
    ///
    /// # Errors
    /// There are too few toxic or too few harmless messages.
    pub fn train(
        messages: &[Message],
        settings: &Settings,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, TrainError> {
        let toxic = messages.iter().filter(|message| message.truth.toxic).count();
        for (kind, found) in [("toxic", toxic), ("harmless", messages.len() - toxic)] {
            if found < NEEDED {
                return Err(TrainError::TooFew { kind, found, needed: NEEDED });
            }
        }
        let hash_seed = xxh3_64_with_seed(b"features", settings.seed);
        let mut features = Features::default();
        let examples: Vec<Example> =
            messages.iter().map(|message| example(message, hash_seed, &mut features)).collect();
        let labels: Vec<Label> = Label::ALL.into_iter().filter(|label| learnable(&examples, *label)).collect();
        let steps = (PARTS + 1 + labels.len()) as u64 * u64::from(settings.rounds);
        let mut done = 0;
        let mut step = || {
            done += 1;
            progress(done, steps);
        };

        let truth = |example: &Example| Some(example.toxic);
        let mut held_back = Vec::new();
        for part in 0..PARTS {
            let (known, unknown): (Vec<&Example>, Vec<&Example>) = examples.iter().partition(|one| one.part != part);
            let head = Head::fit(&known, truth, settings, &mut step);
            // Lines that everybody says are in every part; they would make the threshold look better than it is.
            let seen: HashSet<u64> = known.iter().map(|one| one.text).collect();
            let unseen = unknown.iter().filter(|one| !seen.contains(&one.text));
            held_back.extend(unseen.map(|one| (head.sum(&one.features), one.toxic)));
        }
        let (threshold, tuned_f1) = best_threshold(held_back);
        let all: Vec<&Example> = examples.iter().collect();
        let mut heads = vec![Head::fit(&all, truth, settings, &mut step)];
        heads[0].bias -= threshold;
        for label in &labels {
            let truth = |one: &Example| one.labels.as_ref().map(|labels| labels.contains(label));
            heads.push(Head::fit(&all, truth, settings, &mut step));
        }
        let tuned_f1 = (tuned_f1 * 10_000.0).round() / 10_000.0;
        let origin = Origin { messages: messages.len() as u64, toxic: toxic as u64, seed: settings.seed, tuned_f1 };
        Ok(Self::of_heads(&heads, origin, hash_seed, labels))
    }

    fn of_heads(heads: &[Head], origin: Origin, seed: u64, labels: Vec<Label>) -> Self {
        let mut weights = Vec::with_capacity(heads.len() << BITS);
        for place in 0..1 << BITS {
            weights.extend(heads.iter().map(|head| head.weights[place]));
        }
        Self { origin, seed, labels, biases: heads.iter().map(|head| head.bias).collect(), weights }
    }
}

fn example(message: &Message, seed: u64, features: &mut Features) -> Example {
    features.read(crate::verdict::limited(&message.text), seed);
    let mut all: Vec<(u32, f32)> = features.all().collect();
    all.sort_unstable_by_key(|(place, _)| *place);
    let text = xxh3_64_with_seed(message.text.trim().to_lowercase().as_bytes(), seed);
    let group = message.group.as_ref().map_or(text, |group| xxh3_64_with_seed(group.as_bytes(), seed));
    let part = usize::try_from(group % PARTS as u64).unwrap_or(0);
    Example { features: all, toxic: message.truth.toxic, labels: message.truth.labels.clone(), part, text }
}

fn learnable(examples: &[Example], label: Label) -> bool {
    let given = |one: &&Example| one.labels.as_ref().is_some_and(|labels| labels.contains(&label));
    let denied = |one: &&Example| one.labels.as_ref().is_some_and(|labels| !labels.contains(&label));
    examples.iter().filter(given).count() >= NEEDED && examples.iter().filter(denied).count() >= NEEDED
}

/// One logistic regression.
struct Head {
    bias: f32,
    weights: Vec<f32>,
}

impl Head {
    /// AdaGrad: each weight goes the smaller steps the more it has gone.
    fn fit(
        examples: &[&Example],
        truth: impl Fn(&Example) -> Option<bool>,
        settings: &Settings,
        mut step: impl FnMut(),
    ) -> Self {
        let mut head = Self { bias: 0.0, weights: vec![0.0; 1 << BITS] };
        let mut gone = vec![1e-6_f32; 1 << BITS];
        let mut gone_bias = 1e-6_f32;
        let mut known: Vec<(&Example, f32)> =
            examples.iter().filter_map(|one| truth(one).map(|is| (*one, f32::from(u8::from(is))))).collect();
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
        for _ in 0..settings.rounds {
            known.shuffle(&mut random);
            for (one, is) in &known {
                let error = sigmoid(head.sum(&one.features)) - is;
                gone_bias += error * error;
                head.bias -= settings.rate * error / gone_bias.sqrt();
                for (place, value) in &one.features {
                    let place = *place as usize;
                    let slope = error * value + settings.decay * head.weights[place];
                    gone[place] += slope * slope;
                    head.weights[place] -= settings.rate * slope / gone[place].sqrt();
                }
            }
            step();
        }
        head
    }

    fn sum(&self, features: &[(u32, f32)]) -> f32 {
        self.bias + features.iter().map(|(place, value)| self.weights[*place as usize] * value).sum::<f32>()
    }
}

/// The sum from which on calling a message toxic gives the highest F1, and that F1.
fn best_threshold(mut sums: Vec<(f32, bool)>) -> (f32, f64) {
    sums.sort_by(|one, other| other.0.total_cmp(&one.0));
    let toxic = sums.iter().filter(|(_, toxic)| *toxic).count();
    let (mut hits, mut best) = (0_usize, (0.0, 0.0));
    for (place, (sum, toxic_one)) in sums.iter().enumerate() {
        hits += usize::from(*toxic_one);
        let next = sums.get(place + 1).map_or(*sum - 1.0, |(next, _)| *next);
        let f1 = ratio(2 * hits, place + 1 + toxic);
        if f1 > best.1 && next < *sum {
            best = (f32::midpoint(*sum, next), f1);
        }
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn ratio(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}
