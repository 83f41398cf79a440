//! `killfeed flush` and `killfeed forget`.

use super::http::Server;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::json;
use std::io::Write as _;

/// Waits until what was acknowledged is in the tables.
pub(crate) async fn flush(server: Server) -> Result<(), Failure> {
    let client = server.client()?;
    let answer = client.json(client.request(Method::POST, "/v1/flush")).await?;
    let ms = answer["took_ms"].as_u64().unwrap_or_default();
    writeln!(std::io::stdout(), "flushed in {ms} ms: all events acknowledged before are in their tables")?;
    Ok(())
}

/// Erases a player.
pub(crate) async fn forget(server: Server, player: &str) -> Result<(), Failure> {
    let client = server.client()?;
    let request = client.request(Method::POST, "/v1/forget").json(&json!({ "player": player }));
    let answer = client.json(request).await?;
    let mut out = std::io::stdout().lock();
    let mut total = 0;
    for (table, rows) in answer["rows"].as_object().into_iter().flatten() {
        let rows = rows.as_u64().unwrap_or_default();
        total += rows;
        writeln!(out, "{rows:>10}  {table}")?;
    }
    writeln!(out, "{total:>10}  rows of player {player} erased")?;
    writeln!(out, "remains: {}", answer["remains"].as_str().unwrap_or_default())?;
    Ok(())
}
