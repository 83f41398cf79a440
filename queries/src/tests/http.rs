//! The same over HTTP: formats, statuses, scopes, reports.

use super::support::{Fixture, chat, config, schema_of};
use crate::audit::Books;
use crate::audit::tests::FakeLog;
use crate::{Config, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use edge::{KeyConfig, Keys, Scope};
use events::schema::Registry;
use http::{Request, StatusCode};
use std::sync::Arc;
use tower::ServiceExt;

fn keys() -> Keys {
    let key = |name: &str, scopes: &[Scope]| KeyConfig::new(name, name, scopes.iter().copied());
    let configs = [
        key("analyst", &[Scope::Query]),
        key("officer", &[Scope::Query, Scope::Personal]),
        key("game", &[Scope::Ingest]),
        key("operator", &[Scope::Admin]),
    ];
    Keys::from_config(&configs).unwrap()
}

pub(super) async fn service(config: Config) -> (Fixture, Router) {
    let fixture = chat().await;
    let engine = fixture.engine_with(config, Registry::of([schema_of("chat.message", 1, &["playerid"])]));
    let books = Books { log: Arc::new(FakeLog::default()), streams: Default::default() };
    (fixture, router(engine, keys(), books))
}

pub(super) async fn call(
    router: &Router,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> (StatusCode, http::HeaderMap, String) {
    let response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn post(uri: &str, key: &str) -> http::request::Builder {
    Request::post(uri).header("authorization", format!("Bearer {key}"))
}

pub(super) fn get(uri: &str, key: &str) -> http::request::Builder {
    Request::get(uri).header("x-api-key", key)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_the_format_that_is_accepted() {
    let (_fixture, router) = service(config()).await;
    let sql = "SELECT _offset AS n FROM chat_message ORDER BY n LIMIT 2";
    for (accept, media_type, body) in [
        ("*/*", "application/json", "[{\"n\":0},{\"n\":1}]\n"),
        ("application/x-ndjson", "application/x-ndjson", "{\"n\":0}\n{\"n\":1}\n"),
        ("text/csv", "text/csv; charset=utf-8; header=present", "n\n0\n1\n"),
        ("text/plain", "text/plain; charset=utf-8", "+---+\n| n |\n+---+\n| 0 |\n| 1 |\n+---+\n"),
    ] {
        for request in [
            (Some("text/plain"), sql.to_owned()),
            (Some("application/json"), serde_json::json!({"sql": sql}).to_string()),
            (None, sql.to_owned()),
        ] {
            let (content_type, text) = request;
            let mut request = post("/v1/sql", "analyst").header("accept", accept);
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let (status, headers, answer) = call(&router, request, text).await;
            assert_eq!((status, answer.as_str()), (StatusCode::OK, body));
            assert_eq!(headers["content-type"], media_type);
        }
    }
    let request = post("/v1/sql", "analyst").header("accept", "application/vnd.apache.arrow.stream");
    let response = router.clone().oneshot(request.body(Body::from(sql)).unwrap()).await.unwrap();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let reader = datafusion::arrow::ipc::reader::StreamReader::try_new(bytes.as_ref(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_comes_in_the_format_that_its_address_names() {
    let (_fixture, router) = service(config()).await;
    for (format, content_type, starts, holds) in [
        ("csv", "text/csv; charset=utf-8; header=present", "table,newest,age_s\n", "chat_message,2026-11-20T10"),
        (
            "markdown",
            "text/markdown; charset=utf-8; variant=GFM",
            "# Freshness of tables\n\n",
            "| chat\\_message | 2026-11-20T",
        ),
        ("html", "text/html; charset=utf-8", "<!doctype html>\n", "<th scope=\"row\">chat_message</th>"),
        ("parquet", "application/vnd.apache.parquet", "PAR1", "chat_message"),
    ] {
        let uri = format!("/v1/reports/freshness?format={format}");
        // What a browser says it accepts matters no more.
        for request in [get(&uri, "analyst"), post(&uri, "analyst").header("accept", "application/json")] {
            let (status, headers, answer) = call(&router, request, "").await;
            assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, content_type), "{answer}");
            assert!(answer.starts_with(starts) && answer.contains(holds), "{answer}");
            let policy = headers.get("content-security-policy").map(|policy| policy.to_str().unwrap());
            assert_eq!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), format == "html");
        }
    }
    let sql = post("/v1/sql?format=csv", "analyst");
    assert_eq!(call(&router, sql, "SELECT 1 AS n").await.2, "n\n1\n");
    let browser = get("/v1/reports/freshness", "analyst").header("accept", "text/html,*/*;q=0.8");
    assert!(call(&router, browser, "").await.2.contains("<svg role=\"img\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_have_the_status_that_they_mean() {
    let (_fixture, router) = service(config()).await;
    let sql = |body: &str| (post("/v1/sql", "analyst").header("content-type", "application/json"), body.to_owned());
    let long = format!("{{\"sql\": \"SELECT '{}'\"}}", "x".repeat(100_000));
    for ((request, body), status, part) in [
        (sql("{\"sql\": \"SELEC\"}"), 400, "SELEC"),
        (sql("{\"sql\": \"DROP TABLE chat_message\"}"), 400, "DROP TABLE is not allowed"),
        (sql("{\"query\": \"SELECT 1\"}"), 400, "unknown field \\\"query\\\", expected \\\"sql\\\""),
        (sql("{"), 400, "the body must be"),
        (sql("[]"), 400, "expected an object, found a list"),
        (sql(&long), 400, "bytes; the limit is 65536"),
        (sql(&"x".repeat(1_000_000)), 413, "longer than this path takes"),
        (sql("{\"sql\": \"SELECT * FROM chat_messages\"}"), 404, "near: \\\"chat_message\\\""),
        ((post("/v1/sql", "analyst").header("content-type", "image/png"), "x".into()), 415, "image/png"),
        ((post("/v1/sql", "analyst").header("accept", "image/png"), "SELECT 1".into()), 406, "image/png"),
        ((post("/v1/sql?format=pdf", "analyst"), "SELECT 1".into()), 400, "json, ndjson, csv, arrow, table, parquet"),
        ((get("/v1/reports/freshness?format=pdf", "analyst"), String::new()), 400, "must be one of json"),
        ((get("/v1/reports/freshness?format=pdf", "analyst"), String::new()), 400, "\"kind\":\"refused\""),
        ((post("/v1/sql?format=parquet", "analyst"), "SELECT interval '1 day' AS i".into()), 400, "Parquet"),
        ((post("/v1/sql", "game"), "SELECT 1".into()), 403, "scope"),
        ((post("/v1/sql", "nobody"), "SELECT 1".into()), 401, "key"),
        ((Request::post("/v1/sql"), "SELECT 1".into()), 401, "key"),
        ((get("/v1/reports/nope", "analyst"), String::new()), 404, "no report \\\"nope\\\""),
        ((get("/v1/reports/first_blood?nope=1", "analyst"), String::new()), 400, "no parameter \\\"nope\\\""),
        ((get("/v1/reports/first_blood?min_games=x", "analyst"), String::new()), 400, "must be a whole number"),
        ((get("/v1/reports/first_blood", "analyst"), String::new()), 404, "no table \\\"lol_"),
        ((get("/v1/reports/%ff", "analyst"), String::new()), 400, "no UTF-8"),
        ((get("/v1/reports/first_blood?%ff=1", "analyst"), String::new()), 400, "no parameter"),
        ((post("/v1/reports/first_blood", "analyst"), "[1]".into()), 400, "expected an object, found a list"),
        (
            (post("/v1/reports/first_blood", "analyst"), "{\"min_games\": 1, \"min_games\": 2}".into()),
            400,
            "parameter \\\"min_games\\\" is given twice",
        ),
        (
            (post("/v1/reports/first_blood?min_games=1", "analyst"), "{\"min_games\": 1}".into()),
            400,
            "parameter \\\"min_games\\\" is given twice",
        ),
        ((get("/v1/audit", "game"), String::new()), 403, "scope"),
        (
            (post("/v1/sql?fromat=csv", "analyst"), "SELECT 1".into()),
            400,
            "no option \\\"fromat\\\"; there are: format, page_rows",
        ),
        (
            (post("/v1/sql?format=csv&format=json", "analyst"), "SELECT 1".into()),
            400,
            "\\\"format\\\" is given more than once",
        ),
        (
            (post("/v1/sql?page_rows=1&page_rows=2", "analyst"), "SELECT 1".into()),
            400,
            "\\\"page_rows\\\" is given more",
        ),
        (
            (get("/v1/reports/freshness?format=csv&format=json", "analyst"), String::new()),
            400,
            "is given more than once",
        ),
        (
            (get("/v1/reports?format=csv", "analyst"), String::new()),
            400,
            "no option \\\"format\\\"; none is taken here",
        ),
        ((get("/v1/tables?limit=1", "analyst"), String::new()), 400, "no option \\\"limit\\\"; none is taken here"),
        ((get("/v1/audit?stream=x", "analyst"), String::new()), 400, "no option \\\"stream\\\""),
        ((get("/v1/queries?state=open", "analyst"), String::new()), 400, "no option \\\"state\\\""),
        ((get("/v1/queries/a/pages/1?format=csv", "analyst"), String::new()), 400, "no option \\\"format\\\""),
    ] {
        let (found, headers, answer) = call(&router, request, body).await;
        assert_eq!(found.as_u16(), status, "{answer}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(answer.contains(part), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_are_refused_and_nothing_else_suffers() {
    let (_fixture, router) = service(config()).await;
    let statements = super::hostile::statements();
    assert!(statements.len() >= 50);
    for sql in statements {
        let shown: String = sql.chars().take(80).collect();
        let (status, headers, answer) = call(&router, post("/v1/sql", "analyst"), sql).await;
        assert!((400..500).contains(&status.as_u16()), "{shown}: {status} {answer}");
        assert_eq!(headers["content-type"], "application/problem+json", "{shown}");
    }
    let still = call(&router, post("/v1/sql?format=csv", "analyst"), "SELECT count(*) AS n FROM chat_message").await;
    assert_eq!((still.0, still.2.as_str()), (StatusCode::OK, "n\n3\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_fields_follow_the_key() {
    let (_fixture, router) = service(config()).await;
    let sql = "SELECT player_id FROM chat_message WHERE _offset = 0";
    assert_eq!(call(&router, post("/v1/sql", "officer"), sql).await.2, "[{\"player_id\":\"p1\"}]\n");
    assert_eq!(call(&router, post("/v1/sql", "analyst"), sql).await.2, "[{\"player_id\":null}]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_tables_and_audit_are_served() {
    let (_fixture, router) = service(config()).await;
    let (status, _, list) = call(&router, get("/v1/reports", "analyst"), "").await;
    assert_eq!(status, StatusCode::OK);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|report| report["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"freshness"), "{names:?}");
    for request in [get("/v1/reports/freshness", "analyst"), post("/v1/reports/freshness", "analyst")] {
        let (status, _, rows) = call(&router, request.header("accept", "text/csv"), "").await;
        assert_eq!(status, StatusCode::OK, "{rows}");
        assert!(rows.starts_with("table,newest,age_s\n"), "{rows}");
        assert!(rows.contains("chat_message,2026-11-20T10:00:01.500Z,"), "{rows}");
    }
    let (_, _, tables) = call(&router, get("/v1/tables", "analyst"), "").await;
    let tables: serde_json::Value = serde_json::from_str(&tables).unwrap();
    assert_eq!(tables[0]["table"], "chat_message");
    assert_eq!(tables[0]["rows"], 3);
    assert_eq!(tables[0]["columns"][0], serde_json::json!({"column": "id", "type": "text"}));
    for key in ["analyst", "operator"] {
        let (status, _, audit) = call(&router, get("/v1/audit", key), "").await;
        assert_eq!(status, StatusCode::OK, "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_streams_and_an_error_in_it_breaks_it_off() {
    let (_fixture, router) = service(Config { rows_max: 200_000, ..config() }).await;
    let sql = |rows: u32| format!("SELECT value FROM generate_series(1, {rows})");
    let (status, _, whole) = call(&router, post("/v1/sql", "analyst").header("accept", "text/csv"), sql(200_000)).await;
    assert_eq!((status, whole.lines().count()), (StatusCode::OK, 200_001));
    let request = post("/v1/sql", "analyst").header("accept", "text/csv").body(Body::from(sql(300_000))).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let error = to_bytes(response.into_body(), usize::MAX).await.unwrap_err();
    assert!(format!("{error:?}").contains("Rows(200000)"), "{error:?}");
}
