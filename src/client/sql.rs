//! `killfeed sql`.

use super::output::print_rows;
use crate::cli::Sql;
use crate::exit::Failure;
use reqwest::Method;
use serde_json::json;
use std::io::Read as _;

/// Asks, and prints the rows.
pub(crate) async fn run(command: Sql) -> Result<(), Failure> {
    let mut query = command.query;
    if query == "-" {
        query.clear();
        std::io::stdin()
            .read_to_string(&mut query)
            .map_err(|error| Failure::usage(format!("cannot read the query from standard input: {error}")))?;
    }
    let client = command.server.client()?;
    let request = client.request(Method::POST, "/v1/sql").json(&json!({ "sql": query }));
    print_rows(&client, request, command.format).await
}
