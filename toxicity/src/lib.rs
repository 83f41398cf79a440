//! What a line of chat says to others: how toxic it is, in which way, and which words decided.
//!
//! | start here | to learn |
//! |---|---|
//! | [`score`] | the built-in scorer: rules and word lists, no data at run time |
//! | [`sentiment`] | how a line feels, from -1 to 1 |
//! | [`Labels`] | labelled messages from a CSV file, with every bad row named |
//! | [`Model`] | a linear model of a studio's own labels: training, its file, scores |
//! | [`Evaluation`] | precision, recall and F1 by class, and the worst errors |
//!
//! A score is evidence for people who decide; `docs/toxicity.md` says what it misses, measured.

mod csv_labels;
mod evaluation;
mod foreign;
mod lexicon;
mod model;
mod phrases;
mod reading;
mod rules;
mod sections;
mod text;
mod verdict;

pub use csv_labels::{BadRow, Labels, LabelsError, Message, Truth};
pub use evaluation::{Error as Mistake, Evaluation, Figures};
pub use model::{FileError, Model, Origin, Settings, TrainError};
pub use rules::{score, sentiment};
pub use verdict::{LIMIT_BYTES, Label, THRESHOLD, Verdict, Word};
