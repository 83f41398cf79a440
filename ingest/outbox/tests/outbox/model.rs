//! A table in memory that keeps the laws of `Store`, and fails and crashes by a seed.

use crate::time::World;
use outbox::{Clock as _, Row, Settled, Store, StoreError, Want};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LANES: u64 = 4;

/// The database: shared by relays and writers.
#[derive(Clone)]
pub(crate) struct Table(Arc<Mutex<State>>);

struct State {
    rows: BTreeMap<i64, Entry>,
    next_seq: i64,
    /// Which session has which lane.
    lanes: HashMap<u64, u64>,
    next_session: u64,
    random: ChaCha8Rng,
    /// Share of calls that fail.
    faults: f64,
    world: World,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) row: Row,
    pub(crate) committed: bool,
    pub(crate) doubt_since: Option<Duration>,
    pub(crate) attempts: u32,
    /// Delivered, or refused for a reason.
    pub(crate) settled: Option<Result<(), String>>,
}

impl Table {
    pub(crate) fn new(world: &World, seed: u64, faults: f64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let state = State {
            rows: BTreeMap::new(),
            next_seq: 1,
            lanes: HashMap::new(),
            next_session: 1,
            random,
            faults,
            world: world.clone(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Inserts a row of a transaction that is still open.
    pub(crate) fn insert(&self, key: Option<&str>) -> Row {
        let mut state = self.0.lock().unwrap();
        let seq = state.next_seq;
        state.next_seq += 1;
        let id = format!("id-{seq}");
        let row = Row {
            seq,
            order: key.unwrap_or(&id).to_owned(),
            attributes: serde_json::json!({ "partition": key.unwrap_or(&id) }).to_string(),
            id,
            event_type: "t".into(),
            source: "/s".into(),
            time: "2026-11-21T00:00:00Z".into(),
            ..Row::default()
        };
        let entry = Entry { row: row.clone(), committed: false, doubt_since: None, attempts: 0, settled: None };
        state.rows.insert(seq, entry);
        row
    }

    /// A row that is committed at once.
    pub(crate) fn add(&self, key: Option<&str>) -> Row {
        let row = self.insert(key);
        self.commit(&[row.seq]);
        row
    }

    pub(crate) fn commit(&self, seqs: &[i64]) {
        let mut state = self.0.lock().unwrap();
        seqs.iter().for_each(|seq| state.rows.get_mut(seq).unwrap().committed = true);
    }

    pub(crate) fn roll_back(&self, seqs: &[i64]) {
        let mut state = self.0.lock().unwrap();
        seqs.iter().for_each(|seq| drop(state.rows.remove(seq)));
    }

    /// Changes a row behind the relay's back.
    pub(crate) fn change(&self, seq: i64, change: impl FnOnce(&mut Entry)) {
        change(self.0.lock().unwrap().rows.get_mut(&seq).unwrap());
    }

    pub(crate) fn entry(&self, seq: i64) -> Entry {
        self.0.lock().unwrap().rows[&seq].clone()
    }

    /// Every session ends, and every lock.
    pub(crate) fn crash(&self) {
        self.0.lock().unwrap().lanes.clear();
    }

    pub(crate) fn faultless(&self) {
        self.0.lock().unwrap().faults = 0.0;
    }

    /// Committed rows that nothing has become of yet.
    pub(crate) fn left(&self) -> usize {
        let state = self.0.lock().unwrap();
        state.rows.values().filter(|entry| entry.committed && entry.settled.is_none()).count()
    }

    pub(crate) fn store(&self) -> MemoryStore {
        MemoryStore {
            world: self.0.lock().unwrap().world.clone(),
            table: self.clone(),
            session: None,
            lanes: Vec::new(),
        }
    }
}

impl State {
    fn fails(&mut self) -> bool {
        let faults = self.faults;
        self.random.random_bool(faults)
    }

    fn claim(&mut self, session: u64, want: &Want) -> Vec<Row> {
        let now = self.world.clock.now();
        let start = self.random.random_range(0..LANES);
        let free = (0..LANES).map(|lane| (lane + start) % LANES).filter(|lane| !self.lanes.contains_key(lane));
        // Where nothing fails, one relay is at work, and takes all.
        let share = if self.faults > 0.0 { 2 } else { LANES };
        let lanes: Vec<u64> = free.take(usize::try_from(share).unwrap()).collect();
        self.lanes.extend(lanes.iter().map(|lane| (*lane, session)));
        let pending = self.rows.values_mut().filter(|entry| {
            let mut hasher = DefaultHasher::new();
            entry.row.order.hash(&mut hasher);
            entry.committed
                && entry.settled.is_none()
                && lanes.contains(&(hasher.finish() % LANES))
                && !want.blocked.contains(&entry.row.order)
        });
        let claimed = pending.take(want.rows).map(|entry| {
            entry.attempts += 1;
            let doubt = entry.doubt_since.map(|since| now - since);
            entry.doubt_since.get_or_insert(now);
            Row { doubt, ..entry.row.clone() }
        });
        claimed.collect()
    }

    fn settle(&mut self, settled: &Settled) {
        for seq in &settled.delivered {
            self.rows.get_mut(seq).unwrap().settled = Some(Ok(()));
        }
        for (seq, why) in &settled.refused {
            self.rows.get_mut(seq).unwrap().settled = Some(Err(why.clone()));
        }
        for seq in &settled.cleared {
            self.rows.get_mut(seq).unwrap().doubt_since = None;
        }
    }
}

/// One relay's connection. Dropping it ends its session.
pub(crate) struct MemoryStore {
    world: World,
    table: Table,
    session: Option<u64>,
    /// Lanes that this session took, if the database didn't crash since.
    lanes: Vec<u64>,
}

impl MemoryStore {
    fn leave(&mut self) {
        let mut state = self.table.0.lock().unwrap();
        let session = self.session;
        state.lanes.retain(|_, holder| Some(*holder) != session);
        self.lanes.clear();
    }

    fn lose(&mut self, why: &str) -> StoreError {
        self.leave();
        self.session = None;
        StoreError::Gone(why.into())
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Store for MemoryStore {
    async fn claim(&mut self, want: &Want) -> Result<Vec<Row>, StoreError> {
        self.world.sleep_ms(1).await;
        let (rows, fails) = {
            let mut state = self.table.0.lock().unwrap();
            if state.fails() {
                drop(state);
                return Err(self.lose("before the claim"));
            }
            let session = *self.session.get_or_insert_with(|| {
                state.next_session += 1;
                state.next_session
            });
            let rows = state.claim(session, want);
            self.lanes = state.lanes.iter().filter(|(_, of)| **of == session).map(|(lane, _)| *lane).collect();
            (rows, state.fails())
        };
        if fails {
            return Err(self.lose("after the claim"));
        }
        if rows.is_empty() {
            self.leave();
        }
        Ok(rows)
    }

    async fn settle(&mut self, settled: &Settled) -> Result<(), StoreError> {
        self.world.sleep_ms(1).await;
        let fate = {
            let mut state = self.table.0.lock().unwrap();
            if self.lanes.iter().any(|lane| state.lanes.get(lane).copied() != self.session) {
                Some("the session is gone")
            } else if state.fails() {
                Some("before the settlement")
            } else {
                state.settle(settled);
                state.fails().then_some("after the settlement")
            }
        };
        match fate {
            Some(why) => Err(self.lose(why)),
            None => {
                self.leave();
                Ok(())
            }
        }
    }

    async fn idle(&mut self, at_most: Duration) {
        self.world.clock.sleep(at_most).await;
    }
}
