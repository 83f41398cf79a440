//! The object store of the simulated world: in memory, on a clock of its own, and as unreliable as the
//! seed says. Each process sees it through a handle of its own, which ends with the process.

use super::world::{Fault, World};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What all processes share.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) objects: InMemory,
    /// When each object was written, by the store's clock.
    pub(super) written: parking_lot::Mutex<BTreeMap<Path, i64>>,
    /// What must never change, as it was first written; and what has changed all the same.
    pub(super) first: parking_lot::Mutex<BTreeMap<Path, Vec<u8>>>,
    pub(super) changed: parking_lot::Mutex<Vec<String>>,
    /// The planted bug: what is to be created is overwritten.
    pub(super) forgets_conditions: bool,
}

impl Disk {
    async fn put(&self, location: Path, payload: PutPayload, mut opts: PutOptions, at: i64) -> Result<PutResult> {
        if self.forgets_conditions {
            opts.mode = PutMode::Overwrite;
        }
        let body: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        let result = self.objects.put_opts(&location, payload, opts).await?;
        let may_change = ["_open/", "_decided/", "_clock"].iter().any(|part| location.as_ref().contains(part));
        if !may_change {
            let mut first = self.first.lock();
            if first.entry(location.clone()).or_insert_with(|| body.clone()) != &body {
                self.changed.lock().push(location.to_string());
            }
        }
        self.written.lock().insert(location, at);
        Ok(result)
    }
}

/// The store as one process sees it.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) world: Arc<World>,
    pub(super) is_alive: Arc<AtomicBool>,
}

impl Handle {
    /// One request: drawn, delayed, carried out or not, answered or not.
    async fn call<T: Send + 'static>(
        &self,
        what: String,
        effect: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.stop_if_dead().await;
        let (fault, delay) = self.world.draw(&what);
        tokio::time::sleep(delay).await;
        self.stop_if_dead().await;
        let failed = || Err(object_store::Error::Generic { store: "simulated", source: format!("{fault:?}").into() });
        if self.world.is_store_away() {
            return failed();
        }
        match fault {
            Fault::None => effect.await,
            Fault::Before => failed(),
            Fault::After => {
                effect.await.ok();
                failed()
            }
            Fault::Late(later) => {
                tokio::spawn(async move {
                    tokio::time::sleep(later).await;
                    effect.await.ok();
                });
                tokio::time::sleep(Duration::from_secs(1)).await;
                failed()
            }
            Fault::Silent => {
                effect.await.ok();
                std::future::pending().await
            }
            Fault::DeathBefore => self.die().await,
            Fault::DeathAfter => {
                effect.await.ok();
                self.die().await
            }
        }
    }

    async fn stop_if_dead(&self) {
        if !self.is_alive.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn die<T>(&self) -> T {
        self.is_alive.store(false, Ordering::SeqCst);
        self.world.died.notify_one();
        std::future::pending().await
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated store")
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (world, location) = (self.world.clone(), location.clone());
        let what = format!("put {location}");
        self.call(what, async move {
            let at = world.store_time().as_microsecond();
            world.disk.put(location, payload, opts, at).await
        })
        .await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented { operation: "multipart".into(), implementer: "simulated".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (world, location) = (self.world.clone(), location.clone());
        self.call(format!("get {location}"), async move {
            let mut got = world.disk.objects.get_opts(&location, options).await?;
            if let Some(at) = world.disk.written.lock().get(&location) {
                got.meta.last_modified = chrono::DateTime::from_timestamp_micros(*at).unwrap();
            }
            Ok(got)
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let handle = self.clone();
        locations
            .and_then(move |location| {
                let (handle, world) = (handle.clone(), handle.world.clone());
                async move {
                    let what = format!("delete {location}");
                    handle
                        .call(what, async move { world.disk.objects.delete(&location).await.map(|()| location) })
                        .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (handle, world, prefix) = (self.clone(), self.world.clone(), prefix.cloned());
        let listed = async move {
            let what = format!("list {prefix:?}");
            handle
                .call(what, async move { world.disk.objects.list(prefix.as_ref()).try_collect::<Vec<_>>().await })
                .await
        };
        futures::stream::once(listed)
            .map_ok(|found| futures::stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (world, prefix) = (self.world.clone(), prefix.cloned());
        self.call("list".into(), async move { world.disk.objects.list_with_delimiter(prefix.as_ref()).await }).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(object_store::Error::NotImplemented { operation: "copy".into(), implementer: "simulated".into() })
    }
}
