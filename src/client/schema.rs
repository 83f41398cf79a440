//! `killfeed schema`.

use super::http::{Client, detail};
use super::style;
use crate::cli::Schema;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(crate) async fn run(command: Schema) -> Result<(), Failure> {
    match command {
        Schema::List { json, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::GET, "/v1/schemas")).await?;
            if json { raw(&answer) } else { list(&answer) }
        }
        Schema::Show { event_type, json, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::GET, &path(&event_type, ""))).await?;
            if json { raw(&answer) } else { show(&answer) }
        }
        Schema::Check { file, event_type, server } => check(&server.client()?, &file, event_type).await,
        Schema::Diff { event_type, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::POST, &path(&event_type, "/diff"))).await?;
            let changes = changes(&answer)?;
            if changes == 0 { Ok(()) } else { Err(Failure::Negative(None)) }
        }
        Schema::Apply { event_type, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::POST, &path(&event_type, "/apply"))).await?;
            changes(&answer).map(|_| ())
        }
    }
}

async fn check(client: &Client, file: &Path, event_type: Option<String>) -> Result<(), Failure> {
    let named = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let event_type = event_type.or(named).ok_or_else(|| {
        Failure::usage(format!("{}: its folder isn't named after an event type; give --type", file.display()))
    })?;
    let version = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i32>().ok());
    let text =
        std::fs::read(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let document: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::negative(format!("{}: no JSON: {error}", file.display())))?;
    let body = json!({ "version": version, "document": document });
    let request = client.request(Method::POST, &path(&event_type, "/check")).json(&body);
    let response = request.send().await.map_err(|error| client.unreachable(&error))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| client.unreachable(&error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !status.is_success() {
        return Err(Failure::negative(detail(status, &body)));
    }
    let mut out = anstream::stdout().lock();
    let faults: Vec<&str> = answer["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for fault in &faults {
        writeln!(out, "{}", style::paint(style::BAD, fault))?;
    }
    if faults.is_empty() {
        writeln!(out, "{}", style::paint(style::GOOD, "compatible"))?;
        return Ok(());
    }
    Err(Failure::negative(format!("{} may not become the schema of {event_type}", file.display())))
}

fn list(answer: &Value) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for entry in answer["types"].as_array().into_iter().flatten() {
        let versions = entry["versions"].as_array().into_iter().flatten().map(Value::to_string);
        let versions = versions.collect::<Vec<_>>().join(", ");
        rows.push(vec![
            entry["type"].as_str().unwrap_or_default().to_owned(),
            if versions.is_empty() { "discovered".into() } else { versions },
            entry["table"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    let head = ["type", "versions", "table"].map(String::from);
    style::table(&head, &[false; 3], rows)?;
    Ok(())
}

fn show(answer: &Value) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for column in answer["columns"].as_array().into_iter().flatten() {
        let text = |member: &str| column[member].as_str().unwrap_or_default().to_owned();
        let mark = column["proposed"].as_str().map(|to| format!("values are waiting in extra: apply makes it {to}"));
        rows.push(vec![text("name"), text("type"), text("path"), mark.unwrap_or_default()]);
    }
    style::table(&["column", "type", "field", ""].map(String::from), &[false; 4], rows)?;
    let mut out = anstream::stdout().lock();
    for version in answer["versions"].as_array().into_iter().flatten() {
        writeln!(out, "\n{}", style::paint(style::HEADING, &format!("version {}", version["version"])))?;
        let document = serde_json::to_string_pretty(&version["document"]).map_err(Failure::negative)?;
        writeln!(out, "{document}")?;
    }
    Ok(())
}

/// Prints the changes of an answer, and counts them.
fn changes(answer: &Value) -> Result<usize, Failure> {
    let changes: Vec<&Value> = answer["changes"].as_array().into_iter().flatten().collect();
    let mut out = anstream::stdout().lock();
    for change in &changes {
        let text = |member: &str| change[member].as_str().unwrap_or_default();
        writeln!(out, "{}: {} -> {}", text("column"), text("from"), text("to"))?;
    }
    if changes.is_empty() {
        writeln!(out, "nothing to change")?;
    } else if let Some(restored) = answer["restored"].as_u64() {
        let rows = answer["rows"].as_u64().unwrap_or_default();
        writeln!(
            out,
            "applied in one commit: {rows} rows rewritten, {restored} values moved from extra to their column"
        )?;
    }
    Ok(changes.len())
}

fn raw(answer: &Value) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{answer}")?;
    Ok(())
}

fn path(event_type: &str, action: &str) -> String {
    format!("/v1/schemas/{}{action}", segment(event_type))
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
