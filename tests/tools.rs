//! What tools ask by PostgreSQL's protocol at their start, kept as statements with rows that the answer must have:
//! `tools/*.sql`. Each is asked at once, as psql and Grafana do, and in steps, as drivers do.

use crate::postgres::{connect, with_events};
use crate::support::Home;
use tokio_postgres::{Client, SimpleQueryMessage};

/// One statement, and what it must answer.
struct Case<'a> {
    name: &'a str,
    sql: String,
    rows: Vec<String>,
}

/// A file's statements; `numbers` are put where their names stand in braces.
fn cases<'a>(file: &'a str, numbers: &[(&str, String)]) -> Vec<Case<'a>> {
    let numbered = |text: &str| {
        numbers.iter().fold(text.to_owned(), |text, (name, number)| text.replace(&format!("{{{name}}}"), number))
    };
    // The first block is the file's own explanation.
    let blocks = file.split("\n\n").skip(1);
    let case = |block: &'a str| {
        let (name, rest) = block.trim().split_once('\n').unwrap();
        let (expected, sql): (Vec<&str>, Vec<&str>) = rest.lines().partition(|line| line.starts_with("-->"));
        let rows = expected.iter().map(|line| numbered(line["-->".len()..].trim_start())).collect();
        Case { name: name.trim_start_matches("-- "), sql: numbered(&sql.join("\n")), rows }
    };
    blocks.map(case).collect()
}

/// Whether a row, its cells between bars, is the expected one; after `~`, `*` stands for anything.
fn fits(row: &str, expected: &str) -> bool {
    let Some(pattern) = expected.strip_prefix('~') else { return row == expected };
    let mut parts = pattern.split('*');
    let Some(mut rest) = row.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || pattern.ends_with('*')
}

async fn answer(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| said(&error))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|cell| row.get(cell).unwrap_or_default()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    Ok(rows.collect())
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// What is wrong with the answer.
async fn fault(client: &Client, case: &Case<'_>) -> Option<String> {
    let rows = match answer(client, &case.sql).await {
        Ok(rows) => rows,
        Err(error) => return Some(error),
    };
    let missing = case.rows.iter().find(|expected| match expected.as_str() {
        "(none)" => !rows.is_empty(),
        expected => !rows.iter().any(|row| fits(row, expected)),
    });
    if let Some(missing) = missing {
        let found: Vec<_> = rows.iter().take(5).collect();
        return Some(format!("no row {missing:?} among {}: {found:?}", rows.len()));
    }
    match client.query(&case.sql, &[]).await {
        Ok(again) if again.len() == rows.len() => None,
        Ok(again) => Some(format!("{} rows at once, {} in steps", rows.len(), again.len())),
        Err(error) => Some(format!("in steps: {}", said(&error))),
    }
}

#[tokio::test]
async fn tools_get_the_answers_that_they_start_with() {
    let home = Home::new();
    let (_server, port) = with_events(&home).await;
    let client = connect(port, "").await.unwrap();
    let number = async |sql: &str| answer(&client, sql).await.unwrap().remove(0);
    let table = number("SELECT oid FROM pg_catalog.pg_class WHERE relname = 'chat_message'").await;
    let schema = number("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public'").await;
    let numbers = [("chat_message", table), ("public", schema)];
    let files = [
        ("psql", include_str!("tools/psql.sql")),
        ("jdbc", include_str!("tools/jdbc.sql")),
        ("grafana", include_str!("tools/grafana.sql")),
        ("metabase", include_str!("tools/metabase.sql")),
        ("dbeaver", include_str!("tools/dbeaver.sql")),
    ];
    let (mut asked, mut faults) = (0, Vec::new());
    for (tool, file) in files {
        for case in cases(file, &numbers) {
            asked += 1;
            faults.extend(fault(&client, &case).await.map(|fault| format!("{tool}, {}: {fault}", case.name)));
        }
    }
    assert!(asked > 70, "only {asked} statements were read");
    assert!(faults.is_empty(), "{} of {asked}:\n{}", faults.len(), faults.join("\n"));
}

/// Statements of the hostile ones that this protocol has an answer to, which changes nothing: of a transaction that
/// writes nothing, of settings that are the connection's own, of the catalogue.
const HARMLESS: [&str; 11] = [
    "SET ",
    "RESET ",
    "SHOW ",
    "DEALLOCATE ",
    "BEGIN",
    "COMMIT",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_class",
    ";",
    "--",
    "USE ",
];

#[tokio::test]
async fn hostile_statements_get_errors_and_the_server_goes_on() {
    let home = Home::new();
    let (_server, port) = with_events(&home).await;
    let statements: Vec<&str> =
        include_str!("../queries/src/tests/hostile.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(statements.len() >= 50, "only {}", statements.len());
    let client = connect(port, "").await.unwrap();
    for statement in statements {
        if !HARMLESS.iter().any(|harmless| statement.starts_with(harmless)) {
            for answered in [answer(&client, statement).await.is_ok(), client.query(statement, &[]).await.is_ok()] {
                assert!(!answered, "{statement} was answered");
            }
        } else if let Err(error) = client.simple_query(statement).await {
            assert!(!error.is_closed(), "{statement}: {error}");
        }
        let rows = answer(&client, "SELECT count(*) FROM chat_message").await;
        assert_eq!(rows.as_deref(), Ok(["50".to_owned()].as_slice()), "after {statement}");
    }
    for file in ["csv", "parquet"] {
        assert!(!std::path::Path::new(&format!("/tmp/killfeed-hostile.{file}")).exists());
    }
}

#[test]
fn rows_are_held_against_patterns() {
    assert!(fits("a|b", "a|b") && !fits("a|b", "a|*"));
    assert!(fits("a|b|c", "~a|*|c") && fits("a|b", "~a|*") && fits("", "~*"));
    assert!(!fits("a|b|c", "~a|*|d") && !fits("b|a", "~a*") && !fits("a|b|c|d", "~a|*|c"));
}
