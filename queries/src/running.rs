//! Queries that wait, run or end, whichever way they came: who asked, since when, and how to end them.
//!
//! One is here for as long as somebody wants its answer, or it holds a place among those that run: an operator that
//! doesn't yield keeps its place after its asker has gone.

use crate::{Error, Result};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use uuid::Uuid;

const ENDING: &str = "ending";
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
    /// `waiting` for a place, `running`, `ending`: nobody wants it any more, and it holds its place still; or `open`:
    /// answered in part, its pages kept.
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
    /// Whether somebody waits for the answer.
    is_asked: bool,
    place: Place,
}

/// How a query stands to the places for those that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Awaited,
    Held,
    GivenBack,
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
        let entry =
            Entry { since: now(), sql_bytes, token: token.clone(), task: None, is_asked: true, place: Place::Awaited };
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
        let seen = entries.iter().filter(|((name, _), _)| only.is_none_or(|only| **name == *only));
        let listed = seen.filter_map(|((name, id), entry)| {
            Some(Listed {
                id: id.clone(),
                principal: name.clone(),
                state: entry.state()?,
                since: entry.since.clone(),
                sql_bytes: entry.sql_bytes,
            })
        });
        listed.collect()
    }

    /// How many hold a place though nobody wants them any more.
    pub(crate) fn ending(&self) -> usize {
        self.0.lock().values().filter(|entry| entry.state() == Some(ENDING)).count()
    }

    /// Changes an entry, and lets go of it when neither an asker nor a place is left.
    fn change(&self, key: &Key, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.lock();
        let Some(entry) = entries.get_mut(key) else { return };
        change(entry);
        if !entry.is_asked && entry.place != Place::Held {
            entries.remove(key);
        }
    }

    /// Ends those of this id, of one asker or of any. Says whether there was one.
    pub(crate) fn cancel(&self, id: &str, only: Option<&str>) -> bool {
        let entries = self.0.lock();
        let mut is_any = false;
        for ((name, of), entry) in entries.iter() {
            if **of == *id && only.is_none_or(|only| **name == *only) && entry.state().is_some() {
                if !entry.token.is_cancelled() {
                    entry.cancel();
                    metrics::counter!("killfeed_queries_cancelled_total").increment(1);
                }
                is_any = true;
            }
        }
        is_any
    }
}

impl Entry {
    /// `None` for one that has ended, whose asker has not heard of it yet.
    fn state(&self) -> Option<&'static str> {
        let is_wanted = self.is_asked && !self.token.is_cancelled();
        match (self.place, is_wanted) {
            (Place::Awaited, true) => Some("waiting"),
            // Of one that gave its place back the last rows are read.
            (Place::Held | Place::GivenBack, true) => Some("running"),
            (Place::Held, false) => Some(ENDING),
            (Place::Awaited | Place::GivenBack, false) => None,
        }
    }

    fn cancel(&self) {
        self.token.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// That somebody wants the answer, until this is dropped.
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

    /// The query has a place among those that run, until what this gives is dropped.
    pub(crate) fn placed(&self) -> Placed {
        self.queries.change(&self.key, |entry| entry.place = Place::Held);
        Placed { queries: self.queries.clone(), key: self.key.clone() }
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
        self.queries.change(&self.key, |entry| entry.is_asked = false);
    }
}

/// That a query holds a place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Placed {
    queries: Queries,
    key: Key,
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.queries.change(&self.key, |entry| entry.place = Place::GivenBack);
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

    #[test]
    fn a_query_is_listed_until_neither_its_asker_nor_its_place_is_left() {
        let queries = Queries::default();
        let ann = Arc::<str>::from("ann");
        let states = || queries.list(None).iter().map(|listed| listed.state).collect::<Vec<_>>();
        let ticket = queries.enter(&ann, Some("q"), 8).unwrap();
        assert_eq!(states(), ["waiting"]);
        let placed = ticket.placed();
        assert_eq!((states(), queries.ending()), (vec!["running"], 0));
        // Its asker goes, and it doesn't yield.
        drop(ticket);
        assert_eq!((states(), queries.ending()), (vec!["ending"], 1));
        assert!(matches!(queries.enter(&ann, Some("q"), 8), Err(Error::Taken(_))));
        assert!(queries.cancel("q", Some("ann")) && queries.cancel("q", None), "it is listed");
        drop(placed);
        assert_eq!((states(), queries.ending()), (vec![], 0));
        // It ends, and its asker has rows to read.
        let ticket = queries.enter(&ann, Some("q"), 8).unwrap();
        drop(ticket.placed());
        assert_eq!(states(), ["running"]);
        // It is ended by somebody, and its asker doesn't read.
        let placed = ticket.placed();
        assert!(queries.cancel("q", None));
        assert_eq!(states(), ["ending"]);
        drop(placed);
        assert!(states().is_empty() && !queries.cancel("q", None));
        drop(ticket);
        assert!(queries.enter(&ann, Some("q"), 8).is_ok());
    }
}
