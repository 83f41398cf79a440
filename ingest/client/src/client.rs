//! The handle that a game holds.

use crate::config::{Config, Invalid};
use crate::event::Event;
use crate::http::Http;
use crate::ports::{Clock, Random, SystemClock, SystemRandom, Transport};
use crate::session::{self, SESSION_START};
use crate::shared::{Kind, Sent, Session, Shared};
use crate::stats::Stats;
use crate::store::{Directory, DiskQueue, Files};
use crate::worker::Worker;
use parking_lot::Mutex;
use serde::Serialize;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the client asks of the world; see [`Ports::system`].
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Box<dyn Random>,
    /// The way to the server.
    pub transport: Box<dyn Transport>,
    /// Where the store's files lie; `None`: no store.
    pub files: Option<Box<dyn Files>>,
}

impl Ports {
    /// The machine's own clocks, randomness, network and disk.
    ///
    /// # Errors
    /// [`StartError::Store`] if the store's directory can't be had.
    pub fn system(config: &Config) -> Result<Self, StartError> {
        let files = match &config.store {
            Some(path) => Some(Box::new(Directory::open(path)?) as Box<dyn Files>),
            None => None,
        };
        Ok(Self {
            clock: Arc::new(SystemClock::default()),
            random: Box::new(SystemRandom),
            transport: Box::new(Http::new(&config.url, config.key.clone(), config.request_timeout)),
            files,
        })
    }
}

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is out of its limits.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't be opened. `WouldBlock`: another client has this directory.
    #[error("store: {0}")]
    Store(#[from] io::Error),
    /// The background thread can't be started.
    #[error("thread: {0}")]
    Thread(io::Error),
}

struct Inner {
    shared: Arc<Shared>,
    random: Mutex<Box<dyn Random>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody can send any more. What is stored stays; nobody waits for the rest to be.
        let mut queue = self.shared.lock();
        (queue.closed, queue.stop) = (true, true);
        self.shared.nudge(&mut queue);
    }
}

/// Sends a game's events. Cheap to clone, and to be used from any thread.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.0.shared.config.url).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a client: opens the store, and begins a thread. Never waits for the network.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let ports = Ports::system(&config)?;
        Self::start_with(config, ports)
    }

    /// The same, with a world of your own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with(config: Config, ports: Ports) -> Result<Self, StartError> {
        let (client, mut worker) = Self::assemble(config, ports)?;
        let shared = client.0.shared.clone();
        let waker = shared.clone();
        worker.transport().start(Arc::new(move || waker.nudge(&mut waker.lock())));
        let work = move || {
            while !shared.lock().stop {
                let until = worker.step();
                shared.sleep(until);
            }
            worker.finish();
        };
        let thread = thread::Builder::new().name("killfeed".into()).spawn(work).map_err(StartError::Thread)?;
        *client.0.thread.lock() = Some(thread);
        Ok(client)
    }

    /// The handle, and the work that somebody has to do.
    pub(crate) fn assemble(config: Config, ports: Ports) -> Result<(Self, Worker), StartError> {
        config.check()?;
        let Ports { clock, mut random, transport, files } = ports;
        let mut store = match files {
            Some(files) => Some(DiskQueue::open(files, config.store_bytes)?),
            None => None,
        };
        let prefix = format!("{:016x}{:016x}", random.next(), random.next());
        let unended = store.as_mut().and_then(DiskQueue::session).filter(|_| config.consent);
        let shared = Arc::new(Shared::new(config, clock, prefix, store.is_some()));
        let fork = crate::ports::Seeded::new(random.next());
        let worker = Worker::new(shared.clone(), random, transport, store);
        if let Some(end) = unended.and_then(|note| session::repaired_end(&note)) {
            let _ = shared.admit(end, Kind::Session);
        }
        let inner = Inner { shared, random: Mutex::new(Box::new(fork)), thread: Mutex::default() };
        Ok((Self(Arc::new(inner)), worker))
    }

    /// Takes an event. Never blocks on network or disk, and never grows memory beyond its bound.
    ///
    /// Its id, its place in the order and its time are fixed here.
    pub fn send(&self, event: Event) -> Sent {
        let shared = &self.0.shared;
        let mut event = event;
        if let Some(hook) = &shared.config.before_send
            && !(hook.0)(&mut event)
        {
            shared.lock().sent += 1;
            shared.lose_event(crate::Reason::Hook, &event.event_type, None);
            return Sent::Lost(crate::Reason::Hook);
        }
        match shared.admit(event, Kind::Game) {
            Ok(_) => Sent::Taken,
            Err(reason) => Sent::Lost(reason),
        }
    }

    /// Sets an attribute that every event from now on gets unless it has its own; `None` takes it away.
    pub fn set_attribute(&self, name: &str, value: Option<&str>) {
        let mut queue = self.0.shared.lock();
        Arc::make_mut(&mut queue.common).attribute(name, value.map(ToOwned::to_owned));
    }

    /// Sets a member that the payload of every event from now on gets, if it is an object or missing, unless it has its
    /// own: `build`, `platform`. What can't be serialised, or is null, takes the member away.
    pub fn set_data(&self, name: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        let mut queue = self.0.shared.lock();
        let common = Arc::make_mut(&mut queue.common);
        if value.is_null() {
            common.data.remove(name);
        } else {
            common.data.insert(name.to_owned(), value);
        }
    }

    /// Begins a session: sends `session.start`, and every event from now on has its `sessionid`. Ends the one before.
    /// With a store, the end of a session that a killed process could not send is sent at the next start.
    pub fn start_session(&self, player: Option<&str>) -> String {
        self.end_session();
        let id = {
            let mut random = self.0.random.lock();
            format!("{:016x}{:016x}", random.next(), random.next())
        };
        let shared = &self.0.shared;
        let player = player.unwrap_or_default().to_owned();
        let session = Session { id: id.clone(), player: player.clone(), began: shared.clock.now() };
        *shared.session.lock() = Some(session);
        self.session_changed(Some(&id));
        let event = Event::new(SESSION_START).attribute("sessionid", id.clone());
        let _ = shared.admit(if player.is_empty() { event } else { event.player(player) }, Kind::Session);
        id
    }

    /// Ends the session, if there is one: sends `session.end`.
    pub fn end_session(&self) {
        let shared = &self.0.shared;
        let Some(Session { id, player, began }) = shared.session.lock().take() else { return };
        let lasted = crate::ports::micros(shared.clock.now().saturating_sub(began));
        let _ = shared.admit(session::end(&id, &player, false, lasted), Kind::Session);
        self.session_changed(None);
    }

    fn session_changed(&self, id: Option<&str>) {
        self.set_attribute("sessionid", id);
        let shared = &self.0.shared;
        let mut queue = shared.lock();
        queue.session_changed = true;
        shared.nudge(&mut queue);
    }

    /// Says whether the player agrees to telemetry. Without it everything that is held is purged, in memory and store,
    /// and nothing is taken or sent, until it is given.
    pub fn set_consent(&self, given: bool) {
        let shared = &self.0.shared;
        let mut queue = shared.lock();
        queue.purge |= queue.consent && !given;
        queue.consent = given;
        shared.nudge(&mut queue);
        drop(queue);
        if !given {
            *shared.session.lock() = None;
            self.set_attribute("sessionid", None);
        }
    }

    /// Sends what is held without waiting for more, and waits until it is delivered or lost, no longer than `limit`:
    /// whether it is. Never shortens a wait after a failure.
    pub fn flush(&self, limit: Duration) -> bool {
        let below = self.begin_flush();
        self.0.shared.wait(limit, |queue| queue.settled_below >= below || queue.ended || !queue.consent)
    }

    /// What is held is due at once: the order below which it stands.
    pub(crate) fn begin_flush(&self) -> u64 {
        let shared = &self.0.shared;
        let mut queue = shared.lock();
        queue.report = true;
        let below = queue.next_order;
        queue.due_below = below;
        shared.nudge(&mut queue);
        below
    }

    /// Ends the client: takes nothing more, ends the session, flushes for `limit` at most, and writes what is left to
    /// the store, if there is one; without, that is lost. Whether nothing is left. All other handles are closed with
    /// it.
    pub fn close(&self, limit: Duration) -> bool {
        let shared = &self.0.shared;
        let began = Instant::now();
        self.end_session();
        let mut queue = shared.lock();
        queue.closed = true;
        (queue.due_below, queue.report) = (u64::MAX, true);
        let below = queue.next_order;
        shared.nudge(&mut queue);
        drop(queue);
        let flushed = shared.wait(limit, |queue| queue.settled_below >= below || queue.ended || !queue.consent);
        self.report_at_the_end(limit.saturating_sub(began.elapsed()));
        let mut queue = shared.lock();
        queue.stop = true;
        shared.nudge(&mut queue);
        drop(queue);
        let thread = self.0.thread.lock().take();
        if let Some(thread) = thread {
            // Only the disk can hold it up now.
            shared.wait(limit.saturating_sub(began.elapsed()).max(Duration::from_secs(1)), |queue| queue.ended);
            if thread.is_finished() || shared.lock().ended {
                let _ = thread.join();
            }
        }
        flushed
    }

    /// Tells what was lost and not told yet, once, now that nothing can be lost any more.
    fn report_at_the_end(&self, limit: Duration) {
        let shared = &self.0.shared;
        let mut queue = shared.lock();
        queue.report = shared.config.loss_report.is_some() && !shared.losses.lock().is_told();
        if queue.report {
            shared.nudge(&mut queue);
        }
        drop(queue);
        shared.wait(limit, |queue| !(queue.report || queue.reporting) || queue.ended || !queue.consent);
    }

    /// How things stand.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let queue = shared.lock();
        let losses = shared.losses.lock();
        let numbers = shared.numbers.lock().clone();
        Stats {
            sent: queue.sent,
            recovered: numbers.recovered,
            delivered: numbers.delivered,
            acknowledged: numbers.durable,
            lost: losses.total().clone(),
            pending: (queue.events as u64 + numbers.stored_events).saturating_sub(numbers.own),
            stored: numbers.stored_events,
            memory_bytes: queue.bytes as u64,
            store_bytes: numbers.store_bytes,
            requests: numbers.requests,
            failures: numbers.failures,
            body_bytes: numbers.body_bytes,
            round_trip: numbers.round_trip,
            circuit_open: numbers.circuit_open,
            configured: numbers.configured,
            last_error: numbers.last_error,
            store_error: numbers.store_error,
        }
    }
}
