//! Tables on a real store that speaks S3: the promises that every store keeps, and what only one over the
//! network does.
//!
//! `make test` builds MinIO first. Without Go, or without the binary and a way to build it, these tests
//! fail and say so.
#![expect(clippy::unwrap_used, reason = "a failed test is a panic")]

mod credentials;
mod lost;
mod proxy;
mod refused;
mod suite;

use chaos::minio::Minio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use tables::{Access, Store};

/// One server for all tests that don't harm it; it ends with the last of them.
fn shared() -> std::sync::Arc<Minio> {
    static SHARED: Mutex<Weak<Minio>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(minio) = shared.upgrade() {
        return minio;
    }
    let minio = std::sync::Arc::new(Minio::start());
    *shared = std::sync::Arc::downgrade(&minio);
    minio
}

/// A place in the bucket that no other test has.
fn location() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("s3://{}/tests/{}", chaos::minio::BUCKET, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Settings by name, on top of nothing.
fn access(pairs: &[(&str, &str)]) -> Access {
    Access::default().with(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// A store at an endpoint, with MinIO's own credentials.
fn at(endpoint: &str, location: &str) -> Store {
    Store::open_with(location, &Access::default().with(chaos::minio::environment(endpoint))).unwrap()
}
