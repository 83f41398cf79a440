//! Each implementation against the laws.

use events::ManualClock;
use events::log::Log;
use events::log::conformance;
use events::log::embedded::{Config, EmbeddedLog};
use events::log::memory::{Faults, MemoryLog};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

type Made = BoxFuture<'static, Arc<dyn Log>>;

#[tokio::test]
async fn the_memory_log_keeps_the_laws() {
    conformance::all(&|clock: ManualClock| -> Made {
        async move { Arc::new(MemoryLog::new(Arc::new(clock))) as Arc<dyn Log> }.boxed()
    })
    .await;
}

#[tokio::test]
async fn the_memory_log_with_gaps_keeps_the_laws() {
    for seed in 0..20 {
        conformance::all(&|clock: ManualClock| -> Made {
            async move { Arc::new(MemoryLog::with_faults(seed, Faults::GAPS, Arc::new(clock))) as Arc<dyn Log> }.boxed()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_keeps_the_laws() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    conformance::all(&|clock: ManualClock| -> Made {
        let number = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = dir.path().join(number.to_string());
        async move { Arc::new(EmbeddedLog::open(dir, Config::default(), Arc::new(clock)).unwrap()) as Arc<dyn Log> }
            .boxed()
    })
    .await;
}
