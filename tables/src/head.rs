//! A writer's view of one table, and the one way to commit to it.
//!
//! A [`Head`] knows version, columns, properties and transactions, but no files: an appender needs
//! none. It is moved on by reading the commits after its version, one small object each. A commit is
//! a conditional put of the next version, so it succeeds only if nobody committed since the version
//! that the caller based its decision on. If somebody did, the head moves on and the caller decides
//! again: that is the whole commit loop, and the check of the transactions is inside it.
//!
//! ```text
//!        ┌─────────── decide from head: what is left to write? ◀───────┐
//!        ▼                                                             │
//!   commit(version + 1) ── somebody was faster: head moves on ─────────┤
//!        │               └ error, fate unknown: refresh, look again ───┘
//!        ▼
//!      stands
//! ```

use crate::create::EVENT_TYPE;
use crate::replay::{Commit, Txns};
use crate::{DeltaTable, Error, Result, Store};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Action, Metadata, MetadataExt, StructType, Version};
use deltalake::logstore::{CommitOrBytes, LogStore, LogStoreRef};
use events::log::Offset;
use object_store::DynObjectStore;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long one put of a commit may take. Far below the log's retention, so that a head never
/// commits a version that others have passed and cleaned away.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);
/// A head that was not moved on for longer lists the log before it commits, for the same reason.
const TRUSTED_FOR: Duration = Duration::from_secs(120);

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands, as this version of the table.
    Stands(Version),
    /// Somebody committed first; the head has moved on, past these changes. Decide again.
    Lost(Changes),
}

/// What others changed while a head moved on, as far as it can spoil a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Columns or properties are others.
    pub metadata: bool,
    /// Files that are in the table no longer, as paths below the table.
    pub removed: HashSet<String>,
    /// The commits between could not be read one by one, so that anything may have changed.
    pub unknown: bool,
}

/// A writer's view of one table. See the module.
#[derive(Debug, Clone)]
pub struct Head {
    store: Store,
    name: Arc<str>,
    log: LogStoreRef,
    metadata: Metadata,
    schema: SchemaRef,
    txns: Txns,
    seen: Instant,
}

impl Store {
    /// The head of a table as it stands now; `None` if there is no such table.
    ///
    /// # Errors
    /// If the table's log can't be read.
    pub async fn head(&self, name: &str) -> Result<Option<Head>> {
        Ok(self.open_table(name).await?.map(|(_, head)| head))
    }

    /// A table and its head, at one version: for those who commit by what files they saw.
    ///
    /// # Errors
    /// If the table's log can't be read.
    pub async fn open_table(&self, name: &str) -> Result<Option<(DeltaTable, Head)>> {
        let seen = Instant::now();
        let Some(table) = self.load(name).await? else { return Ok(None) };
        let metadata = table.snapshot()?.metadata().clone();
        let txns = self.txns(&table).await?;
        let schema = arrow_schema(name, &metadata)?;
        let log = table.log_store();
        Ok(Some((table, Head { store: self.clone(), name: name.into(), log, metadata, schema, txns, seen })))
    }
}

impl Head {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that this head is at.
    pub const fn version(&self) -> Version {
        self.txns.version
    }

    /// The table's columns, with their metadata.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The event type that owns the table, if it is one's.
    pub fn event_type(&self) -> Option<&str> {
        self.property(EVENT_TYPE)
    }

    /// Whether killfeed made the table, so that it may be written and rearranged.
    pub fn is_own(&self) -> bool {
        crate::is_own(&self.name, self.event_type().is_some(), &self.schema)
    }

    /// The same, as an error.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the table is somebody else's.
    pub fn check_owner(&self) -> Result<()> {
        let foreign = || Error::Foreign { table: self.name.to_string(), store: self.store.url().to_string() };
        if self.is_own() { Ok(()) } else { Err(foreign()) }
    }

    /// A property of the table.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.metadata.configuration().get(key).map(String::as_str)
    }

    /// The exclusive offset up to which the table holds the rows of `app_id`.
    pub fn txn(&self, app_id: &str) -> Option<Offset> {
        self.txns.get(app_id)
    }

    /// The table's own object store, rooted at the table.
    pub fn object_store(&self) -> Arc<DynObjectStore> {
        self.log.object_store(None)
    }

    /// Moves on to the newest version, and says what changed on the way.
    ///
    /// # Errors
    /// If the table's log can't be read; the head stays where it was, or part of the way.
    pub async fn refresh(&mut self) -> Result<Changes> {
        let mut changes = Changes::default();
        let seen = Instant::now();
        if self.seen.elapsed() > TRUSTED_FOR {
            let latest = match self.log.get_latest_version(self.version()).await {
                Ok(latest) => latest,
                Err(DeltaTableError::InvalidVersion(_)) => return self.reload().await,
                Err(error) => return Err(error.into()),
            };
            if latest > self.version() && self.log.read_commit_entry(self.version() + 1).await?.is_none() {
                return self.reload().await;
            }
        }
        while let Some(bytes) = self.log.read_commit_entry(self.version() + 1).await? {
            let next = self.version() + 1;
            let commit = Commit::parse(&self.name, next, &bytes)?;
            self.apply(next, &commit)?;
            changes.metadata |= commit.metadata.is_some();
            changes.removed.extend(commit.removed);
        }
        self.seen = seen;
        Ok(changes)
    }

    async fn reload(&mut self) -> Result<Changes> {
        let gone = || Error::Corrupt { table: self.name.to_string(), detail: "is gone".into() };
        *self = self.store.head(&self.name).await?.ok_or_else(gone)?;
        Ok(Changes { unknown: true, ..Changes::default() })
    }

    fn apply(&mut self, version: Version, commit: &Commit) -> Result<()> {
        if let Some(metadata) = &commit.metadata {
            self.schema = arrow_schema(&self.name, metadata)?;
            self.metadata = metadata.clone();
        }
        self.txns.advance(version, commit);
        Ok(())
    }

    /// Commits `actions` as the next version, if nobody was faster. `operation` is what stands in the
    /// table's history.
    ///
    /// # Errors
    /// If the store fails; the commit may stand nevertheless. [`Self::refresh`], and look.
    pub async fn commit(&mut self, operation: &str, actions: Vec<Action>) -> Result<Outcome> {
        if self.seen.elapsed() > TRUSTED_FOR {
            let version = self.version();
            let changes = self.refresh().await?;
            if self.version() != version {
                return Ok(Outcome::Lost(changes));
            }
        }
        let started = Instant::now();
        let version = self.version() + 1;
        let bytes = Bytes::from(self.serialise(operation, &actions)?);
        let put = self.log.write_commit_entry(version, CommitOrBytes::LogBytes(bytes.clone()), Uuid::new_v4());
        match tokio::time::timeout(COMMIT_LIMIT, put).await {
            Ok(Ok(())) => {}
            // What stands between may have put it twice, and given only the second answer. Whoever took
            // that for a lost race would delete files that are in the table.
            Ok(Err(TransactionError::VersionAlreadyExists(_)))
                if self.log.read_commit_entry(version).await?.as_ref() == Some(&bytes) => {}
            Ok(Err(TransactionError::VersionAlreadyExists(_))) => {
                metrics::counter!("killfeed_sink_conflicts_total").increment(1);
                return Ok(Outcome::Lost(self.refresh().await?));
            }
            Ok(Err(error)) => return Err(DeltaTableError::from(error).into()),
            Err(_) => {
                let what = format!("the commit of version {version} of {}", self.name);
                return Err(Error::TimedOut { what, limit_s: COMMIT_LIMIT.as_secs() });
            }
        }
        metrics::histogram!("killfeed_sink_commit_seconds").record(started.elapsed().as_secs_f64());
        let mut commit = Commit::default();
        for action in actions {
            match action {
                Action::Txn(txn) => commit.txns.push(txn),
                Action::Metadata(metadata) => commit.metadata = Some(metadata),
                _ => {}
            }
        }
        self.apply(version, &commit)?;
        self.seen = started;
        Ok(Outcome::Stands(version))
    }

    fn serialise(&self, operation: &str, actions: &[Action]) -> Result<Vec<u8>> {
        let broken =
            |error: serde_json::Error| Error::Corrupt { table: self.name.to_string(), detail: error.to_string() };
        let info = json!({"commitInfo": {
            "timestamp": chrono::Utc::now().timestamp_millis(),
            "operation": operation,
            "engineInfo": concat!("killfeed/", env!("CARGO_PKG_VERSION")),
            // Makes each try's bytes its own.
            "txnId": Uuid::new_v4(),
        }});
        let mut bytes = info.to_string().into_bytes();
        for action in actions {
            bytes.push(b'\n');
            serde_json::to_writer(&mut bytes, action).map_err(broken)?;
        }
        Ok(bytes)
    }

    /// The action that gives the table these columns. The caller keeps every column that is there.
    ///
    /// # Errors
    /// If a column has no Delta type.
    pub fn with_schema(&self, schema: &arrow::datatypes::Schema) -> Result<Action> {
        let metadata = self.metadata.clone().with_schema(&crate::delta_schema(schema)?);
        Ok(Action::Metadata(metadata.map_err(DeltaTableError::from)?))
    }
}

/// The columns of a table at its version, with their metadata.
///
/// # Errors
/// If the table is not loaded, or a column's type is unknown.
pub fn schema(name: &str, table: &DeltaTable) -> Result<SchemaRef> {
    arrow_schema(name, table.snapshot()?.metadata())
}

fn arrow_schema(table: &str, metadata: &Metadata) -> Result<SchemaRef> {
    let broken = |error: &dyn std::fmt::Display| Error::Corrupt { table: table.to_owned(), detail: error.to_string() };
    let schema: StructType = metadata.parse_schema().map_err(|error| broken(&error))?;
    let schema: arrow::datatypes::Schema = (&schema).try_into_arrow()?;
    Ok(Arc::new(schema))
}
