//! `killfeed report schedule`.

use super::style;
use crate::cli::Schedule;
use crate::exit::Failure;
use reqwest::Method;
use schedules::{Entry, Outcome, Progress, Summary};
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
    let head = ["schedule", "tick", "outcome", "rows", "bytes", "took", "deliveries", "detail"].map(str::to_owned);
    let number = |number: Option<u64>| number.map(style::thousands).unwrap_or_default();
    let row = |entry: &Entry| {
        let deliveries = entry.deliveries.iter().map(|delivery| {
            let tries = delivery.attempts.len();
            let word = match delivery.progress {
                Progress::Delivered => "delivered",
                Progress::Waiting => "waiting",
                Progress::GivenUp => "given up",
            };
            format!("{} {word} ({tries})", delivery.name)
        });
        let mark = if entry.manual { " (by hand)" } else { "" };
        let refused = entry.deliveries.iter().filter_map(|delivery| delivery.attempts.last()).find(|last| !last.ok);
        vec![
            entry.schedule.clone(),
            format!("{}{mark}", entry.tick),
            outcome(entry),
            number(entry.rows),
            number(entry.bytes),
            entry.took_ms.map(|ms| format!("{} ms", style::thousands(ms))).unwrap_or_default(),
            deliveries.collect::<Vec<_>>().join(", "),
            entry.detail.clone().or_else(|| refused.map(|last| last.detail.clone())).unwrap_or_default(),
        ]
    };
    let numeric = [false, false, false, true, true, true, false, false];
    style::table(&head, &numeric, entries.iter().map(row).collect())?;
    Ok(())
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
