//! What the game's threads and the background thread share: events in memory, counts, and who wakes whom.

use crate::config::{Config, Delivery, OnFull};
use crate::event::{Common, Event, LOSS_TYPE};
use crate::loss::{Losses, Reason, Told};
use crate::ports::Clock;
use crate::remote::Sampling;
use crate::stats::Numbers;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An event in memory.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its place among all events of this client, from 1 on.
    pub(crate) order: u64,
    pub(crate) at: Duration,
    /// Memory that it takes, about, in bytes.
    pub(crate) cost: usize,
    /// One of so many was kept.
    pub(crate) rate: u32,
    pub(crate) common: Arc<Common>,
    pub(crate) event: Event,
}

/// Events in memory, and what has to be known to take one more.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Oldest first; nobody has them in hand.
    pub(crate) waiting: VecDeque<Held>,
    /// Memory of `waiting`.
    pub(crate) waiting_bytes: usize,
    /// To be written to the store; oldest first.
    pub(crate) arriving: VecDeque<Held>,
    /// All in memory, those in the background thread's hands included.
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) next_order: u64,
    pub(crate) common: Arc<Common>,
    pub(crate) sampling: Sampling,
    /// The server wants no events.
    pub(crate) is_off: bool,
    pub(crate) event_bytes: usize,
    pub(crate) consent: bool,
    pub(crate) purge: bool,
    pub(crate) closed: bool,
    /// Events before this are due at once.
    pub(crate) due_below: u64,
    /// A report of losses is due at once.
    pub(crate) report: bool,
    /// One has been made, and is neither delivered nor lost.
    pub(crate) reporting: bool,
    /// Events given to `send`, taken or not.
    pub(crate) sent: u64,
    /// Up to where the background thread had looked when it last said how long it would sleep.
    pub(crate) seen_order: u64,
    /// The background thread waits for an answer, or after a failure, with events to send.
    pub(crate) busy: bool,
    /// It knows that there are losses to be told.
    pub(crate) losses_known: bool,
    /// The background thread sleeps till then, unless `waiting` grows to this, or it is nudged.
    pub(crate) asleep_until: Duration,
    pub(crate) wanted_events: usize,
    pub(crate) wanted_bytes: usize,
    pub(crate) nudged: bool,
    /// Everything before this order is delivered or lost.
    pub(crate) settled_below: u64,
    /// A session began or ended.
    pub(crate) session_changed: bool,
    /// The background thread is to end.
    pub(crate) stop: bool,
    /// It has.
    pub(crate) ended: bool,
}

/// Shared by all handles and the background thread.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    /// Begins every event's id; its own for each client.
    pub(crate) prefix: String,
    pub(crate) has_store: bool,
    queue: Mutex<Queue>,
    /// For the background thread.
    wake: Condvar,
    /// For those who wait in flush and close.
    settled: Condvar,
    pub(crate) losses: Mutex<Losses>,
    pub(crate) numbers: Mutex<Numbers>,
    pub(crate) session: Mutex<Option<Session>>,
}

/// A session under way.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) player: String,
    pub(crate) began: Duration,
}

/// Whose an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The game's.
    Game,
    /// Begin or end of a session: counted like the game's, never sampled as long as anything is sent, and stored.
    Session,
    /// A report of losses: the same, but counted nowhere.
    Report,
}

/// What became of an event that was given to `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is held, and will be delivered or counted.
    Taken,
    /// It was lost at once, and counted.
    Lost(Reason),
}

impl Shared {
    pub(crate) fn new(config: Config, clock: Arc<dyn Clock>, prefix: String, has_store: bool) -> Self {
        let queue = Queue {
            waiting: VecDeque::with_capacity(config.batch_events.min(config.queue_events)),
            waiting_bytes: 0,
            arriving: VecDeque::new(),
            events: 0,
            bytes: 0,
            next_order: 1,
            common: Arc::default(),
            sampling: Sampling::default(),
            is_off: false,
            event_bytes: config.event_bytes,
            consent: config.consent,
            purge: false,
            closed: false,
            due_below: 0,
            report: false,
            reporting: false,
            sent: 0,
            seen_order: 0,
            busy: false,
            losses_known: false,
            asleep_until: Duration::ZERO,
            wanted_events: 0,
            wanted_bytes: 0,
            nudged: false,
            settled_below: 0,
            session_changed: false,
            stop: false,
            ended: false,
        };
        Self {
            config,
            clock,
            prefix,
            has_store,
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            settled: Condvar::new(),
            losses: Mutex::default(),
            numbers: Mutex::default(),
            session: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Takes an event: its order. Or says why not, which is counted.
    pub(crate) fn admit(&self, event: Event, kind: Kind) -> Result<u64, Reason> {
        let internal = kind != Kind::Game;
        let config = &self.config;
        let cost = event.cost();
        let least_bytes = event.least_bytes();
        let sound = event.is_sound();
        let stored = self.has_store && (internal || config.delivery_of(&event.event_type) == Delivery::Stored);
        let mut dropped = Vec::new();
        let mut queue = self.lock();
        // The last report is made when the last event is settled.
        let lost = if queue.closed && kind != Kind::Report {
            Some(Reason::Closed)
        } else if !queue.consent {
            Some(Reason::NoConsent)
        } else if !sound {
            Some(Reason::Refused)
        } else if least_bytes > queue.event_bytes {
            Some(Reason::TooLarge)
        } else {
            None
        };
        let order = queue.next_order;
        queue.sent += u64::from(kind != Kind::Report);
        queue.next_order += 1;
        let rate = if internal || lost.is_some() { 1 } else { queue.sampling.of(&event.event_type) };
        // Of losses it is still told: it is how a studio sees what the switch costs.
        let is_off = queue.is_off && kind != Kind::Report;
        let is_left_out = is_off || (rate > 1 && !self.draw(order, rate));
        let lost = lost.or_else(|| is_left_out.then_some(Reason::Sampled));
        let lost = lost.or_else(|| self.make_room(&mut queue, cost, stored, internal, &mut dropped));
        if let Some(reason) = lost {
            drop(queue);
            self.lose_all(dropped, Reason::QueueFull);
            self.lose(reason, &event);
            return Err(reason);
        }
        let at = self.clock.now();
        let common = queue.common.clone();
        let held = Held { order, at, cost, rate, common, event };
        queue.events += 1;
        queue.bytes += cost;
        let wake_by = if stored {
            queue.arriving.push_back(held);
            at + config.store_time
        } else {
            queue.waiting.push_back(held);
            queue.waiting_bytes += cost;
            match (queue.is_full(), queue.busy) {
                (true, _) => at,
                // It wakes for the answer, or when the wait is over, and sees this then.
                (false, true) => Duration::MAX,
                (false, false) => at + config.batch_time,
            }
        };
        if wake_by < queue.asleep_until {
            self.nudge(&mut queue);
        }
        drop(queue);
        self.lose_all(dropped, Reason::QueueFull);
        Ok(order)
    }

    /// One event in `rate`, always the same one.
    fn draw(&self, order: u64, rate: u32) -> bool {
        let hash = crc32fast::hash(&order.to_le_bytes()) ^ crc32fast::hash(self.prefix.as_bytes());
        // A multiplication spreads what a checksum leaves near together.
        (u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % u64::from(rate) == 0
    }

    /// Sees that one more fits, by the way that the configuration wants.
    fn make_room(
        &self,
        queue: &mut Queue,
        cost: usize,
        stored: bool,
        internal: bool,
        dropped: &mut Vec<Held>,
    ) -> Option<Reason> {
        let config = &self.config;
        // An eighth is kept free for what is only passing through to the store.
        let share = |all: usize| if stored || !self.has_store { all } else { all - all / 8 };
        let (events, bytes) = (share(config.queue_events), share(config.queue_bytes));
        if cost > bytes {
            return Some(Reason::QueueFull);
        }
        // A report of losses is small, and made at most once in its time.
        while !internal && (queue.events >= events || queue.bytes + cost > bytes) {
            let oldest = (config.on_full == OnFull::Oldest).then(|| queue.waiting.pop_front()).flatten();
            let Some(oldest) = oldest else { return Some(Reason::QueueFull) };
            queue.waiting_bytes -= oldest.cost;
            queue.settle(1, oldest.cost);
            dropped.push(oldest);
        }
        None
    }

    /// Counts an event that was not taken.
    fn lose(&self, reason: Reason, event: &Event) {
        self.lose_event(reason, &event.event_type, event.data.as_deref());
        self.wake_for_report();
    }

    /// Counts events that were held.
    pub(crate) fn lose_all(&self, dropped: Vec<Held>, reason: Reason) {
        if dropped.is_empty() {
            return;
        }
        for held in &dropped {
            self.lose_event(reason, &held.event.event_type, held.event.data.as_deref());
        }
        self.wake_for_report();
    }

    /// Counts an event. If it was a report of losses, those are untold again.
    pub(crate) fn lose_event(&self, reason: Reason, event_type: &str, data: Option<&str>) {
        let mut losses = self.losses.lock();
        if event_type != LOSS_TYPE {
            losses.add(reason, event_type, 1);
        } else if reason != Reason::Expired
            && let Some(report) = data.and_then(|data| serde_json::from_str::<Report>(data).ok())
        {
            losses.untell(&report.lost);
        }
    }

    fn wake_for_report(&self) {
        let Some(time) = self.config.loss_report else { return };
        let mut queue = self.lock();
        // The first loss wakes it, and those that follow cost nothing.
        if queue.consent && !queue.losses_known && self.clock.now() + time < queue.asleep_until {
            self.nudge(&mut queue);
        }
    }

    /// Wakes the background thread.
    pub(crate) fn nudge(&self, queue: &mut Queue) {
        queue.nudged = true;
        // Once is enough until it sleeps again.
        queue.asleep_until = Duration::ZERO;
        self.wake.notify_one();
    }

    /// The background thread's sleep.
    pub(crate) fn sleep(&self, until: Option<Duration>) {
        let mut queue = self.lock();
        let mut until = until.unwrap_or(Duration::MAX);
        if queue.next_order != queue.seen_order {
            // What came after it had looked found it awake, and did not wake it.
            let now = self.clock.now();
            until = until.min(if queue.is_full() {
                now
            } else if !queue.arriving.is_empty() {
                now + self.config.store_time
            } else if queue.busy {
                Duration::MAX
            } else {
                now + self.config.batch_time
            });
        }
        while !queue.nudged {
            queue.asleep_until = until;
            let now = self.clock.now();
            if until <= now {
                break;
            }
            // Woken now and then for nothing, rather than reckon with an end of time.
            let _ = self.wake.wait_for(&mut queue, (until - now).min(Duration::from_secs(3600)));
        }
        queue.nudged = false;
        queue.asleep_until = Duration::ZERO;
    }

    /// Tells those who wait.
    pub(crate) fn announce(&self) {
        self.settled.notify_all();
    }

    /// Waits until `is_done`, no longer than `limit`: whether it is.
    pub(crate) fn wait(&self, limit: Duration, is_done: impl Fn(&Queue) -> bool) -> bool {
        let deadline = Instant::now().checked_add(limit);
        let mut queue = self.lock();
        while !is_done(&queue) {
            let late = match deadline {
                Some(deadline) => self.settled.wait_until(&mut queue, deadline).timed_out(),
                None => {
                    self.settled.wait(&mut queue);
                    false
                }
            };
            if late {
                return is_done(&queue);
            }
        }
        true
    }
}

impl Queue {
    /// Whether so much waits that a request is to be made at once.
    fn is_full(&self) -> bool {
        self.waiting.len() >= self.wanted_events || self.waiting_bytes >= self.wanted_bytes
    }

    /// Events that memory no longer holds.
    pub(crate) fn settle(&mut self, events: usize, bytes: usize) {
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Puts back an event that the store doesn't take, in its place.
    pub(crate) fn put_back(&mut self, held: Held) {
        let place = self.waiting.partition_point(|other| other.order < held.order);
        self.waiting_bytes += held.cost;
        self.waiting.insert(place, held);
    }
}

/// The payload of a report of losses.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report {
    pub(crate) lost: Vec<Told>,
}
