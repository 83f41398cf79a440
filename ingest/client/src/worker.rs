//! The background thread's work, as one function that never blocks: what is due now, and when to look again.

mod sending;
mod storing;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::event::{Event, LOSS_TYPE};
use crate::loss::Reason;
use crate::ports::{Clock, Done, Random, Transport, micros};
use crate::remote::Remote;
use crate::shared::{Kind, Report, Shared};
use crate::store::DiskQueue;
use crate::time::Timeline;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// After the last event for the store, the thread looks for more by itself for so long, before it asks to be woken.
const LINGER: Duration = Duration::from_secs(1);
/// How often a session under way is noted down.
const SESSION_NOTE: Duration = Duration::from_secs(15);
/// The configuration that could not be read is asked for again after this, at the earliest.
const CONFIG_RETRY: Duration = Duration::from_secs(60);
/// At the start, events wait for the configuration no longer.
const CONFIG_WAIT: Duration = Duration::from_secs(5);

/// Where an event is kept besides in the worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere; it counts in memory with this cost.
    Memory { cost: usize },
    /// In the store, under this index.
    Stored { index: u64 },
}

/// When an event happened.
#[derive(Debug, Clone, Copy)]
enum When {
    /// In this run.
    At(Duration),
    /// By the local clock, or the server's, in microseconds since 1970.
    Fixed { us: i64, server: bool },
}

/// An event in the worker's hands: the front of all that is held.
#[derive(Debug)]
struct Line {
    order: u64,
    place: Place,
    /// An earlier run's.
    earlier: bool,
    event_type: String,
    when: When,
    members: String,
    /// Since when it waits for a request.
    since: Duration,
    /// It was in one.
    tried: bool,
    /// Since when the server may have it without having said so: monotonic, in microseconds.
    doubt: Option<i64>,
    /// The player has opted out since it was sent.
    doomed: bool,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    events: usize,
    began: Duration,
}

/// All that the background thread has.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    random: Box<dyn Random>,
    transport: Box<dyn Transport>,
    store: Option<DiskQueue>,
    config: Config,
    remote: Remote,
    time: Timeline,
    backoff: Backoff,
    /// Oldest first. The first of them are in the request that is under way. Others were in one and have to go again,
    /// and behind those there may be some that did not fit into the last.
    front: VecDeque<Line>,
    under_way: Option<UnderWay>,
    /// The store's events that nobody has read: their bytes, and since when the oldest waits. Those of an earlier run
    /// are due.
    unread_bytes: u64,
    unread_since: Option<Duration>,
    earlier_due: bool,
    /// The order of the oldest of them.
    unread_order: Option<u64>,
    last_stored: Option<Duration>,
    sync_at: Option<Duration>,
    config_at: Duration,
    config_asked: Option<Duration>,
    /// Events wait for the first configuration till then: it says what is safe to send again.
    config_awaited: Option<Duration>,
    untold_since: Option<Duration>,
    /// Order of the report that is on its way; 0 for none.
    report: u64,
    session_note_at: Duration,
    session_noted: Option<String>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        random: Box<dyn Random>,
        transport: Box<dyn Transport>,
        mut store: Option<DiskQueue>,
    ) -> Self {
        let (config, clock) = (shared.config.clone(), shared.clock.clone());
        let now = clock.now();
        let held = store.as_ref().map_or(0, DiskQueue::held);
        let session_noted = store.as_mut().and_then(DiskQueue::session);
        shared.numbers.lock().recovered = held;
        let backoff = Backoff::new(config.backoff_first, config.backoff_cap, config.circuit_failures);
        Self {
            time: Timeline::new(now, clock.wall_us()),
            unread_bytes: store.as_ref().map_or(0, DiskQueue::bytes),
            earlier_due: held > 0,
            shared,
            clock,
            random,
            transport,
            store,
            config,
            remote: Remote::default(),
            backoff,
            front: VecDeque::new(),
            under_way: None,
            unread_since: None,
            unread_order: None,
            last_stored: None,
            sync_at: None,
            config_at: now,
            config_asked: None,
            config_awaited: None,
            untold_since: None,
            report: 0,
            session_note_at: now,
            session_noted,
        }
    }

    /// The way to the server, to be started.
    pub(crate) fn transport(&mut self) -> &mut dyn Transport {
        &mut *self.transport
    }

    /// Does what is due. Gives when to be called again at the latest; `None`: not before something comes.
    pub(crate) fn step(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        while let Some(done) = self.transport.poll() {
            match done {
                Done::Posted(answer) => self.answered(now, answer),
                Done::Config(answer) => {
                    let asked = self.config_asked.take().unwrap_or(now);
                    self.config_awaited = self.config_awaited.map(|_| now);
                    if let Some(remote) = answer.ok().and_then(|answer| Remote::read(&answer)) {
                        self.configured(asked, now, remote);
                    }
                }
            }
        }
        self.obey();
        self.store_arrivals(now);
        self.ask_for_config(now);
        self.report_losses(now);
        self.note_session(now);
        self.begin_request(now);
        self.sync(now);
        self.publish();
        self.next(now)
    }

    fn configured(&mut self, asked: Duration, now: Duration, remote: Remote) {
        if let Some(server_us) = remote.server_us {
            self.time.measured(asked, now, server_us);
        }
        let mut queue = self.shared.lock();
        queue.sampling = remote.sampling.clone();
        queue.is_off = remote.is_off;
        queue.event_bytes = remote.event_bytes(self.config.event_bytes);
        drop(queue);
        self.config_at = now + self.config.config_time;
        self.shared.numbers.lock().configured = true;
        self.remote = remote;
    }

    fn ask_for_config(&mut self, now: Duration) {
        // Without consent nothing goes out, not even a question.
        if now < self.config_at || self.config_asked.is_some() || !self.shared.lock().consent {
            return;
        }
        self.config_asked = Some(now);
        self.config_awaited.get_or_insert(now + CONFIG_WAIT);
        self.config_at = now + CONFIG_RETRY;
        self.transport.fetch_config();
    }

    /// Purges what is held when the player has opted out.
    fn obey(&mut self) {
        let mut queue = self.shared.lock();
        if !std::mem::take(&mut queue.purge) {
            return;
        }
        queue.waiting_bytes = 0;
        let mut gone: Vec<_> = queue.waiting.drain(..).collect();
        gone.extend(queue.arriving.drain(..));
        let cost = gone.iter().map(|held| held.cost).sum();
        queue.settle(gone.len(), cost);
        drop(queue);
        for held in gone {
            self.shared.lose_event(Reason::NoConsent, &held.event.event_type, None);
        }
        // What is under way can't be called back; what comes of it is counted, and it never goes again.
        let under_way = self.under_way.map_or(0, |request| request.events);
        let rest = self.front.split_off(under_way.min(self.front.len()));
        for line in rest {
            self.give_up(line, Reason::NoConsent);
        }
        for line in &mut self.front {
            line.doomed = true;
        }
        self.purge_store();
    }

    fn report_losses(&mut self, now: Duration) {
        let Some(time) = self.config.loss_report else { return };
        if self.shared.losses.lock().is_told() {
            self.untold_since = None;
            return;
        }
        let since = *self.untold_since.get_or_insert(now);
        let mut queue = self.shared.lock();
        if self.report != 0 || !queue.consent || !(queue.report || now >= since + time) {
            return;
        }
        (queue.report, queue.reporting) = (false, true);
        drop(queue);
        self.untold_since = None;
        let lost = self.shared.losses.lock().tell();
        self.report = self.shared.admit(Event::new(LOSS_TYPE).data(&Report { lost }), Kind::Report).unwrap_or(0);
        self.store_arrivals(now);
    }

    /// Notes down that the session lives, for the next start to end it if this process doesn't.
    fn note_session(&mut self, now: Duration) {
        if now < self.session_note_at && !std::mem::take(&mut self.shared.lock().session_changed) {
            return;
        }
        self.session_note_at = now + SESSION_NOTE;
        let session = self.shared.session.lock().clone();
        let Some(store) = &mut self.store else { return };
        let text = session.map(|session| {
            let (began, last) = (self.time.local_us(session.began), self.time.local_us(now));
            crate::session::note(&session.id, &session.player, began, last)
        });
        if text != self.session_noted {
            let _ = store.set_session(text.as_deref().unwrap_or_default());
            self.session_noted = text;
        }
    }

    /// Tells the game's threads how far things are.
    fn publish(&mut self) {
        self.unread_order = self.peek_store();
        let unread = self.unread_order;
        let front = self.front.front().map(|line| line.order);
        let (stored, bytes) = self.store.as_ref().map_or((0, 0), |store| (store.held(), store.bytes()));
        let mut queue = self.shared.lock();
        let memory = queue.waiting.front().map(|held| held.order);
        let arriving = queue.arriving.front().map(|held| held.order);
        let oldest = [unread, front, memory, arriving].into_iter().flatten().min();
        queue.settled_below = oldest.unwrap_or(queue.next_order);
        if self.report < queue.settled_below {
            // Told, or untold again: the next may follow.
            self.report = 0;
        }
        {
            let mut numbers = self.shared.numbers.lock();
            numbers.circuit_open = self.backoff.is_open();
            (numbers.stored_events, numbers.store_bytes) = (stored, bytes);
            numbers.own = u64::from(self.report != 0);
        }
        let now = self.clock.now();
        let held_up = self.backoff.is_failing() || self.config_awaited.is_some_and(|until| now < until);
        let busy = self.under_way.is_some() || (held_up && self.waits(&queue).0);
        queue.busy = busy;
        queue.reporting = self.report != 0;
        queue.losses_known = self.untold_since.is_some() || self.report != 0;
        let ahead = usize::try_from(self.unread()).unwrap_or(usize::MAX).saturating_add(self.front.len());
        let (events, bytes) = (self.batch_events(), self.batch_bytes());
        queue.wanted_events = if busy { usize::MAX } else { events.saturating_sub(ahead) };
        queue.wanted_bytes =
            if busy { usize::MAX } else { bytes.saturating_sub(usize::try_from(self.unread_bytes).unwrap_or(bytes)) };
        drop(queue);
        self.shared.announce();
    }

    /// When something is due next.
    fn next(&self, now: Duration) -> Option<Duration> {
        let mut queue = self.shared.lock();
        queue.seen_order = queue.next_order;
        let mut due = vec![self.sync_at];
        if self.config.loss_report.is_some() && self.untold_since.is_none() && !self.shared.losses.lock().is_told() {
            // Lost in this very step, after it had looked for losses.
            due.push(Some(now));
        }
        if queue.consent {
            due.push(self.config_asked.is_none().then_some(self.config_at));
            let report = self.untold_since.zip(self.config.loss_report).filter(|_| self.report == 0);
            due.push(report.map(|(since, time)| since + time));
        }
        if self.under_way.is_none() && queue.consent {
            let (waiting, since) = self.waits(&queue);
            if waiting {
                let ready = if self.is_due(&queue, now) { now } else { since + self.config.batch_time };
                due.push(Some(ready.max(self.backoff.not_before()).max(self.config_awaited.unwrap_or_default())));
            }
        }
        if self.last_stored.is_some_and(|last| now < last + LINGER) {
            due.push(Some(now + self.config.store_time.max(Duration::from_millis(1))));
        }
        if self.store.is_some() && self.shared.session.lock().is_some() {
            due.push(Some(self.session_note_at));
        }
        due.into_iter().flatten().min()
    }

    /// The last thing of all: what memory holds goes to the store, or is lost and counted.
    pub(crate) fn finish(&mut self) {
        self.obey();
        self.store_arrivals(self.clock.now());
        self.store_the_rest();
        let mut queue = self.shared.lock();
        let mut rest: Vec<_> = queue.waiting.drain(..).collect();
        rest.extend(queue.arriving.drain(..));
        let cost = rest.iter().map(|held| held.cost).sum();
        queue.settle(rest.len(), cost);
        drop(queue);
        self.shared.lose_all(rest, Reason::Closed);
        for line in std::mem::take(&mut self.front) {
            if let Place::Memory { .. } = line.place {
                self.give_up(line, Reason::Closed);
            }
        }
        self.store_report();
        self.publish();
        self.shared.lock().ended = true;
        self.shared.announce();
    }

    /// The monotonic clock in microseconds.
    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}
