//! Statements that mean harm. Each gets an error of one line, and the engine answers the next one.

use super::support::{chat, config, csv};
use crate::{Config, Error};
use std::time::Duration;

fn nested(open: &str, close: &str, depth: usize, core: &str) -> String {
    format!("SELECT {}{core}{}", open.repeat(depth), close.repeat(depth))
}

pub(super) fn statements() -> Vec<String> {
    let fixed = include_str!("hostile.txt").lines().filter(|line| !line.starts_with('#'));
    let mut statements: Vec<String> = fixed.chain(["\u{0}", "   "]).map(str::to_owned).collect();
    statements.extend([
        format!("SELECT 1{}", "+1".repeat(2_000)),
        format!("SELECT 1{}", "+1".repeat(30_000)),
        format!("SELECT * FROM chat_message WHERE {}", vec!["score = 1"; 1_500].join(" OR ")),
        format!("SELECT {}1", "-".repeat(10).replace('-', "- ").repeat(500)),
        format!("SELECT {} true", "NOT ".repeat(5_000)),
        nested("(", ")", 10_000, "1"),
        nested("(", ")", 40, "1"),
        nested("abs(", ")", 1_000, "1"),
        nested("CASE WHEN true THEN ", " END", 500, "1"),
        nested("[", "]", 500, "1"),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(60), ")".repeat(60)),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(2_000)),
        format!("SELECT '{}'", "x".repeat(100_000)),
        format!("SELECT 1 AS {}", "\u{1F480}".repeat(20_000)),
        format!("SELECT {}", "/*".repeat(30_000)),
    ]);
    statements
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_get_one_line_and_the_engine_goes_on() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let statements = statements();
    assert!(statements.len() >= 60);
    let mut wrong = Vec::new();
    for sql in &statements {
        let shown: String = sql.chars().take(80).collect();
        match csv(&engine, sql).await {
            Ok(answer) => wrong.push(format!("{shown}: answered {:?}", answer.chars().take(200).collect::<String>())),
            Err(error) => {
                let text = error.to_string();
                if text.contains('\n') || text.is_empty() || text.len() > 1_500 || text.contains("/src/") {
                    wrong.push(format!("{shown}: {text:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(csv(&engine, "SELECT count(*) AS n FROM chat_message").await.unwrap(), "n\n3\n");
    assert!(!std::path::Path::new("/tmp/killfeed-hostile.csv").exists());
    assert!(!std::path::Path::new("/tmp/killfeed-hostile.parquet").exists());
}

/// As deep as the limits on tokens and nesting let anything be: it must be answered, or refused by
/// the parser, but never end the process.
#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_statements_within_the_limits_are_answered() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let tokens = config().tokens_max;
    let sum = format!("SELECT 1{} AS n", "+1".repeat(tokens / 2 - 4));
    assert_eq!(csv(&engine, &sum).await.unwrap(), format!("n\n{}\n", tokens / 2 - 3));
    let ors = vec!["score = 1"; tokens / 4 - 4].join(" OR ");
    assert_eq!(csv(&engine, &format!("SELECT id FROM chat_message WHERE {ors}")).await.unwrap(), "id\n");
    let concatenated = format!("SELECT length('a'{}) AS n", "||'a'".repeat(tokens / 2 - 8));
    assert_eq!(csv(&engine, &concatenated).await.unwrap(), format!("n\n{}\n", tokens / 2 - 7));
    for sql in [
        format!("SELECT {}1", "- ".repeat(tokens - 4)),
        format!("SELECT {} true", "NOT ".repeat(tokens - 4)),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(tokens / 4 - 2)),
        nested("(", ")", 31, "1"),
    ] {
        let _either = csv(&engine, &sql).await;
        assert_eq!(csv(&engine, "SELECT 1 AS n").await.unwrap(), "n\n1\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_queries_end_at_the_time_limit() {
    let fixture = chat().await;
    let engine = fixture.engine(Config { time_limit: Duration::from_millis(700), ..config() });
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
        "SELECT count(*) FROM generate_series(1, 10000000) a JOIN generate_series(1, 10000000) b ON a.value + b.value < 0",
        "SELECT sum(sqrt(value)) FROM generate_series(1, 100000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    ] {
        let started = std::time::Instant::now();
        let error = csv(&engine, sql).await.unwrap_err();
        assert!(matches!(error, Error::Time(_) | Error::Memory { .. }), "{sql}: {error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{sql} took {:?}", started.elapsed());
    }
    let fresh = fixture.engine(config());
    assert_eq!(csv(&fresh, "SELECT 1 AS n").await.unwrap(), "n\n1\n");
}
