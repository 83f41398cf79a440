//! Queries that wait or run, whichever way they came: who asked, since when, and how to end them.

use crate::{Error, Result};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use uuid::Uuid;

/// Characters that an id may have.
const ID_LENGTH_MAX: usize = 64;

/// Who asked, and the id: one asker's ids are nothing to another.
pub(crate) type Key = (Arc<str>, Arc<str>);

/// What is told of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) id: Arc<str>,
    /// Whose key asked.
    pub(crate) principal: Arc<str>,
    /// `running`, or `open`: answered in part, its pages kept.
    pub(crate) state: &'static str,
    /// RFC 3339.
    pub(crate) since: String,
    pub(crate) sql_bytes: usize,
}

/// All of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries(Arc<Mutex<BTreeMap<Key, Entry>>>);

#[derive(Debug)]
struct Entry {
    since: String,
    sql_bytes: usize,
    token: CancellationToken,
    task: Option<AbortHandle>,
}

impl Queries {
    /// Enters a query under the id that its asker gave it, or one that is made for it.
    ///
    /// # Errors
    /// If the id is none, or the asker has one running under it.
    pub(crate) fn enter(&self, name: &Arc<str>, id: Option<&str>, sql_bytes: usize) -> Result<Ticket> {
        let id: Arc<str> = match id {
            None => Uuid::new_v4().to_string().into(),
            Some(id) => checked(id)?.into(),
        };
        let key = (name.clone(), id);
        let token = CancellationToken::new();
        let entry = Entry { since: now(), sql_bytes, token: token.clone(), task: None };
        let mut entries = self.0.lock();
        if entries.contains_key(&key) {
            return Err(Error::Taken(key.1.to_string()));
        }
        entries.insert(key.clone(), entry);
        Ok(Ticket { queries: self.clone(), key, token })
    }

    /// All, or those of one asker.
    pub(crate) fn list(&self, only: Option<&str>) -> Vec<Listed> {
        let entries = self.0.lock();
        let seen = entries.iter().filter(|((name, _), entry)| {
            // One that was ended may still have an asker who doesn't read.
            !entry.token.is_cancelled() && only.is_none_or(|only| **name == *only)
        });
        let listed = seen.map(|((name, id), entry)| Listed {
            id: id.clone(),
            principal: name.clone(),
            state: "running",
            since: entry.since.clone(),
            sql_bytes: entry.sql_bytes,
        });
        listed.collect()
    }

    /// Ends those of this id, of one asker or of any. Says whether there was one.
    pub(crate) fn cancel(&self, id: &str, only: Option<&str>) -> bool {
        let entries = self.0.lock();
        let mut is_any = false;
        for ((name, of), entry) in entries.iter() {
            if **of == *id && only.is_none_or(|only| **name == *only) && !entry.token.is_cancelled() {
                entry.cancel();
                metrics::counter!("killfeed_queries_cancelled_total").increment(1);
                is_any = true;
            }
        }
        is_any
    }
}

impl Entry {
    fn cancel(&self) {
        self.token.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A query's place in the list; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    queries: Queries,
    key: Key,
    token: CancellationToken,
}

impl Ticket {
    pub(crate) fn id(&self) -> Arc<str> {
        self.key.1.clone()
    }

    /// Names the task that has to end with it.
    pub(crate) fn runs(&self, task: AbortHandle) {
        if let Some(entry) = self.queries.0.lock().get_mut(&self.key) {
            if self.token.is_cancelled() {
                task.abort();
            }
            entry.task = Some(task);
        }
    }

    /// Ends when somebody ended the query.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queries.0.lock().remove(&self.key);
    }
}

/// An id: letters, digits, `.`, `_` and `-`.
fn checked(id: &str) -> Result<&str> {
    let is_id = !id.is_empty()
        && id.len() <= ID_LENGTH_MAX
        && id.bytes().all(|c| c.is_ascii_alphanumeric() || [b'.', b'_', b'-'].contains(&c));
    if is_id {
        return Ok(id);
    }
    let rule = format!("the id of a query is 1 to {ID_LENGTH_MAX} letters, digits, '.', '_' or '-'");
    Err(Error::Refused(rule))
}

/// RFC 3339.
pub(crate) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_askers_own() {
        let queries = Queries::default();
        let [ann, bob] = ["ann", "bob"].map(Arc::<str>::from);
        let of_ann = queries.enter(&ann, Some("q-1"), 8).unwrap();
        let of_bob = queries.enter(&bob, Some("q-1"), 9).unwrap();
        let made = queries.enter(&bob, None, 10).unwrap();
        assert!(matches!(queries.enter(&ann, Some("q-1"), 8), Err(Error::Taken(_))));
        for wrong in ["", "a b", "ä", "x/y", &"x".repeat(65)] {
            assert!(matches!(queries.enter(&ann, Some(wrong), 8), Err(Error::Refused(_))), "{wrong:?}");
        }
        assert_eq!((queries.list(None).len(), queries.list(Some("ann")).len()), (3, 1));
        assert!(queries.cancel("q-1", Some("bob")) && !queries.cancel("q-2", None));
        assert!(of_bob.token().is_cancelled() && !of_ann.token().is_cancelled() && !made.token().is_cancelled());
        assert!(queries.cancel("q-1", None) && of_ann.token().is_cancelled());
        assert!(!queries.cancel("q-1", None) && queries.list(None).len() == 1);
        drop((of_ann, of_bob, made));
        assert!(queries.list(None).is_empty());
    }
}
