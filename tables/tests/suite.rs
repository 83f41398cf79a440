//! What every store must promise, on MinIO.

use crate::{at, location, shared};
use futures::StreamExt as _;
use object_store::ObjectStore as _;
use tables::{Purpose, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_what_every_store_promises() {
    let minio = shared();
    let store = at(&minio.endpoint, &location());
    conformance::run(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_passes_and_leaves_nothing_behind() {
    let minio = shared();
    let store = at(&minio.endpoint, &location());
    store.check(Purpose::Write).await.unwrap();
    store.check(Purpose::Read).await.unwrap();
    assert_eq!(store.object_store().list(Some(&store.path("_probe"))).count().await, 0);
    assert!(store.table_names().await.unwrap().is_empty());
}
