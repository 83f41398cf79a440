//! `killfeed audit`.

use super::http::Server;
use super::style;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::Value;
use std::io::Write as _;

const COUNTS: [&str; 8] =
    ["acknowledged", "accepted", "delivered", "duplicates", "conflicts", "dead", "in_flight", "expired"];

/// Asks whether the books balance, and shows them.
pub(crate) async fn run(server: Server, json: bool) -> Result<(), Failure> {
    let client = server.client()?;
    let answer = client.json(client.request(Method::GET, "/v1/audit")).await?;
    let balanced = answer["balanced"].as_bool().unwrap_or(false);
    if json {
        writeln!(std::io::stdout(), "{answer}")?;
    } else {
        show(&answer, balanced)?;
    }
    if balanced { Ok(()) } else { Err(Failure::negative("the books don't balance")) }
}

fn show(answer: &Value, balanced: bool) -> Result<(), Failure> {
    let mut head = vec![String::from("stream"), String::from("partition")];
    head.extend(COUNTS.iter().map(|count| count.replace('_', " ")));
    head.push(String::from("balanced"));
    let mut numeric = vec![false, true];
    numeric.extend([true; COUNTS.len()]);
    numeric.push(false);
    let mut rows = Vec::new();
    for partition in answer["partitions"].as_array().into_iter().flatten() {
        let stream = partition["stream"].as_str().unwrap_or_default().to_owned();
        rows.push(row(partition, stream, partition["partition"].to_string()));
    }
    rows.push(row(answer, String::from("total"), String::new()));
    style::table(&head, &numeric, rows)?;
    let mut out = anstream::stdout().lock();
    for problem in answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(out, "{}", style::paint(style::BAD, problem))?;
    }
    if balanced {
        writeln!(out, "{}", style::paint(style::GOOD, "The books balance."))?;
    }
    Ok(())
}

fn row(counts: &Value, stream: String, partition: String) -> Vec<String> {
    let mut cells = vec![stream, partition];
    cells.extend(COUNTS.iter().map(|count| style::thousands(counts[*count].as_u64().unwrap_or_default())));
    cells.push(if counts["balanced"].as_bool().unwrap_or(false) { "yes".into() } else { "NO".into() });
    cells
}
