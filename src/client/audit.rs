//! `killfeed audit`.

use super::http::Server;
use super::style;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::Value;
use std::io::Write as _;

const COUNTS: [&str; 8] =
    ["acknowledged", "accepted", "delivered", "duplicates", "conflicts", "dead", "in_flight", "expired"];

/// Reasons of clients for giving up what they had sent; with any other it never left them.
const SENT: [&str; 2] = ["expired", "refused"];

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
    for line in client_losses(&answer["client_losses"]) {
        writeln!(out, "{line}")?;
    }
    if balanced {
        writeln!(out, "{}", style::paint(style::GOOD, "The books balance."))?;
    }
    Ok(())
}

/// What clients reported; nothing as long as no report came, for without them nobody knows.
fn client_losses(losses: &Value) -> Vec<String> {
    if losses["reports"].as_u64().unwrap_or_default() == 0 {
        return Vec::new();
    }
    let sum = |what: &str, is_sent: bool| {
        let events = losses["events"].as_object().into_iter().flatten();
        let events: Vec<_> = events
            .filter(|(reason, _)| SENT.contains(&reason.as_str()) == is_sent)
            .map(|(reason, events)| (reason.replace('_', " "), events.as_u64().unwrap_or_default()))
            .collect();
        let all = events.iter().fold(0_u64, |all, (_, events)| all.saturating_add(*events));
        let reasons: Vec<_> =
            events.iter().map(|(reason, events)| format!("{reason} {}", style::thousands(*events))).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        (all, format!("{what}: {}{reasons}", style::thousands(all)))
    };
    let (_, never_left) = sum("never left the clients", false);
    let (given_up, sent) = sum("sent, and given up by the clients", true);
    let mut lines = vec![never_left];
    lines.extend((given_up > 0).then_some(sent));
    lines
}

fn row(counts: &Value, stream: String, partition: String) -> Vec<String> {
    let mut cells = vec![stream, partition];
    cells.extend(COUNTS.iter().map(|count| style::thousands(counts[*count].as_u64().unwrap_or_default())));
    cells.push(if counts["balanced"].as_bool().unwrap_or(false) { "yes".into() } else { "NO".into() });
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_never_left_the_clients_is_told_apart_from_what_they_gave_up() {
        assert!(client_losses(&Value::Null).is_empty());
        assert!(client_losses(&json!({"reports": 0, "events": {}})).is_empty());
        assert_eq!(client_losses(&json!({"reports": 1, "events": {}})), ["never left the clients: 0"]);
        let losses = json!({"reports": 2, "events": {"disk_full": 2, "queue_full": 1_003, "expired": 1, "refused": 4}});
        let expected = [
            "never left the clients: 1,005 (disk full 2, queue full 1,003)",
            "sent, and given up by the clients: 5 (expired 1, refused 4)",
        ];
        assert_eq!(client_losses(&losses), expected);
    }
}
