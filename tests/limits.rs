//! Limits as users meet them: a query's rows and time, and how it is ended before.

use crate::support::{Home, text};
use serde_json::Value;
use std::time::Duration;

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

#[tokio::test]
async fn a_query_ends_with_its_connection_or_by_its_id() {
    let home = Home::new();
    let server = home.up(&["--query-concurrency", "1"]);
    let running = async || {
        let metrics = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        metrics.lines().any(|line| line.starts_with("killfeed_queries_running") && line.ends_with(" 1"))
    };
    let wait = async |until: bool| {
        while running().await != until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // The first has no row for a long time, the second has more than anybody reads.
    let endless = "SELECT count(*) FROM generate_series(1, 10000000000) a, generate_series(1, 1000) b";
    let long = "SELECT value, 'a text that makes the row longer' AS text FROM generate_series(1, 900000)";
    for sql in [endless, long] {
        for id in [None, Some("mine")] {
            let mut request = server.http.post(format!("{}/v1/sql", server.url)).body(sql);
            if let Some(id) = id {
                request = request.header("killfeed-query-id", id);
            }
            let asked = tokio::spawn(async move {
                let answer = request.send().await.unwrap();
                let headers = answer.headers().clone();
                // Held open, unread, until the test says so.
                let answer = if answer.status() == 200 { Some(answer) } else { None };
                std::future::pending::<()>().await;
                drop((answer, headers));
            });
            wait(true).await;
            match id {
                Some(id) => {
                    let ended = server.http.delete(format!("{}/v1/queries/{id}", server.url)).send().await.unwrap();
                    assert_eq!(ended.status(), 204);
                }
                None => asked.abort(),
            }
            wait(false).await;
            asked.abort();
            assert_eq!(ask(&server, "SELECT 1 AS n").await.0, 200);
            assert_eq!(server.get("/v1/queries").await, serde_json::json!([]));
        }
    }
}
