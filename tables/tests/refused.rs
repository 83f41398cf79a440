//! What is wrong with a store is told at the start, in one line that says what to do.

use crate::proxy::{Fate, OK, proxy};
use crate::{access, at, location, shared};
use chaos::minio;
use tables::{Error, Purpose, Store};

async fn refused(store: &Store, purpose: Purpose) -> String {
    let error = store.check(purpose).await.unwrap_err();
    assert!(matches!(error, Error::Location { .. } | Error::Foreign { .. }), "{error:?}");
    let said = error.to_string();
    assert!(!said.contains('\n') && said.len() < 600, "one line: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_setting_has_its_line() {
    let minio = shared();
    let endpoint = minio.endpoint.as_str();
    let keys = |key, secret| {
        access(&[("endpoint", endpoint), ("allow_http", "true"), ("access_key_id", key), ("secret_access_key", secret)])
    };
    let cases = [
        (
            "bucket",
            "s3://no-such-bucket/a".to_owned(),
            keys(minio::KEY, minio::SECRET),
            "there is no bucket no-such-bucket",
        ),
        ("key", location(), keys("nobody", minio::SECRET), "doesn't know the access key id"),
        ("secret", location(), keys(minio::KEY, "wrong-secret"), "the secret access key is another"),
    ];
    for (what, location, access, part) in cases {
        let said = refused(&Store::open_with(&location, &access).unwrap(), Purpose::Write).await;
        assert!(said.contains(part), "{what}: {said}");
        assert!(!said.contains("wrong-secret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_where_nobody_answers_is_told_within_seconds() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = std::time::Instant::now();
    let said = refused(&at(&format!("http://{free}"), &location()), Purpose::Read).await;
    assert!(said.contains("cannot list there") && said.contains(&free.to_string()), "{said}");
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_refused_as_a_writer_and_not_as_a_reader() {
    let minio = shared();
    let denied = "HTTP/1.1 403 Forbidden\r\ncontent-length: 90\r\nconnection: close\r\n\r\n\
        <?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
    let endpoint =
        proxy(&minio.endpoint, move |head| if head.starts_with("PUT") { Fate::Say(denied) } else { Fate::Pass }).await;
    let store = at(&endpoint, &location());
    store.check(Purpose::Read).await.unwrap();
    let said = refused(&store, Purpose::Write).await;
    assert!(said.contains("the credentials may not write there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_several_win_one_conditional_put_is_refused() {
    let minio = shared();
    let endpoint = proxy(&minio.endpoint, |head| {
        let is_conditional = head.to_ascii_lowercase().contains("if-none-match");
        if head.starts_with("PUT") && is_conditional { Fate::Say(OK) } else { Fate::Pass }
    })
    .await;
    let said = refused(&at(&endpoint, &location()), Purpose::Write).await;
    assert!(said.contains("5 of 5 writers won one conditional put"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_others_under_a_name_that_killfeed_needs_is_told_at_the_start() {
    let minio = shared();
    let store = at(&minio.endpoint, &location());
    let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new(
        "date",
        arrow::datatypes::DataType::Date32,
        true,
    )]);
    let definition = tables::Definition { schema: std::sync::Arc::new(schema), event_type: None };
    store.create(tables::DEAD_LETTERS, &definition).await.unwrap();
    let said = refused(&store, Purpose::Read).await;
    assert!(said.contains("table dead_letters in s3://lake/") && said.contains("was not made by killfeed"), "{said}");
}
