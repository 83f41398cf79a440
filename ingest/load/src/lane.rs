//! A lane: one SDK client with its connection. What has to stay in order goes through one lane.

use crate::ledger::{Due, Ledger};
use crate::measured::{Books, Greeting, Measured};
use crate::tally::Tally;
use killfeed_client::{Client, Clock, Config, Event, Ports, Sent, StartError, SystemRandom, Transport};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// `source` of every event.
const SOURCE: &str = "/killfeed/load";

/// How a lane's client is set.
#[derive(Debug, Clone)]
pub(crate) struct LaneOptions {
    pub(crate) url: String,
    pub(crate) key: Option<String>,
    /// Events of a request.
    pub(crate) batch_events: usize,
    /// How long events wait for others.
    pub(crate) batch_time: Duration,
    /// A request is given up after this.
    pub(crate) timeout: Duration,
}

impl LaneOptions {
    /// As a game has it, but for what would measure our patience in place of the server.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.url.clone(), SOURCE);
        config.key.clone_from(&self.key);
        config.batch_events = self.batch_events;
        config.batch_bytes = 8_000_000;
        config.batch_time = self.batch_time;
        config.event_bytes = 1_000_000;
        config.request_timeout = self.timeout;
        config.queue_events = (2 * self.batch_events).max(10_000);
        config.queue_bytes = 64 << 20;
        // What comes is turned away and counted, so that nothing vanishes from the middle of a match.
        config.on_full = killfeed_client::OnFull::Newest;
        (config.backoff_first, config.backoff_cap) = (Duration::from_millis(200), Duration::from_secs(5));
        // Read by the transport, which packs it.
        config.compression = killfeed_client::Compression::None;
        // It would be an event that nobody planned.
        config.loss_report = None;
        config
    }
}

/// One SDK client, and the books of what it sends.
pub(crate) struct Lane {
    client: Client,
    books: Arc<Books>,
}

impl Lane {
    /// `done` is called after each answer, on the client's own thread.
    pub(crate) fn start(
        options: &LaneOptions,
        clock: Arc<dyn Clock>,
        way: Box<dyn Transport>,
        done: Arc<dyn Fn(&Books) + Send + Sync>,
    ) -> Result<Self, StartError> {
        let ledger = Ledger::new(Arc::default());
        let books = Arc::new(Books { ledger: Mutex::new(ledger), greeting: Mutex::default() });
        let of_this = books.clone();
        let done = Arc::new(move || done(&of_this));
        let measured = Measured::new(way, books.clone(), clock.clone(), done);
        let ports = Ports { clock, random: Box::new(SystemRandom), transport: Box::new(measured), files: None };
        Ok(Self { client: Client::start_with(options.config(), ports)?, books })
    }

    /// What the server said when it was first asked; `None`: nothing yet.
    pub(crate) fn greeting(&self) -> Option<Greeting> {
        self.books.greeting.lock().clone()
    }

    /// From now on everything counts there.
    pub(crate) fn begin(&self, tally: Arc<Mutex<Tally>>, due: Due) {
        self.books.ledger.lock().begin(tally, due);
    }

    /// Gives an event to the SDK, which was due then: whether it took it.
    pub(crate) fn send(&self, event: Event, due: Duration) -> bool {
        let order = self.books.ledger.lock().enter(event.event_type(), due);
        match self.client.send(event) {
            Sent::Taken => true,
            Sent::Lost(reason) => {
                self.books.ledger.lock().lost(order, reason.as_str());
                false
            }
        }
    }

    /// What the client holds is due.
    pub(crate) fn push(&self) {
        self.client.flush(Duration::ZERO);
    }

    /// Whether everything that was sent is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.books.ledger.lock().is_settled()
    }

    /// Ends the client; what is not settled after `limit` is in doubt, or lost.
    pub(crate) fn close(self, limit: Duration) {
        self.client.close(limit);
        self.books.ledger.lock().close();
    }
}
