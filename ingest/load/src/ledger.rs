//! What one lane has sent and what came of it: every event is taken, refused, lost, or in doubt, and counted as one of these.

use crate::tally::Tally;
use crate::verdict::Fate;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An event that is not settled.
#[derive(Debug)]
struct Entry {
    event_type: String,
    due: Duration,
    tried: bool,
    /// The server may have it without having said so.
    in_doubt: bool,
}

/// What the latency from "due" is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A request, which was due at this time.
    Request(Duration),
    /// Each event.
    Events,
}

#[derive(Debug)]
struct UnderWay {
    orders: Vec<u64>,
    since: Duration,
}

/// The books of a lane.
#[derive(Debug)]
pub(crate) struct Ledger {
    tally: Arc<Mutex<Tally>>,
    /// Of the next event, as the SDK counts them.
    next: u64,
    held: BTreeMap<u64, Entry>,
    due: Option<Due>,
    under_way: Option<UnderWay>,
}

impl Ledger {
    pub(crate) fn new(tally: Arc<Mutex<Tally>>) -> Self {
        Self { tally, next: 1, held: BTreeMap::new(), due: Some(Due::Events), under_way: None }
    }

    /// What comes now counts there, and is measured so.
    pub(crate) fn begin(&mut self, tally: Arc<Mutex<Tally>>, due: Due) {
        self.tally = tally;
        self.due = Some(due);
    }

    /// An event is about to be given to the SDK: its order.
    pub(crate) fn enter(&mut self, event_type: &str, due: Duration) -> u64 {
        let order = self.next;
        self.next += 1;
        self.held.insert(order, Entry { event_type: event_type.to_owned(), due, tried: false, in_doubt: false });
        order
    }

    /// The SDK did not take it.
    pub(crate) fn lost(&mut self, order: u64, reason: &str) {
        if self.held.remove(&order).is_some() {
            self.tally.lock().lose(reason);
        }
    }

    /// Whether everything is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.held.is_empty()
    }

    /// A request goes out with these events.
    pub(crate) fn posted(&mut self, orders: Vec<u64>, body_bytes: usize, now: Duration) {
        let mut again = 0;
        for order in &orders {
            if let Some(entry) = self.held.get_mut(order) {
                again += u64::from(entry.tried);
                entry.tried = true;
            }
        }
        let mut tally = self.tally.lock();
        tally.resent += again;
        tally.body_bytes += body_bytes as u64;
        self.under_way = Some(UnderWay { orders, since: now });
    }

    /// How many events are in the request under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.as_ref().map_or(0, |request| request.orders.len())
    }

    /// The request under way was answered, or won't be.
    pub(crate) fn answered(&mut self, fates: &[Fate], error: Option<String>, now: Duration) {
        let Some(UnderWay { orders, since }) = self.under_way.take() else { return };
        let mut tally = self.tally.lock();
        tally.requests += 1;
        tally.from_send.record(now.saturating_sub(since));
        if let Some(kind) = error {
            *tally.errors.entry(kind).or_default() += 1;
        }
        // A request that goes again has been measured: the first answer counts.
        if let Some(Due::Request(due)) = self.due {
            tally.first += 1;
            tally.from_due.record(now.saturating_sub(due));
            self.due = None;
        }
        for (order, fate) in orders.iter().zip(fates) {
            if let Fate::Again { in_doubt } = fate {
                if let Some(entry) = self.held.get_mut(order) {
                    entry.in_doubt |= in_doubt;
                }
                continue;
            }
            let Some(entry) = self.held.remove(order) else { continue };
            if *fate == Fate::Taken {
                tally.of_type(&entry.event_type).taken += 1;
                tally.repeated += u64::from(entry.in_doubt);
            } else {
                tally.refused += 1;
            }
            if self.due == Some(Due::Events) {
                tally.from_due.record(now.saturating_sub(entry.due));
            }
        }
    }

    /// The end: what is not settled is in doubt, or lost.
    pub(crate) fn close(&mut self) {
        let under_way = self.under_way.take().map(|request| request.orders).unwrap_or_default();
        let mut tally = self.tally.lock();
        for (order, entry) in std::mem::take(&mut self.held) {
            if entry.in_doubt || under_way.binary_search(&order).is_ok() {
                tally.of_type(&entry.event_type).unknown += 1;
            } else {
                tally.lose("unsent");
            }
        }
    }
}
