//! Transactions of a table, read from its log: the last checkpoint's `txn` column, then the commits
//! after it. Deltalake looks up one application id at a time; a table has one for each topic
//! partition, and a writer wants them all at each flush.

use crate::{Error, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use deltalake::kernel::{Metadata, Remove, Transaction, Version};
use deltalake::logstore::LogStore;
use events::log::Offset;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Up to which offset a table holds each application's rows, at one version of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txns {
    /// The table's version that this is true of.
    pub version: Version,
    map: Arc<HashMap<String, Offset>>,
}

impl Txns {
    /// The exclusive offset up to which the table holds the rows of `app_id`.
    pub fn get(&self, app_id: &str) -> Option<Offset> {
        self.map.get(app_id).copied()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Offset)> {
        self.map.iter().map(|(app_id, offset)| (app_id.as_str(), *offset))
    }

    pub(crate) fn advance(&mut self, version: Version, commit: &Commit) {
        if !commit.txns.is_empty() {
            let map = Arc::make_mut(&mut self.map);
            map.extend(commit.txns.iter().map(|txn| (txn.app_id.clone(), txn.version)));
        }
        self.version = version;
    }
}

/// What a writer needs of one commit.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) txns: Vec<Transaction>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) removed: Vec<String>,
}

/// One line of a commit; everything but what a writer needs is skipped, not parsed.
#[derive(Deserialize)]
struct Line {
    txn: Option<Transaction>,
    #[serde(rename = "metaData")]
    metadata: Option<Metadata>,
    remove: Option<Remove>,
}

impl Commit {
    pub(crate) fn parse(table: &str, version: Version, bytes: &[u8]) -> Result<Self> {
        let mut commit = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|error| Error::Corrupt {
                table: table.to_owned(),
                detail: format!("commit {version} can't be read: {error}"),
            })?;
            commit.txns.extend(line.txn);
            commit.metadata = line.metadata.or(commit.metadata);
            commit.removed.extend(line.remove.map(|remove| remove.path));
        }
        Ok(commit)
    }
}

/// Reads the transactions at `version`, from `since` on if that is given. A log clean-up may take
/// files away meanwhile; then it starts again from the newer checkpoint.
pub(crate) async fn txns(log: &dyn LogStore, version: Version, since: Option<Txns>) -> Result<Txns> {
    let table = log.root_url().to_string();
    let mut start = since;
    for _ in 0..3 {
        let mut txns = match start.take() {
            Some(txns) => txns,
            None => checkpoint(log, &table, version).await?,
        };
        if follow(log, &table, &mut txns, version).await? {
            return Ok(txns);
        }
    }
    Err(Error::Corrupt { table, detail: format!("commits up to {version} are missing from the log") })
}

/// Applies commits up to `version`; false if one is missing.
async fn follow(log: &dyn LogStore, table: &str, txns: &mut Txns, version: Version) -> Result<bool> {
    if txns.version == NOTHING {
        let Some(bytes) = log.read_commit_entry(0).await? else { return Ok(false) };
        txns.advance(0, &Commit::parse(table, 0, &bytes)?);
    }
    while txns.version < version {
        let next = txns.version + 1;
        let Some(bytes) = log.read_commit_entry(next).await? else { return Ok(false) };
        txns.advance(next, &Commit::parse(table, next, &bytes)?);
    }
    Ok(true)
}

/// Version of a [`Txns`] that has not even seen commit 0.
const NOTHING: Version = Version::MAX;

/// Transactions in the newest checkpoint at or below `version`.
async fn checkpoint(log: &dyn LogStore, table: &str, version: Version) -> Result<Txns> {
    let store = log.object_store(None);
    let files: Vec<_> = store.list(Some(log.log_path())).try_collect().await?;
    let mut parts: HashMap<Version, Vec<Path>> = HashMap::new();
    for file in files {
        let Some((number, kind)) = file.location.filename().and_then(|name| name.split_once('.')) else { continue };
        if let (Ok(number), true) = (number.parse(), kind.starts_with("checkpoint") && kind.ends_with("parquet"))
            && number <= version
        {
            parts.entry(number).or_default().push(file.location);
        }
    }
    let Some((found, parts)) = parts.into_iter().max_by_key(|(number, _)| *number) else {
        return Ok(Txns { version: NOTHING, map: Arc::default() });
    };
    let mut map = HashMap::new();
    for part in parts {
        let bytes = store.get(&part).await?.bytes().await?;
        read_checkpoint(table, bytes, &mut map)?;
    }
    Ok(Txns { version: found, map: Arc::new(map) })
}

fn read_checkpoint(table: &str, bytes: Bytes, map: &mut HashMap<String, Offset>) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let broken = || Error::Corrupt { table: table.to_owned(), detail: "a checkpoint has no column txn".into() };
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let Some(txns) = batch.column_by_name("txn") else { continue };
        let txns = txns.as_struct_opt().ok_or_else(broken)?;
        let ids = txns.column_by_name("appId").ok_or_else(broken)?;
        let ids = arrow::compute::cast(ids, &arrow::datatypes::DataType::Utf8)?;
        let ids = ids.as_string::<i32>();
        let versions = txns.column_by_name("version").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let versions = versions.ok_or_else(broken)?;
        for row in 0..txns.len() {
            if txns.is_valid(row) && ids.is_valid(row) && versions.is_valid(row) {
                map.insert(ids.value(row).to_owned(), versions.value(row));
            }
        }
    }
    Ok(())
}
