//! Answers that have what is in no table yet: against a sink that comes between any two looks of a query,
//! and one case of each thing that the two halves may differ in.

mod halves;
mod latest;
mod limits;
mod world;

use crate::Engine;
use crate::fresh::Config;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use std::collections::BTreeMap;
use world::{World, viewer};

/// Queries of one seed: later ones only read more files.
const OF_ONE: usize = 40;
/// What happens during one query, at most.
const HAPPENINGS: u64 = 14;

type Seen = BTreeMap<i32, Vec<i64>>;

/// Offsets by partition, of both tables in one statement.
async fn seen(engine: &Engine) -> Option<Seen> {
    let sql = "SELECT _partition, _offset FROM game_a UNION ALL SELECT _partition, _offset FROM game_b";
    let answer = match engine.query(sql, Vec::new(), &viewer()).await {
        Ok(answer) => answer,
        Err(crate::Error::NoTable { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!((answer.fresh_to_us(), answer.warnings().len()), (None, 0), "{:?}", answer.warnings());
    let mut seen: Seen = BTreeMap::new();
    for batch in answer.collect().await.unwrap() {
        let partitions = batch.column(0).as_primitive::<Int32Type>();
        let offsets = batch.column(1).as_primitive::<Int64Type>();
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            seen.entry(*partition).or_default().push(*offset);
        }
    }
    seen.values_mut().for_each(|offsets| offsets.sort_unstable());
    Some(seen)
}

/// Asks again and again; each answer is a prefix of the truth, by partition: nothing twice, nothing left out,
/// one table never ahead of the other. It has what could be read before it was asked for, and what any
/// answer before it had.
async fn holds(seed: u64, queries: usize) -> usize {
    let world = World::new(seed).await;
    let engine = world.engine(Config { interval: std::time::Duration::from_millis(1), ..Config::default() });
    let mut before = Seen::new();
    let mut answered = 0;
    for number in 0..queries {
        world.budget.store(HAPPENINGS, std::sync::atomic::Ordering::SeqCst);
        world.hook(true).await;
        let at_least = world.stable().await;
        let Some(seen) = seen(&engine).await else {
            assert!(before.is_empty(), "seed {seed}, query {number}: a table is gone");
            continue;
        };
        answered += 1;
        let truth = world.truth.lock().clone();
        for partition in 0..world::PARTITIONS {
            let of = |all: &Seen| all.get(&partition).cloned().unwrap_or_default();
            let (seen, truth) = (of(&seen), of(&truth));
            let place = format!("seed {seed}, query {number}, partition {partition}");
            assert_eq!(seen, truth.get(..seen.len()).unwrap_or_default(), "{place}: no prefix of the truth");
            assert!(seen.len() >= of(&before).len(), "{place}: a step back");
            assert!(seen.len() >= of(&at_least).len(), "{place}: {} of {}", seen.len(), of(&at_least).len());
        }
        before = seen;
    }
    answered
}

/// `KILLFEED_FRESH_QUERIES` asks for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_a_prefix_of_the_truth_while_a_sink_comes_between_any_two_looks() {
    let queries = std::env::var("KILLFEED_FRESH_QUERIES").ok().and_then(|queries| queries.parse().ok());
    let queries: usize = queries.unwrap_or(320);
    let mut answered = 0;
    for seed in 0..queries.div_ceil(OF_ONE) {
        answered += holds(seed as u64, OF_ONE).await;
    }
    assert!(answered * 10 > queries * 6, "only {answered} of {queries} queries met both tables");
}
