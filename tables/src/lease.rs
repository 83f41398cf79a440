//! A lease: who may do a thing for the while, by conditional put with an expiry.
//!
//! Each grant is an object of its own, `<root>/_leases/<what>/<epoch>.json`, put only if it doesn't
//! exist: of all who try for the same epoch, exactly one wins. That needs nothing of the store but a
//! conditional put, which a commit needs too. A lease saves work; correctness never depends on it,
//! since a holder may be paused past its expiry and not know.

use crate::{Error, Result, Store};
use events::clock::{Clock, Micros};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Epochs that are left lying, so that one who slept through a few doesn't win an old one.
const EPOCHS_KEPT: u64 = 8;

/// One contender for a lease.
#[derive(Debug, Clone)]
pub struct Lease {
    store: Store,
    directory: Path,
    holder: String,
    lasts: Duration,
    clock: Arc<dyn Clock>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Grows with each grant.
    pub epoch: u64,
    /// Who holds it.
    pub holder: String,
    /// Until when, µs since the epoch by the holder's clock.
    pub until_us: Micros,
}

impl Lease {
    /// A contender called `holder` for the lease `what`, which lasts `lasts` from each grant on.
    /// `holder` must be unique: two with one name renew each other's grants.
    pub fn new(store: &Store, what: &str, holder: &str, lasts: Duration, clock: Arc<dyn Clock>) -> Self {
        let directory = store.path("_leases").join(what);
        Self { store: store.clone(), directory, holder: holder.to_owned(), lasts, clock }
    }

    /// Takes or renews the lease; `None` if somebody else holds it, or was faster.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn acquire(&self) -> Result<Option<Held>> {
        let now = self.clock.now_us();
        let current = self.current().await?;
        if current.as_ref().is_some_and(|held| held.holder != self.holder && held.until_us > now) {
            return Ok(None);
        }
        let lasts = i64::try_from(self.lasts.as_micros()).unwrap_or(i64::MAX);
        let held = Held {
            epoch: current.map_or(1, |held| held.epoch + 1),
            holder: self.holder.clone(),
            until_us: now.saturating_add(lasts),
        };
        let body = serde_json::to_vec(&held).map_err(|error| self.corrupt(held.epoch, &error))?;
        let path = self.epoch(held.epoch);
        match self.store.object_store().put_opts(&path, body.into(), PutMode::Create.into()).await {
            Ok(_) => {
                self.forget_old(held.epoch).await?;
                Ok(Some(held))
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a grant back, so that another needn't wait for its expiry.
    ///
    /// # Errors
    /// If the store fails; the grant then ends by itself.
    pub async fn release(&self, held: Held) -> Result<()> {
        let ended = Held { epoch: held.epoch + 1, until_us: i64::MIN, ..held };
        let body = serde_json::to_vec(&ended).map_err(|error| self.corrupt(ended.epoch, &error))?;
        let path = self.epoch(ended.epoch);
        match self.store.object_store().put_opts(&path, body.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest grant, expired or not.
    async fn current(&self) -> Result<Option<Held>> {
        loop {
            let Some(newest) = self.epochs().await?.into_iter().max() else { return Ok(None) };
            match self.store.object_store().get(&self.epoch(newest)).await {
                Ok(found) => {
                    let body = found.bytes().await?;
                    return serde_json::from_slice(&body).map(Some).map_err(|error| self.corrupt(newest, &error));
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn epochs(&self) -> Result<Vec<u64>> {
        let found: Vec<_> = self.store.object_store().list(Some(&self.directory)).try_collect().await?;
        let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
        Ok(found.iter().filter_map(|meta| number(&meta.location)).collect())
    }

    async fn forget_old(&self, newest: u64) -> Result<()> {
        for epoch in self.epochs().await?.into_iter().filter(|epoch| epoch + EPOCHS_KEPT < newest) {
            match self.store.object_store().delete(&self.epoch(epoch)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn epoch(&self, epoch: u64) -> Path {
        self.directory.clone().join(format!("{epoch:020}.json"))
    }

    fn corrupt(&self, epoch: u64, error: &serde_json::Error) -> Error {
        Error::Corrupt { table: self.directory.to_string(), detail: format!("grant {epoch}: {error}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::ManualClock;

    fn contenders(count: usize, clock: &ManualClock) -> Vec<Lease> {
        let store = Store::open("memory:///lake").unwrap();
        let lasts = Duration::from_secs(60);
        (0..count)
            .map(|i| Lease::new(&store, "compaction", &format!("sink-{i}"), lasts, Arc::new(clock.clone())))
            .collect()
    }

    #[tokio::test]
    async fn one_of_many_wins_and_holds_until_it_lets_go_or_expires() {
        let clock = ManualClock::at(1_000_000);
        let leases = contenders(8, &clock);
        let grants = futures::future::join_all(leases.iter().map(Lease::acquire)).await;
        let winners: Vec<usize> = (0..8).filter(|i| matches!(grants[*i], Ok(Some(_)))).collect();
        assert_eq!(winners.len(), 1, "{grants:?}");
        let (winner, other) = (&leases[winners[0]], &leases[(winners[0] + 1) % 8]);

        clock.advance_us(59_000_000);
        assert!(winner.acquire().await.unwrap().is_some(), "the holder renews");
        clock.advance_us(59_000_000);
        assert_eq!(other.acquire().await.unwrap(), None, "renewed a minute ago");
        clock.advance_us(2_000_000);
        let held = other.acquire().await.unwrap().expect("expired");
        assert_eq!(winner.acquire().await.unwrap(), None);
        other.release(held).await.unwrap();
        assert!(winner.acquire().await.unwrap().is_some(), "given back");
    }

    #[tokio::test]
    async fn old_grants_are_cleaned_away() {
        let clock = ManualClock::at(0);
        let leases = contenders(1, &clock);
        for _ in 0..40 {
            assert!(leases[0].acquire().await.unwrap().is_some());
        }
        assert!(leases[0].epochs().await.unwrap().len() <= usize::try_from(EPOCHS_KEPT).unwrap() + 1);
    }
}
