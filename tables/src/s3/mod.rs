//! A bucket on S3, or on what speaks its protocol.
//!
//! Two clients share one set of credentials. Requests that may be repeated go by the one that repeats
//! them, within limits of count and time. A conditional put goes by the other, once: a repeat of one
//! whose answer was lost would find its own object there and be told that somebody else was faster.
//! Its caller learns that the fate is unknown, and looks.

mod options;
mod profile;

use crate::{Access, Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use std::ops::Range;
use std::sync::Arc;
use url::Url;

/// The scheme of such a store's URL.
pub(crate) const SCHEME: &str = "s3";

/// See the module.
pub(crate) struct S3 {
    bucket: String,
    repeating: AmazonS3,
    once: AmazonS3,
}

impl S3 {
    /// The bucket of this URL, with its root at `/`. Asks nobody yet.
    ///
    /// # Errors
    /// If the URL or a setting is wrong, or a profile that was asked for can't be read.
    pub(crate) fn open(url: &Url, access: &Access) -> Result<Self> {
        let refuse = |detail: String| Error::Location { location: url.to_string(), detail };
        let bucket = bucket(url).map_err(refuse)?;
        let (repeating, once) = options::clients(&bucket, access).map_err(refuse)?;
        if let Ok(scheme) = Url::parse("s3://") {
            logstore_factories().entry(scheme).or_insert_with(|| Arc::new(Logs));
        }
        Ok(Self { bucket, repeating, once })
    }
}

fn bucket(url: &Url) -> Result<String, String> {
    const HOW: &str = "give it as s3://BUCKET/PREFIX";
    if !url.username().is_empty() || url.password().is_some() || url.port().is_some() {
        return Err(format!("{HOW}; credentials and endpoint have options of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{HOW}, without ? and #"));
    }
    match url.host_str() {
        Some(bucket) if bucket.len() >= 3 => Ok(bucket.to_owned()),
        Some(bucket) if !bucket.is_empty() => {
            Err(format!("bucket {bucket:?} is too short, names have three characters or more"))
        }
        _ => Err(format!("names no bucket; {HOW}")),
    }
}

/// Deltalake's own log store, whose commits are conditional puts: all that it needs for a scheme that
/// it doesn't know.
struct Logs;

impl LogStoreFactory for Logs {
    fn with_options(
        &self,
        prefixed: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed, root, location, options))
    }
}

/// Without settings and credentials.
impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({})", self.bucket)
    }
}

impl std::fmt::Display for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({})", self.bucket)
    }
}

/// Counts what the store refused or left unanswered; what it merely doesn't have is no failure.
fn counted<T>(operation: &'static str, result: object_store::Result<T>) -> object_store::Result<T> {
    use object_store::Error::{AlreadyExists, NotFound, NotModified, Precondition};
    if let Err(error) = &result
        && !matches!(error, AlreadyExists { .. } | NotFound { .. } | NotModified { .. } | Precondition { .. })
    {
        metrics::counter!("killfeed_store_failures_total", "operation" => operation).increment(1);
    }
    result
}

#[async_trait]
impl ObjectStore for S3 {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let client = if matches!(opts.mode, PutMode::Overwrite) { &self.repeating } else { &self.once };
        counted("put", client.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        counted("put", self.repeating.put_multipart_opts(location, opts).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        counted("get", self.repeating.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        counted("get", self.repeating.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.repeating.delete_stream(locations).map(|gone| counted("delete", gone)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.repeating.list(prefix).map(|found| counted("list", found)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.repeating.list_with_offset(prefix, offset).map(|found| counted("list", found)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        counted("list", self.repeating.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        counted("copy", self.repeating.copy_opts(from, to, options).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_bucket_and_a_prefix() {
        for (text, expected) in [
            ("s3://lake/a/b", Ok("lake")),
            ("s3://my.lake", Ok("my.lake")),
            ("s3://", Err("names no bucket")),
            ("s3://ab/c", Err("too short")),
            ("s3://key:secret@lake/a", Err("options of their own")),
            ("s3://lake:9000/a", Err("options of their own")),
            ("s3://lake/a?region=x", Err("without ?")),
        ] {
            let found = bucket(&Url::parse(text).unwrap());
            match expected {
                Ok(name) => assert_eq!(found.as_deref(), Ok(name), "{text}"),
                Err(part) => assert!(found.unwrap_err().contains(part), "{text}"),
            }
        }
    }

    #[test]
    fn neither_a_store_nor_its_settings_print_a_secret() {
        let properties =
            [("access_key_id", "known"), ("secret_access_key", "hush-hush"), ("session_token", "not-a-word")];
        let access = Access::default().with(properties.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let url = Url::parse("s3://lake/a").unwrap();
        let store = S3::open(&url, &access).unwrap();
        let said = format!("{access:?} {store:?} {store}");
        assert!(!said.contains("hush-hush") && !said.contains("not-a-word"), "{said}");
    }
}
