//! The object store as one process sees it: memory behind calls that take time, fail, stand and say that
//! they failed, arrive after their caller has gone, or list late.

use crate::process::Process;
use crate::shadow::Shadow;
use crate::world::World;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use events::Clock;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all processes' views of the store have in common.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) objects: Arc<InMemory>,
    pub(crate) shadow: Mutex<Shadow>,
    /// When each object was put: virtual ms, and as the putter's clock shows it.
    put_at: Mutex<HashMap<Path, (u64, DateTime<Utc>)>>,
    pub(crate) is_down: AtomicBool,
}

impl Bucket {
    pub(crate) fn new(shadow: Shadow) -> Arc<Self> {
        Arc::new(Self {
            objects: Arc::default(),
            shadow: Mutex::new(shadow),
            put_at: Mutex::default(),
            is_down: AtomicBool::new(false),
        })
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    bucket: Arc<Bucket>,
    process: Arc<Process>,
}

impl SimStore {
    pub(crate) fn new(bucket: &Arc<Bucket>, process: &Arc<Process>) -> Self {
        Self { bucket: bucket.clone(), process: process.clone() }
    }

    fn world(&self) -> &World {
        &self.process.world
    }

    /// Whether a read fails. Off the simulation's thread there is no time to wait in.
    fn read_fails(&self, draw: &mut crate::world::Draw) -> bool {
        let is_down = self.world().is_faulty() && self.bucket.is_down.load(Ordering::SeqCst);
        is_down || self.process.fails(draw, self.world().plan.store_reads_failed)
    }

    /// A call that changes nothing.
    async fn read_only<T>(&self, what: String, call: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.world().is_at_home() {
            let mut draw = self.world().draw_now(self.process.id, &what);
            return if self.read_fails(&mut draw) { Err(fault(&what)) } else { call.await };
        }
        let mut draw = self.process.ask(&what).await;
        let result = if self.read_fails(&mut draw) { Err(fault(&what)) } else { call.await };
        self.process.note(&line(&what, &result));
        self.process.answer(&mut draw).await;
        result
    }

    /// A call that is on its way whatever becomes of its caller.
    async fn sent<T: Send + 'static>(
        &self,
        what: String,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        if !self.world().is_at_home() {
            // Checkpoints are written by deltalake's own thread, for which no time passes.
            let mut draw = self.world().draw_now(self.process.id, &what);
            let is_down = self.world().is_faulty() && self.bucket.is_down.load(Ordering::SeqCst);
            let fails = is_down || self.process.fails(&mut draw, self.world().plan.puts_failed);
            return if fails { Err(fault(&what)) } else { call.await };
        }
        self.process.may_send().await;
        let here = self.clone();
        let under_way = tokio::spawn(async move {
            let plan = &here.world().plan;
            let (mut draw, arrives) = here.process.send(&what).await;
            if !arrives {
                here.process.note(&format!("{what}: never arrives"));
                return None;
            }
            let is_down = here.world().is_faulty() && here.bucket.is_down.load(Ordering::SeqCst);
            let result = if is_down || here.process.fails(&mut draw, plan.puts_failed) {
                Err(fault(&what))
            } else {
                let result = call.await;
                if here.process.fails(&mut draw, plan.puts_in_doubt) { Err(lie(&what, &result)) } else { result }
            };
            here.process.note(&line(&what, &result));
            Some((result, draw))
        });
        match under_way.await {
            Ok(Some((result, mut draw))) => {
                self.process.answer(&mut draw).await;
                result
            }
            _ => std::future::pending().await,
        }
    }

    /// What a listing shows: not what was put just now, if it lags; with times as clocks showed them.
    fn seen(bucket: &Bucket, world: &World, mut meta: ObjectMeta) -> Option<ObjectMeta> {
        let put_at = bucket.put_at.lock().get(&meta.location).copied();
        if let Some((at_ms, shown)) = put_at {
            if world.is_faulty() && at_ms + world.plan.list_lag_ms > world.now_ms() {
                return None;
            }
            // Deltalake cleans logs up by the time of the machine: its files stay as old as they are.
            if !meta.location.as_ref().contains("_delta_log") {
                meta.last_modified = shown;
            }
        }
        Some(meta)
    }
}

fn fault(what: &str) -> object_store::Error {
    object_store::Error::Generic { store: "simulation", source: format!("{what} failed (injected)").into() }
}

fn lie<T>(what: &str, result: &Result<T>) -> object_store::Error {
    let truth = if result.is_ok() { "stands" } else { "failed" };
    object_store::Error::Generic {
        store: "simulation",
        source: format!("{what} {truth}, fate unknown (injected)").into(),
    }
}

fn line<T>(what: &str, result: &Result<T>) -> String {
    match result {
        Ok(_) => what.to_owned(),
        Err(object_store::Error::Generic { source, .. }) => format!("{what}: {source}"),
        Err(object_store::Error::NotFound { .. }) => format!("{what}: not found"),
        Err(object_store::Error::AlreadyExists { .. }) => format!("{what}: is there"),
        Err(error) => format!("{what}: {error}"),
    }
}

/// A path without the random part of its name, so that one seed gives one history.
fn named(path: &Path) -> String {
    match path.as_ref().split_once("part-") {
        Some((head, tail)) => format!("{head}part{}", tail.split_once('.').map_or("", |_| ".parquet")),
        None => path.to_string(),
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated store of {}", self.process.name)
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        // Without its size: ids in it are random, and compress differently.
        let what = format!("put {}", named(location));
        let (here, location) = (self.clone(), location.clone());
        self.sent(what, async move {
            let bytes: Bytes = payload.clone().into();
            let put = here.bucket.objects.put_opts(&location, payload, opts).await?;
            let shown = DateTime::from_timestamp_micros(here.process.clock.now_us()).unwrap_or_default();
            here.bucket.put_at.lock().insert(location.clone(), (here.world().now_ms(), shown));
            if let Err((law, detail)) = here.bucket.shadow.lock().see(&location, &bytes) {
                here.world().breaks(law, detail);
            }
            Ok(put)
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.bucket.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read_only(format!("get {}", named(location)), self.bucket.objects.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let here = self.clone();
        let deleted = locations.then(move |location| {
            let here = here.clone();
            async move {
                let location = location?;
                let (bucket, of) = (here.bucket.clone(), location.clone());
                let call = async move { bucket.objects.delete(&of).await };
                here.sent(format!("delete {}", named(&location)), call).await?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (here, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.as_ref().map_or("", AsRef::as_ref));
            let all = here.read_only(what, here.bucket.objects.list(prefix.as_ref()).try_collect::<Vec<_>>()).await?;
            let seen = all.into_iter().filter_map(|meta| Self::seen(&here.bucket, here.world(), meta));
            Ok::<_, object_store::Error>(futures::stream::iter(seen.map(Ok).collect::<Vec<_>>()))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let what = format!("list below {}", prefix.map_or("", AsRef::as_ref));
        self.read_only(what, self.bucket.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.objects.copy_opts(from, to, options).await
    }
}
