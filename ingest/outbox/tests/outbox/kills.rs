//! Relays and the database killed at random under load: each committed row's event arrives, once by its id; what was
//! rolled back, or lost by the database itself, never does; and each game's events arrive in order.

use crate::server::{Collector, PATIENCE, Postgres, relay, table};
use outbox::Settings;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Kills in the normal run; `KILLFEED_OUTBOX_SECONDS` asks for as many as fit, `KILLFEED_OUTBOX_SEED` for others.
const KILLS: u32 = 12;
const WRITERS: u64 = 4;
const RELAYS: u64 = 3;
const GAMES: i32 = 8;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, no number")))
}

/// The game's own table. A move is counted in it and told by the outbox in one transaction; what it holds at the end is
/// the truth, whatever was said to a writer whose connection broke at its commit.
const GAME: &str = "CREATE TABLE games (id int PRIMARY KEY, moves bigint NOT NULL); \
    CREATE TABLE moves (event uuid PRIMARY KEY, game int NOT NULL, move bigint NOT NULL)";

/// One transaction: moves of a game, one or a few. Half of the writers don't wait for the disk at commit, so the
/// database loses some of theirs when it is killed.
async fn play(client: &tokio_postgres::Client, random: &mut ChaCha8Rng) -> Result<bool, tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    let game = random.random_range(0..GAMES);
    for _ in 0..random.random_range(1..=5) {
        // The row's lock is what brings a game's transactions into an order.
        client
            .execute(
                "WITH moved AS (UPDATE games SET moves = moves + 1 WHERE id = $1 RETURNING moves), \
             event AS (INSERT INTO killfeed_outbox (key, source, type, attributes, data) \
               SELECT 'game-' || $1::int4, '/chess', 'chess.move', jsonb_build_object('gameid', 'game-' || $1::int4), \
                      json_build_object('move', moves) FROM moved RETURNING id) \
             INSERT INTO moves SELECT event.id, $1, moved.moves FROM event, moved",
                &[&game],
            )
            .await?;
    }
    let commits = random.random_bool(0.8);
    client.batch_execute(if commits { "COMMIT" } else { "ROLLBACK" }).await?;
    Ok(commits)
}

async fn write(postgres: Arc<Postgres>, seed: u64, enough: Arc<AtomicBool>, committed: Arc<AtomicU64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    while !enough.load(Ordering::SeqCst) {
        let client = postgres.client().await;
        let commit = format!("SET synchronous_commit = {}", if seed.is_multiple_of(2) { "on" } else { "off" });
        let mut result = client.batch_execute(&commit).await.map(|()| true);
        while result.is_ok() && !enough.load(Ordering::SeqCst) {
            result = play(&client, &mut random).await;
            committed.fetch_add(u64::from(matches!(result, Ok(true))), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..10))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_committed_row_arrives_once_and_no_other_whatever_is_killed() {
    let seed = setting("KILLFEED_OUTBOX_SEED").unwrap_or(1);
    let until = setting("KILLFEED_OUTBOX_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let postgres = Arc::new(Postgres::start("kills"));
    let client = postgres.with_table(&table()).await;
    client.batch_execute(GAME).await.unwrap();
    client.execute("INSERT INTO games SELECT id, 0 FROM generate_series(0, $1) AS id", &[&(GAMES - 1)]).await.unwrap();
    let api = Collector::start(seed, 0.3).await;
    let (stopping, stop) = watch::channel(false);
    let settings = Settings { batch: 50, ..Settings::default() };
    let mut relays: Vec<_> = (0..RELAYS).map(|n| relay(&postgres, &api, settings, seed * 100 + n, &stop)).collect();
    let (enough, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| tokio::spawn(write(postgres.clone(), seed * 10 + n, enough.clone(), committed.clone())))
        .collect();

    let (mut kills, mut crashes) = (0, 0);
    while kills < KILLS || until.is_some_and(|until| Instant::now() < until) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        if kills % 3 == 2 {
            let postgres = postgres.clone();
            tokio::task::spawn_blocking(move || postgres.crash()).await.unwrap();
            crashes += 1;
        } else {
            let which = random.random_range(0..relays.len());
            relays[which].abort();
            relays[which] = relay(&postgres, &api, settings, seed * 100 + 10 + u64::from(kills), &stop);
        }
        kills += 1;
    }
    enough.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    api.set_faults(0.0);
    let client = postgres.client().await;
    let start = Instant::now();
    loop {
        let left = client.query_one("SELECT count(*), max(error) FROM killfeed_outbox", &[]).await.unwrap();
        if left.get::<_, i64>(0) == 0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{left:?} is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let drained = start.elapsed();
    stopping.send(true).unwrap();
    for relay in relays {
        relay.await.unwrap();
    }

    let moves: BTreeMap<String, (i32, i64)> = client
        .query("SELECT event::text, game, move FROM moves", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    let first = api.first();
    let arrived: BTreeSet<&str> = first.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let strangers: Vec<_> = arrived.iter().filter(|id| !moves.contains_key(**id)).collect();
    assert!(strangers.is_empty(), "seed {seed}: never committed, or lost by the database, and sent: {strangers:?}");
    let missing: Vec<_> = moves.keys().filter(|id| !arrived.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "seed {seed}: committed and never sent: {missing:?}");
    let mut last: HashMap<i32, i64> = HashMap::new();
    for event in &first {
        let (game, number) = moves[event["id"].as_str().unwrap()];
        assert_eq!(event["data"]["move"].as_i64(), Some(number));
        let before = last.insert(game, number).unwrap_or_default();
        assert_eq!(before + 1, number, "seed {seed}: game {game} is out of order");
    }
    let again: u32 = first.iter().map(|event| api.times(event["id"].as_str().unwrap()) - 1).sum();
    assert!(committed.load(Ordering::SeqCst) > 0 && arrived.len() > KILLS as usize);
    println!(
        "seed {seed}: {kills} kills, {crashes} of them of the database; {} rows committed, each arrived, {again} sent again; \
         drained in {drained:?}",
        moves.len()
    );
}
