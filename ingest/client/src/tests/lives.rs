//! Random lives of a client: a server, a network and a disk that fail at random, kills, a player who changes their
//! mind. What must hold in all of them: nothing is lost uncounted, nothing overtakes, nothing that was given up for
//! good is sent again.

use super::world::{Server, World};
use crate::config::{Config, Delivery, OnFull};
use crate::event::Event;
use crate::loss::Reason;
use crate::shared::Sent;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The server's window, in seconds: short, so that doubts expire.
const WINDOW_S: u64 = 60;

#[derive(Debug, Clone)]
enum Step {
    /// So many events of this player.
    Send {
        player: u8,
        times: u8,
        stored: bool,
    },
    Advance(u32),
    /// What the server does with the next request.
    Answer(Value),
    Flush,
    Kill,
    Consent(bool),
    DiskFull(usize),
    DiskRoom,
    WallClock(i64),
}

fn answer() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"status": 503})),
        Just(json!({"status": 503, "retry_after_s": 7})),
        Just(json!({"status": 429, "retry_after_s": 1})),
        Just(json!({"status": 502})),
        Just(json!({"status": 400})),
        Just(json!({"garbage": true})),
        Just(json!({"cut": "before"})),
        Just(json!({"cut": "after"})),
        Just(json!({"cut": "connect"})),
        Just(json!({"status": 202, "takes_ms": 3000})),
        Just(json!({"status": 202, "takes_ms": 30000})),
        any::<u64>().prop_map(|seed| json!({"status": 200, "mixed": seed})),
    ]
}

fn step(faults: bool) -> impl Strategy<Value = Step> {
    let rare = u32::from(faults);
    prop_oneof![
        12 => (0..3_u8, 1..30_u8, any::<bool>()).prop_map(|(player, times, stored)| Step::Send { player, times, stored }),
        8 => (1..20_000_u32).prop_map(Step::Advance),
        8 => answer().prop_map(Step::Answer),
        2 => Just(Step::Flush),
        2 => Just(Step::Kill),
        rare => any::<bool>().prop_map(Step::Consent),
        rare => (0..5_000_usize).prop_map(Step::DiskFull),
        2 * rare => Just(Step::DiskRoom),
        1 => (-10_000_000..10_000_000_i64).prop_map(Step::WallClock),
    ]
}

fn config() -> impl Strategy<Value = (Config, u64)> {
    let sizes = (1..40_usize, 1_000..20_000_usize, 1..200_usize, any::<bool>(), 1..6_u32, any::<u64>());
    sizes.prop_map(|(batch_events, batch_bytes, queue_events, oldest, circuit, seed)| {
        let mut config = Config::new("http://killfeed", "/life");
        (config.batch_events, config.batch_bytes, config.queue_events) = (batch_events, batch_bytes, queue_events);
        config.on_full = if oldest { OnFull::Oldest } else { OnFull::Newest };
        (config.circuit_failures, config.loss_report) = (circuit, None);
        (config.backoff_first, config.backoff_cap) = (Duration::from_millis(100), Duration::from_secs(5));
        config.request_timeout = Duration::from_secs(10);
        config.delivery.insert("stored".into(), Delivery::Stored);
        (config, seed)
    })
}

struct Life {
    world: World,
    /// Over all runs.
    sent: u64,
    delivered: u64,
    lost: BTreeMap<Reason, u64>,
    next: BTreeMap<u8, u64>,
}

impl Life {
    fn begin(config: Config, seed: u64) -> Self {
        let config_answer = Some(json!({"dedupe": {"window_s": WINDOW_S}}));
        let world = World::new(config, true, Server { config_answer, ..Server::default() }, seed);
        Self { world, sent: 0, delivered: 0, lost: BTreeMap::new(), next: BTreeMap::new() }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Send { player, times, stored } => {
                for _ in 0..times {
                    let n = self.next.entry(player).or_insert(0);
                    *n += 1;
                    let event = Event::new(if stored { "stored" } else { "memory" });
                    self.world.client.send(event.player(format!("p{player}")).data(&*n));
                }
                self.world.settle();
            }
            Step::Advance(ms) => self.world.advance(Duration::from_millis(ms.into())),
            Step::Answer(answer) => self.world.server.lock().script.push_back(answer),
            Step::Flush => {
                self.world.client.begin_flush();
                self.world.settle();
            }
            Step::Kill => self.kill(),
            Step::Consent(given) => {
                self.world.client.set_consent(given);
                self.world.settle();
                let stats = self.world.client.stats();
                assert!(given || stats.stored == 0, "{stats:?}");
            }
            Step::DiskFull(left) => self.world.files.fill_up_to(left),
            Step::DiskRoom => self.world.files.make_room(),
            Step::WallClock(ms) => self.world.clock.jump(ms * 1000),
        }
        self.check();
    }

    /// The run's numbers, before it ends.
    fn add_up(&mut self) {
        let stats = self.world.client.stats();
        self.sent += stats.sent;
        self.delivered += stats.delivered;
        stats.lost.into_iter().for_each(|(reason, events)| *self.lost.entry(reason).or_default() += events);
    }

    fn kill(&mut self) {
        self.add_up();
        self.world.restart();
    }

    fn check(&self) {
        let stats = self.world.client.stats();
        let lost: u64 = stats.lost.values().sum();
        assert_eq!(stats.sent + stats.recovered, stats.delivered + lost + stats.pending, "{stats:?}");
    }

    /// The server is well again, and there is time: what comes of everything that was sent.
    fn end(&mut self, stored_only: bool) {
        self.world.files.make_room();
        self.world.client.set_consent(true);
        self.world.server.lock().script.clear();
        self.world.advance(Duration::from_secs(600));
        self.check();
        assert_eq!(self.world.client.stats().pending, 0);
        let seen = {
            let server = self.world.server.lock();
            let mut last = BTreeMap::new();
            for event in &server.events {
                let (player, n) = (event["playerid"].as_str().unwrap(), event["data"].as_u64().unwrap());
                let before = last.insert(player.to_owned(), n);
                assert!(before.is_none_or(|before| before < n), "{player}: {n} after {before:?}");
            }
            server.events.len() as u64
        };
        self.add_up();
        let lost: u64 = self.lost.values().sum();
        // These may have been taken by a request before, whose answer was lost.
        let in_doubt = [Reason::Expired, Reason::NoConsent, Reason::Refused]
            .map(|reason| self.lost.get(&reason).copied().unwrap_or(0));
        if stored_only {
            assert_eq!(self.sent, self.delivered + lost, "{:?}", self.lost);
            assert!(
                (self.delivered..=self.delivered + in_doubt.iter().sum::<u64>()).contains(&seen),
                "{seen} of {}",
                self.delivered
            );
        }
        assert!(seen >= self.delivered, "{seen} are there, {} were said to be", self.delivered);
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(200), ..ProptestConfig::default() })]

    /// Everything is stored, and the disk is well: to the last event, over all kills, sent = delivered + lost.
    #[test]
    fn what_is_stored_is_delivered_or_counted((mut config, seed) in config(), steps in prop::collection::vec(step(false), 1..80)) {
        config.delivery_default = Delivery::Stored;
        config.queue_events = 10_000;
        let mut life = Life::begin(config, seed);
        steps.into_iter().for_each(|step| life.apply(step));
        life.end(true);
    }

    /// Memory and store, a disk that fills up, a player who changes their mind: order holds, and so do the books of
    /// each run.
    #[test]
    fn nothing_overtakes_and_the_books_balance((config, seed) in config(), steps in prop::collection::vec(step(true), 1..80)) {
        let mut life = Life::begin(config, seed);
        steps.into_iter().for_each(|step| life.apply(step));
        life.end(false);
    }
}

#[test]
fn an_event_that_was_refused_is_never_sent_again() {
    let mut config = Config::new("http://killfeed", "/life");
    config.loss_report = None;
    let mut world = World::new(config, false, Server::default(), 1);
    world.server.lock().script.push_back(json!({"status": 200, "mixed": 5}));
    (0..100).for_each(|n| {
        assert_eq!(world.client.send(Event::new("t").player(format!("p{}", n % 20)).data(&n)), Sent::Taken)
    });
    world.client.begin_flush();
    world.advance(Duration::from_secs(100));
    let (server, stats) = (world.server.lock(), world.client.stats());
    let again: usize = server.seen[1..].iter().map(|request| request.events.len()).sum();
    assert!(stats.lost[&Reason::Refused] > 5 && again > 5, "{stats:?}");
    assert_eq!(server.events.len() as u64 + stats.lost[&Reason::Refused], 100);
}
