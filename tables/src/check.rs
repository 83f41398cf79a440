//! Whether a store can be worked with, asked at the start: one line says what is wrong, while somebody
//! is there to read it. Stores on this machine need no asking.

use crate::{DEAD_LETTERS, Error, LEDGER, Result, Store, s3};
use futures::StreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode};
use std::time::Duration;

/// What a process does with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It only reads them.
    Read,
    /// It makes, writes and rearranges them.
    Write,
}

/// How long the store may take for all of the check.
const LIMIT: Duration = Duration::from_secs(60);
/// Writers that try for one object at once.
const RACERS: usize = 4;

impl Store {
    /// Tries what `purpose` needs. A store that lets two writers win one conditional put loses commits,
    /// and is refused.
    ///
    /// # Errors
    /// [`Error::Location`], in one line: the store can't be reached, refuses the credentials, lacks the
    /// bucket or a permission, or doesn't keep a conditional put; or a table there that killfeed needs
    /// is somebody else's.
    pub async fn check(&self, purpose: Purpose) -> Result<()> {
        if self.url().scheme() != s3::SCHEME {
            return Ok(());
        }
        let asked = async {
            self.object_store()
                .list_with_delimiter(Some(&self.path("_probe")))
                .await
                .map_err(|error| self.told("list", &error))?;
            if purpose == Purpose::Write {
                self.check_conditional_put().await?;
            }
            for name in [DEAD_LETTERS, LEDGER] {
                self.head(name).await?.map_or(Ok(()), |head| head.check_owner())?;
            }
            Ok(())
        };
        match tokio::time::timeout(LIMIT, asked).await {
            Ok(checked) => checked,
            Err(_) => Err(self.refused(format!("no answer within {} s", LIMIT.as_secs()))),
        }
    }

    async fn check_conditional_put(&self) -> Result<()> {
        let path = self.path("_probe").join(uuid::Uuid::new_v4().simple().to_string());
        let put = || self.object_store().put_opts(&path, "probe".into(), PutMode::Create.into());
        let mut results =
            futures::stream::iter((0..RACERS).map(|_| put())).buffer_unordered(RACERS).collect::<Vec<_>>().await;
        results.push(put().await);
        let gone = self.object_store().delete(&path).await;
        let mut winners = 0;
        for result in results {
            match result {
                Ok(_) => winners += 1,
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
                Err(error) => return Err(self.told("write", &error)),
            }
        }
        if winners != 1 {
            let detail = format!(
                "{winners} of {} writers won one conditional put (If-None-Match: *), and exactly one must: commits \
                 would be lost on this store, use one that keeps it",
                RACERS + 1
            );
            return Err(self.refused(detail));
        }
        gone.map_err(|error| self.told("delete", &error))
    }

    fn refused(&self, detail: String) -> Error {
        Error::Location { location: self.url().to_string(), detail }
    }

    /// What an error of the store means to whoever set it up.
    fn told(&self, what: &str, error: &object_store::Error) -> Error {
        let said = crate::error::brief(error);
        let has = |part: &str| said.contains(part);
        let bucket = self.url().host_str().unwrap_or_default();
        let meaning = if has("NoSuchBucket") {
            format!("there is no bucket {bucket}")
        } else if has("InvalidAccessKeyId") {
            "the store doesn't know the access key id".into()
        } else if has("SignatureDoesNotMatch") {
            "the secret access key is another than the access key id's".into()
        } else if has("RequestTimeTooSkewed") {
            "this machine's clock and the store's are too far apart".into()
        } else if has("ExpiredToken") || has("InvalidToken") {
            "the session token is no longer valid".into()
        } else if has("/latest/api/token") || has("/latest/meta-data") {
            "no credentials: no access key in settings or environment, no profile, and no instance role answered".into()
        } else if has("AccessDenied") || matches!(error, object_store::Error::PermissionDenied { .. }) {
            format!("the credentials may not {what} there")
        } else if has("AuthorizationHeaderMalformed") || has("PermanentRedirect") || has("without LOCATION") {
            "the bucket is in another region: set region (AWS_REGION)".into()
        } else {
            format!("cannot {what} there")
        };
        self.refused(format!("{meaning} ({said})"))
    }
}
