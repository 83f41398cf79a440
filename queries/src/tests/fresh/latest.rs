//! `<table>_latest` over both halves: held against a plain map while events come in any order and sinks flush
//! between them, and of the same moment as its table.

use super::world::{Draw, PARTITIONS, World, viewer};
use crate::Engine;
use crate::fresh::Config;
use crate::tests::support::{csv, schema_of};
use events::log::NewRecord;
use events::schema::{Registry, Schema};
use events::{Headers, headers};
use std::collections::BTreeMap;
use std::sync::Arc;

fn keyed(key: &[&str]) -> Registry {
    let key = key.iter().map(ToString::to_string).collect();
    Registry::of([Schema { key, ..schema_of("game.a", 1, &[]) }])
}

/// What a record is ordered by, but for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Times {
    time_s: u64,
    received_s: u64,
}

fn upsert(n: u64, player: Option<&str>, times: Times) -> NewRecord {
    let at = |second: u64| format!("2026-11-21T09:{:02}:{:02}Z", second / 60, second % 60);
    let (id, time, received) = (n.to_string(), at(times.time_s), at(times.received_s));
    let mut pairs = vec![
        (headers::ID, id.as_str()),
        (headers::SOURCE, "/test"),
        (headers::TYPE, "game.a"),
        (headers::TIME, time.as_str()),
        (headers::CONTENT_TYPE, "application/json"),
        (headers::RECEIVEDAT, received.as_str()),
        (headers::SCHEMA_VERSION, "0"),
        (headers::RAW_OFFSET, id.as_str()),
    ];
    pairs.extend(player.map(|player| (headers::PLAYERID, player)));
    NewRecord { key: "k".into(), headers: Headers::of(pairs), payload: Some(format!(r#"{{"n":{n}}}"#).into()) }
}

async fn calm(key: &[&str]) -> (Arc<World>, Engine) {
    let world = World::calm().await;
    world.registry.replace(keyed(key));
    let engine = world.quiet_engine(Config::default());
    (world, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_row_wins_in_whichever_half_it_lies() {
    let (world, engine) = calm(&["player_id"]).await;
    let sql = "SELECT player_id AS p, n FROM game_a_latest ORDER BY p";
    assert!(csv(&engine, sql).await.unwrap_err().to_string().contains("no table \"game_a_latest\""));
    for (partition, second, player, rows) in [
        // Nothing is in a table yet.
        (0, 10, "p", "p,n\np,0\n"),
        // The tail has the newer one, then the table has, then the late one stands in the tail.
        (0, 20, "p", "p,n\np,1\n"),
        (0, 15, "p", "p,n\np,1\n"),
        (1, 25, "p", "p,n\np,3\n"),
        (1, 5, "q", "p,n\np,3\nq,4\n"),
        // As late as can be, in another partition.
        (0, 24, "p", "p,n\np,3\nq,4\n"),
        (0, 6, "q", "p,n\np,3\nq,6\n"),
    ]
    .map(|(partition, time_s, player, rows)| (partition, Times { time_s, received_s: 1_000 }, player, rows))
    {
        let n = world.truth.lock().values().map(Vec::len).sum::<usize>() as u64;
        world.put(partition, vec![upsert(n, Some(player), second)]).await;
        assert_eq!(csv(&engine, sql).await.unwrap(), rows, "{n} in the tail");
        let catalogue = csv(&engine, "SELECT \"table\" AS t FROM killfeed_tables").await.unwrap();
        assert_eq!(catalogue, "t\ngame_a\ngame_a_latest\n");
        world.flush().await;
        assert_eq!(csv(&engine, sql).await.unwrap(), rows, "{n} in the table");
    }
    assert_eq!(csv(&engine, "SELECT n FROM game_a_latest WHERE n IN (1, 4)").await.unwrap(), "n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_as_a_column_later_has_its_rows_from_then_on() {
    let (world, engine) = calm(&["clan"]).await;
    let times = Times { time_s: 1, received_s: 1 };
    let sql = "SELECT n FROM game_a_latest";
    world.put(0, vec![upsert(0, None, times)]).await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "n\n");
    world.flush().await;
    let with = NewRecord { payload: Some(r#"{"n":1,"clan":"x"}"#.into()), ..upsert(1, None, times) };
    world.put(0, vec![with]).await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "n\n1\n");
    world.flush().await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "n\n1\n");
}

/// Upserts of few players at few times, so that much is late and much is at once, with a flush now and then.
async fn upserts(seed: u64, steps: u64) {
    const PLAYERS: [Option<&str>; 5] = [None, Some("p0"), Some("p1"), Some("p2"), Some("p3")];
    let (world, engine) = calm(&["player_id"]).await;
    let mut draw = Draw(seed);
    let mut model: BTreeMap<&str, ((Times, i32, i64), u64)> = BTreeMap::new();
    let mut sent = 0;
    for step in 0..steps {
        let place = format!("seed {seed}, step {step}");
        for _ in 0..draw.below(4) {
            let partition = i32::try_from(draw.below(u64::try_from(PARTITIONS).unwrap())).unwrap();
            let player = PLAYERS[usize::try_from(draw.below(5)).unwrap()];
            let times = Times { time_s: draw.below(6) + step / 4, received_s: 100 + draw.below(3) };
            world.put(partition, vec![upsert(sent, player, times)]).await;
            let offset = *world.truth.lock()[&partition].last().unwrap();
            if let Some(player) = player {
                let row = ((times, partition, offset), sent);
                let newest = model.entry(player).or_insert(row);
                *newest = row.max(*newest);
            }
            sent += 1;
        }
        if draw.below(3) == 0 {
            world.flush().await;
        }
        if sent == 0 {
            continue;
        }
        let of = |filter: &dyn Fn(&str, u64) -> bool| {
            let rows = model.iter().filter(|(player, (_, n))| filter(player, *n));
            rows.map(|(player, (_, n))| format!("{player},{n}\n")).collect::<String>()
        };
        let bound = sent.saturating_sub(draw.below(12));
        for (filter, expected) in [
            ("true".to_owned(), of(&|_, _| true)),
            (format!("n >= {bound}"), of(&|_, n| n >= bound)),
            (format!("n < {bound} AND player_id <> 'p1'"), of(&|player, n| n < bound && player != "p1")),
            ("player_id = 'p2'".to_owned(), of(&|player, _| player == "p2")),
        ] {
            let sql = format!("SELECT player_id AS p, n FROM game_a_latest WHERE {filter} ORDER BY p");
            assert_eq!(csv(&engine, &sql).await.unwrap(), format!("p,n\n{expected}"), "{place}: {filter}");
        }
        let last = model.values().map(|(_, n)| *n).max().map(|n| n.to_string()).unwrap_or_default();
        let sql = "SELECT count(*) AS c, max(n) AS m FROM game_a_latest";
        assert_eq!(csv(&engine, sql).await.unwrap(), format!("c,m\n{},{last}\n", model.len()), "{place}");
    }
}

/// `KILLFEED_LATEST_SEEDS` asks for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_upserts_it_has_what_a_plain_map_has() {
    let seeds = std::env::var("KILLFEED_LATEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(4) {
        upserts(seed, 30).await;
    }
}

/// A sink comes between any two looks of a statement. Its records have no time of their own and are all received at
/// once, so that the newest of a partition is the last one in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_of_the_same_moment_as_its_table_and_never_steps_back() {
    for seed in 0..3 {
        let world = World::new(seed).await;
        world.registry.replace(keyed(&["_partition"]));
        let engine = world.engine(Config { interval: std::time::Duration::from_millis(1), ..Config::default() });
        let sql = "SELECT l._partition AS p, l._offset AS o, a.o AS last \
            FROM (SELECT _partition AS p, max(_offset) AS o FROM game_a GROUP BY _partition) a \
            FULL JOIN game_a_latest l ON l._partition = a.p ORDER BY p";
        let (mut before, mut answered) = (BTreeMap::new(), 0);
        for number in 0..20 {
            world.budget.store(super::HAPPENINGS, std::sync::atomic::Ordering::SeqCst);
            world.hook(true).await;
            let place = format!("seed {seed}, query {number}");
            let answer = match engine.query(sql, Vec::new(), &viewer()).await {
                Ok(answer) => answer,
                Err(crate::Error::NoTable { .. }) if answered == 0 => continue,
                Err(error) => panic!("{place}: {error}"),
            };
            answered += 1;
            let text = crate::tests::support::written(answer, crate::format::Format::Csv).await.unwrap();
            for line in text.lines().skip(1) {
                let row: Vec<i64> = line.split(',').map(|value| value.parse().unwrap_or(-1)).collect();
                let [partition, newest, last] = row[..] else { panic!("{place}: {line}") };
                assert_eq!(newest, last, "{place}: not of one moment: {line}");
                assert!(before.insert(partition, newest).is_none_or(|before| before <= newest), "{place}: a step back");
            }
        }
        assert!(answered > 10, "only {answered} queries met the table");
    }
}
