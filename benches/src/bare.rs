//! The limit of ingest: a server that reads a body, walks its JSON once, stores the bytes with one
//! fsync for all requests that wait, or produces them to Kafka, and answers 202. No envelope rules, no keys, no partitions, no
//! results by event.

use crate::kafka::BareKafka;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use serde::de::IgnoredAny;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

type Waiting = (Bytes, oneshot::Sender<()>);

/// Serves until killed; prints its address first. Stores in `dir`, or in Kafka where brokers are given.
pub(crate) fn serve(dir: &Path, brokers: Option<&str>) -> anyhow::Result<()> {
    match brokers {
        Some(brokers) => listen(post(produce).with_state(Arc::new(BareKafka::connect(brokers)?))),
        None => listen(post(store).with_state(queue(dir)?)),
    }
}

fn listen(route: MethodRouter) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/v1/events", route.clone())
        .route("/v1/batch", route)
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20));
    tokio::runtime::Runtime::new()?.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    })
}

/// A thread that stores what comes, all that waits with one sync.
fn queue(dir: &Path) -> anyhow::Result<mpsc::Sender<Waiting>> {
    let database = fjall::Database::builder(dir).open()?;
    let keyspace = database.keyspace("bare", fjall::KeyspaceCreateOptions::default)?;
    let (queue, mut waiting) = mpsc::channel::<Waiting>(10_000);
    std::thread::spawn(move || -> anyhow::Result<()> {
        let mut next = 0u64;
        let mut group = Vec::new();
        while let Some(first) = waiting.blocking_recv() {
            group.push(first);
            while let Ok(more) = waiting.try_recv() {
                group.push(more);
            }
            let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
            for (body, _) in &group {
                batch.insert(&keyspace, next.to_be_bytes(), body.as_ref());
                next += 1;
            }
            batch.commit()?;
            for (_, done) in group.drain(..) {
                let _ = done.send(());
            }
        }
        Ok(())
    });
    Ok(queue)
}

async fn produce(State(kafka): State<Arc<BareKafka>>, body: Bytes) -> StatusCode {
    match kafka.store(&body).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn store(State(queue): State<mpsc::Sender<Waiting>>, body: Bytes) -> StatusCode {
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if serde_json::from_slice::<IgnoredAny>(line).is_err() {
            return StatusCode::BAD_REQUEST;
        }
    }
    let (done, wait) = oneshot::channel();
    if queue.send((body, done)).await.is_err() || wait.await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::ACCEPTED
}
