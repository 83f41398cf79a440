//! Answers that get lost on the way: a commit that stands is known to stand, and stands once.

use crate::proxy::{Fate, proxy};
use crate::{at, location, shared};
use arrow::datatypes::{DataType, Field, Schema};
use chaos::minio::{Minio, environment};
use deltalake::kernel::{Action, Transaction};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tables::{Access, Definition, Outcome, Store, app_id};

fn definition() -> Definition {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![field("_offset", DataType::Int64), field("date", DataType::Date32)]);
    Definition { schema: Arc::new(schema), event_type: Some("a.type".into()) }
}

/// Commits `to` on a store whose every commit meets `fate`; gives what the client said, and how many
/// commits were sent.
async fn commit_through(fate: Fate) -> (Store, tables::Result<Outcome>, tables::Head, usize) {
    let minio = shared();
    let location = location();
    at(&minio.endpoint, &location).create("a_type", &definition()).await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let endpoint = proxy(&minio.endpoint, move |head| {
        if head.starts_with("PUT") && head.contains("/_delta_log/") {
            counted.fetch_add(1, Ordering::SeqCst);
            return fate.clone();
        }
        Fate::Pass
    })
    .await;
    let store = at(&endpoint, &location);
    let mut head = store.head("a_type").await.unwrap().unwrap();
    let txn = Action::Txn(Transaction::new(app_id("i", "t", 0), 7));
    let outcome = head.commit("WRITE", vec![txn]).await;
    // Kept alive until here.
    drop(minio);
    (at_same(&store), outcome, head, sent.load(Ordering::SeqCst))
}

/// A fresh view of the same place.
fn at_same(store: &Store) -> Store {
    Store::with_object_store(store.object_store().clone(), store.url().clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_sent_once_and_found_by_its_transaction() {
    let _keep = shared();
    for fate in [Fate::LoseAnswer, Fate::SayFailed] {
        let (store, outcome, mut head, sent) = commit_through(fate.clone()).await;
        let error = outcome.expect_err("nobody knows");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(sent, 1, "{fate:?}: a conditional put is never repeated blindly");
        head.refresh().await.unwrap();
        assert_eq!(head.txn(&app_id("i", "t", 0)), Some(7), "{fate:?}: it stands, and the next look finds it");
        assert_eq!(store.head("a_type").await.unwrap().unwrap().version(), 1, "{fate:?}: once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_killed_or_frozen_is_an_error_in_time_and_goes_on_when_it_is_back() {
    let minio = Minio::start();
    let location = location();
    let access = Access::default().with(environment(&minio.endpoint)).with([("timeout".into(), "1 second".into())]);
    let store = Store::open_with(&location, &access).unwrap();
    let mut head = store.create("a_type", &definition()).await.unwrap();
    for (to, outage) in [(1, "killed"), (2, "frozen")] {
        if outage == "killed" {
            minio.kill()
        } else {
            minio.freeze()
        }
        let txn = Action::Txn(Transaction::new(app_id("i", "t", 0), to));
        let started = Instant::now();
        let error = head.commit("WRITE", vec![txn.clone()]).await.unwrap_err();
        assert!(error.is_retryable() && started.elapsed() < Duration::from_secs(5), "{outage}: {error}");
        let error = store.table_names().await.unwrap_err();
        assert!(error.is_retryable() && started.elapsed() < Duration::from_secs(40), "{outage}: {error}");
        if outage == "killed" {
            drop(minio.up())
        } else {
            minio.thaw()
        }
        head.refresh().await.unwrap();
        // The one that was frozen may have done what it was asked, later.
        if head.txn(&app_id("i", "t", 0)) != Some(to) {
            assert!(matches!(head.commit("WRITE", vec![txn]).await, Ok(Outcome::Stands(_) | Outcome::Lost(_))));
        }
        head.refresh().await.unwrap();
        assert_eq!(head.txn(&app_id("i", "t", 0)), Some(to), "{outage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_delivered_twice_is_known_as_our_own() {
    let _keep = shared();
    let (store, outcome, head, _) = commit_through(Fate::Twice).await;
    assert_eq!(outcome.unwrap(), Outcome::Stands(1));
    assert_eq!(head.txn(&app_id("i", "t", 0)), Some(7));
    assert_eq!(store.head("a_type").await.unwrap().unwrap().version(), 1);
}
