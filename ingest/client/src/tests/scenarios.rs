//! The scenario files, which say how every SDK behaves on the wire: each one over many seeds.

use super::world::{BEGIN_US, Server, World};
use crate::config::{Config, Delivery, OnFull};
use crate::event::{Event, LOSS_TYPE};
use crate::loss::Reason;
use crate::ports::Clock as _;
use crate::time;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Jitter is drawn from so many seeds.
const SEEDS: u64 = 30;
/// Attribute by which the runner tells the events.
const NUMBER: &str = "number";

fn ms(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().unwrap_or_else(|| panic!("{value} is no time")))
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn config(settings: &Map<String, Value>) -> (Config, bool) {
    let mut config = Config::new("http://killfeed", "/scenario");
    (config.loss_report, config.store_time) = (None, Duration::ZERO);
    let mut has_store = false;
    for (name, value) in settings {
        match name.as_str() {
            "batch_events" => config.batch_events = size(value),
            "batch_bytes" => config.batch_bytes = size(value),
            "batch_ms" => config.batch_time = ms(value),
            "event_bytes" => config.event_bytes = size(value),
            "queue_events" => config.queue_events = size(value),
            "queue_bytes" => config.queue_bytes = size(value),
            "on_full" => config.on_full = if value == "oldest" { OnFull::Oldest } else { OnFull::Newest },
            "backoff_first_ms" => config.backoff_first = ms(value),
            "backoff_cap_ms" => config.backoff_cap = ms(value),
            "circuit_failures" => config.circuit_failures = u32::try_from(size(value)).unwrap(),
            "request_timeout_ms" => config.request_timeout = ms(value),
            "store_bytes" => config.store_bytes = value.as_u64().unwrap(),
            "consent" => config.consent = value.as_bool().unwrap(),
            "loss_report_ms" => config.loss_report = Some(ms(value)).filter(|time| !time.is_zero()),
            "stored_types" => {
                has_store = true;
                let types = value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
                config.delivery = types.map(|name| (name, Delivery::Stored)).collect();
            }
            "super" => {}
            unknown => panic!("unknown setting {unknown}"),
        }
    }
    (config, has_store)
}

fn event(fields: &Map<String, Value>, number: usize) -> Event {
    let mut event = Event::new(fields["type"].as_str().unwrap().to_owned()).attribute(NUMBER, number.to_string());
    for (name, value) in fields {
        event = match name.as_str() {
            "type" => event,
            "data" => event.data(value),
            "data_bytes" => event.data(&serde_json::json!({"text": "x".repeat(size(value))})),
            name => event.attribute(name.to_owned(), value.as_str().unwrap()),
        };
    }
    event
}

/// A scenario that is played.
struct Play {
    world: World,
    sent: usize,
    /// Counted by clients that were killed since.
    lost: BTreeMap<Reason, u64>,
    common: Value,
}

impl Play {
    fn begin(scenario: &Value, seed: u64) -> Self {
        let empty = Map::new();
        let settings = scenario["config"].as_object().unwrap_or(&empty);
        let (config, has_store) = config(settings);
        let script = scenario["server"].as_array().unwrap().iter().cloned().collect();
        let config_answer = scenario.get("config_answer").cloned();
        let server = Server { script, config_answer, ..Server::default() };
        let world = World::new(config, has_store, server, seed);
        let play = Self { world, sent: 0, lost: BTreeMap::new(), common: scenario["config"]["super"].clone() };
        play.set_common();
        play
    }

    fn set_common(&self) {
        for (name, value) in self.common["attributes"].as_object().into_iter().flatten() {
            self.world.client.set_attribute(name, value.as_str());
        }
        for (name, value) in self.common["data"].as_object().into_iter().flatten() {
            self.world.client.set_data(name, value);
        }
    }

    fn step(&mut self, step: &Map<String, Value>) {
        if let Some(fields) = step.get("send") {
            for _ in 0..step.get("times").map_or(1, size) {
                self.world.client.send(event(fields.as_object().unwrap(), self.sent));
                self.sent += 1;
                self.world.settle();
            }
        } else if let Some(time) = step.get("advance_ms") {
            self.world.advance(ms(time));
        } else if step.contains_key("flush") {
            self.world.client.begin_flush();
        } else if let Some(given) = step.get("consent") {
            self.world.client.set_consent(given.as_bool().unwrap());
        } else if let Some(jump) = step.get("wall_jump_ms") {
            self.world.clock.jump(jump.as_i64().unwrap() * 1000);
        } else if step.contains_key("restart") {
            for (reason, events) in self.world.client.stats().lost {
                *self.lost.entry(reason).or_default() += events;
            }
            let after = step.get("after_ms").map_or(Duration::ZERO, ms);
            self.world.clock.set(self.world.clock.now() + after);
            self.world.restart();
            self.set_common();
        } else {
            panic!("unknown step {step:?}");
        }
        self.world.settle();
    }

    fn check(&mut self, expect: &Value) {
        let stats = self.world.client.stats();
        let lost_now: u64 = stats.lost.values().sum();
        assert_eq!(stats.sent + stats.recovered, stats.delivered + lost_now + stats.pending, "{stats:?}");
        for (reason, events) in &stats.lost {
            *self.lost.entry(*reason).or_default() += events;
        }
        for reason in Reason::ALL {
            let events = self.lost.get(&reason).copied().unwrap_or(0);
            within(&format!("lost as {reason}"), events, expect["lost"].get(reason.as_str()).unwrap_or(&0.into()));
        }
        within("pending", stats.pending, expect.get("pending").unwrap_or(&0.into()));
        self.check_requests(expect);
        self.check_events(expect);
    }

    fn check_requests(&self, expect: &Value) {
        let server = self.world.server.lock();
        let mut seen = Vec::new();
        for request in &server.seen {
            let made = BEGIN_US + i64::try_from(request.at.as_micros()).unwrap();
            for event in &request.events {
                let sent_at = time::parse(event["sentat"].as_str().unwrap()).unwrap();
                if expect.get("times").is_none() {
                    assert_eq!(sent_at, made, "sentat is when the request was made");
                }
            }
            let numbers: Vec<u64> = request.events.iter().filter_map(number).collect();
            if !numbers.is_empty() {
                seen.push((numbers, u64::try_from(request.at.as_millis()).unwrap()));
            }
        }
        let Some(expected) = expect["requests"].as_array() else { return };
        assert_eq!(seen.len(), expected.len(), "requests: {seen:?}");
        for (place, ((numbers, at), expected)) in seen.iter().zip(expected).enumerate() {
            assert_eq!(
                *numbers,
                serde_json::from_value::<Vec<u64>>(expected["events"].clone()).unwrap(),
                "request {place} of {seen:?}"
            );
            if let Some(range) = expected.get("at_ms") {
                within(&format!("at_ms of request {place} of {seen:?}"), *at, range);
            }
        }
    }

    fn check_events(&self, expect: &Value) {
        let server = self.world.server.lock();
        // An event has one id and one time, in whichever request; an id has one event.
        let (mut ids, mut times) = (BTreeMap::new(), BTreeMap::new());
        for event in server.seen.iter().flat_map(|request| &request.events) {
            let Some(number) = number(event) else { continue };
            assert_eq!(ids.entry(number).or_insert(&event["id"]), &&event["id"]);
            times.entry(number).or_insert(event);
        }
        assert_eq!(ids.values().map(|id| id.to_string()).collect::<BTreeSet<_>>().len(), ids.len());
        let delivered = server.events.iter().filter_map(number).count();
        within("delivered", delivered as u64, &expect["delivered"]);
        for expected in expect["times"].as_array().into_iter().flatten() {
            let event = times[&expected["event"].as_u64().unwrap()];
            let us = time::parse(event["time"].as_str().unwrap()).unwrap() - BEGIN_US;
            assert_eq!(us / 1000, expected["ms"].as_i64().unwrap(), "time of {event}");
        }
        for expected in expect["attributes"].as_array().into_iter().flatten() {
            let event = times[&expected["event"].as_u64().unwrap()];
            for (name, value) in expected["has"].as_object().unwrap() {
                assert_eq!(event.get(name).unwrap_or(&Value::Null), value, "{name} of {event}");
            }
        }
        let mut reported: BTreeMap<&str, u64> = BTreeMap::new();
        for report in server.events.iter().filter(|event| event["type"] == LOSS_TYPE) {
            for told in report["data"]["lost"].as_array().unwrap() {
                *reported.entry(told["reason"].as_str().unwrap()).or_default() += told["events"].as_u64().unwrap();
            }
        }
        if let Some(expected) = expect.get("reported") {
            assert_eq!(serde_json::to_value(reported).unwrap(), *expected, "reported");
        }
    }
}

fn number(event: &Value) -> Option<u64> {
    event.get(NUMBER).map(|number| number.as_str().unwrap().parse().unwrap())
}

fn within(what: &str, value: u64, expected: &Value) {
    let (least, most) = match expected {
        Value::Array(ends) => (ends[0].as_u64().unwrap(), ends[1].as_u64().unwrap()),
        exact => (exact.as_u64().unwrap(), exact.as_u64().unwrap()),
    };
    assert!((least..=most).contains(&value), "{what} is {value}, expected {expected}");
}

#[test]
fn every_scenario_goes_as_it_says_whatever_the_jitter() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 20, "only {} scenarios", files.len());
    let mut failed = Vec::new();
    for path in files {
        let scenario: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(scenario["name"], *name, "the file is named after it");
        for seed in 0..SEEDS {
            let played = std::panic::catch_unwind(|| {
                let mut play = Play::begin(&scenario, seed);
                for step in scenario["do"].as_array().unwrap() {
                    play.step(step.as_object().unwrap());
                }
                play.check(&scenario["expect"]);
            });
            if played.is_err() {
                failed.push(format!("{name}, seed {seed}"));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
