//! The same laws as every log.

use crate::shared;
use chaos::Cluster;
use events::ManualClock;
use events::log::{Log, conformance};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

pub(crate) async fn keeps_the_laws(cluster: &Cluster) {
    conformance::laws(&|_: ManualClock| -> BoxFuture<'static, Arc<dyn Log>> {
        let log = crate::log(cluster);
        async move { Arc::new(log) as Arc<dyn Log> }.boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_keeps_the_laws() {
    let (cluster, _turn) = shared().await;
    keeps_the_laws(cluster).await;
}
