//! Questions and their answers, as files: `tests/answers/*.slt`.
//!
//! ```text
//! # a comment
//! query
//! SELECT 1 AS one
//! ----
//! one
//! 1
//!
//! error
//! SELECT
//! ----
//! part of the error
//! ```

use super::support::{chat, config, csv, viewer, written};
use crate::format::Format;
use std::path::Path;

struct Case {
    place: String,
    fails: bool,
    sql: String,
    expected: String,
}

fn cases(name: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let fails = match line {
            "query" => false,
            "error" => true,
            "" => continue,
            comment if comment.starts_with('#') => continue,
            other => panic!("{name}:{}: {other:?} is neither query nor error", number + 1),
        };
        let sql: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "----").collect();
        let expected: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.is_empty()).collect();
        let place = format!("{name}:{}", number + 1);
        cases.push(Case { place, fails, sql: sql.join("\n"), expected: expected.join("\n") });
    }
    cases
}

#[tokio::test]
async fn each_question_gets_its_answer() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for case in cases(&name, &std::fs::read_to_string(&path).unwrap()) {
            count += 1;
            let answer = csv(&engine, &case.sql).await;
            let is_right = match &answer {
                Ok(answer) => !case.fails && answer.trim_end() == case.expected,
                Err(error) => {
                    case.fails && error.to_string().contains(&case.expected) && !error.to_string().contains('\n')
                }
            };
            if !is_right {
                wrong.push(format!(
                    "{}: {}\n  expected {:?}\n  answered {answer:?}",
                    case.place, case.sql, case.expected
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "only {count} cases were found");
}

#[tokio::test]
async fn json_keeps_every_digit_and_says_utc() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let sql = "SELECT score, toxicity, time, date, home, tags, text FROM chat_message ORDER BY _offset";
    let answer = engine.query(sql, Vec::new(), &viewer(true)).await.unwrap();
    let text = written(answer, Format::Ndjson).await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"score":9007199254740993,"toxicity":0.1,"time":"2026-11-20T10:00:00Z","date":"2026-11-20","home":{"city":"Kiel","zip":1},"tags":["a","b"],"text":"gg, wp"}"#
    );
    assert!(lines[1].contains("0.30000000000000004"), "{}", lines[1]);
    assert!(lines[2].contains(r#""score":null,"toxicity":null,"time":"2026-11-20T10:00:00.123456Z""#), "{}", lines[2]);
    let answer = engine.query(sql, Vec::new(), &viewer(true)).await.unwrap();
    let array: serde_json::Value = serde_json::from_str(&written(answer, Format::Json).await.unwrap()).unwrap();
    assert_eq!(array.as_array().map(Vec::len), Some(3));
    let answer = engine.query("SELECT 1 AS n WHERE false", Vec::new(), &viewer(true)).await.unwrap();
    assert_eq!(written(answer, Format::Json).await.unwrap().trim(), "[]");
    let answer = engine
        .query("SELECT payload FROM dead_letters ORDER BY _offset LIMIT 1", Vec::new(), &viewer(true))
        .await
        .unwrap();
    assert_eq!(written(answer, Format::Ndjson).await.unwrap().trim(), r#"{"payload":"SmFuZQ=="}"#);
}

#[tokio::test]
async fn rows_are_seen_as_soon_as_they_are_committed() {
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let count = "SELECT count(*) AS n FROM chat_message";
    assert_eq!(csv(&engine, count).await.unwrap(), "n\n3\n");
    let schema = super::support::event_schema(&[("text", datafusion::arrow::datatypes::DataType::Utf8)]);
    fixture.append("chat_message", &schema, &[super::support::event(9, 9, serde_json::json!({"text": "new"}))]).await;
    assert_eq!(csv(&engine, count).await.unwrap(), "n\n4\n");
}

#[tokio::test]
async fn placeholders_take_values_and_never_text() {
    use datafusion::common::ScalarValue;
    let fixture = chat().await;
    let engine = fixture.engine(config());
    let sql = "SELECT count(*) AS n FROM chat_message WHERE ($player = '' OR player_id = $player) AND coalesce(score, 0) >= $min AND date >= $since";
    for (player, min, expected) in [("", 0, 2), ("p1", 0, 2), ("p2", -5, 1), ("' OR true --", -5, 0)] {
        let parameters = vec![
            ("player".to_owned(), ScalarValue::from(player)),
            ("min".to_owned(), ScalarValue::Int64(Some(min))),
            ("since".to_owned(), ScalarValue::Date32(Some(20_000))),
        ];
        let answer = engine.query(sql, parameters, &viewer(true)).await.unwrap();
        assert_eq!(written(answer, Format::Csv).await.unwrap(), format!("n\n{expected}\n"), "{player}");
    }
}

#[tokio::test]
async fn an_answer_that_reads_a_narrow_column_carries_a_warning() {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    let fixture = super::support::Fixture::new();
    let narrow = Field::new("damage", DataType::Int64, true)
        .with_metadata([(decode::tree::WIDEN_KEY.to_owned(), "float64".to_owned())].into());
    let mut fields = decode::columns::envelope().to_vec();
    fields.push(narrow);
    let row = super::support::event(0, 0, serde_json::json!({"damage": 1}));
    fixture.append("hits", &Schema::new(fields), &[row]).await;
    let engine = fixture.engine(config());
    for (sql, warnings) in
        [("SELECT sum(damage) AS n FROM hits", 1), ("SELECT * FROM hits", 1), ("SELECT id FROM hits", 0)]
    {
        let answer = engine.query(sql, Vec::new(), &viewer(true)).await.unwrap();
        assert_eq!(answer.warnings().len(), warnings, "{sql}: {:?}", answer.warnings());
    }
}
