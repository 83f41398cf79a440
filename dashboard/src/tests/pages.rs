//! What stands on the pages.

use super::support::{Fake, HOSTILE, Site};
use crate::data::Table;
use edge::{Keys, Problem};
use http::StatusCode;

const PAGES: [&str; 15] = [
    "/",
    "/overview/figures",
    "/reports",
    "/reports/first_blood",
    "/reports/provider_leaderboard",
    "/providers",
    "/tail",
    "/dead-letters",
    "/sql",
    "/catalogue",
    "/catalogue/chat_message",
    "/reports/%22%3E%3Cimg%20src=x%3E",
    "/catalogue/%22%3E%3Cimg%20src=x%3E",
    "/login",
    "/reports/first_blood/download/%3Cimg%3E",
];

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Fails where hostile text stands as it came.
fn check_escaped(name: &str, page: &str) {
    for part in ["<img", "<script>alert", "'<script"] {
        assert!(!page.contains(part), "{name} passes {part:?} on:\n{page}");
    }
    for (at, _) in page.match_indices("onerror") {
        let before = &page[..at];
        assert!(before.ends_with("src=x ") || before.ends_with("src%3Dx+"), "{name}: an attribute that nobody wrote");
    }
}

#[tokio::test]
async fn hostile_text_is_escaped_in_every_field_of_every_page() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    for path in PAGES {
        let (status, _, page) = site.get(path).await;
        assert!(status.as_u16() < 500, "{path}: {status}");
        check_escaped(path, &page);
    }
    let hostile = encoded(HOSTILE);
    for path in [
        format!("/reports/first_blood?champion={hostile}&least={hostile}&from={hostile}&way={hostile}&{hostile}=1"),
        format!("/providers?city={hostile}&a={hostile}&b={hostile}&sort={hostile}"),
        format!("/tail?type={hostile}&text={hostile}"),
        format!("/dead-letters?reason={hostile}&page={hostile}"),
        format!("/sql?q={hostile}"),
    ] {
        check_escaped(&path, &site.get(&path).await.2);
    }
    check_escaped("POST /sql", &site.send("POST /sql", &[], &format!("q={hostile}")).await.2);
    let problem = Problem::bad_request(format!("line 1, column 3: {HOSTILE}"));
    let site = Site::new(Fake { answer: Some(Err(problem)), ..Fake::default() }, Keys::none()).await;
    for path in PAGES {
        check_escaped(path, &site.get(path).await.2);
    }
    let (status, _, page) = site.send("POST /sql", &[], &format!("q={hostile}")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    check_escaped("a refused statement", &page);
}

#[tokio::test]
async fn every_page_keeps_others_out() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    for path in PAGES {
        let (_, headers, page) = site.get(path).await;
        let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
        if path == "/login" {
            assert_eq!(header("location"), "/");
            continue;
        }
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        if path == "/overview/figures" {
            continue;
        }
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.matches("<script").count(), 1, "{path}: one script, from a file");
        assert!(!page.contains(" style=\"") && !page.contains("<style"), "{path}: a style of its own");
        assert_eq!(page.matches("<h1").count(), 1, "{path}: one heading");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_told_beside_its_field_and_a_right_one_is_passed_on() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let (status, _, page) = site.get("/reports/first_blood?least=many").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("aria-invalid=\"true\" aria-describedby=\"param-least-error\""), "{page}");
    assert!(page.contains("id=\"param-least-error\">must be a whole number, not &quot;many&quot;<"), "{page}");
    assert!(page.contains("value=\"many\""), "what was typed stays");
    assert!(!page.contains("<table"));
    let field = "name=\"least\" type=\"number\" value=\"-1\" min=\"0\" max=\"99\" step=\"1\"";
    let (status, _, page) = site.get("/reports/first_blood?least=-1").await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains(field), "{page}");
    assert!(page.contains("name=\"share\" type=\"number\" value=\"0.5\" max=\"1\" step=\"any\""), "{page}");
    let (status, _, page) = site.get("/reports/first_blood?champion=Ahri&least=").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("champion=Ahri<") && !page.contains("least="), "{page}");
    assert!(page.contains("href=\"/reports/first_blood/download/csv?champion=Ahri\""), "{page}");
}

#[tokio::test]
async fn what_has_no_rows_yet_says_so() {
    let missing = Problem::not_found("no table \"lol_kill\": no event of that type has arrived yet");
    let site = Site::new(Fake { answer: Some(Err(missing)), ..Fake::default() }, Keys::none()).await;
    for path in ["/reports/first_blood", "/providers", "/dead-letters"] {
        let (status, _, page) = site.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(page.contains("class=\"empty\""), "{path}: {page}");
    }
    let site = Site::new(Fake { answer: Some(Ok(Table::default())), ..Fake::default() }, Keys::none()).await;
    for path in ["/reports/first_blood", "/providers", "/dead-letters?reason=conflict"] {
        assert_eq!(site.get(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_asks_for_what_is_not_there_is_told_so() {
    let site = Site::new(Fake { letters: Some(60), ..Fake::default() }, Keys::none()).await;
    for (path, words) in [
        ("/?x=1", "no option &quot;x&quot;; none is taken here"),
        ("/overview/figures?x=1", "none is taken here"),
        ("/reports?x=1", "none is taken here"),
        (
            "/reports/first_blood?chmapion=Ahri",
            "no option &quot;chmapion&quot;; there are: champion, least, share, from, way",
        ),
        ("/reports/first_blood?least=1&least=2", "&quot;least&quot; is given more than once"),
        ("/reports/first_blood/download/csv?chmapion=Ahri", "no option &quot;chmapion&quot;"),
        ("/providers?sort=x", "sort must be score or share, not &quot;x&quot;"),
        ("/providers?town=Berlin", "no option &quot;town&quot;; there are: city, sort, a, b"),
        ("/providers?sort=score&sort=share", "&quot;sort&quot; is given more than once"),
        ("/tail?typ=a", "no option &quot;typ&quot;; there are: type, text"),
        ("/tail?type=*.b", "type is a name, or its beginning with * behind it, not &quot;*.b&quot;"),
        ("/dead-letters?page=x", "page must be a whole number from 1 to 1000000, not &quot;x&quot;"),
        ("/dead-letters?page=0", "not &quot;0&quot;"),
        ("/dead-letters?page=4", "no page 4; the last one is 3"),
        ("/dead-letters?page=2&reason=unknown_type", "no page 2; the last one is 1"),
        ("/dead-letters?reason=nope", "no reason &quot;nope&quot;; there are: conflict, unknown_type"),
        ("/dead-letters?reasons=conflict", "there are: reason, page"),
        ("/sql?sql=SELECT+1", "no option &quot;sql&quot;; there are: q"),
        ("/catalogue?table=x", "none is taken here"),
        ("/catalogue/chat_message?x=1", "none is taken here"),
    ] {
        let (status, _, page) = site.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.contains(words) && page.contains("role=\"alert\""), "{path}: {page}");
        assert!(page.contains("<nav aria-label=\"Main\">"), "{path}: a way out");
    }
    for path in ["/dead-letters?reason=unknown_type", "/dead-letters?page=", "/providers?sort=", "/tail?type=lol.*"] {
        assert_eq!(site.get(path).await.0, StatusCode::OK, "{path}");
    }
    let (status, headers, _) = site.send("GET /tail/stream?type=*.b", &[("accept", "text/event-stream")], "").await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::BAD_REQUEST, &Problem::MEDIA_TYPE.parse().unwrap()));
    let site = Site::new(Fake::default(), super::support::keys()).await;
    assert_eq!(site.get("/login?nxt=/sql").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_statement_is_run_by_its_form_alone() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let (_, _, page) = site.get("/sql?q=SELECT+1").await;
    assert!(page.contains("SELECT 1</textarea>") && !page.contains("Answered in"), "{page}");
    let (status, _, page) = site.send("POST /sql", &[], "q=SELECT+1").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Answered in") && page.contains("href=\"/sql?q=SELECT+1\""), "{page}");
    let (_, headers, body) = site.send("POST /sql/download/csv", &[], "q=SELECT+1").await;
    assert_eq!(headers["content-disposition"], "attachment; filename=\"answer.csv\"");
    assert_eq!(body, "Sql(\"SELECT 1\") as csv");
    let long = format!("q={}", "x".repeat(300_000));
    assert_eq!(site.send("POST /sql", &[], &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_letter_shows_its_bytes_and_its_reason() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    let (_, _, page) = site.get("/dead-letters").await;
    assert!(page.contains("00000000  00 ff 3c") && page.contains("Payload in hex"), "{page}");
    assert!(page.contains("No payload, or one that this key may not see."));
    assert!(page.contains("\\u{202e}"), "text may not turn around what stands beside it");
}
