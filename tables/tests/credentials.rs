//! Keys from a shared file, and from the metadata service of the machine, on which MinIO must agree.

use crate::proxy::{Fate, proxy};
use crate::{access, location, shared};
use chaos::minio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tables::{Access, Purpose, Store};

/// What leads to MinIO, without keys, with nothing of this machine's own.
fn without_keys(endpoint: &str, more: &[(&str, &str)]) -> Access {
    access(
        &[
            &[
                ("endpoint", endpoint),
                ("allow_http", "true"),
                ("shared_credentials_file", "/nowhere"),
                ("config_file", "/nowhere"),
            ],
            more,
        ]
        .concat(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_profile_of_the_shared_file() {
    let minio = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = none\n[games]\naws_access_key_id = {}\n\
         aws_secret_access_key = {}\n",
        minio::KEY,
        minio::SECRET
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for (profile, works) in [("games", true), ("default", false)] {
        let access = without_keys(&minio.endpoint, &[("shared_credentials_file", file), ("profile", profile)]);
        let checked = Store::open_with(&location(), &access).unwrap().check(Purpose::Write).await;
        assert_eq!(checked.is_ok(), works, "{profile}: {checked:?}");
    }
}

/// A metadata service of version 2, with one role, whose keys are these.
async fn metadata_service(key: &'static str, asked: Arc<AtomicUsize>) -> String {
    // What it says goes out as long as the test runs.
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let respond = move |body: &str| {
        leak(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    };
    let missing = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (token, role) = (respond("the-token"), respond("killfeed-role"));
    let keys = respond(&format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{}\",\"Token\":\"\",\
         \"Expiration\":\"2099-01-01T00:00:00Z\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\"}}",
        minio::SECRET
    ));
    proxy("127.0.0.1:1", move |head| {
        asked.fetch_add(1, Ordering::SeqCst);
        let has_token = head.to_ascii_lowercase().contains("x-aws-ec2-metadata-token: the-token");
        Fate::Say(match head.split_whitespace().nth(1) {
            Some("/latest/api/token") => token,
            _ if !has_token => missing,
            Some(path) if path.ends_with("/security-credentials/") => role,
            Some(path) if path.ends_with("/security-credentials/killfeed-role") => keys,
            _ => missing,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_instance_s_role() {
    let minio = shared();
    for (key, refusal) in [(minio::KEY, None), ("nobody", Some("access key id"))] {
        let asked = Arc::new(AtomicUsize::new(0));
        let metadata = metadata_service(key, asked.clone()).await;
        let store =
            Store::open_with(&location(), &without_keys(&minio.endpoint, &[("metadata_endpoint", &metadata)])).unwrap();
        let checked = store.check(Purpose::Write).await;
        match refusal {
            None => checked.unwrap(),
            Some(part) => {
                let said = checked.unwrap_err().to_string();
                assert!(said.contains(part), "{said}");
            }
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3, "asked once for both clients: token, role, keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credentials_anywhere_is_told_in_one_line() {
    let minio = shared();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metadata = format!("http://{free}");
    let store =
        Store::open_with(&location(), &without_keys(&minio.endpoint, &[("metadata_endpoint", &metadata)])).unwrap();
    let said = store.check(Purpose::Write).await.unwrap_err().to_string();
    assert!(said.contains("no credentials: no access key") && !said.contains('\n'), "{said}");
}
