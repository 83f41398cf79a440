//! An API in memory that loses, delays and refuses by a seed, and knows what arrived first.

use crate::time::World;
use outbox::{Api, Clock as _, Limits, Published, Reply, Verdict, Windows};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// What the API publishes.
pub(crate) fn published() -> Published {
    Published {
        dedupe: Windows { window_s: 86_400, window_s_by_type: HashMap::new() },
        limits: Limits { event_bytes: 1_000_000, batch_events: 10_000, body_bytes: 8 << 20 },
    }
}

/// The API: shared by relays.
#[derive(Clone)]
pub(crate) struct Collector(Arc<Mutex<State>>, World);

struct State {
    /// Ids, each at its first arrival.
    first: Vec<String>,
    seen: HashSet<String>,
    random: ChaCha8Rng,
    faults: f64,
}

/// What happens to a request.
enum Fate {
    Well,
    /// It never arrives.
    Lost,
    /// It arrives long after the relay has given it up.
    Late,
    /// It arrives, and the answer is lost.
    Unanswered,
    Refused,
    TooLarge,
    /// Some orders have to be sent again.
    Partial,
}

impl Collector {
    pub(crate) fn new(world: &World, seed: u64, faults: f64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State { first: vec![], seen: HashSet::new(), random, faults })), world.clone())
    }

    /// Ids in the order of their first arrival.
    pub(crate) fn first(&self) -> Vec<String> {
        self.0.lock().unwrap().first.clone()
    }

    pub(crate) fn faultless(&self) {
        self.0.lock().unwrap().faults = 0.0;
    }

    fn keep(&self, ids: &[String]) {
        let mut state = self.0.lock().unwrap();
        for id in ids {
            if state.seen.insert(id.clone()) {
                state.first.push(id.clone());
            }
        }
    }

    fn fate(&self, size: usize) -> (Fate, Duration, Duration) {
        let mut state = self.0.lock().unwrap();
        let faults = state.faults;
        let there = Duration::from_micros(state.random.random_range(0..20_000));
        let late = Duration::from_millis(state.random.random_range(100..5_000));
        if !state.random.random_bool(faults) {
            return (Fate::Well, there, late);
        }
        let fate = match state.random.random_range(0..6) {
            0 => Fate::Lost,
            1 => Fate::Late,
            2 => Fate::Unanswered,
            3 => Fate::Refused,
            4 if size > 1 => Fate::TooLarge,
            _ => Fate::Partial,
        };
        (fate, there, late)
    }

    /// Some orders fail; once one has, so do all later events of it.
    fn partial(&self, events: &[(String, String)]) -> Vec<Verdict> {
        let mut failing = HashMap::new();
        let mut verdicts = Vec::new();
        for (id, order) in events {
            let (fails, in_doubt, keeps) = {
                let random = &mut self.0.lock().unwrap().random;
                (random.random_bool(0.2), random.random_bool(0.5), random.random_bool(0.5))
            };
            let began = failing.contains_key(order);
            if began || fails {
                let unknown = *failing.entry(order.clone()).or_insert(in_doubt);
                // In doubt is an append: all of the order's, or none; here only its first, which is worse.
                if unknown && !began && keeps {
                    self.keep(std::slice::from_ref(id));
                }
                verdicts.push(Verdict::Again { why: "503: as told".into(), unknown });
            } else {
                self.keep(std::slice::from_ref(id));
                verdicts.push(Verdict::Accepted);
            }
        }
        verdicts
    }

    async fn answer(self, events: Vec<(String, String)>) -> Reply {
        let (fate, there, late) = self.fate(events.len());
        self.1.clock.sleep(there).await;
        let ids: Vec<String> = events.iter().map(|(id, _)| id.clone()).collect();
        let failed = |unknown| Reply::Failed { why: "as told".into(), unknown, retry_after: None };
        match fate {
            Fate::Well => {
                self.keep(&ids);
                Reply::Answered { verdicts: vec![Verdict::Accepted; ids.len()], retry_after: None }
            }
            Fate::Lost => failed(true),
            Fate::Late => {
                let world = self.1.clone();
                world.spawn(async move {
                    self.1.clock.sleep(late).await;
                    self.keep(&ids);
                });
                failed(true)
            }
            Fate::Unanswered => {
                self.keep(&ids);
                failed(true)
            }
            Fate::Refused => {
                Reply::Failed { why: "503".into(), unknown: false, retry_after: Some(Duration::from_secs(1)) }
            }
            Fate::TooLarge => Reply::TooLarge("413: as told".into()),
            Fate::Partial => Reply::Answered { verdicts: self.partial(&events), retry_after: None },
        }
    }
}

impl Api for Collector {
    async fn published(&self) -> Result<Published, String> {
        Ok(published())
    }

    async fn send(&self, lines: &[String], ids: &[&str]) -> Reply {
        let orders = lines.iter().map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["partition"].as_str().unwrap_or_default().to_owned()
        });
        let events = ids.iter().map(|id| (*id).to_owned()).zip(orders).collect();
        // On a task of its own: what is on its way arrives, whatever becomes of the relay.
        let (answered, answer) = oneshot::channel();
        let api = self.clone();
        self.1.spawn(async move { answered.send(api.answer(events).await) });
        answer.await.unwrap_or(Reply::Failed { why: "gone".into(), unknown: true, retry_after: None })
    }
}
