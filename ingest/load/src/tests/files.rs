//! Files of several machines, and what is no such file.

use super::{ms, s};
use crate::rate::Times;
use crate::report::{FileError, Report, Stage, Wanted};
use crate::tally::Tally;
use proptest::prelude::*;

fn report(rates: &[u32], micros: &[u64], errors: u64) -> Report {
    let mut tally = Tally::default();
    for time in micros {
        tally.from_due.record(std::time::Duration::from_micros(*time));
        tally.from_send.record(std::time::Duration::from_micros(*time / 2));
        tally.of_type("a.b").taken += 3;
    }
    (tally.requests, tally.first) = (micros.len() as u64, micros.len() as u64);
    tally.body_bytes = 1_000_000;
    if errors > 0 {
        tally.errors.insert("503".into(), errors);
    }
    let times = Times { due: micros.len() as u64, not_sent: 0, elapsed: s(2), interrupted: false };
    let stage = |rate: &u32| Stage::new(Wanted::Rate { rate: *rate, events: 3 }, times, &tally);
    Report { stages: rates.iter().map(stage).collect() }
}

fn read(report: &Report) -> Report {
    Report::read(report.json(true).unwrap().as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn merged_is_as_measured_at_once(parts in proptest::collection::vec(proptest::collection::vec(1..70_000_000_u64, 1..40), 1..5)) {
        let mut merged: Option<Report> = None;
        for part in &parts {
            let part = read(&report(&[10], part, 1));
            match &mut merged {
                Some(merged) => merged.merge(&part).unwrap(),
                None => merged = Some(part),
            }
        }
        let merged = merged.unwrap();
        let whole = report(&[10], &parts.concat(), parts.len() as u64);
        prop_assert_eq!(&merged.stages[0].from_due, &whole.stages[0].from_due);
        prop_assert_eq!(&merged.stages[0].from_send, &whole.stages[0].from_send);
        prop_assert_eq!(merged.stages[0].counts.acknowledged, whole.stages[0].counts.acknowledged);
        prop_assert_eq!(&merged.stages[0].counts.errors, &whole.stages[0].counts.errors);
        prop_assert_eq!(merged.stages[0].wanted_rate, Some(10 * parts.len() as u64));
    }
}

#[test]
fn a_file_is_read_as_it_was_written_and_says_what_people_ask() {
    let written = report(&[10, 500], &[1_000, 2_000, 30_000], 0);
    assert_eq!(read(&written), written);
    let json: serde_json::Value = serde_json::from_str(&written.json(false).unwrap()).unwrap();
    let stage = &json["stages"][1];
    assert_eq!((&stage["wanted_rate"], &stage["counts"]["acknowledged"]), (&500.into(), &9.into()));
    assert_eq!((&stage["rate"], &stage["events_per_s"], &stage["mb_per_s"]), (&1.5.into(), &4.5.into(), &0.5.into()));
    assert!((stage["from_due"]["p50_ms"].as_f64().unwrap() - 2.0).abs() < 0.01);
    assert!((stage["from_due"]["max_ms"].as_f64().unwrap() - 30.0).abs() < 0.1);
    assert_eq!(stage.get("histograms"), None);
    assert!(ms(30) < s(1) && written.is_good());
}

#[test]
fn what_is_no_such_file_is_said() {
    let fault = |text: &str| Report::read(text.as_bytes()).unwrap_err().to_string();
    for foreign in ["", "{}", "[1]", "hello", r#"{"killfeed_load": "1"}"#, r#"{"killfeed_load": 1, "stages": [{}]}"#] {
        assert!(fault(foreign).starts_with("is no file of `killfeed load --out`: "), "{foreign}: {}", fault(foreign));
    }
    assert_eq!(fault(r#"{"killfeed_load": 2, "new": 1}"#), "is of version 2, and this killfeed reads version 1");
    let good = report(&[10], &[5_000; 50], 0);
    assert_eq!(fault(&good.json(false).unwrap()), "is no file of `killfeed load --out`: it has no histograms");
    let mut json: serde_json::Value = serde_json::from_str(&good.json(true).unwrap()).unwrap();
    let text = json["stages"][0]["histograms"]["from_send"].as_str().unwrap().to_owned();
    for broken in [&text[..text.len() / 2], "!", "", "aGVsbG8="] {
        json["stages"][0]["histograms"]["from_send"] = broken.into();
        let fault = fault(&json.to_string());
        assert!(fault.starts_with("stage 1: the histogram from_send is broken: "), "{fault}");
    }
}

#[test]
fn only_runs_of_one_plan_are_merged() {
    let mut first = report(&[10, 100], &[1], 0);
    let error = first.clone().merge(&report(&[10], &[1], 0)).unwrap_err();
    assert_eq!(error.to_string(), "has 1 stages, not 2; only runs of the same plan can be merged");
    let mut players = report(&[10, 100], &[1], 0);
    (players.stages[1].wanted_rate, players.stages[1].players) = (None, Some(50));
    let error = first.merge(&players).unwrap_err();
    assert_eq!(error, FileError::Differs("stage 2 is 50 players, not 100/s".into()));
}
