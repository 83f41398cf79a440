//! Several relays, writers whose transactions overlap, kills of relays and of the database, an API that fails: at the
//! end each committed row has arrived, no other has, and in each order nothing has overtaken.

use crate::collector::Collector;
use crate::model::Table;
use crate::time::{Task, World};
use outbox::{Clock as _, Relay, Settings, Status, Stop};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// When a row was inserted and when its transaction had committed, by one counter.
#[derive(Clone, Copy)]
struct Life {
    seq: i64,
    inserted: u64,
    committed: u64,
}

#[derive(Default)]
struct History {
    now: AtomicU64,
    /// Of committed rows, by id: their order and life.
    rows: Mutex<HashMap<String, (String, Life)>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }
}

/// Transactions one after the other, of one to three rows; some of them roll back.
async fn write(world: World, table: Table, history: Arc<History>, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..25 {
        let mut rows = Vec::new();
        for _ in 0..random.random_range(1..=3) {
            let key = random.random_range(0..6);
            let key = (key > 0).then(|| format!("game-{key}"));
            let row = table.insert(key.as_deref());
            rows.push((row, history.tick()));
            world.sleep_ms(random.random_range(0..40)).await;
        }
        let seqs: Vec<i64> = rows.iter().map(|(row, _)| row.seq).collect();
        if random.random_bool(0.2) {
            table.roll_back(&seqs);
            continue;
        }
        table.commit(&seqs);
        let committed = history.tick();
        let mut known = history.rows.lock().unwrap();
        for (row, inserted) in rows {
            known.insert(row.id, (row.order, Life { seq: row.seq, inserted, committed }));
        }
        drop(known);
    }
}

fn start(world: &World, table: &Table, api: &Collector, seed: u64, stop: &Stop) -> Task<()> {
    let chance = ChaCha8Rng::seed_from_u64(seed);
    let settings = Settings { batch: 8, ..Settings::default() };
    let mut relay =
        Relay::new(table.store(), api.clone(), world.clock.clone(), chance, settings, Arc::new(Status::default()));
    let stop = stop.clone();
    world.spawn(async move { relay.run(stop).await.unwrap() })
}

async fn run(world: World, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let table = Table::new(&world, seed, 0.05);
    let api = Collector::new(&world, seed, random.random_range(0.0..0.6));
    let history = Arc::new(History::default());
    let (stopping, stop) = watch::channel(false);
    let mut relays: Vec<Task<()>> = (0..3).map(|n| start(&world, &table, &api, seed * 100 + n, &stop)).collect();
    let writers: Vec<Task<()>> =
        (0..4).map(|n| world.spawn(write(world.clone(), table.clone(), history.clone(), seed * 10 + n))).collect();
    for n in 0..20 {
        world.sleep_ms(random.random_range(0..150)).await;
        if random.random_bool(0.3) {
            table.crash();
        } else {
            let which = random.random_range(0..relays.len());
            relays[which].abort();
            relays[which] = start(&world, &table, &api, seed * 100 + 10 + n, &stop);
        }
    }
    for writer in writers {
        writer.join().await;
    }
    table.faultless();
    api.faultless();
    let patience = world.clock.now() + Duration::from_secs(120);
    while table.left() > 0 {
        assert!(world.clock.now() < patience, "seed {seed}: {} rows are left", table.left());
        world.sleep_ms(100).await;
    }
    stopping.send(true).unwrap();
    for relay in relays {
        relay.join().await;
    }
    check(&api, &history, seed);
}

fn check(api: &Collector, history: &History, seed: u64) {
    let rows = history.rows.lock().unwrap();
    let first = api.first();
    let strangers: Vec<&String> = first.iter().filter(|id| !rows.contains_key(*id)).collect();
    assert!(strangers.is_empty(), "seed {seed}: rolled back, and sent: {strangers:?}");
    assert_eq!(first.len(), rows.len(), "seed {seed}: some rows never arrived");
    let mut orders: HashMap<&String, Vec<Life>> = HashMap::new();
    for id in &first {
        let (order, life) = &rows[id];
        orders.entry(order).or_default().push(*life);
    }
    for (order, lives) in orders {
        for (at, later) in lives.iter().enumerate() {
            for earlier in &lives[..at] {
                // What had committed before the other was inserted, and what stands before it in one transaction.
                let overtaken = later.committed < earlier.inserted
                    || (later.committed == earlier.committed && later.seq < earlier.seq);
                assert!(!overtaken, "seed {seed}: in {order}, row {} came after row {}", later.seq, earlier.seq);
            }
        }
    }
}

#[test]
fn every_committed_row_arrives_in_order_and_no_other_whatever_dies() {
    for seed in 0..60 {
        World::run(|world| run(world, seed));
    }
}
