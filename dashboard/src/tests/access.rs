//! Who may look, and who is kept out.

use super::support::{Fake, Site, keys};
use edge::Keys;
use http::StatusCode;

async fn signed_in(site: &Site, key: &str) -> String {
    let from = [("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080")];
    let (status, headers, page) = site.send("POST /login", &from, &format!("key={key}&next=%2Fsql")).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    assert_eq!(headers["location"], "/sql");
    headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn with_keys_a_browser_is_asked_for_one_and_remembered() {
    let site = Site::new(Fake::default(), keys()).await;
    let (status, headers, _) = site.get("/reports/first_blood?least=2&champion=A%26B").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers["location"], "/login?next=%2Freports%2Ffirst_blood%3Fleast%3D2%26champion%3DA%2526B");
    let (_, _, page) = site.get(headers["location"].to_str().unwrap()).await;
    assert!(page.contains("name=\"next\" value=\"/reports/first_blood?least=2&amp;champion=A%26B\""), "{page}");
    assert!(!page.contains("<nav"), "a stranger is shown nothing else");

    let (status, headers, page) = site.send("POST /login", &[], "key=nobody&next=%2F%2Fevil.example").await;
    assert_eq!((status, headers.contains_key("set-cookie")), (StatusCode::UNAUTHORIZED, false));
    assert!(page.contains("unknown API key") && !page.contains("evil.example") && !page.contains("nobody"), "{page}");
    assert_eq!(site.send("POST /login", &[], "key=game").await.0, StatusCode::FORBIDDEN);

    let cookie = signed_in(&site, "analyst").await;
    for path in ["/", "/sql", "/catalogue", "/dead-letters", "/providers", "/tail", "/overview/figures"] {
        let (status, _, page) = site.send(&format!("GET {path}"), &[("cookie", &cookie)], "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(path == "/overview/figures" || page.contains("Sign out"), "{path}");
    }
    let same = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let (status, headers, _) = site.send("POST /logout", &same, "").await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/login"));
    assert!(headers["set-cookie"].to_str().unwrap().starts_with("killfeed_session=; Path=/; Max-Age=0"));
    assert_eq!(site.send("GET /sql", &[("cookie", &cookie)], "").await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn no_page_and_no_stream_answers_a_stranger() {
    let site = Site::new(Fake::default(), keys()).await;
    let lines = [
        "GET /",
        "GET /overview/figures",
        "GET /reports",
        "GET /reports/first_blood",
        "GET /reports/first_blood/download/csv",
        "GET /providers",
        "GET /tail",
        "GET /tail/stream",
        "GET /dead-letters",
        "GET /sql",
        "POST /sql",
        "POST /sql/download/csv",
        "GET /catalogue",
        "GET /catalogue/chat_message",
    ];
    for line in lines {
        for (more, status) in [
            (("accept", "*/*"), 401),
            (("cookie", "killfeed_session=0"), if line.starts_with("GET") { 303 } else { 401 }),
            (("x-api-key", "nobody"), if line.starts_with("GET") { 303 } else { 401 }),
            (("authorization", "Bearer game"), 403),
        ] {
            assert_eq!(site.send(line, &[more], "q=SELECT+1").await.0.as_u16(), status, "{line} {more:?}");
        }
    }
}

#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let site = Site::new(Fake::default(), keys()).await;
    let cookie = signed_in(&site, "analyst").await;
    for (more, status) in [
        (("sec-fetch-site", "same-origin"), 200),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("x-nothing", "said"), 403),
    ] {
        let sent = [("cookie", cookie.as_str()), more];
        assert_eq!(site.send("POST /sql", &sent, "q=SELECT+1").await.0.as_u16(), status, "{more:?}");
    }
    let foreign = [("sec-fetch-site", "cross-site")];
    assert_eq!(site.send("POST /login", &foreign, "key=analyst").await.0, StatusCode::FORBIDDEN);
    let stays = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(site.send("POST /logout", &stays, "").await.0, StatusCode::FORBIDDEN);
    assert_eq!(site.send("GET /sql", &[("cookie", &cookie)], "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_shown_follows_the_scopes_of_the_key() {
    let site = Site::new(Fake::default(), keys()).await;
    for (key, masked) in [("analyst", true), ("officer", false)] {
        let cookie = signed_in(&site, key).await;
        let sent = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let (_, _, page) = site.send("POST /sql", &sent, "q=SELECT+1").await;
        assert_eq!(page.contains("masked"), masked, "{key}");
    }
}

#[tokio::test]
async fn without_keys_only_this_machine_is_answered() {
    let site = Site::new(Fake::default(), Keys::none()).await;
    assert_eq!(site.get("/").await.0, StatusCode::OK);
    for more in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let request = http::Request::get("/").header(more.0, more.1).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(site.router.clone(), request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{more:?}");
    }
    let cross = [("sec-fetch-site", "cross-site")];
    assert_eq!(site.send("POST /sql", &cross, "q=SELECT+1").await.0, StatusCode::FORBIDDEN);
    assert!(!site.get("/").await.2.contains("Sign out"));
}
