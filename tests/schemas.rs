//! A field's first value is 1, then comes 1.5, then `killfeed schema apply`.

use crate::support::{Home, event, text};
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
}
