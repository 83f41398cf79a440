//! `killfeed report schedule`.

use super::style;
use crate::cli::Schedule;
use crate::exit::Failure;
use reqwest::Method;
use schedules::{Delivered, Entry, Outcome, Progress, Summary};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write as _;

/// Lists schedules, runs one, or tells what became of them.
pub(crate) async fn run(command: Schedule) -> Result<(), Failure> {
    match command {
        Schedule::List { json, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::GET, "/v1/schedules")).await?;
            if json { print_json(&answer) } else { list(&read::<Vec<Summary>>(answer)?) }
        }
        Schedule::Run { name, json, server } => {
            let client = server.client()?;
            let path = format!("/v1/schedules/{}/run", super::schema::segment(&name));
            let answer = client.json(client.request(Method::POST, &path)).await?;
            if json {
                return print_json(&answer);
            }
            let tick = answer["tick"].as_str().unwrap_or_default();
            writeln!(std::io::stdout(), "{name} runs as the tick {tick}; killfeed report schedule history {name}")?;
            Ok(())
        }
        Schedule::History { name, limit, json, server } => {
            let client = server.client()?;
            let mut request = client.request(Method::GET, "/v1/schedules/history").query(&[("limit", limit)]);
            if let Some(name) = name {
                request = request.query(&[("schedule", name)]);
            }
            let answer = client.json(request).await?;
            if json { print_json(&answer) } else { history(&read::<Vec<Entry>>(answer)?) }
        }
    }
}

fn print_json(answer: &Value) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{answer}")?;
    Ok(())
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::usage(format!("the answer is broken: {error}")))
}

fn list(schedules: &[Summary]) -> Result<(), Failure> {
    let head = ["schedule", "report", "cron", "zone", "next", "last", "deliveries"].map(str::to_owned);
    let row = |schedule: &Summary| {
        vec![
            schedule.name.clone(),
            schedule.report.clone(),
            schedule.cron.clone(),
            schedule.zone.clone(),
            schedule.next_shown.clone().unwrap_or_default(),
            schedule.last.as_ref().map(outcome).unwrap_or_default(),
            schedule.deliveries.join(", "),
        ]
    };
    style::table(&head, &[false; 7], schedules.iter().map(row).collect())?;
    Ok(())
}

fn history(entries: &[Entry]) -> Result<(), Failure> {
    let head = ["schedule", "tick", "outcome", "rows", "bytes", "took", "delivery", "state", "detail"];
    let numeric = [false, false, false, true, true, true, false, false, false];
    style::table(&head.map(str::to_owned), &numeric, entries.iter().flat_map(rows).collect())?;
    Ok(())
}

/// A row for each delivery, the tick itself in the first. What is told of the tick stands beside no delivery.
fn rows(entry: &Entry) -> Vec<Vec<String>> {
    let number = |number: Option<u64>| number.map(style::thousands).unwrap_or_default();
    let mark = if entry.manual { " (by hand)" } else { "" };
    let tick = [
        entry.schedule.clone(),
        format!("{}{mark}", entry.tick),
        outcome(entry),
        number(entry.rows),
        number(entry.bytes),
        entry.took_ms.map(|ms| format!("{} ms", style::thousands(ms))).unwrap_or_default(),
    ];
    let mut told: Vec<[String; 3]> = entry.deliveries.iter().map(delivery).collect();
    if told.is_empty() || entry.detail.is_some() {
        told.insert(0, [String::new(), String::new(), entry.detail.clone().unwrap_or_default()]);
    }
    let mut ticks = std::iter::once(tick).chain(std::iter::repeat_with(Default::default));
    told.into_iter().map(|told| ticks.next().into_iter().flatten().chain(told).collect()).collect()
}

/// A delivery's name, how far it is, and what it was told last.
fn delivery(delivery: &Delivered) -> [String; 3] {
    let word = match delivery.progress {
        Progress::Delivered => "delivered",
        Progress::Waiting => "waiting",
        Progress::Failing => "failing",
        Progress::GivenUp => "given up",
    };
    let mut state = word.to_owned();
    if delivery.tries > 0 {
        state += &format!(", try {}", delivery.tries);
        // An installation that lets fewer be made now has made more already.
        state += &delivery.tries_max.map(|most| format!(" of {}", most.max(tries(delivery)))).unwrap_or_default();
    }
    if let Some(next) = delivery.next_try {
        state += &format!(", next at {next}");
    }
    [delivery.name.clone(), state, delivery.last_error.clone().unwrap_or_default()]
}

fn tries(delivery: &Delivered) -> u32 {
    u32::try_from(delivery.tries).unwrap_or(u32::MAX)
}

fn outcome(entry: &Entry) -> String {
    match entry.outcome {
        Outcome::Running => "running".into(),
        Outcome::Stored => "stored".into(),
        Outcome::Failed => "failed".into(),
        Outcome::Skipped if entry.ticks > 1 => format!("skipped {}", entry.ticks),
        Outcome::Skipped => "skipped".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(outcome: &str, detail: Option<&str>, deliveries: &Value) -> Entry {
        let entry = json!({
            "schedule": "morning", "tick": "2026-03-30T04:30:00Z", "manual": false, "outcome": outcome,
            "report": "first_blood", "decided": "2026-03-30T04:30:01Z", "took_ms": 12, "rows": 3, "bytes": 4210,
            "output": null, "ticks": 1, "detail": detail, "failures": [], "deliveries": deliveries,
        });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn each_delivery_of_a_tick_has_its_state_and_its_error() {
        let told = |name: &str, progress: &str, tries: u32, error: Option<&str>, next: Option<&str>| {
            json!({
                "name": name, "progress": progress, "tries": tries, "tries_max": 10, "last_error": error,
                "next_try": next, "attempts": [],
            })
        };
        let deliveries = json!([
            told("stats", "delivered", 2, None, None),
            told("hook", "failing", 3, Some("503 Service Unavailable"), Some("2026-03-30T05:05:00Z")),
            told("boss", "given_up", 11, Some("550 no such reader"), None),
            told("later", "waiting", 0, None, None),
        ]);
        let found = rows(&entry("stored", None, &deliveries));
        let shown: Vec<&[String]> = found.iter().map(|row| &row[6..]).collect();
        assert_eq!(shown[0], ["stats", "delivered, try 2 of 10", ""]);
        let failing = "failing, try 3 of 10, next at 2026-03-30T05:05:00Z";
        assert_eq!(shown[1], ["hook", failing, "503 Service Unavailable"]);
        assert_eq!(shown[2], ["boss", "given up, try 11 of 11", "550 no such reader"]);
        assert_eq!(shown[3], ["later", "waiting", ""]);
        assert_eq!(found[0][..6], ["morning", "2026-03-30T04:30:00Z", "stored", "3", "4,210", "12 ms"]);
        assert!(found[1..].iter().all(|row| row[..6].iter().all(String::is_empty)), "{found:?}");
        // Why the tick itself failed stands beside none of them.
        let failed = rows(&entry("failed", Some("no such table"), &json!([told("hook", "given_up", 0, None, None)])));
        assert_eq!(failed.len(), 2);
        assert_eq!(failed[0][6..], ["", "", "no such table"]);
        assert_eq!(failed[1][6..], ["hook", "given up", ""]);
        assert_eq!(rows(&entry("skipped", Some("late"), &json!([]))).len(), 1);
    }
}
