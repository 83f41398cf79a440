//! How fast to go: how much to take at once, how long to wait after a failure, and which orders to leave alone
//! for a while. Pure: time and chance are handed in.

use std::collections::HashMap;
use std::time::Duration;

/// After the first failure up to this long; twice as long after each further one.
const FIRST: Duration = Duration::from_millis(100);
/// But never longer than this.
const LONGEST: Duration = Duration::from_secs(10);
/// An answer that asks for more than this isn't believed.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(3_600);
/// Orders left alone at the same time; past it the one whose wait ends first is let go. So many hold up no other.
const BLOCKED_MAX: usize = 2_000;
/// An order that failed this long ago begins with the shortest wait again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A number from 0 up to, not including, 1.
pub trait Chance: Send {
    /// The next one.
    fn draw(&mut self) -> f64;
}

impl<R: rand::Rng + Send> Chance for R {
    fn draw(&mut self) -> f64 {
        self.random()
    }
}

/// Exponential backoff with full jitter, and a cap.
fn backoff(failures: u32, chance: &mut impl Chance) -> Duration {
    let ceiling = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST);
    ceiling.mul_f64(chance.draw())
}

#[derive(Debug)]
struct Blocked {
    until: Duration,
    failures: u32,
}

/// The pace of one relay.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Rows in a request when all is well.
    full: usize,
    /// Rows to take next.
    rows: usize,
    /// Failures one after the other, of requests or of the database.
    failures: u32,
    blocked: HashMap<String, Blocked>,
}

impl Pace {
    pub(crate) fn new(full: usize) -> Self {
        Self { full, rows: full, failures: 0, blocked: HashMap::new() }
    }

    /// Rows to take next.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Failures one after the other.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Orders to leave alone now.
    pub(crate) fn blocked(&mut self, now: Duration) -> Vec<String> {
        self.blocked.retain(|_, blocked| blocked.until + FORGOTTEN > now);
        self.blocked.iter().filter(|(_, blocked)| blocked.until > now).map(|(order, _)| order.clone()).collect()
    }

    /// Something was settled: the API works.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
        self.rows = (self.rows * 2).min(self.full);
    }

    /// This order went through.
    pub(crate) fn passed(&mut self, order: &str) {
        self.blocked.remove(order);
    }

    /// A request came to nothing: how long to wait. A smaller one is tried next: what is wrong may be one row.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>, chance: &mut impl Chance) -> Duration {
        self.rows = (self.rows / 2).max(1);
        self.refused(retry_after, chance)
    }

    /// All of it is to be sent again: how long to wait.
    pub(crate) fn refused(&mut self, retry_after: Option<Duration>, chance: &mut impl Chance) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = retry_after.unwrap_or_default().min(RETRY_AFTER_LONGEST) + backoff(self.failures, chance);
        // Orders wait for as long as others could be tried: if their time ran out in a pause, the same ones would be
        // tried again after each.
        self.blocked.values_mut().for_each(|blocked| blocked.until += pause);
        pause
    }

    /// The request was too large; a smaller one may do, at once.
    pub(crate) fn too_large(&mut self, rows: usize) {
        self.rows = (rows / 2).max(1);
    }

    /// This order is to be sent again: others go first for a while, which begins when the relay goes on.
    pub(crate) fn block(&mut self, order: &str, from: Duration, chance: &mut impl Chance) {
        let failures = self.blocked.get(order).map_or(0, |blocked| blocked.failures).saturating_add(1);
        if failures == 1 && self.blocked.len() >= BLOCKED_MAX {
            let first = self.blocked.iter().min_by_key(|(_, blocked)| blocked.until).map(|(order, _)| order.clone());
            first.map(|order| self.blocked.remove(&order));
        }
        let until = from + backoff(failures, chance);
        self.blocked.insert(order.to_owned(), Blocked { until, failures });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(f64);

    impl Chance for Always {
        fn draw(&mut self) -> f64 {
            self.0
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_takes_any_part_of_them() {
        let mut pace = Pace::new(500);
        let waits: Vec<u128> = (0..9).map(|_| pace.failed(None, &mut Always(1.0)).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(pace.failed(None, &mut Always(0.0)), Duration::ZERO);
        assert_eq!(pace.failed(None, &mut Always(0.25)), Duration::from_millis(2_500));
        pace.progressed();
        assert_eq!(pace.failed(None, &mut Always(1.0)), FIRST);
    }

    #[test]
    fn the_api_may_ask_for_longer_up_to_an_hour() {
        let mut pace = Pace::new(500);
        assert_eq!(pace.refused(Some(Duration::from_secs(7)), &mut Always(0.0)), Duration::from_secs(7));
        assert_eq!(pace.refused(Some(Duration::from_secs(86_400)), &mut Always(0.0)), RETRY_AFTER_LONGEST);
    }

    #[test]
    fn after_failures_one_row_probes_and_success_doubles() {
        let mut pace = Pace::new(500);
        for _ in 0..12 {
            pace.failed(None, &mut Always(0.5));
        }
        assert_eq!(pace.rows(), 1);
        let mut steps = 0;
        while pace.rows() < 500 {
            pace.progressed();
            steps += 1;
        }
        assert_eq!(steps, 9);
        pace.too_large(301);
        assert_eq!(pace.rows(), 150);
    }

    #[test]
    fn a_blocked_order_comes_back_and_waits_longer_each_time() {
        let (mut pace, now) = (Pace::new(500), Duration::from_secs(7));
        pace.block("a", now, &mut Always(0.9));
        assert_eq!(pace.blocked(now), ["a"]);
        let later = now + Duration::from_millis(100);
        assert!(pace.blocked(later).is_empty());
        pace.block("a", later, &mut Always(0.9));
        assert_eq!(pace.blocked(later + Duration::from_millis(150)), ["a"]);
        pace.passed("a");
        assert!(pace.blocked(later).is_empty());
    }

    #[test]
    fn blocked_orders_have_a_limit() {
        let (mut pace, now) = (Pace::new(500), Duration::from_secs(7));
        for n in 0..BLOCKED_MAX + 10 {
            pace.block(&n.to_string(), now, &mut Always(0.9));
        }
        assert_eq!(pace.blocked(now).len(), BLOCKED_MAX);
        assert!(pace.blocked(now + FORGOTTEN + LONGEST).is_empty() && pace.blocked.is_empty());
    }
}
