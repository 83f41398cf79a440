//! What scenario files can't say.

use super::world::{Server, World};
use crate::config::{Config, Delivery, Hook, OnFull};
use crate::event::Event;
use crate::loss::Reason;
use crate::shared::Sent;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    let mut config = Config::new("http://killfeed", "/test");
    config.loss_report = None;
    config
}

fn stored() -> Config {
    let mut config = config();
    config.delivery_default = Delivery::Stored;
    config
}

fn numbered(n: u64) -> Event {
    Event::new("t").player("p1").data(&n)
}

fn send(world: &World, numbers: Range<u64>) {
    numbers.for_each(|n| assert_eq!(world.client.send(numbered(n)), Sent::Taken));
}

fn down() -> Server {
    let script = std::iter::repeat_n(json!({"cut": "connect"}), 10_000).collect();
    Server { script, ..Server::default() }
}

fn data(world: &World) -> Vec<u64> {
    world.server.lock().events.iter().filter_map(|event| event["data"].as_u64()).collect()
}

#[test]
fn a_session_that_a_killed_process_could_not_end_is_ended_at_the_next_start() {
    let mut world = World::new(stored(), true, Server::default(), 1);
    let id = world.client.start_session(Some("p1"));
    world.client.send(numbered(1));
    world.advance(SECOND * 40);
    world.restart();
    world.client.send(numbered(2));
    world.client.begin_flush();
    world.advance(SECOND);
    {
        let server = world.server.lock();
        let types: Vec<_> = server.events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["session.start", "t", "session.end", "t"]);
        let end = &server.events[2];
        assert_eq!((&end["sessionid"], &end["playerid"]), (&json!(id), &json!("p1")));
        assert_eq!(end["data"], json!({"repaired": true, "duration_s": 30.0}), "as it was last noted down");
        assert_eq!(end["time"], "2026-01-01T00:00:30.000000Z");
        assert_eq!(server.events[3].get("sessionid"), None);
    }
    world.restart();
    world.advance(SECOND * 60);
    assert_eq!(world.server.lock().events.len(), 4, "repaired once");
}

#[test]
fn a_session_has_its_id_on_every_event_and_one_end() {
    let mut world = World::new(config(), false, Server::default(), 1);
    let first = world.client.start_session(None);
    world.client.send(numbered(1));
    let second = world.client.start_session(None);
    assert_ne!(first, second);
    world.client.end_session();
    world.client.end_session();
    world.client.send(numbered(2));
    world.client.begin_flush();
    world.settle();
    let server = world.server.lock();
    let seen: Vec<_> =
        server.events.iter().map(|event| (event["type"].as_str().unwrap(), event["sessionid"].as_str())).collect();
    let (first, second) = (Some(&*first), Some(&*second));
    let expected = [
        ("session.start", first),
        ("t", first),
        ("session.end", first),
        ("session.start", second),
        ("session.end", second),
        ("t", None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn memory_and_store_stay_within_their_bounds_through_a_day_of_outage() {
    for on_full in [OnFull::Oldest, OnFull::Newest] {
        let mut config = stored();
        (config.on_full, config.queue_events, config.queue_bytes, config.store_bytes) = (on_full, 100, 50_000, 262_144);
        config.delivery.insert("memory".into(), Delivery::Memory);
        let mut world = World::new(config, true, down(), 1);
        for round in 0..3000 {
            world.client.send(numbered(round));
            world.client.send(Event::new("memory").data(&"x".repeat(300)));
            if round % 10 == 0 {
                world.advance(SECOND * 28);
            }
            let stats = world.client.stats();
            assert!(stats.memory_bytes <= 50_000 + 3 * 1024, "{} bytes of memory", stats.memory_bytes);
            assert!(world.files.bytes() <= 262_144, "{} bytes on disk", world.files.bytes());
        }
        world.server.lock().script.clear();
        world.advance(SECOND * 1000);
        let (stats, delivered) = (world.client.stats(), data(&world));
        assert_eq!(stats.pending, 0);
        assert_eq!(stats.sent, stats.delivered + stats.lost.values().sum::<u64>(), "{stats:?}");
        let lost = |reason| stats.lost.get(&reason).is_some_and(|events| *events > 0);
        assert!(lost(Reason::DiskFull) && lost(Reason::QueueFull), "{stats:?}");
        assert!(delivered.is_sorted() && delivered.len() > 300);
        let kept_newest = delivered.contains(&2999);
        assert_eq!(kept_newest, on_full == OnFull::Oldest);
        assert_eq!(delivered.contains(&200), on_full == OnFull::Newest);
    }
}

#[test]
fn while_the_disk_takes_nothing_memory_does_and_order_holds() {
    let mut world = World::new(stored(), true, down(), 1);
    send(&world, 0..5);
    world.advance(SECOND);
    world.files.fill_up_to(100);
    send(&world, 5..10);
    world.advance(SECOND);
    assert!(world.client.stats().store_error.is_some());
    world.files.make_room();
    send(&world, 10..15);
    world.advance(SECOND);
    assert_eq!((world.client.stats().stored, world.client.stats().store_error), (10, None));
    world.server.lock().script.clear();
    world.advance(SECOND * 200);
    assert_eq!(data(&world), (0..15).collect::<Vec<_>>());
    assert_eq!((world.client.stats().pending, world.client.stats().lost.len()), (0, 0));
}

#[test]
fn a_power_cut_loses_what_was_not_forced_down_and_nothing_else() {
    for keep in [0, 100, 255] {
        let mut world = World::new(stored(), true, down(), 1);
        send(&world, 0..100);
        world.advance(SECOND * 2);
        send(&world, 100..200);
        world.advance(Duration::from_millis(100));
        world.files.crash(keep);
        world.server.lock().script.clear();
        world.restart();
        world.advance(SECOND);
        let delivered = data(&world);
        assert!(delivered.len() >= 100, "{}", delivered.len());
        assert_eq!(delivered, (0..delivered.len() as u64).collect::<Vec<_>>());
        assert_eq!(delivered.len() == 200, keep == 255, "{}", delivered.len());
    }
}

#[test]
fn closing_keeps_in_the_store_what_memory_held() {
    let mut config = config();
    config.loss_report = Some(SECOND);
    config.event_bytes = 300;
    let mut world = World::new(config, true, down(), 1);
    send(&world, 0..5);
    world.client.begin_flush();
    world.advance(SECOND * 3);
    send(&world, 5..10);
    assert_eq!(world.client.send(Event::new("t").data(&"x".repeat(400))), Sent::Lost(Reason::TooLarge));
    world.close();
    assert_eq!(world.client.send(numbered(11)), Sent::Lost(Reason::Closed));
    assert_eq!(world.client.stats().pending, 10);
    world.server.lock().script.clear();
    world.restart();
    world.advance(SECOND);
    assert_eq!(data(&world), (0..10).collect::<Vec<_>>());
    let report = world.server.lock().events.iter().find(|event| event["type"] == crate::LOSS_TYPE).cloned();
    assert_eq!(report.unwrap()["data"], json!({"lost": [{"reason": "too_large", "type": "t", "events": 1}]}));
}

#[test]
fn closing_without_a_store_counts_what_is_lost_by_it() {
    let mut world = World::new(config(), false, down(), 1);
    send(&world, 0..5);
    world.client.begin_flush();
    world.advance(SECOND * 3);
    world.client.send(numbered(5));
    world.close();
    let stats = world.client.stats();
    assert_eq!((stats.lost[&Reason::Closed], stats.pending, stats.memory_bytes), (6, 0, 0));
}

#[test]
fn the_hook_sees_every_event_and_may_change_or_keep_it() {
    let mut config = config();
    config.before_send = Some(Hook::new(|event: &mut Event| {
        if event.event_type() == "secret" {
            return false;
        }
        *event = event.clone().attribute("region", "x");
        true
    }));
    let mut world = World::new(config, false, Server::default(), 1);
    assert_eq!(world.client.send(Event::new("secret")), Sent::Lost(Reason::Hook));
    world.client.send(Event::new("t"));
    world.client.begin_flush();
    world.settle();
    assert_eq!(world.server.lock().events[0]["region"], "x");
    let stats = world.client.stats();
    assert_eq!((stats.sent, stats.delivered, stats.lost[&Reason::Hook]), (2, 1, 1));
}

#[test]
fn a_report_of_losses_that_was_refused_goes_again_and_counts_nothing_twice() {
    let mut config = config();
    (config.loss_report, config.batch_events) = (Some(SECOND * 5), 1);
    let mut world = World::new(config, false, Server::default(), 1);
    world.server.lock().script.push_back(json!({"status": 400}));
    world.client.send(numbered(1));
    world.settle();
    world.advance(SECOND * 60);
    let server = world.server.lock();
    let reports: Vec<&Value> = server.events.iter().map(|event| &event["data"]).collect();
    assert_eq!(reports, [&json!({"lost": [{"reason": "refused", "type": "t", "events": 1}]})]);
}

#[test]
fn sampling_keeps_its_share_and_never_a_session() {
    let config_answer = Some(json!({"sampling": {"one_in": 4}}));
    let mut world = World::new(config(), false, Server { config_answer, ..Server::default() }, 1);
    world.client.start_session(None);
    let kept = (0..2000).filter(|n| world.client.send(numbered(*n)) == Sent::Taken).count();
    world.client.end_session();
    assert!((400..600).contains(&kept), "{kept}");
    world.client.begin_flush();
    world.advance(SECOND);
    let server = world.server.lock();
    assert_eq!(server.events.len(), kept + 2);
    assert!(server.events.iter().all(|event| (event["type"] == "t") == (event["sampledrate"] == "4")));
}
