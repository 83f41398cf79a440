//! `killfeed outbox` between a real PostgreSQL and `killfeed up`, all three killed at random: each committed row's event
//! is in the table exactly once, in each game's order; what was rolled back never.

use crate::support::{Home, KILLFEED, PATIENCE, Server, repository, text, wait};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// Kills in the normal run: of the relay, of the server, of the database in turn.
const KILLS: u32 = 9;
const GAMES: i32 = 8;

/// A PostgreSQL of the test's own, killed when dropped.
struct Postgres {
    dir: PathBuf,
    url: String,
}

impl Postgres {
    fn start(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("killfeed-outbox-{test}-{}", std::process::id()));
        let mut server = Self { dir, url: String::new() };
        server.url = server.script("up", &[]);
        server
    }

    fn script(&self, name: &str, args: &[&str]) -> String {
        let mut command = Command::new(repository().join("deploy/dev/postgres").join(name));
        command.args(args).env("POSTGRES_DATA", &self.dir).env("POSTGRES_OWNER", std::process::id().to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills all of its processes, and starts it again on the same port.
    fn crash(&self) {
        self.script("down", &["--kill"]);
        assert_eq!(self.script("up", &[]), self.url);
    }

    /// A connection, waited for while the server is away.
    async fn client(&self) -> Client {
        let start = Instant::now();
        loop {
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(async move { drop(connection.await) });
                    return client;
                }
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.script("down", &["--kill", "--purge"]);
    }
}

/// `killfeed outbox` at work; killed when dropped.
struct Relay(Child);

impl Relay {
    fn start(home: &Home, postgres: &Postgres, server: &Server) -> Self {
        let mut command = Command::new(KILLFEED);
        command.args(["outbox", "--batch", "50", "--url", &server.url]).env("KILLFEED_POSTGRES", &postgres.url);
        command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("KILLFEED_KEY").env_remove("KILLFEED_URL");
        command.stderr(File::options().create(true).append(true).open(home.path("relay")).unwrap());
        Self(command.spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        wait(&mut self.0).code()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One transaction of one or a few moves. What `moves` holds at the end is the truth, whatever was said to a writer
/// whose connection broke at its commit.
async fn play(client: &Client, random: &mut ChaCha8Rng) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    let game = random.random_range(0..GAMES);
    for _ in 0..random.random_range(1..=5) {
        let moved = "WITH moved AS (UPDATE games SET moves = moves + 1 WHERE id = $1 RETURNING moves), \
             event AS (INSERT INTO killfeed_outbox (key, source, type, attributes, data) \
               SELECT 'game-' || $1::int4, '/chess', 'chess.move', jsonb_build_object('gameid', 'game-' || $1::int4), \
                      json_build_object('move', moves) FROM moved RETURNING id) \
             INSERT INTO moves SELECT event.id, $1, moved.moves FROM event, moved";
        client.execute(moved, &[&game]).await?;
    }
    client.batch_execute(if random.random_bool(0.8) { "COMMIT" } else { "ROLLBACK" }).await
}

async fn write(postgres: Arc<Postgres>, seed: u64, enough: Arc<AtomicBool>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    while !enough.load(Ordering::SeqCst) {
        let client = postgres.client().await;
        // Half of them don't wait for the disk: the database loses some of what it told them was committed.
        let commit = if seed.is_multiple_of(2) { "on" } else { "off" };
        let mut result = client.batch_execute(&format!("SET synchronous_commit = {commit}")).await;
        while result.is_ok() && !enough.load(Ordering::SeqCst) {
            result = play(&client, &mut random).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..10))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_committed_row_is_in_the_table_once_whatever_is_killed() {
    let seed = std::env::var("KILLFEED_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = Home::new();
    let postgres = Arc::new(tokio::task::spawn_blocking(|| Postgres::start("kills")).await.unwrap());
    let client = postgres.client().await;
    let schema = Command::new(KILLFEED).args(["outbox", "--print-schema"]).output().unwrap();
    client.batch_execute(&String::from_utf8(schema.stdout).unwrap()).await.unwrap();
    let game = "CREATE TABLE games (id int PRIMARY KEY, moves bigint NOT NULL); \
        CREATE TABLE moves (event uuid PRIMARY KEY, game int NOT NULL, move bigint NOT NULL)";
    client.batch_execute(game).await.unwrap();
    client.execute("INSERT INTO games SELECT id, 0 FROM generate_series(0, $1) AS id", &[&(GAMES - 1)]).await.unwrap();

    let mut server = home.up(&[]);
    let mut relays: Vec<Relay> = (0..2).map(|_| Relay::start(&home, &postgres, &server)).collect();
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..4).map(|n| tokio::spawn(write(postgres.clone(), seed * 10 + n, enough.clone()))).collect();
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_200))).await;
        match kill % 3 {
            0 => {
                relays.remove(0).kill();
                relays.push(Relay::start(&home, &postgres, &server));
            }
            1 => {
                server.kill();
                server = home.up(&[]);
                // It listens elsewhere now.
                relays = relays.iter().map(|_| Relay::start(&home, &postgres, &server)).collect();
            }
            _ => {
                let postgres = postgres.clone();
                tokio::task::spawn_blocking(move || postgres.crash()).await.unwrap();
            }
        }
    }
    enough.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let client = postgres.client().await;
    let start = Instant::now();
    while client.query_one("SELECT count(*) FROM killfeed_outbox", &[]).await.unwrap().get::<_, i64>(0) > 0 {
        let said = std::fs::read_to_string(home.path("relay")).unwrap();
        assert!(start.elapsed() < PATIENCE, "rows are left\n{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for relay in relays {
        assert_eq!(relay.stop(), Some(0));
    }
    check(&client, &server).await;
}

async fn check(client: &Client, server: &Server) {
    server.flush().await;
    let moves = client.query("SELECT event::text, game, move FROM moves ORDER BY game, move", &[]).await.unwrap();
    let committed: Vec<(String, String, i64)> =
        moves.iter().map(|row| (row.get(0), format!("game-{}", row.get::<_, i32>(1)), row.get(2))).collect();
    assert!(committed.len() > 100, "only {} rows were committed", committed.len());
    let rows = server
        .sql("SELECT id, game_id, move FROM chess_move ORDER BY game_id, _incarnation, _partition, _offset")
        .await;
    let mut delivered: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for row in &rows {
        let game = row["game_id"].as_str().unwrap().to_owned();
        delivered
            .entry(game)
            .or_default()
            .push((row["id"].as_str().unwrap().to_owned(), row["move"].as_i64().unwrap()));
    }
    let mut expected: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for (id, game, number) in committed {
        expected.entry(game).or_default().push((id, number));
    }
    // By game, in the order of the log: the same rows, once each, in the order in which the game made them.
    assert_eq!(delivered, expected);
    server.balanced().await;
}

#[tokio::test]
async fn what_is_missing_ends_it_with_2_and_one_line() {
    let postgres = tokio::task::spawn_blocking(|| Postgres::start("faults")).await.unwrap();
    let home = Home::new();
    let server = home.up(&[]);
    for (args, says) in [
        (vec!["outbox"], "--postgres"),
        (vec!["outbox", "--postgres", "mysql://h/d"], "postgresql://"),
        (vec!["outbox", "--postgres", &postgres.url, "--table", "a;b"], "a;b"),
        (vec!["outbox", "--postgres", &postgres.url, "--mark", "--delete"], "--delete"),
        (vec!["outbox", "--postgres", &postgres.url], "there is no table killfeed_outbox"),
    ] {
        let mut command = Command::new(KILLFEED);
        command.args(&args).env("RUST_LOG", "off").env("KILLFEED_URL", &server.url).env_remove("KILLFEED_POSTGRES");
        let output = command.output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(says), "{args:?}: {said}");
    }
}
