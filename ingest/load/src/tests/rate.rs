//! The open model in virtual time: servers that are quick, slow, stalled, dead.

use super::{ms, s};
use crate::rate::{GRACE, Lanes, Times, due_at, stage};
use crate::tally::Histogram;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So many connections to a server that takes its time, which depends on when it is asked.
struct Virtual<F> {
    now: Duration,
    connections: usize,
    /// When each request under way will be answered, and when it was due.
    under_way: Vec<(Duration, Duration)>,
    takes: F,
    from_due: Histogram,
    from_send: Histogram,
    dues: Vec<Duration>,
}

impl<F: Fn(Duration) -> Duration> Virtual<F> {
    fn new(connections: usize, takes: F) -> Self {
        let (from_due, from_send) = Default::default();
        Self { now: s(1_000), connections, under_way: Vec::new(), takes, from_due, from_send, dues: Vec::new() }
    }
}

impl<F: Fn(Duration) -> Duration> Lanes for Virtual<F> {
    fn now(&self) -> Duration {
        self.now
    }

    fn begin(&mut self, due: Duration) -> bool {
        if self.under_way.len() == self.connections {
            return false;
        }
        let takes = (self.takes)(self.now);
        self.under_way.push((self.now + takes, due));
        self.from_send.record(takes);
        self.dues.push(due);
        true
    }

    fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    fn wait(&mut self, until: Duration, _: Option<usize>) {
        let first = self.under_way.iter().map(|(at, _)| *at).min();
        self.now = until.min(first.unwrap_or(until)).max(self.now);
        let now = self.now;
        for (at, due) in &self.under_way {
            if *at <= now {
                self.from_due.record(now - *due);
            }
        }
        self.under_way.retain(|(at, _)| *at > now);
    }
}

fn run<F: Fn(Duration) -> Duration>(lanes: &mut Virtual<F>, rate: u32, duration: Duration) -> Times {
    stage(lanes, rate, duration, s(15), &AtomicBool::new(false), &mut |_| {})
}

#[test]
fn each_request_is_due_at_its_time_and_the_last_within_the_duration() {
    assert_eq!((due_at(0, 3), due_at(3, 3), due_at(1, 3)), (s(0), s(1), Duration::from_nanos(333_333_333)));
    for (rate, duration, due) in [(1, s(3), 3), (10, s(1), 10), (500, ms(10), 5), (3, ms(1_100), 4), (1, ms(1), 1)] {
        let mut lanes = Virtual::new(8, |_| ms(1));
        let times = run(&mut lanes, rate, duration);
        assert_eq!((times.due, times.not_sent), (due, 0), "{rate}/s for {duration:?}");
        assert_eq!(times.elapsed, duration.max(due_at(due - 1, rate) + ms(1)), "{rate}/s for {duration:?}");
        let expected: Vec<_> = (0..due).map(|k| s(1_000) + due_at(k, rate)).collect();
        assert_eq!(lanes.dues, expected);
    }
}

/// The proof against coordinated omission: a client that waits for its answer before it asks again would have one slow request of
/// thousands, and a p99 of 2 ms.
#[test]
fn a_stall_of_five_seconds_shows_in_every_request_that_was_due_in_it() {
    let (from, to) = (s(1_010), s(1_015));
    let takes = move |now: Duration| if (from..to).contains(&now) { to - now + ms(2) } else { ms(2) };
    for connections in [1, 8, 2_000] {
        let mut lanes = Virtual::new(connections, takes);
        let times = run(&mut lanes, 100, s(60));
        assert_eq!((times.due, times.not_sent), (6_000, 0), "{connections} connections");
        assert_eq!(lanes.from_due.count(), 6_000);
        assert!(lanes.from_due.max_ms() >= 4_900.0, "{connections} connections: {}", lanes.from_due.max_ms());
        // 500 of 6,000 were due while it stalled: a twelfth, and of 100 the worst waited for nearly all of it.
        assert!(lanes.from_due.quantile_ms(0.99) >= 4_000.0, "{}", lanes.from_due.quantile_ms(0.99));
        assert!(lanes.from_due.quantile_ms(0.5) < 3.0);
    }
    // What a closed loop would have told of the same server.
    let mut one = Virtual::new(1, takes);
    run(&mut one, 100, s(60));
    assert!(one.from_send.quantile_ms(0.99) < 3.0, "this is how it is hidden");
}

#[test]
fn who_finds_no_connection_is_counted_as_not_sent() {
    // Four connections and 100 ms each: 40 of 100 a second.
    let mut lanes = Virtual::new(4, |_| ms(100));
    let times = run(&mut lanes, 100, s(10));
    assert_eq!(times.due, 1_000);
    let sent = times.due - times.not_sent;
    assert_eq!(lanes.from_due.count(), sent);
    assert!((590..=610).contains(&sent), "40/s for 10 s and {GRACE:?} of grace: {sent}");
    assert!(lanes.from_due.max_ms() > 8_000.0, "the last of them waited long: {}", lanes.from_due.max_ms());
    assert!(lanes.from_send.max_ms() < 101.0);
}

#[test]
fn a_server_that_never_answers_ends_a_stage_in_its_time() {
    let mut lanes = Virtual::new(4, |_| s(100_000));
    let times = run(&mut lanes, 10, s(10));
    assert_eq!((times.due, times.not_sent), (100, 96));
    assert!(times.elapsed <= s(10) + GRACE + s(16), "{:?}", times.elapsed);
}

#[test]
fn interrupted_it_says_what_was_due_until_then() {
    let stop = AtomicBool::new(false);
    let seen = Cell::new(s(0));
    let mut lanes = Virtual::new(4, |_| ms(1));
    let times = stage(&mut lanes, 10, s(100), s(15), &stop, &mut |elapsed| {
        seen.set(elapsed);
        stop.store(elapsed >= s(5), Ordering::Relaxed);
    });
    assert!(times.interrupted && (50..=51).contains(&times.due), "{times:?}");
    assert_eq!((times.not_sent, lanes.from_due.count()), (0, times.due));
    assert!(times.elapsed < s(6) && seen.get() >= s(5));
}
