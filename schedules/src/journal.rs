//! The store as the scheduler uses it: where each object lies, and what may be done with it.
//!
//! ```text
//! <root>/<schedule>/<tick>.<ext>                      an output; created once
//! <root>/_history/<schedule>/<tick>/decision.json     what becomes of the tick; created once
//!                                   claim-0001.json   who goes on with it
//!                                   run-<sha256>.json what a run gave
//!                                   failure-0001.json a run that failed
//!                                   end.json          whether there will be an output; created once
//!                                   sent-<delivery>.0001.json   a try to deliver
//! <root>/_open/<schedule>/<tick>                      a tick that is not finished; may be there too long, never too short
//! <root>/_decided/<schedule>/<timetable>.json         up to where it is decided, at least
//! <root>/_clock                                       written to learn what time it is
//! ```

use crate::records::{Attempt, Claim, Cursor, Decision, End, Run};
use crate::tick::Tick;
use crate::timetable::Timetable;
use crate::{Error, Result};
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{DynObjectStore, ObjectStore as _, ObjectStoreExt as _, PutMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long the store may take for one request.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How far back the newest ticks are looked for, before everything is listed.
const LOOK_BACK_DAYS: [i64; 3] = [1, 10, 100];

/// The store, and the root below which everything lies.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    store: Arc<DynObjectStore>,
    root: Path,
}

/// All that is known about a tick.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) decision: Decision,
    /// The process that works on it.
    pub(crate) owner: String,
    pub(crate) claims: usize,
    pub(crate) runs: Vec<Run>,
    pub(crate) failures: Vec<Attempt>,
    /// Whether there will be an output, once that is settled.
    pub(crate) end: Option<End>,
    pub(crate) sent: BTreeMap<String, Vec<Attempt>>,
    /// Objects in the tick's folder: more than before means that somebody is at work.
    pub(crate) objects: usize,
}

impl Journal {
    pub(crate) fn new(store: Arc<DynObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    fn history(&self, schedule: &str) -> Path {
        self.root.clone().join("_history").join(schedule)
    }

    fn folder(&self, schedule: &str, tick: Tick) -> Path {
        self.history(schedule).join(tick.to_string())
    }

    fn open_mark(&self, schedule: &str, tick: Tick) -> Path {
        self.root.clone().join("_open").join(schedule).join(tick.to_string())
    }

    /// Where this output lies in the store.
    pub(crate) fn output_path(&self, output: &str) -> Path {
        output.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Puts it there if nothing is there; says whether it did. What is there may be ours all the same:
    /// a put whose answer was lost.
    async fn create(&self, path: &Path, body: Bytes) -> Result<bool> {
        match in_time(self.store.put_opts(path, body.into(), PutMode::Create.into())).await {
            Ok(_) => Ok(true),
            Err(Error::Store(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, path: &Path, body: Bytes) -> Result<()> {
        in_time(self.store.put(path, body.into())).await.map(drop)
    }

    async fn bytes(&self, path: &Path) -> Result<Option<Bytes>> {
        let got = in_time(async { self.store.get(path).await?.bytes().await }).await;
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let Some(bytes) = self.bytes(path).await? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|error| Error::Corrupt { what: path.to_string(), detail: error.to_string() })
    }

    /// Decides, unless that was done; gives the decision that stands.
    pub(crate) async fn decide(&self, decision: &Decision) -> Result<(Decision, bool)> {
        let path = self.folder(&decision.schedule, decision.tick).join("decision.json");
        if self.create(&path, json(decision)?).await? {
            return Ok((decision.clone(), true));
        }
        let standing: Decision = self.read(&path).await?.ok_or_else(|| lagging(&path))?;
        let is_ours = standing == *decision;
        Ok((standing, is_ours))
    }

    /// Marks a tick as not finished. Done before it is decided.
    pub(crate) async fn open(&self, schedule: &str, tick: Tick) -> Result<()> {
        self.put(&self.open_mark(schedule, tick), Bytes::from_static(b"{}")).await
    }

    /// Takes the mark away.
    pub(crate) async fn close(&self, schedule: &str, tick: Tick) -> Result<()> {
        match in_time(self.store.delete(&self.open_mark(schedule, tick))).await {
            Ok(()) | Err(Error::Store(object_store::Error::NotFound { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ticks that are not finished, and perhaps some that are.
    pub(crate) async fn open_ticks(&self) -> Result<Vec<(String, Tick)>> {
        let root = self.root.clone().join("_open");
        let found: Vec<_> = in_time(self.store.list(Some(&root)).try_collect()).await?;
        let key = |path: &Path| {
            let mut parts = path.prefix_match(&root)?;
            let schedule = parts.next()?.as_ref().to_owned();
            Some((schedule, Tick::parse(parts.next()?.as_ref())?))
        };
        let mut ticks: Vec<_> = found.iter().filter_map(|meta| key(&meta.location)).collect();
        ticks.sort_unstable();
        Ok(ticks)
    }

    fn cursor(&self, schedule: &str, timetable: &Timetable) -> Path {
        let name = hex(&Sha256::digest(format!("{}\n{}", timetable.pattern(), timetable.zone_name())));
        self.root.clone().join("_decided").join(schedule).join(format!("{}.json", &name[..16]))
    }

    /// Up to where a timetable is decided: at its first sight, up to now.
    pub(crate) async fn decided(&self, schedule: &str, timetable: &Timetable, now: Timestamp) -> Result<Timestamp> {
        let own = self.cursor(schedule, timetable);
        self.create(&own, json(&Cursor::of(timetable, now))?).await?;
        // Under another timetable a schedule was decided too; ticks of this one from before then were not due.
        let folder = self.root.clone().join("_decided").join(schedule);
        let all: Vec<_> = in_time(self.store.list(Some(&folder)).try_collect()).await?;
        let mut newest: Option<Timestamp> = None;
        for path in all.into_iter().map(|meta| meta.location).chain([own]) {
            let cursor: Option<Cursor> = self.read(&path).await?;
            newest = newest.max(cursor.map(|cursor| cursor.decided));
        }
        Ok(newest.unwrap_or(now))
    }

    /// Notes that everything up to `decided` is. What is noted may be older: it only saves looking.
    pub(crate) async fn note_decided(&self, schedule: &str, timetable: &Timetable, decided: Timestamp) -> Result<()> {
        self.put(&self.cursor(schedule, timetable), json(&Cursor::of(timetable, decided))?).await
    }

    /// All that stands about a tick; `None` if it isn't decided.
    pub(crate) async fn state(&self, schedule: &str, tick: Tick) -> Result<Option<State>> {
        let folder = self.folder(schedule, tick);
        let Some(decision) = self.read::<Decision>(&folder.clone().join("decision.json")).await? else {
            return Ok(None);
        };
        let found: Vec<_> = in_time(self.store.list(Some(&folder)).try_collect()).await?;
        let mut names: Vec<String> =
            found.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        let owner = decision.by.clone();
        let (runs, failures, sent) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut state = State { decision, owner, claims: 0, runs, failures, end: None, sent, objects: names.len() };
        for name in &names {
            let path = folder.clone().join(name.as_str());
            let Some(stem) = name.strip_suffix(".json") else { continue };
            if stem.starts_with("claim-") {
                state.claims += 1;
                state.owner = self.read::<Claim>(&path).await?.map_or(state.owner, |claim| claim.by);
            } else if stem == "end" {
                state.end = self.read(&path).await?;
            } else if stem.starts_with("run-") {
                state.runs.extend(self.read(&path).await?);
            } else if stem.starts_with("failure-") {
                state.failures.extend(self.read(&path).await?);
            } else if let Some((delivery, _)) = stem.strip_prefix("sent-").and_then(|rest| rest.rsplit_once('.')) {
                state.sent.entry(delivery.to_owned()).or_default().extend(self.read::<Attempt>(&path).await?);
            }
        }
        Ok(Some(state))
    }

    /// Takes a tick over, unless somebody else does.
    pub(crate) async fn claim(&self, state: &State, by: &str, at: Timestamp) -> Result<bool> {
        let folder = self.folder(&state.decision.schedule, state.decision.tick);
        let path = folder.join(format!("claim-{:04}.json", state.claims + 1));
        let claim = Claim { by: by.to_owned(), at };
        if self.create(&path, json(&claim)?).await? {
            return Ok(true);
        }
        Ok(self.read::<Claim>(&path).await?.is_some_and(|standing| standing == claim))
    }

    /// Settles whether there will be an output, unless that is; how it stands.
    pub(crate) async fn end(&self, decision: &Decision, end: End) -> Result<End> {
        let path = self.folder(&decision.schedule, decision.tick).join("end.json");
        if self.create(&path, json(&end)?).await? {
            return Ok(end);
        }
        self.read(&path).await?.ok_or_else(|| lagging(&path))
    }

    /// Notes what a run gave, before its output is stored.
    pub(crate) async fn note_run(&self, decision: &Decision, run: &Run) -> Result<()> {
        let folder = self.folder(&decision.schedule, decision.tick);
        self.create(&folder.join(format!("run-{}.json", &run.sha256[..16])), json(run)?).await.map(drop)
    }

    /// Notes a run that failed.
    pub(crate) async fn note_failure(&self, decision: &Decision, before: usize, attempt: &Attempt) -> Result<()> {
        self.note(decision, "failure-", before, attempt).await
    }

    /// Notes a try to deliver.
    pub(crate) async fn note_sent(
        &self,
        decision: &Decision,
        delivery: &str,
        before: usize,
        attempt: &Attempt,
    ) -> Result<()> {
        self.note(decision, &format!("sent-{delivery}."), before, attempt).await
    }

    async fn note(&self, decision: &Decision, name: &str, before: usize, attempt: &Attempt) -> Result<()> {
        let folder = self.folder(&decision.schedule, decision.tick);
        for number in before + 1.. {
            let path = folder.clone().join(format!("{name}{number:04}.json"));
            if self.create(&path, json(attempt)?).await? || self.read::<Attempt>(&path).await?.as_ref() == Some(attempt)
            {
                break;
            }
        }
        Ok(())
    }

    /// Stores an output unless there is one.
    pub(crate) async fn store_output(&self, output: &str, body: Bytes) -> Result<bool> {
        self.create(&self.output_path(output), body).await
    }

    /// The output that is stored.
    pub(crate) async fn output(&self, output: &str) -> Result<Option<Bytes>> {
        self.bytes(&self.output_path(output)).await
    }

    /// Bytes of the output, if one is stored.
    pub(crate) async fn output_bytes(&self, output: &str) -> Result<Option<u64>> {
        self.size(&self.output_path(output)).await
    }

    /// Whether the tick is marked as not finished.
    pub(crate) async fn is_open(&self, schedule: &str, tick: Tick) -> Result<bool> {
        Ok(self.size(&self.open_mark(schedule, tick)).await?.is_some())
    }

    async fn size(&self, path: &Path) -> Result<Option<u64>> {
        match in_time(self.store.head(path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest ticks of a schedule that anything stands about, newest first. Looks back from `now` in
    /// growing steps: the whole history may be long.
    pub(crate) async fn newest(&self, schedule: &str, count: usize, now: Timestamp) -> Result<Vec<Tick>> {
        let history = self.history(schedule);
        let mut ticks = BTreeSet::new();
        for days in LOOK_BACK_DAYS {
            let Ok(from) = now.checked_sub(SignedDuration::from_hours(24 * days)) else { break };
            let offset = history.clone().join(Tick::scheduled(from).to_string());
            let found: Vec<_> = in_time(self.store.list_with_offset(Some(&history), &offset).try_collect()).await?;
            ticks.extend(found.iter().filter_map(|meta| tick_in(&history, &meta.location)));
            if ticks.len() >= count {
                return Ok(ticks.into_iter().rev().take(count).collect());
            }
        }
        let listed = in_time(self.store.list_with_delimiter(Some(&history))).await?;
        ticks.extend(listed.common_prefixes.iter().filter_map(|path| tick_in(&history, path)));
        Ok(ticks.into_iter().rev().take(count).collect())
    }
}

/// The tick whose folder this lies in.
fn tick_in(history: &Path, path: &Path) -> Option<Tick> {
    Tick::parse(path.prefix_match(history)?.next()?.as_ref())
}

/// What is there, and can't be read.
fn lagging(path: &Path) -> Error {
    let detail = "it is there and it is not: the store's listing or reads lag behind its writes".into();
    Error::Corrupt { what: path.to_string(), detail }
}

impl Cursor {
    fn of(timetable: &Timetable, decided: Timestamp) -> Self {
        Self { decided, cron: timetable.pattern().to_owned(), zone: timetable.zone_name().to_owned() }
    }
}

/// An answer of the store, or that there was none in time.
pub(crate) async fn in_time<T>(answer: impl Future<Output = object_store::Result<T>>) -> Result<T> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Late(ANSWER_LIMIT)),
    }
}

fn json(value: &impl Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec_pretty(value);
    text.map(Bytes::from).map_err(|error| Error::Corrupt { what: "a record".into(), detail: error.to_string() })
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
