//! The store: a directory or bucket with one Delta table per event type, and a cache per process so
//! that opening a table again costs what changed since.

use crate::durable::DurableFileSystem;
use crate::replay::{self, Txns};
use crate::s3::{self, S3};
use crate::{Access, Error, Result};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{DynObjectStore, ObjectStore};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// How long a table that isn't killfeed's is not looked at again.
const FOREIGN_FOR: Duration = Duration::from_secs(60);

/// Where tables lie. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    root: Arc<DynObjectStore>,
    url: Url,
    prefix: Path,
    /// Tables that were found to be killfeed's, and those that were found not to be, and when.
    known: Mutex<BTreeSet<String>>,
    foreign: Mutex<HashMap<String, Instant>>,
    loaded: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<DeltaTable>>>>>,
    txns: Mutex<HashMap<String, Txns>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.url)
    }
}

impl Store {
    /// Opens the store with what the environment says.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(location: &str) -> Result<Self> {
        Self::open_with(location, &Access::from_environment())
    }

    /// Opens the store at a directory (made if missing) or at a URL (`file:///...`,
    /// `s3://BUCKET/PREFIX`). Asks nobody yet: [`Self::check`] does. Settings are for S3 only, and
    /// called what `object_store` calls them (`region`, `endpoint`, `allow_http`, ...).
    ///
    /// # Errors
    /// If the directory can't be made, the URL's scheme is unknown, or a setting is.
    pub fn open_with(location: &str, access: &Access) -> Result<Self> {
        let refuse = |detail: String| Error::Location { location: location.to_owned(), detail };
        let url = match Url::parse(location) {
            Ok(url) if url.scheme().len() > 1 => url,
            _ => {
                std::fs::create_dir_all(location).map_err(|error| refuse(error.to_string()))?;
                let path = std::fs::canonicalize(location).map_err(|error| refuse(error.to_string()))?;
                Url::from_directory_path(path).map_err(|()| refuse("is no absolute path".into()))?
            }
        };
        if url.scheme() != s3::SCHEME && !access.properties.is_empty() {
            return Err(refuse("has no settings; only s3://BUCKET/PREFIX has".into()));
        }
        match url.scheme() {
            s3::SCHEME => Self::with_object_store(Arc::new(S3::open(&url, access)?), url),
            "file" => {
                let path = url.to_file_path().map_err(|()| refuse("is no path on this machine".into()))?;
                std::fs::create_dir_all(&path).map_err(|error| refuse(error.to_string()))?;
                let files = DurableFileSystem::new(&path).map_err(|error| refuse(error.to_string()))?;
                Self::with_object_store(Arc::new(files), url)
            }
            "memory" => Self::with_object_store(Arc::new(object_store::memory::InMemory::new()), url),
            scheme => Err(refuse(format!("scheme {scheme} is none of s3, file, memory"))),
        }
    }

    /// A store on an object store of the caller's making; `root` is rooted at `/`, and `url`'s path
    /// is where tables lie in it.
    ///
    /// # Errors
    /// If the URL's path is no path of an object store.
    pub fn with_object_store(root: Arc<DynObjectStore>, mut url: Url) -> Result<Self> {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let prefix = Path::from_url_path(url.path())
            .map_err(|error| Error::Location { location: url.to_string(), detail: error.to_string() })?;
        Ok(Self(Arc::new(Inner {
            root,
            url,
            prefix,
            known: Mutex::default(),
            foreign: Mutex::default(),
            loaded: Mutex::default(),
            txns: Mutex::default(),
        })))
    }

    /// The object store, rooted at `/`.
    pub fn object_store(&self) -> &Arc<DynObjectStore> {
        &self.0.root
    }

    /// Where `name` lies in [`Self::object_store`].
    pub fn path(&self, name: &str) -> Path {
        self.0.prefix.clone().join(name)
    }

    /// The store's URL, ending in a slash.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Names of killfeed's tables, in order. What others keep beside them is left out: whoever works on
    /// all tables works on these.
    ///
    /// # Errors
    /// If the store can't be listed, or a table not be read.
    pub async fn table_names(&self) -> Result<Vec<String>> {
        let listed = self.0.root.list_with_delimiter(Some(&self.0.prefix)).await?;
        let mut names = Vec::new();
        for directory in listed.common_prefixes {
            let Some(name) = directory.filename().map(str::to_owned) else { continue };
            if self.is_known(&name, &directory).await? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    async fn is_known(&self, name: &str, directory: &Path) -> Result<bool> {
        if self.0.known.lock().contains(name) {
            return Ok(true);
        }
        if self.0.foreign.lock().get(name).is_some_and(|found| found.elapsed() < FOREIGN_FOR) {
            return Ok(false);
        }
        // No table yet is no finding: it may be in the making.
        let head = if self.holds_log(directory).await? { self.head(name).await? } else { None };
        let Some(head) = head else { return Ok(false) };
        if head.is_own() {
            self.claim(name);
        } else {
            self.0.foreign.lock().insert(name.to_owned(), Instant::now());
        }
        Ok(head.is_own())
    }

    /// Takes note that the table is killfeed's.
    pub(crate) fn claim(&self, name: &str) {
        self.0.foreign.lock().remove(name);
        self.0.known.lock().insert(name.to_owned());
    }

    async fn holds_log(&self, directory: &Path) -> Result<bool> {
        let log = directory.clone().join("_delta_log");
        Ok(self.0.root.list(Some(&log)).try_next().await?.is_some())
    }

    /// The table of this name as it stands now, or `None` if there is none. The first load reads the
    /// table's log from its last checkpoint on, a later one only what was committed since.
    ///
    /// # Errors
    /// If the table's log can't be read.
    pub async fn load(&self, name: &str) -> Result<Option<DeltaTable>> {
        let cell = self.0.loaded.lock().entry(name.to_owned()).or_default().clone();
        let mut cached = cell.lock().await;
        if let Some(mut table) = cached.take() {
            match table.update_incremental(None).await {
                Ok(()) => {
                    *cached = Some(table.clone());
                    return Ok(Some(table));
                }
                Err(error) => tracing::debug!(table = name, %error, "table could not be followed, loading it anew"),
            }
        }
        let mut table = self.handle(name)?;
        match table.load().await {
            Ok(()) => {
                *cached = Some(table.clone());
                Ok(Some(table))
            }
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => match self.holds_log(&self.path(name)).await {
                Ok(false) => Ok(None),
                _ => Err(error.into()),
            },
        }
    }

    /// The table's handle, with nothing loaded.
    pub(crate) fn handle(&self, name: &str) -> Result<DeltaTable> {
        let refuse = |error: url::ParseError| Error::Location { location: name.to_owned(), detail: error.to_string() };
        let url = self.0.url.join(&format!("{name}/")).map_err(refuse)?;
        let builder = DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(self.0.root.clone(), url);
        Ok(builder.build()?)
    }

    /// All transactions of `table` at its version: per application id the exclusive offset up to
    /// which the table holds its rows. Costs the commits since the last call for this table.
    ///
    /// # Errors
    /// If the table's log can't be read.
    pub async fn txns(&self, table: &DeltaTable) -> Result<Txns> {
        let version = table.snapshot()?.version();
        let name = table.table_url().to_string();
        let cached = self.0.txns.lock().get(&name).filter(|txns| txns.version <= version).cloned();
        let txns = replay::txns(table.log_store().as_ref(), version, cached).await?;
        let mut kept = self.0.txns.lock();
        if kept.get(&name).is_none_or(|kept| kept.version <= version) {
            kept.insert(name, txns.clone());
        }
        Ok(txns)
    }
}
