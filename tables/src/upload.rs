//! Objects to the store, large ones in parts: a part that fails is sent again, not the whole.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{DynObjectStore, MultipartUpload, ObjectStoreExt, Result};

/// Above this an object is sent in parts.
pub(crate) const WHOLE_MAX: usize = 16 << 20;
/// Bytes of a part; S3 wants five MiB or more.
const PART: usize = 8 << 20;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// Puts an object. If it fails, or the caller gives up, no part of it stays.
pub(crate) async fn put(store: &DynObjectStore, path: &Path, bytes: Bytes) -> Result<()> {
    if bytes.len() <= WHOLE_MAX {
        return store.put(path, bytes.into()).await.map(drop);
    }
    let mut upload = Unfinished(Some(store.put_multipart(path).await?));
    let sent = upload.send(bytes).await;
    upload.end(sent).await
}

/// An upload that is aborted unless it is completed: parts that nobody completes cost money for ever.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    async fn send(&mut self, mut bytes: Bytes) -> Result<()> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let mut parts = Vec::with_capacity(bytes.len() / PART + 1);
        while !bytes.is_empty() {
            parts.push(upload.put_part(bytes.split_to(PART.min(bytes.len())).into()));
        }
        futures::stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_collect::<()>().await?;
        upload.complete().await.map(drop)
    }

    async fn end(mut self, sent: Result<()>) -> Result<()> {
        if let (Err(_), Some(upload)) = (&sent, &mut self.0)
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(error = crate::error::brief(&error), "parts of an upload stay in the store");
        }
        self.0 = None;
        sent
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(error = crate::error::brief(&error), "parts of an upload stay in the store");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use object_store::{PutPayload, PutResult, UploadPart};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Fails the part of this number, or hangs for ever in it.
    #[derive(Debug)]
    struct Failing {
        parts: usize,
        hangs: bool,
        aborted: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl MultipartUpload for Failing {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            self.parts += 1;
            let (fails, hangs) = (self.parts == 2, self.hangs);
            Box::pin(async move {
                match (fails, hangs) {
                    (false, _) => Ok(()),
                    (true, true) => std::future::pending().await,
                    (true, false) => {
                        Err(object_store::Error::NotImplemented { operation: "x".into(), implementer: "y".into() })
                    }
                }
            })
        }

        async fn complete(&mut self) -> Result<PutResult> {
            panic!("a part is missing")
        }

        async fn abort(&mut self) -> Result<()> {
            self.aborted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_upload_that_fails_or_is_given_up_is_aborted_once() {
        for hangs in [false, true] {
            let aborted = Arc::new(AtomicUsize::new(0));
            let failing = Failing { parts: 0, hangs, aborted: aborted.clone() };
            let work = async {
                let mut upload = Unfinished(Some(Box::new(failing)));
                let sent = upload.send(Bytes::from(vec![0; 3 * PART])).await;
                upload.end(sent).await
            };
            let ended = tokio::time::timeout(std::time::Duration::from_millis(50), work).await;
            assert_eq!(ended.is_err(), hangs);
            assert!(ended.is_err() || ended.is_ok_and(|sent| sent.is_err()));
            tokio::task::yield_now().await;
            assert_eq!(aborted.load(Ordering::SeqCst), 1, "hangs: {hangs}");
        }
    }
}
