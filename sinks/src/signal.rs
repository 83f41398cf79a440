//! What others tell a sink, and what it tells them.

use events::Stream;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Asks a sink to bring what is readable now to the tables without waiting for its interval. When
/// it has, the group's committed positions say so. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FlushSignal(Arc<AtomicU64>);

impl FlushSignal {
    /// Asks.
    pub fn request(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// How often it was asked so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// How a sink is: well, or what keeps it from delivering, and how much it holds. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    stream: Stream,
    trouble: Mutex<Option<String>>,
    held_bytes: AtomicUsize,
}

impl Health {
    /// That of a stream's sink, which is well so far.
    pub fn new(stream: Stream) -> Self {
        Self(Arc::new(State { stream, trouble: Mutex::default(), held_bytes: AtomicUsize::new(0) }))
    }

    /// What keeps the sink from delivering, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().clone()
    }

    /// Whether it delivers.
    pub fn is_well(&self) -> bool {
        self.0.trouble.lock().is_none()
    }

    /// Bytes of records that it holds: those of the flush at work and those of the next.
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn hold(&self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
        metrics::gauge!("killfeed_sink_held_bytes", "stream" => self.stream()).set(bytes as f64);
        self.0.held_bytes.store(bytes, Ordering::SeqCst);
    }

    /// As a label.
    pub(crate) fn stream(&self) -> String {
        self.0.stream.name().to_owned()
    }

    pub(crate) fn set(&self, trouble: Option<String>) {
        metrics::gauge!("killfeed_sink_well", "stream" => self.stream()).set(if trouble.is_none() { 1.0 } else { 0.0 });
        *self.0.trouble.lock() = trouble;
    }
}
