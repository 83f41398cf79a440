//! Players at their own pace, in virtual time.

use super::{ms, s};
use crate::crowd::{Outlet, batch_time, play};
use crate::world::{Deed, World, WorldOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Default)]
struct Virtual {
    now: Duration,
    /// When each deed was sent, and was due.
    sent: Vec<(Duration, Duration)>,
    /// Each sending takes so long.
    takes: Duration,
}

impl Outlet for Virtual {
    fn now(&self) -> Duration {
        self.now
    }

    fn send(&mut self, _: Deed, due: Duration) {
        self.now += self.takes;
        self.sent.push((self.now, due));
    }

    fn wait(&mut self, until: Duration) {
        self.now = self.now.max(until);
    }
}

fn world(players: usize) -> World {
    World::new(WorldOptions { players, ramp: s(10), speed: 10, seed: 1, run: "t".into() })
}

#[test]
fn deeds_are_sent_when_they_are_due_and_the_players_arrive_over_the_ramp() {
    let mut world = world(100);
    let mut outlet = Virtual { now: s(50), ..Virtual::default() };
    let mut online = Vec::new();
    let times = play(&mut world, &mut outlet, s(60), &AtomicBool::new(false), &mut |at, n| online.push((at, n)));
    assert_eq!((times.elapsed, times.interrupted), (s(60), false));
    assert!(outlet.sent.iter().all(|(sent, due)| sent == due) && outlet.sent.is_sorted());
    let at = |time: Duration| online.iter().rfind(|(at, _)| *at <= time).unwrap().1;
    assert!((40..=60).contains(&at(s(5))), "{}", at(s(5)));
    // Somebody's client has always just crashed, or is about to come back.
    assert!((90..=100).contains(&at(s(30))), "{}", at(s(30)));
    assert_eq!(world.online(), 0, "everybody has left");
}

#[test]
fn who_is_late_is_measured_from_when_it_was_due() {
    let mut outlet = Virtual { takes: ms(20), ..Virtual::default() };
    play(&mut world(1_000), &mut outlet, s(20), &AtomicBool::new(false), &mut |_, _| {});
    let late = outlet.sent.iter().filter(|(sent, due)| *sent - *due > s(5)).count();
    assert!(late > 100, "the schedule was held up by the sender, and shows it: {late}");
}

#[test]
fn interrupted_everybody_leaves_at_once() {
    let stop = AtomicBool::new(false);
    let (mut world, mut outlet) = (world(20), Virtual::default());
    let times = play(&mut world, &mut outlet, s(600), &stop, &mut |at, _| stop.store(at >= s(30), Ordering::Relaxed));
    assert!(times.interrupted && times.elapsed < s(31) && world.online() == 0);
}

#[test]
fn shared_lanes_make_as_many_requests_as_clients_of_their_own() {
    assert_eq!(batch_time(1_000, 64), ms(512));
    assert_eq!((batch_time(10, 64), batch_time(1_000_000, 64)), (s(8), ms(50)));
}
