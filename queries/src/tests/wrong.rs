//! Statements as people get them wrong. Each gets one sentence that names the thing, and none of the
//! library's own words.

use super::support::{Fixture, chat, config, csv};
use crate::Engine;

/// A statement, and what its error must say.
const WRONG: &[(&str, &str)] = &[
    // The statement as such.
    ("SELECT 1; SELECT 2", "one statement at a time: a second one begins at line 1, column 11"),
    ("SELECT 1;\n  DROP TABLE x", "a second one begins at line 2, column 3"),
    ("SELEC 1", "syntax error at line 1, column 1: expected an SQL statement, found SELEC"),
    ("SELECT * FORM chat_message", "syntax error at line 1, column 15: expected end of statement, found chat_message"),
    ("SELECT *\nFROM chat_message WHER id = 'x' y", "at line 2, column"),
    ("SELECT FROM", "syntax error: the statement ends where"),
    ("SELECT * FROM chat_message WHERE", "the statement ends where an expression is expected"),
    ("SELECT (1 + 2", "the statement ends where ) is expected"),
    ("SELECT 'it's'", "syntax error at line 1, column 13: unterminated string literal"),
    ("SELECT \"id FROM chat_message", "syntax error at line 1, column 8"),
    (
        "SELECT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT true",
        "levels of nesting; the limit is 32",
    ),
    ("SELECT ?", "syntax error at line 1, column 8"),
    // Names.
    ("SELECT playerid FROM chat_message", "no column \"playerid\" in chat_message (near: \"player_id\""),
    ("SELECT id,\n nope FROM chat_message", "line 2, column 2: no column \"nope\""),
    ("SELECT c.scor FROM chat_message c", "no column \"scor\" in c (near: \"score\")"),
    ("SELECT x.id FROM chat_message c", "no table or alias \"x\" in this query"),
    ("SELECT ‘a’", "texts stand in 'single quotes'"),
    ("SELECT id FROM chat_message a, chat_message b", "column id stands in more than one table"),
    ("SELECT home.street FROM chat_message", "street"),
    ("SELECT cuont(*) FROM chat_message", "no function \"cuont\" (near: "),
    ("SELECT row_number() FROM chat_message", "row_number is a window function: it needs OVER (...)"),
    ("SELECT * FROM \"Chat\"", "no table \"Chat\": names of tables have lower-case letters, digits and _ alone"),
    ("SELECT * FROM 'chat.csv'", "no table \"chat.csv\": "),
    ("SELECT * FROM nothing", "no table \"nothing\": no event of that type has arrived yet"),
    ("SELECT * FROM chat_message_latest", "the newest schema of chat_message declares no key"),
    ("SELECT * FROM other.chat_message", "all tables lie in the schema public; SHOW TABLES lists them"),
    ("SELECT * FROM information_schema.tables", "SHOW TABLES and DESCRIBE say what there is"),
    ("SELECT * FROM pg_catalog.pg_class", "for PostgreSQL's protocol alone"),
    (
        "SELECT * FROM read_csv('/etc/passwd')",
        "no function \"read_csv\" gives a table; there are generate_series and range",
    ),
    ("EXPLAIN SELECT * FROM f.parquet_scan('x')", "no function \"f.parquet_scan\" gives a table"),
    ("SELECT * FROM generate_serie(1, 2)", "no function \"generate_serie\" gives a table (near: \"generate_series\")"),
    ("SELECT (toxicity(text)).scor FROM chat_message", "scor"),
    ("SELECT (toxicity(text)).abs(1) FROM chat_message", "the name of a field"),
    ("SELECT (text).score FROM chat_message", "text has no fields"),
    // Types.
    ("SELECT sum(text) FROM chat_message", "function sum does not take (text)"),
    ("SELECT md5(1)", "function md5 does not take (bigint)"),
    ("SELECT abs()", "abs needs arguments"),
    ("SELECT string_agg(id) FROM chat_message", "function string_agg does not take (text)"),
    ("SELECT text + 1 FROM chat_message", "text + bigint can't be computed"),
    ("SELECT home + 1 FROM chat_message", "struct + bigint can't be computed"),
    ("SELECT * FROM chat_message WHERE time = 5", "timestamp = bigint can't be compared"),
    ("SELECT id FROM chat_message WHERE id LIKE 5", "text and bigint can't be compared by LIKE"),
    ("SELECT id FROM chat_message WHERE text", "text"),
    ("SELECT CAST('x' AS INT)", "'x' is no int"),
    ("SELECT CAST(id AS BIGINT) FROM chat_message", "is no bigint"),
    ("SELECT * FROM chat_message WHERE time > 'yesterday'", "'yesterday' is no timestamp"),
    ("SELECT interval 'x'", "\"x\" is no interval"),
    ("SELECT id::nope FROM chat_message", "nope is not supported"),
    // Grouping and the rest.
    ("SELECT id, count(*) FROM chat_message", "column chat_message.id must stand in GROUP BY"),
    ("SELECT max(count(*)) FROM chat_message", "nested"),
    ("SELECT id FROM chat_message WHERE count(*) > 1", "HAVING"),
    ("SELECT * FROM (SELECT 1, 1)", "two columns of a SELECT have one name"),
    ("SELECT id FROM chat_message UNION SELECT id, type FROM chat_message", "number of columns"),
    ("SELECT (SELECT id FROM chat_message)", "more than one row"),
    ("SELECT * FROM chat_message LIMIT -1", "LIMIT must be >= 0"),
    ("SELECT id FROM chat_message ORDER BY 99", "99"),
    ("SELECT 1/0", "division by zero"),
    ("SELECT 'a' ~ '('", "the regular expression is wrong: unclosed group"),
    ("SELECT regexp_match('a', '(')", "the regular expression is wrong: unclosed group"),
    ("SELECT $1", "placeholder $1 has no value"),
    // What the engine has not.
    ("SELECT extra->>'a' FROM chat_message", "not"),
    ("SELECT TOP 5 * FROM chat_message", "not supported: TOP"),
    ("SELECT * FROM chat_message PIVOT (sum(a) FOR b IN (1))", "Pivot is not supported"),
    ("SELECT id INTO x FROM chat_message", "queries only read"),
    ("SELECT * FROM chat_message TABLESAMPLE (10)", "TABLESAMPLE is not supported"),
    (
        "SELECT id FROM chat_message t WHERE (SELECT count(*) FROM dead_letters k WHERE k.id < t.id) > 1",
        "write it as a join",
    ),
];

/// Words that say whose library it is, or how it is built inside.
const LEAKS: &[&str] = &[
    "DataFusion",
    "datafusion",
    "ParserError",
    "SQL error",
    "Arrow",
    "arrow",
    "Utf8",
    "Int64",
    "Int32",
    "Float64",
    "planning",
    "Internal error",
    "Execution error",
    "Schema error",
    "This feature is not implemented",
    "bug",
    "Span(",
    "Some(",
    "ScalarSubquery",
    "physical plan",
    "Candidate",
    "coerce",
    "External",
];

async fn said(engine: &Engine, sql: &str) -> String {
    match csv(engine, sql).await {
        Ok(answer) => format!("ANSWERED {answer}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_statement_gets_a_sentence_of_ours() {
    let fixture: Fixture = chat().await;
    let engine = fixture.engine(config());
    let mut faults = Vec::new();
    for (sql, expected) in WRONG {
        let said = said(&engine, sql).await;
        if !said.contains(expected) {
            faults.push(format!("{sql}\n    said   {said}\n    lacks  {expected}"));
        }
        let leaks: Vec<_> = LEAKS.iter().filter(|leak| said.contains(**leak)).collect();
        if !leaks.is_empty() || said.contains('\n') || said.len() > 400 {
            faults.push(format!("{sql}\n    said   {said}\n    leaks  {leaks:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_may_end_in_semicolons_and_hold_some_in_texts() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    for sql in ["SELECT 1 AS n;", "SELECT 1 AS n ; ; -- end", "SELECT 1 AS n /* a; b */", "SELECT length(';') AS n"] {
        assert_eq!(csv(&engine, sql).await.unwrap(), "n\n1\n", "{sql}");
    }
}
