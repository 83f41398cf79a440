//! The local file system as an object store whose puts survive a power cut.
//!
//! `object_store`'s own writes and renames but never syncs: after a power cut a commit could be
//! there, empty, while the sink's position, which the log did sync, is past it. Here a put writes
//! beside its destination, syncs the file, links it, and syncs the directories on the way.

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const NAME: &str = "DurableFileSystem";

/// See the module.
#[derive(Debug)]
pub(crate) struct DurableFileSystem(LocalFileSystem, Root);

impl DurableFileSystem {
    /// Rooted at `/`; works as long as the directory `root` is the one that it is now.
    ///
    /// # Errors
    /// If there is no such directory.
    pub(crate) fn new(root: &FsPath) -> std::io::Result<Self> {
        Ok(Self(LocalFileSystem::new(), Root { path: root.to_owned(), id: Root::id(root)? }))
    }
}

/// The directory that everything lies in. One that was moved away or unmounted must neither be made
/// anew nor taken for an empty store: commits would go on there from a version that nobody has.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    id: (u64, u64),
}

impl Root {
    fn id(path: &FsPath) -> std::io::Result<(u64, u64)> {
        let meta = std::fs::metadata(path)?;
        Ok((meta.dev(), meta.ino()))
    }

    fn check(&self) -> Result<()> {
        let path = self.path.display();
        let detail = match Self::id(&self.path) {
            Ok(id) if id == self.id => return Ok(()),
            Ok(_) => format!("{path} is another directory than the one that was opened: put that one back"),
            Err(error) => format!("{path} is gone: {error}; put it back"),
        };
        Err(generic(std::io::Error::other(detail)))
    }
}

impl std::fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            return self.0.put_opts(location, payload, opts).await;
        }
        self.1.check()?;
        let path = self.0.path_to_filesystem(location)?;
        let create = matches!(opts.mode, PutMode::Create);
        let location = location.to_string();
        let put = tokio::task::spawn_blocking(move || put(&path, &payload, create));
        match put.await {
            Ok(Ok(())) => Ok(PutResult { e_tag: None, version: None }),
            Ok(Err(error)) if error.kind() == ErrorKind::AlreadyExists => {
                Err(object_store::Error::AlreadyExists { path: location, source: error.into() })
            }
            Ok(Err(error)) => Err(generic(error)),
            Err(error) => Err(generic(error)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.1.check()?;
        let path = self.0.path_to_filesystem(location)?;
        Ok(Box::new(Upload { inner: self.0.put_multipart_opts(location, opts).await?, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.1.check()?;
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.1.check() {
            Ok(()) => self.0.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.1.check() {
            Ok(()) => self.0.list_with_offset(prefix, offset),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.1.check()?;
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// A multipart upload that syncs what it completed.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> object_store::UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        let sync = move || File::open(&path)?.sync_all().and_then(|()| sync_directory_of(&path));
        tokio::task::spawn_blocking(sync).await.map_err(generic)?.map_err(generic)?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: NAME, source: Box::new(error) }
}

/// Writes `payload` at `path`, whole or not at all; `create` fails if something stands there.
fn put(path: &FsPath, payload: &PutPayload, create: bool) -> std::io::Result<()> {
    let staged = stage(path, payload)?;
    let placed = if create {
        std::fs::hard_link(&staged, path).and_then(|()| std::fs::remove_file(&staged))
    } else {
        std::fs::rename(&staged, path)
    };
    if placed.is_err() {
        // Best effort: what stays behind has a name that no listing shows.
        let _ = std::fs::remove_file(&staged);
    }
    placed?;
    sync_directory_of(path)
}

/// Writes and syncs a file beside `path`, under a name that `LocalFileSystem` leaves out of listings.
fn stage(path: &FsPath, payload: &PutPayload) -> std::io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{}{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(mut file) => {
                let written = payload.iter().try_for_each(|chunk| file.write_all(chunk)).and_then(|()| file.sync_all());
                if written.is_err() {
                    let _ = std::fs::remove_file(&staged);
                }
                return written.map(|()| staged);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => make_directory_of(path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the directories above `path`, each synced into its own parent.
fn make_directory_of(path: &FsPath) -> std::io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    make_directory_of(directory)?;
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(directory),
    }
}

fn sync_directory_of(path: &FsPath) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;

    #[tokio::test]
    async fn puts_whole_files_and_leaves_nothing_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(directory.path()).unwrap();
        let path = Path::from_filesystem_path(directory.path()).unwrap().join("a").join("b").join("c");
        store.put_opts(&path, "first".into(), PutMode::Create.into()).await.unwrap();
        let again = store.put_opts(&path, "second".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
        store.put(&path, "third".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "third");
        let left: Vec<_> = std::fs::read_dir(directory.path().join("a/b")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    #[tokio::test]
    async fn a_root_that_was_moved_away_is_waited_for_and_never_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let (root, away) = (home.path().join("tables"), home.path().join("away"));
        std::fs::create_dir(&root).unwrap();
        let store = DurableFileSystem::new(&root).unwrap();
        let path = Path::from_filesystem_path(&root).unwrap().join("a").join("b");
        store.put(&path, "before".into()).await.unwrap();
        std::fs::rename(&root, &away).unwrap();
        let gone = store.put(&path, "gone".into()).await.unwrap_err();
        assert!(gone.to_string().contains("is gone"), "{gone}");
        assert!(!root.exists(), "a new one would hide the old one");
        std::fs::create_dir(&root).unwrap();
        for answer in [
            store.put(&path, "other".into()).await.map(drop),
            store.get(&path).await.map(drop),
            store.list_with_delimiter(None).await.map(drop),
            futures::TryStreamExt::try_collect::<Vec<_>>(store.list(None)).await.map(drop),
        ] {
            let other = answer.unwrap_err();
            assert!(other.to_string().contains("another directory"), "{other}");
        }
        std::fs::remove_dir(&root).unwrap();
        std::fs::rename(&away, &root).unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "before");
        store.put(&path, "after".into()).await.unwrap();
    }
}
