//! Answers in pages, the list of what runs, and how it is ended, over HTTP.

use super::http::{call, get, post, service};
use super::support::{config, event, event_schema};
use crate::Config;
use axum::Router;
use datafusion::arrow::datatypes::DataType;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const NUMBERS: &str = "SELECT value FROM generate_series(1, 25) ORDER BY value";
const ENDLESS: &str = "SELECT sum(sqrt(value)) FROM generate_series(1, 100000000000)";

fn delete(uri: &str, key: &str) -> http::request::Builder {
    Request::delete(uri).header("x-api-key", key)
}

/// Where the link of this relation leads.
fn link(headers: &HeaderMap, rel: &str) -> Option<String> {
    let links = headers.get("link")?.to_str().unwrap().to_owned();
    let link = links.split(", ").find(|link| link.ends_with(&format!("rel=\"{rel}\"")))?.to_owned();
    Some(link.trim_start_matches('<').split('>').next().unwrap().to_owned())
}

async fn listed(router: &Router, key: &str) -> Vec<Value> {
    let (status, _, list) = call(router, get("/v1/queries", key), "").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    serde_json::from_str(&list).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_whole_documents_that_come_once_and_again() {
    let (_fixture, router) = service(config()).await;
    let first = call(&router, post("/v1/sql?page_rows=10&format=csv", "analyst"), NUMBERS).await;
    assert_eq!((first.0, first.2.lines().count()), (StatusCode::OK, 11));
    let (mut rows, mut pages, mut next) =
        (first.2.lines().skip(1).map(str::to_owned).collect::<Vec<_>>(), 1, link(&first.1, "next"));
    while let Some(uri) = next {
        let (status, headers, page) = call(&router, get(&uri, "analyst"), "").await;
        assert_eq!((status, page.lines().next()), (StatusCode::OK, Some("value")), "{page}");
        assert_eq!(headers["killfeed-query-id"], first.1["killfeed-query-id"]);
        // A client that lost the answer asks again.
        assert_eq!(call(&router, get(&uri, "analyst"), "").await.2, page);
        rows.extend(page.lines().skip(1).map(str::to_owned));
        (pages, next) = (pages + 1, link(&headers, "next"));
    }
    assert_eq!((pages, rows), (3, (1..=25).map(|n: u32| n.to_string()).collect::<Vec<_>>()));
    assert_eq!(call(&router, get(&link(&first.1, "first").unwrap(), "analyst"), "").await.2, first.2);
    // What fits into one page is not kept.
    let (_, headers, whole) = call(&router, post("/v1/sql?page_rows=25", "analyst"), NUMBERS).await;
    assert_eq!((link(&headers, "next"), serde_json::from_str::<Vec<Value>>(&whole).unwrap().len()), (None, 25));
    let (_, headers, none) = call(&router, post("/v1/sql?page_rows=5", "analyst"), "SELECT 1 AS n WHERE false").await;
    assert_eq!((link(&headers, "next"), none.as_str()), (None, "[]\n"));
    assert_eq!(listed(&router, "analyst").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_one_moment() {
    let (fixture, router) = service(config()).await;
    let sql = "SELECT _offset AS n FROM chat_message ORDER BY n";
    let (_, headers, first) = call(&router, post("/v1/sql?page_rows=2&format=csv", "analyst"), sql).await;
    assert_eq!(first, "n\n0\n1\n");
    let schema = event_schema(&[("text", DataType::Utf8)]);
    fixture.append("chat_message", &schema, &[event(9, 9, json!({ "text": "late" }))]).await;
    let (_, headers, last) = call(&router, get(&link(&headers, "next").unwrap(), "analyst"), "").await;
    assert_eq!((last.as_str(), link(&headers, "next")), ("n\n2\n", None));
    assert_eq!(call(&router, post("/v1/sql?format=csv", "analyst"), sql).await.2, "n\n0\n1\n2\n9\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_for_their_asker_and_only_for_a_while() {
    let limits = Config { pages_idle: Duration::from_millis(300), pages_answers_max: 2, ..config() };
    let (_fixture, router) = service(limits).await;
    let open = async |id: &str| {
        let request = post("/v1/sql?page_rows=10", "analyst").header("killfeed-query-id", id);
        call(&router, request, NUMBERS).await
    };
    assert_eq!(open("a").await.0, StatusCode::OK);
    let (status, _, problem) = open("a").await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    for (request, status) in [
        (get("/v1/queries/a/pages/2", "officer"), StatusCode::GONE),
        (get("/v1/queries/a/pages/2", "operator"), StatusCode::FORBIDDEN),
        (get("/v1/queries/a/pages/4", "analyst"), StatusCode::NOT_FOUND),
        (get("/v1/queries/a/pages/0", "analyst"), StatusCode::NOT_FOUND),
        (get("/v1/queries/a/pages/x", "analyst"), StatusCode::BAD_REQUEST),
        (delete("/v1/queries/a", "officer"), StatusCode::NOT_FOUND),
    ] {
        let (found, _, problem) = call(&router, request, "").await;
        assert_eq!(found, status, "{problem}");
    }
    assert_eq!(listed(&router, "officer").await.len(), 0);
    assert_eq!(listed(&router, "operator").await[0]["principal"], "analyst");
    assert_eq!(open("b").await.0, StatusCode::OK);
    let (status, headers, problem) = open("c").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{problem}");
    assert!(headers.contains_key("retry-after"));
    assert_eq!(call(&router, delete("/v1/queries/b", "analyst"), "").await.0, StatusCode::NO_CONTENT);
    // Nobody looks at it.
    while !listed(&router, "analyst").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, _, problem) = call(&router, get("/v1/queries/a/pages/2", "analyst"), "").await;
    assert!(status == StatusCode::GONE && problem.contains("no answer \\\"a\\\""), "{problem}");
    assert_eq!(open("a").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_pages_is_bounded() {
    let (_fixture, router) = service(Config { pages_bytes_max: 1 << 20, ..config() }).await;
    let large = "SELECT value FROM generate_series(1, 100000)";
    let (status, _, problem) = call(&router, post("/v1/sql?page_rows=10", "analyst"), large).await;
    assert!(status == StatusCode::BAD_REQUEST && problem.contains("262144 bytes"), "{problem}");
    assert_eq!(call(&router, post("/v1/sql?page_rows=10", "analyst"), NUMBERS).await.0, StatusCode::OK);
    for rows in ["0", "-1", "x", "1000001", ""] {
        let (status, _, problem) =
            call(&router, post(&format!("/v1/sql?page_rows={rows}"), "analyst"), "SELECT 1").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{rows}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_ended_by_its_asker_or_an_administrator() {
    let (_fixture, router) = service(Config { running_max: 1, ..config() }).await;
    for (ender, uri) in [("analyst", "/v1/sql"), ("operator", "/v1/sql"), ("analyst", "/v1/sql?page_rows=3")] {
        let request = post(uri, "analyst").header("killfeed-query-id", "long");
        let asked = router.clone();
        let asked = tokio::spawn(async move { call(&asked, request, ENDLESS).await });
        while listed(&router, "analyst").await.first().is_none_or(|query| query["state"] != "running") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let list = listed(&router, ender).await;
        assert_eq!(
            (&list[0]["id"], &list[0]["principal"], &list[0]["state"]),
            (&json!("long"), &json!("analyst"), &json!("running"))
        );
        assert_eq!(list[0]["sql_bytes"], ENDLESS.len());
        let twice = post("/v1/sql", "analyst").header("killfeed-query-id", "long");
        assert_eq!(call(&router, twice, "SELECT 1").await.0, StatusCode::CONFLICT);
        assert_eq!(call(&router, delete("/v1/queries/long", "officer"), "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(&router, delete("/v1/queries/long", "game"), "").await.0, StatusCode::FORBIDDEN);
        assert_eq!(call(&router, delete("/v1/queries/long", ender), "").await.0, StatusCode::NO_CONTENT);
        let (status, _, problem) = asked.await.unwrap();
        assert!(status == StatusCode::CONFLICT && problem.contains("\"kind\":\"cancelled\""), "{problem}");
        // Its place is free: there is but one.
        assert_eq!(call(&router, post("/v1/sql", "analyst"), "SELECT 1 AS n").await.2, "[{\"n\":1}]\n");
        assert!(listed(&router, "analyst").await.is_empty());
    }
    let wrong = post("/v1/sql", "analyst").header("killfeed-query-id", "a b");
    assert_eq!(call(&router, wrong, "SELECT 1").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_with_the_request_that_asked_it() {
    let (_fixture, router) = service(Config { running_max: 1, ..config() }).await;
    for uri in ["/v1/sql", "/v1/sql?page_rows=3"] {
        let asked = router.clone();
        let asked = tokio::spawn(async move { call(&asked, post(uri, "analyst"), ENDLESS).await });
        while listed(&router, "analyst").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        // It ends when its operator yields, and is listed until then.
        for query in listed(&router, "analyst").await {
            assert_eq!(query["state"], "ending");
        }
        assert_eq!(call(&router, post("/v1/sql", "analyst"), "SELECT 1 AS n").await.2, "[{\"n\":1}]\n");
    }
}
