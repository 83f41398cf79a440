//! Limits as users meet them: a query's rows and time.

use crate::support::{Home, text};
use serde_json::Value;

async fn ask(server: &crate::support::Server, sql: &str) -> (u16, Value) {
    let response = server.post("/v1/sql", "text/plain", sql.to_owned()).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_query_past_its_rows_or_its_time_gets_an_error_that_names_the_limit() {
    let home = Home::new();
    let server = home.up(&["--query-rows", "100", "--query-time", "3s", "--query-memory", "16MiB"]);
    let (status, rows) = ask(&server, "SELECT value FROM generate_series(1, 100)").await;
    assert_eq!((status, rows.as_array().unwrap().len()), (200, 100));
    let endless = "SELECT count(*) FROM generate_series(1, 10000000000) a, generate_series(1, 1000) b";
    // A join's table must fit into memory; a grouping would spill.
    let wide = "SELECT count(*) FROM generate_series(1, 20000000) a JOIN generate_series(1, 20000000) b USING (value)";
    for (sql, expected, kind, words) in [
        ("SELECT value FROM generate_series(1, 101)", 400, "row_limit", "more than 100 rows, the limit; add a LIMIT"),
        (endless, 504, "time_limit", "the query was stopped at its time limit of 3 s"),
        (wide, 400, "memory_limit", "needs more memory than the 16777216 bytes that all queries share"),
    ] {
        let (status, problem) = ask(&server, sql).await;
        assert_eq!((status, problem["kind"].as_str()), (expected, Some(kind)), "{sql}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        let run = server.run(&["sql", sql]);
        assert_eq!(run.status.code(), Some(1), "{}", text(&run));
        assert!(text(&run).starts_with("error: ") && text(&run).contains(words), "{}", text(&run));
        assert_eq!(text(&run).lines().count(), 1, "{}", text(&run));
    }
}
