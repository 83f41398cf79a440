//! A field's first value is 1, then comes 1.5, then `killfeed schema apply`; and a schema that changes
//! its mind in place.

use crate::support::{Home, PATIENCE, event, text};
use serde_json::json;

#[tokio::test]
async fn a_whole_number_that_becomes_a_fraction_loses_nothing() {
    let home = Home::new();
    let server = home.up(&[]);
    let tried = |id: &str, value: serde_json::Value| event("widen.tried", id, &json!({ "value": value }));
    server.accept(&[tried("a", json!(1))]).await;
    server.flush().await;
    server.accept(&[tried("b", json!(1.5)), tried("c", json!(2))]).await;
    server.flush().await;
    let rows = server.sql("SELECT id, value, extra FROM widen_tried ORDER BY id").await;
    assert_eq!(rows[0]["value"], 1);
    assert_eq!(rows[1]["value"], json!(null));
    assert!(rows[1]["extra"].as_str().unwrap().contains("1.5"), "{rows:?}");
    assert_eq!(rows[2]["value"], 2);

    let diff = server.run(&["schema", "diff", "widen.tried"]);
    assert_eq!(diff.status.code(), Some(1), "{}", text(&diff));
    assert!(text(&diff).contains("value"), "{}", text(&diff));
    let applied = server.run(&["schema", "apply", "widen.tried"]);
    assert!(applied.status.success(), "{}", text(&applied));
    let rows = server.sql("SELECT id, value, extra FROM widen_tried ORDER BY id").await;
    let expected =
        [("a", 1.0), ("b", 1.5), ("c", 2.0)].map(|(id, value)| json!({ "id": id, "value": value, "extra": null }));
    assert_eq!(rows, expected);
    let diff = server.run(&["schema", "diff", "widen.tried"]);
    assert_eq!(diff.status.code(), Some(0), "{}", text(&diff));

    server.accept(&[tried("d", json!(3)), tried("e", json!(0.25))]).await;
    server.flush().await;
    let rows = server.sql("SELECT value FROM widen_tried WHERE id >= 'd' ORDER BY id").await;
    assert_eq!(rows, [json!({ "value": 3.0 }), json!({ "value": 0.25 })]);
    assert_eq!(server.balanced().await["delivered"], 5);
    let listed = server.run(&["schema", "list"]);
    assert!(text(&listed).contains("widen.tried"), "{}", text(&listed));
    let shown = server.run(&["schema", "show", "widen.tried"]);
    assert!(text(&shown).contains("Float64"), "{}", text(&shown));
    // Hints of the command line name commands, where those of HTTP name paths.
    for (args, hint) in [
        (["schema", "show", "nope"], "; `killfeed schema list` shows what there is\n"),
        (["report", "run", "nope"], "; `killfeed report list` names them\n"),
    ] {
        let refused = server.run(&args);
        assert!(refused.status.code() == Some(1) && text(&refused).ends_with(hint), "{}", text(&refused));
    }
}

/// Waits until what the server wrote holds all of these words in one line.
async fn logged(home: &Home, words: &[&str]) {
    let start = std::time::Instant::now();
    while !home.stderr().lines().any(|line| words.iter().all(|word| line.contains(word))) {
        assert!(start.elapsed() < PATIENCE, "no line with {words:?} in\n{}", home.stderr());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_version_rewritten_in_place_is_warned_of_and_never_mixes_data() {
    let home = Home::new();
    let schema = |kind: &str| format!("{{\"type\":\"object\",\"properties\":{{\"value\":{{\"type\":\"{kind}\"}}}}}}");
    let file = home.write("data/schemas/rewrite.tried/1.json", &schema("integer"));
    let server = home.up(&[]);
    let tried = |id: &str, value: serde_json::Value| event("rewrite.tried", id, &json!({ "value": value }));
    server.accept(&[tried("a", json!(1))]).await;
    server.flush().await;

    let path = file.to_str().unwrap();
    std::fs::write(&file, schema("string")).unwrap();
    let checked = server.run(&["schema", "check", path]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    for words in ["not compatible with version 1", "integer to string", "string in version 1 and int64 in the table"] {
        assert!(text(&checked).contains(words), "{words}: {}", text(&checked));
    }
    logged(&home, &["rewrite.tried/1.json", "rewritten in place", "integer to string"]).await;
    server.accept(&[tried("b", json!("two")), tried("c", json!(3))]).await;
    server.flush().await;
    let rows = json!([
        { "id": "a", "value": 1, "extra": null },
        { "id": "b", "value": null, "extra": "{\"value\":\"two\"}" },
        { "id": "c", "value": 3, "extra": null },
    ]);
    let sql = "SELECT id, value, extra FROM rewrite_tried ORDER BY id";
    assert_eq!(json!(server.sql(sql).await), rows);
    server.kill();

    // After a restart nobody remembers what the file said, but the table does.
    let server = home.up(&[]);
    logged(&home, &["rewrite.tried", "string in version 1 and int64 in the table"]).await;
    server.accept(&[tried("d", json!("four"))]).await;
    server.flush().await;
    assert_eq!(
        server.number("SELECT count(*) FROM rewrite_tried WHERE value IS NULL AND extra LIKE '%four%'").await,
        1
    );
    assert_eq!(json!(server.sql(&sql.replace("ORDER", "WHERE id < 'd' ORDER")).await), rows);
    let checked = server.run(&["schema", "check", path]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("int64 in the table"), "{}", text(&checked));
}
