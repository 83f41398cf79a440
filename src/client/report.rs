//! `killfeed report`.

use super::output::print_rows;
use super::style;
use crate::cli::Report;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::{Map, Value};
use std::io::Write as _;

/// Lists reports, or runs one.
pub(crate) async fn run(command: Report) -> Result<(), Failure> {
    match command {
        Report::List { json, server } => {
            let client = server.client()?;
            let answer = client.json(client.request(Method::GET, "/v1/reports")).await?;
            if json {
                writeln!(std::io::stdout(), "{answer}")?;
                return Ok(());
            }
            list(&answer)
        }
        Report::Run { name, params, format, server } => {
            let client = server.client()?;
            let params = once_each(params)?;
            let path = format!("/v1/reports/{}", super::schema::segment(&name));
            let request = client.request(Method::POST, &path).json(&params);
            print_rows(&client, request, format).await
        }
        Report::Schedule(command) => super::schedule::run(command).await,
    }
}

/// Parameters as JSON.
///
/// # Errors
/// If one is given twice.
fn once_each(given: Vec<(String, String)>) -> Result<Map<String, Value>, Failure> {
    let mut params = Map::new();
    for (name, value) in given {
        if params.contains_key(&name) {
            return Err(Failure::usage(format!("parameter {name:?} is given twice")));
        }
        params.insert(name, Value::String(value));
    }
    Ok(params)
}

fn list(answer: &Value) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let text = |value: &Value, member: &str| value[member].as_str().unwrap_or_default().to_owned();
    let reports = answer.get("reports").unwrap_or(answer);
    for report in reports.as_array().into_iter().flatten() {
        let name = style::paint(style::HEADING, &text(report, "name"));
        writeln!(out, "{name}  {}\n  {}", text(report, "title"), text(report, "question"))?;
        let params = report.get("params").or_else(|| report.get("parameters"));
        for param in params.and_then(Value::as_array).into_iter().flatten() {
            let default = match &param["default"] {
                Value::String(text) if param["type"] == "text" => format!("'{text}'"),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let line = format!("--param {}={default} ({})", text(param, "name"), takes(param));
            writeln!(out, "  {}  {}", style::paint(style::FAINT, &line), text(param, "label"))?;
        }
    }
    Ok(())
}

/// What a parameter takes, in words.
fn takes(param: &Value) -> String {
    let kind = param["type"].as_str().unwrap_or_default();
    let choices = param["choices"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let (min, max) = (&param["min"], &param["max"]);
    match kind {
        "one-of" => format!("one of {}", choices.collect::<Vec<_>>().join(", ")),
        kind if min.is_null() && max.is_null() => kind.to_owned(),
        kind if max.is_null() => format!("{kind}, {min} or more"),
        kind if min.is_null() => format!("{kind}, {max} or less"),
        kind => format!("{kind}, {min} to {max}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_says_what_it_takes() {
        for (param, words) in [
            (serde_json::json!({ "type": "text" }), "text"),
            (serde_json::json!({ "type": "int", "min": 0, "max": 1000 }), "int, 0 to 1000"),
            (serde_json::json!({ "type": "int", "min": 1 }), "int, 1 or more"),
            (serde_json::json!({ "type": "float", "max": 0.5 }), "float, 0.5 or less"),
            (serde_json::json!({ "type": "one-of", "choices": ["a", "b"] }), "one of a, b"),
        ] {
            assert_eq!(takes(&param), words);
        }
    }

    #[test]
    fn a_parameter_that_is_given_twice_is_an_error() {
        let given = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        assert_eq!(once_each(given(&["city", "sort"])).unwrap().len(), 2);
        let failure = format!("{:?}", once_each(given(&["city", "sort", "city"])).unwrap_err());
        assert!(failure.contains("city") && failure.contains("given twice"), "{failure}");
    }
}
