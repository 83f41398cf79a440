//! One relay against a script: what it sends, when, and what it takes down.

use crate::collector::published;
use crate::model::Table;
use crate::time::{VirtualClock, World};
use outbox::{Api, Chance, Clock as _, Published, Relay, Reply, Settings, Status, Verdict};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Waits are as long as they may be.
struct Longest;

impl Chance for Longest {
    fn draw(&mut self) -> f64 {
        1.0
    }
}

/// One answer of the script; past its end all is accepted.
#[derive(Clone)]
enum Act {
    /// A verdict for each event.
    Verdicts(Vec<Verdict>),
    Reply(Reply),
    /// Accepted after this long.
    Slow(Duration),
}

/// When a request came, and the ids in it.
type Seen = (Duration, Vec<String>);

#[derive(Clone)]
struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    published: Published,
    clock: VirtualClock,
}

impl Script {
    fn new(world: &World, acts: impl IntoIterator<Item = Act>) -> Self {
        let acts = Arc::new(Mutex::new(acts.into_iter().collect()));
        Self { acts, seen: Arc::default(), published: published(), clock: world.clock.clone() }
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().iter().map(|(_, ids)| ids.clone()).collect()
    }

    /// Milliseconds between requests.
    fn pauses(&self) -> Vec<u128> {
        let seen = self.seen.lock().unwrap();
        seen.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect()
    }
}

impl Api for Script {
    async fn published(&self) -> Result<Published, String> {
        Ok(self.published.clone())
    }

    async fn send(&self, lines: &[String], ids: &[&str]) -> Reply {
        assert_eq!(lines.len(), ids.len());
        self.seen.lock().unwrap().push((self.clock.now(), ids.iter().map(|id| (*id).to_owned()).collect()));
        let act = self.acts.lock().unwrap().pop_front();
        let verdicts = match act {
            Some(Act::Reply(reply)) => return reply,
            Some(Act::Verdicts(verdicts)) => verdicts,
            Some(Act::Slow(time)) => {
                self.clock.sleep(time).await;
                vec![Verdict::Accepted; ids.len()]
            }
            None => vec![Verdict::Accepted; ids.len()],
        };
        Reply::Answered { verdicts, retry_after: None }
    }
}

fn again(unknown: bool) -> Verdict {
    Verdict::Again { why: "503".into(), unknown }
}

fn failed(unknown: bool, retry_after: Option<u64>) -> Act {
    Act::Reply(Reply::Failed { why: "as told".into(), unknown, retry_after: retry_after.map(Duration::from_secs) })
}

/// Lets a relay work for this long, then tells it to stop, and waits until it has.
async fn work(world: &World, table: &Table, api: &Script, batch: usize, time: Duration) -> Arc<Status> {
    let status = Arc::new(Status::default());
    let (stopping, stop) = watch::channel(false);
    let settings = Settings { batch, ..Settings::default() };
    let mut relay = Relay::new(table.store(), api.clone(), world.clock.clone(), Longest, settings, status.clone());
    let at_work = world.spawn(async move { relay.run(stop).await });
    world.clock.sleep(time).await;
    stopping.send(true).unwrap();
    at_work.join().await.unwrap();
    status
}

const WHILE: Duration = Duration::from_secs(60);

#[test]
fn an_outage_is_waited_for_with_growing_pauses_and_probed_with_ever_fewer_rows() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        (0..32).for_each(|_| drop(table.add(Some("a"))));
        let api =
            Script::new(&world, [failed(true, None), failed(true, None), failed(false, None), failed(false, Some(7))]);
        let status = work(&world, &table, &api, 16, WHILE).await;
        let sizes: Vec<usize> = api.seen().iter().map(Vec::len).collect();
        assert_eq!(sizes, [16, 8, 4, 2, 1, 2, 4, 8, 16, 1]);
        let pauses: Vec<u128> = api.pauses().iter().map(|ms| ms / 50 * 50).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 7_800]);
        assert!(pauses[4..].iter().all(|ms| *ms < 100), "{pauses:?}");
        assert_eq!(status.delivered.load(Ordering::Relaxed), 32);
        assert_eq!(status.requests_failed.load(Ordering::Relaxed), 4);
        assert!(status.is_ready());
    });
}

#[test]
fn an_order_that_has_to_wait_holds_up_no_other() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let (a1, b1) = (table.add(Some("a")), table.add(Some("b")));
        let (a2, b2) = (table.add(Some("a")), table.add(Some("b")));
        let api = Script::new(&world, [Act::Verdicts(vec![again(false), Verdict::Accepted])]);
        // Two rows at a time: a1 and b1, then b2 alone, since a waits.
        work(&world, &table, &api, 2, WHILE).await;
        let seen = api.seen();
        assert_eq!(seen[..2], [vec![a1.id.clone(), b1.id], vec![b2.id]]);
        assert_eq!(seen[2..].concat(), [a1.id, a2.id]);
        assert_eq!(table.left(), 0);
    });
}

#[test]
fn one_row_that_breaks_every_request_is_left_alone_between_tries() {
    World::run(|world| async move {
        /// Fails whatever has the poison in it.
        #[derive(Clone)]
        struct Poisoned(Script, String);
        impl Api for Poisoned {
            async fn published(&self) -> Result<Published, String> {
                self.0.published().await
            }
            async fn send(&self, lines: &[String], ids: &[&str]) -> Reply {
                match ids.contains(&self.1.as_str()) {
                    true => Reply::Failed { why: "502".into(), unknown: true, retry_after: None },
                    false => self.0.send(lines, ids).await,
                }
            }
        }
        let table = Table::new(&world, 1, 0.0);
        let poison = table.add(Some("poison"));
        let behind = table.add(Some("poison"));
        (0..100).for_each(|_| drop(table.add(None)));
        let api = Poisoned(Script::new(&world, []), poison.id.clone());
        let (_stopping, stop) = watch::channel(false);
        let mut relay =
            Relay::new(table.store(), api, world.clock.clone(), Longest, Settings::default(), Arc::default());
        let at_work = world.spawn(async move { relay.run(stop).await });
        world.clock.sleep(Duration::from_secs(600)).await;
        at_work.abort();
        assert_eq!(table.left(), 2, "all others have gone, and what is behind it in its order has waited");
        assert!(table.entry(poison.seq).attempts > 10 && table.entry(behind.seq).settled.is_none());
    });
}

#[test]
fn a_type_that_nobody_serves_holds_up_no_other() {
    /// Asks for some events again, for ever.
    #[derive(Clone)]
    struct Unserved(Script, Arc<Vec<String>>);
    impl Api for Unserved {
        async fn published(&self) -> Result<Published, String> {
            self.0.published().await
        }
        async fn send(&self, lines: &[String], ids: &[&str]) -> Reply {
            let Reply::Answered { mut verdicts, .. } = self.0.send(lines, ids).await else { unreachable!() };
            for (verdict, id) in verdicts.iter_mut().zip(ids) {
                if self.1.iter().any(|unserved| unserved == id) {
                    *verdict = again(false);
                }
            }
            Reply::Answered { verdicts, retry_after: None }
        }
    }
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let unserved = (0..40).map(|_| table.add(None).id).collect();
        (0..40).for_each(|_| drop(table.add(Some("a"))));
        let api = Unserved(Script::new(&world, []), Arc::new(unserved));
        let (_stopping, stop) = watch::channel(false);
        let settings = Settings { batch: 10, ..Settings::default() };
        let mut relay = Relay::new(table.store(), api, world.clock.clone(), Longest, settings, Arc::default());
        let at_work = world.spawn(async move { relay.run(stop).await });
        world.clock.sleep(Duration::from_secs(300)).await;
        at_work.abort();
        assert_eq!(table.left(), 40);
    });
}

#[test]
fn refused_rows_stay_with_the_reason_and_what_is_behind_them_goes_on() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let (first, second) = (table.add(Some("a")), table.add(Some("a")));
        let api =
            Script::new(&world, [Act::Verdicts(vec![Verdict::Refused("400: no type".into()), Verdict::Accepted])]);
        let status = work(&world, &table, &api, 500, WHILE).await;
        assert_eq!(table.entry(first.seq).settled, Some(Err("400: no type".into())));
        assert_eq!(table.entry(second.seq).settled, Some(Ok(())));
        assert_eq!(status.refused.load(Ordering::Relaxed), 1);
        assert_eq!(api.seen().len(), 1);
    });
}

#[test]
fn doubt_remains_only_where_something_may_have_been_kept() {
    World::run(|world| async move {
        for (act, in_doubt) in [
            (failed(true, Some(50)), true),
            (failed(false, Some(50)), false),
            (Act::Verdicts(vec![again(true)]), true),
            (Act::Verdicts(vec![again(false)]), false),
        ] {
            let table = Table::new(&world, 1, 0.0);
            let row = table.add(Some("a"));
            // Fails again and again, so that the row is still there at the end.
            let api = Script::new(&world, vec![act; 40]);
            work(&world, &table, &api, 500, Duration::from_secs(20)).await;
            assert_eq!(table.entry(row.seq).doubt_since.is_some(), in_doubt);
            assert!(table.entry(row.seq).settled.is_none());
        }
    });
}

#[test]
fn an_earlier_doubt_is_not_cleared_by_a_later_refusal() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let row = table.add(Some("a"));
        let api = Script::new(&world, [failed(true, None), failed(false, Some(3_000))]);
        work(&world, &table, &api, 500, WHILE).await;
        assert!(table.entry(row.seq).doubt_since.is_some());
    });
}

#[test]
fn what_is_in_doubt_for_longer_than_the_window_is_held_and_what_was_never_sent_is_sent() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let (in_doubt, behind) = (table.add(Some("a")), table.add(Some("a")));
        let declared = table.add(None);
        table.change(in_doubt.seq, |entry| entry.doubt_since = Some(Duration::ZERO));
        table.change(declared.seq, |entry| {
            entry.doubt_since = Some(Duration::ZERO);
            entry.row.event_type = "game_result".into();
        });
        world.clock.sleep(Duration::from_secs(86_400)).await;
        let mut api = Script::new(&world, []);
        api.published.dedupe.window_s_by_type.insert("game_result".into(), 604_800);
        let status = work(&world, &table, &api, 500, WHILE).await;
        let held = table.entry(in_doubt.seq).settled.unwrap().unwrap_err();
        assert!(held.starts_with("in doubt for 864"), "{held}");
        assert_eq!(table.entry(behind.seq).settled, Some(Ok(())));
        assert_eq!(table.entry(declared.seq).settled, Some(Ok(())), "its type is deduplicated for longer");
        assert_eq!((status.held.load(Ordering::Relaxed), status.refused.load(Ordering::Relaxed)), (1, 0));
    });
}

#[test]
fn a_request_that_is_too_large_is_split_and_a_row_that_is_refused() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        let row = table.add(Some("a"));
        let too_large = Act::Reply(Reply::TooLarge("413: too large".into()));
        work(&world, &table, &Script::new(&world, [too_large.clone()]), 500, WHILE).await;
        assert_eq!(table.entry(row.seq).settled, Some(Err("413: too large".into())));
        (0..4).for_each(|_| drop(table.add(Some("a"))));
        let api = Script::new(&world, [too_large]);
        work(&world, &table, &api, 500, WHILE).await;
        assert_eq!(api.seen().iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 2]);
        let large = table.add(None);
        table.change(large.seq, |entry| entry.row.size = 1_000_001);
        work(&world, &table, &Script::new(&world, []), 500, WHILE).await;
        assert!(table.entry(large.seq).settled.unwrap().unwrap_err().starts_with("413: data has 1000001 bytes"));
    });
}

#[test]
fn a_relay_that_is_told_to_stop_finishes_the_batch_in_flight() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        (0..8).for_each(|_| drop(table.add(Some("a"))));
        let api = Script::new(&world, [Act::Slow(Duration::from_secs(8))]);
        let start = world.clock.now();
        let status = work(&world, &table, &api, 4, Duration::from_secs(1)).await;
        assert_eq!((world.clock.now() - start).as_secs(), 8);
        assert_eq!(status.delivered.load(Ordering::Relaxed), 4);
        assert_eq!(table.left(), 4);
    });
}

#[test]
fn a_relay_that_waits_stops_at_once() {
    World::run(|world| async move {
        let table = Table::new(&world, 1, 0.0);
        table.add(Some("a"));
        let api = Script::new(&world, [failed(false, Some(3_000))]);
        let start = world.clock.now();
        work(&world, &table, &api, 4, Duration::from_secs(1)).await;
        assert!((world.clock.now() - start) < Duration::from_secs(2));
    });
}
