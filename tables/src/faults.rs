//! An object store in which things go wrong, drawn from a seed: puts that fail, puts that succeed and
//! say that they failed, reads that fail. For tests, and for the simulation.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, DynObjectStore, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often things go wrong, in parts of a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Puts that fail and leave nothing.
    pub puts_failed: u64,
    /// Puts that succeed and say that they failed.
    pub puts_in_doubt: u64,
    /// Reads that fail.
    pub reads_failed: u64,
}

/// A store in front of another, in which things go wrong. Clones share faults and counts.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<DynObjectStore>,
    rates: Rates,
    state: Arc<Mutex<u64>>,
    down: Arc<AtomicBool>,
    repeating: Arc<AtomicBool>,
    injected: Arc<AtomicU64>,
}

impl FaultyStore {
    /// In front of `inner`; the same seed and the same calls give the same faults.
    pub fn new(inner: Arc<DynObjectStore>, seed: u64, rates: Rates) -> Self {
        let state = Arc::new(Mutex::new(seed));
        Self { inner, rates, state, down: Arc::default(), repeating: Arc::default(), injected: Arc::default() }
    }

    /// From now on everything fails, or no longer does.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// From now on each put is delivered twice, as by a proxy that repeats what it had no answer to, and
    /// answered as the second one is; or no longer.
    pub fn set_repeating(&self, repeating: bool) {
        self.repeating.store(repeating, Ordering::SeqCst);
    }

    /// Faults injected so far, those of being down and of repeating left out.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// SplitMix64: small, and the same everywhere.
    fn draw(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1_000
    }

    fn check_up(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) { Err(fault("the store is down")) } else { Ok(()) }
    }

    fn inject(&self, what: &'static str) -> object_store::Error {
        self.injected.fetch_add(1, Ordering::SeqCst);
        fault(what)
    }

    fn read(&self) -> Result<()> {
        self.check_up()?;
        if self.draw() < self.rates.reads_failed { Err(self.inject("a read failed")) } else { Ok(()) }
    }
}

fn fault(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "FaultyStore", source: format!("{what} (injected)").into() }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.check_up()?;
        let drawn = self.draw();
        if drawn < self.rates.puts_failed {
            return Err(self.inject("a put failed"));
        }
        if self.repeating.load(Ordering::SeqCst) {
            self.inner.put_opts(location, payload.clone(), opts.clone()).await?;
        }
        let result = self.inner.put_opts(location, payload, opts).await?;
        if drawn < self.rates.puts_failed + self.rates.puts_in_doubt {
            return Err(self.inject("a put stands and says that it failed"));
        }
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.check_up()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => Box::pin(futures::stream::once(async { Err(error) })),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check_up()?;
        self.inner.copy_opts(from, to, options).await
    }
}
