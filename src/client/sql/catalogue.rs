//! The tables that completion knows, read from the server beside the session.

use super::complete::{Catalogue, Table};
use crate::client::http::Client;
use reqwest::Method;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What is older is read anew when it is asked for.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long after a reading that failed none is tried.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a reading may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// What the server has, as far as it is known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    client: Client,
    runtime: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    catalogue: Arc<Catalogue>,
    /// Whether there was ever an answer.
    is_known: bool,
    is_reading: bool,
    /// When the next reading is due, if there was one.
    due: Option<Instant>,
}

impl Known {
    /// Nothing yet; a reading begins.
    pub(super) fn new(client: Client, runtime: Handle) -> Self {
        let known = Self { client, runtime, state: Arc::default() };
        known.refresh();
        known
    }

    /// What is known now. It is read anew beside that if it is old.
    pub(super) fn get(&self) -> Arc<Catalogue> {
        self.refresh();
        self.state().catalogue.clone()
    }

    /// Whether nothing is known, but about to be.
    pub(super) fn is_coming(&self) -> bool {
        let state = self.state();
        state.is_reading && !state.is_known
    }

    fn refresh(&self) {
        let mut state = self.state();
        if state.is_reading || state.due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        state.is_reading = true;
        let (client, known) = (self.client.clone(), self.clone());
        self.runtime.spawn(async move {
            let read = read(&client).await;
            let mut state = known.state();
            state.is_reading = false;
            state.due = Some(Instant::now() + if read.is_some() { AGE_MAX } else { PAUSE });
            if let Some(catalogue) = read {
                (state.catalogue, state.is_known) = (Arc::new(catalogue), true);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without an answer there is nothing to complete, and nothing to say: the next statement says it.
async fn read(client: &Client) -> Option<Catalogue> {
    let answer = client.json(client.request(Method::GET, "/v1/tables"));
    let answer = tokio::time::timeout(TIME_MAX, answer).await.ok()?.ok()?;
    let tables: Vec<Table> = serde_json::from_value(answer).ok()?;
    Some(Catalogue::new(tables))
}
