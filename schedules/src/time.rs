//! What time it is: asked of the store, not of this machine.
//!
//! Replicas decide about ticks by one clock, that of the store in which the decisions stand. A replica
//! whose own clock is months off then neither runs what isn't due nor takes what is due for missed. On a
//! local disk the store's clock is the machine's; a jump of that one is a jump for all.

use crate::journal::in_time;
use crate::{Error, Result};
use async_trait::async_trait;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{DynObjectStore, ObjectStoreExt as _};
use std::fmt::Debug;
use std::sync::Arc;

/// A clock that all replicas share.
#[async_trait]
pub trait SharedClock: Debug + Send + Sync + 'static {
    /// Now. May jump.
    ///
    /// # Errors
    /// If nobody can be asked.
    async fn now(&self) -> Result<Timestamp>;
}

/// The clock of an object store: the time at which it says that an object was just written.
#[derive(Debug, Clone)]
pub struct StoreClock {
    store: Arc<DynObjectStore>,
    path: Path,
}

impl StoreClock {
    /// The clock of this store; `path` is the object that is written for it, by all replicas.
    pub fn new(store: Arc<DynObjectStore>, path: Path) -> Self {
        Self { store, path }
    }
}

#[async_trait]
impl SharedClock for StoreClock {
    async fn now(&self) -> Result<Timestamp> {
        in_time(self.store.put(&self.path, bytes::Bytes::from_static(b"{}").into())).await?;
        let written = in_time(self.store.head(&self.path)).await?.last_modified;
        Timestamp::from_microsecond(written.timestamp_micros())
            .map_err(|error| Error::Corrupt { what: self.path.to_string(), detail: error.to_string() })
    }
}
