//! Models: what they learn, and which files they are read from.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::fmt::Write as _;
use toxicity::{Evaluation, FileError, Label, Labels, Message, Model, Settings, TrainError};

/// Messages of made-up words, of which `zorg` is toxic, and `zorg blick` hateful.
fn planted(messages: usize, seed: u64) -> Vec<Message> {
    let mut file = String::from("text,label,group\n");
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..messages {
        let filler: Vec<String> = (0..3).map(|_| format!("mopu{}", draw(40))).collect();
        let (word, label) = match draw(4) {
            0 => ("zorg", "insult"),
            1 => ("zorg blick", "insult;hate"),
            2 => ("blick", "none"),
            _ => ("vant", "none"),
        };
        writeln!(file, "{} {word} {} {},{label},m{}", filler[0], filler[1], filler[2], number / 10).unwrap();
    }
    Labels::read(file.as_bytes()).unwrap().messages
}

fn trained(seed: u64) -> Model {
    Model::train(&planted(600, 1), &Settings { seed, ..Settings::default() }, |_, _| {}).unwrap()
}

#[test]
fn a_planted_rule_is_learnt() {
    let model = trained(1);
    assert_eq!(model.labels(), [Label::Insult, Label::Hate]);
    let unseen = planted(400, 99);
    let found = Evaluation::of(&unseen, 3, |text| model.score(text));
    assert!(found.toxic.f1() > 0.99, "{found:?}");
    for (label, figures) in &found.labels {
        assert!(figures.f1() > 0.95, "{label:?} {figures:?}");
    }
    let verdict = model.score("mopu1 zorg mopu2");
    assert_eq!(verdict.texts("mopu1 zorg mopu2"), ["zorg"]);
    assert!(model.score("mopu1 vant mopu2").words.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_file() {
    assert!(trained(7).to_bytes() == trained(7).to_bytes());
    assert!(trained(7).to_bytes() != trained(8).to_bytes());
}

#[test]
fn progress_ends_where_it_said() {
    let mut last = (0, 0);
    Model::train(&planted(200, 3), &Settings::default(), |done, of| {
        assert!(done == last.0 + 1 && (last.1 == 0 || of == last.1), "{done} of {of} after {last:?}");
        last = (done, of);
    })
    .unwrap();
    assert!(last.0 > 0 && last.0 == last.1, "{last:?}");
}

#[test]
fn too_few_messages_of_a_kind_are_refused() {
    let mut messages = planted(200, 3);
    let mut kept = 0;
    messages.retain(|message| {
        !message.truth.toxic || {
            kept += 1;
            kept <= 19
        }
    });
    let error = Model::train(&messages, &Settings::default(), |_, _| {}).unwrap_err();
    assert_eq!(error, TrainError::TooFew { kind: "toxic", found: 19, needed: 20 });
    assert_eq!(error.to_string(), "19 toxic messages to learn from, at least 20 are needed");
}

#[test]
fn a_model_read_from_its_file_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.kft");
    let model = trained(2);
    model.save(&path).unwrap();
    let read = Model::load(&path).unwrap();
    assert!(read == model);
    for message in planted(50, 5) {
        assert_eq!(read.score(&message.text), model.score(&message.text));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something is left beside it");
}

/// A file so small that all of it can be tried.
fn small() -> Vec<u8> {
    let rows = "zorg,insult\nvant,none\n".repeat(20);
    let messages = Labels::read(format!("text,label\n{rows}").as_bytes()).unwrap().messages;
    Model::train(&messages, &Settings { rounds: 1, ..Settings::default() }, |_, _| {}).unwrap().to_bytes()
}

#[test]
fn every_truncation_and_every_changed_bit_is_refused() {
    let bytes = small();
    assert!(Model::from_bytes(&bytes).is_ok());
    for at in 0..bytes.len() {
        assert!(Model::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Model::from_bytes(&changed).is_err(), "bit {bit} changed at {at}");
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Model::from_bytes(&longer).is_err());
}

#[test]
fn a_file_of_something_else_says_so_in_one_line() {
    assert!(matches!(Model::from_bytes(b"PAR1 and so on"), Err(FileError::NoModel)));
    let mut newer = small();
    newer[8] = 9;
    let error = Model::from_bytes(&newer).unwrap_err();
    assert_eq!(error.to_string(), "it is a model of version 9, this killfeed reads version 1: train it again");
    // Other word lists, with a checksum that is right.
    let mut other = small();
    other[20] ^= 1;
    let end = other.len() - 8;
    let sum = xxhash_rust::xxh3::xxh3_64(&other[..end]);
    other[end..].copy_from_slice(&sum.to_le_bytes());
    let error = Model::from_bytes(&other).unwrap_err();
    assert!(matches!(error, FileError::OtherRules) && error.to_string().lines().count() == 1, "{error}");
}
