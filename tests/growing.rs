//! A stream gets more partitions while events come, again and again, and while roles die.

use crate::kafka::{self, TURN};
use crate::support::{Home, KILLFEED, Server, event, text};
use chaos::Cluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Games that are played in order while the stream grows.
const GAMES: usize = 5;

fn grow(home: &Home, partitions: &str, args: &[&str]) -> Command {
    let mut command = Command::new(KILLFEED);
    command.args(["topics", "grow", "--partitions", partitions, "--data-dir"]).arg(home.path("data")).args(args);
    command
}

fn done(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output))
}

#[tokio::test]
async fn the_embedded_log_grows_between_two_runs() {
    let home = Home::new();
    let events = |range: std::ops::Range<u64>| -> Vec<Value> {
        range.map(|n| event("grow.tried", &n.to_string(), &json!({ "n": n }))).collect()
    };
    let server = home.up(&[]);
    server.accept(&events(0..300)).await;
    let (code, said) = done(grow(&home, "6", &[]));
    assert_eq!(code, Some(2), "a server has the log: {said}");
    server.kill();
    for (partitions, expected, says) in
        [("3", 2, "never shrinks"), ("6", 0, "done, generation 2"), ("6", 0, "has 6 partitions, generation 2")]
    {
        let (code, said) = done(grow(&home, partitions, &[]));
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let old = home.command(&["--partitions", "4"]).output().unwrap();
    assert_eq!(old.status.code(), Some(2));
    assert!(home.stderr().contains("has 6 partitions, and 4 were asked for"), "{}", home.stderr());

    let server = home.up(&["--partitions", "6"]);
    server.accept(&events(200..500)).await;
    server.flush().await;
    let rows = server.sql("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM grow_tried").await;
    assert_eq!(rows, [json!({ "rows": 500, "ids": 500 })]);
    let audit = server.balanced().await;
    assert_eq!((&audit["duplicates"], &audit["accepted"]), (&json!(100), &json!(600)));
    assert_eq!(audit["partitions"].as_array().unwrap().len(), 10, "of both generations");
}

/// An event of a game, in its order.
fn played(game: usize, n: u64) -> Value {
    let mut event = event("grow.played", &format!("{game}-{n}"), &json!({ "n": n }));
    event["gameid"] = json!(format!("game{game}"));
    event
}

/// Plays a game until it is told to stop, a batch after the other, each with the one before it once more;
/// says how many events it has.
async fn play(server: Arc<Server>, game: usize, stop: Arc<AtomicBool>) -> u64 {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let events: Vec<Value> = (n.max(7) - 7..n + 7).map(|n| played(game, n)).collect();
        kafka::send(&server, &events).await;
        n += 7;
    }
    n
}

/// Each game's events once, and in the order in which they were sent: by generation, then by offset.
async fn assert_in_order(server: &Server, generations: &[String], played: &[u64]) {
    let rows = server.sql("SELECT game_id, n, _incarnation, _offset FROM grow_played").await;
    let mut games: BTreeMap<String, Vec<(usize, i64, u64)>> = BTreeMap::new();
    for row in rows {
        let generation = generations.iter().position(|name| row["_incarnation"] == **name).unwrap();
        let place = (generation, row["_offset"].as_i64().unwrap(), row["n"].as_u64().unwrap());
        games.entry(row["game_id"].as_str().unwrap().to_owned()).or_default().push(place);
    }
    assert_eq!(games.len(), played.len());
    for (game, count) in played.iter().enumerate() {
        let rows = games.get_mut(&format!("game{game}")).unwrap();
        rows.sort_unstable();
        let order: Vec<u64> = rows.iter().map(|(_, _, n)| *n).collect();
        assert_eq!(order, (0..*count).collect::<Vec<_>>(), "game {game}");
        assert!(rows[0].0 == 0 && rows[rows.len() - 1].0 == 1, "game {game} was played in both generations");
    }
}

async fn assert_truth(server: &Server, truth: &Value) {
    for (table, rows) in truth["tables"].as_object().unwrap() {
        assert_eq!(server.number(&format!("SELECT count(*) FROM {table}")).await, rows.as_u64().unwrap(), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_grows_on_kafka_under_load_with_resends_whoever_dies() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1);
    let (home, on) = (Home::new(), kafka::on(&cluster, "grow-"));
    let on = kafka::args(&on);
    let (file, truth) = (home.path("events.ndjson"), home.path("truth.json"));
    let made = Command::new(KILLFEED)
        .args([
            "generate",
            "--games",
            "40",
            "--seed",
            "9",
            "--duplicates",
            "0.05",
            "--conflicts",
            "0.01",
            "--late",
            "0.05",
        ])
        .arg("--out")
        .arg(&file)
        .arg("--truth")
        .arg(&truth)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let truth: Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();

    let server = Arc::new(home.up(&on));
    let more = Home::new();
    let tables = home.tables();
    let with_tables = [&on[..], &["--store", tables.to_str().unwrap()]].concat();
    let further = Arc::new(more.role("ingest", &with_tables));
    let process = more.role("process", &with_tables);

    let stop = Arc::new(AtomicBool::new(false));
    let players: Vec<_> = (0..GAMES)
        .map(|game| {
            tokio::spawn(play(if game % 2 == 0 { server.clone() } else { further.clone() }, game, stop.clone()))
        })
        .collect();
    let send = |to: &Server| -> std::thread::JoinHandle<Output> {
        let mut command = Command::new(KILLFEED);
        command.args(["send", "--batch", "40", "--url", &to.url]).arg(&file);
        std::thread::spawn(move || command.output().unwrap())
    };
    let sending = send(&further);
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    // Killed early, killed late, and then let through.
    for ms in [250, 900] {
        let mut child = grow(&home, "7", &on).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let _ = child.kill();
        child.wait().unwrap();
    }
    process.kill();
    let grown = grow(&home, "7", &[&on[..], &["--json"]].concat()).output().unwrap();
    assert!(grown.status.success(), "{}", text(&grown));
    let with_seven = [&with_tables[..], &["--partitions", "7"]].concat();
    let process = more.role("process", &with_seven);
    tokio::time::sleep(Duration::from_secs(3)).await;
    process.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for player in players {
        counts.push(player.await.unwrap());
    }
    let sent = sending.join().unwrap();
    assert!(sent.status.success(), "{}", text(&sent));

    // All of it once more: what was claimed in the old generation is known in the new one.
    let sent = send(&server).join().unwrap();
    assert!(sent.status.success(), "{}", text(&sent));
    for (game, count) in counts.iter().enumerate() {
        let all: Vec<Value> = (0..*count).map(|n| played(game, n)).collect();
        for part in all.chunks(2_000) {
            kafka::send(&server, part).await;
        }
    }
    server.flush().await;
    let audit = server.balanced().await;
    assert_eq!(audit["partitions"].as_array().unwrap().len(), 4 + 7);
    assert_eq!(audit["conflicts"].as_u64().unwrap(), 2 * truth["conflicts"].as_u64().unwrap(), "{audit:#}");
    assert!(audit["accepted"].as_u64() >= audit["acknowledged"].as_u64(), "{audit:#}");
    assert_truth(&server, &truth).await;
    let told: Value =
        serde_json::from_slice(&grow(&home, "7", &[&on[..], &["--json"]].concat()).output().unwrap().stdout).unwrap();
    assert_eq!((&told[0]["grown"], &told[0]["to"]["generation"]), (&json!(false), &json!(2)), "{told:#}");
    let name_of = |generation: usize| -> String {
        let partitions = audit["partitions"].as_array().unwrap();
        let newest = told[0]["to"]["incarnation"].as_str().unwrap();
        let other = partitions.iter().map(|of| of["incarnation"].as_str().unwrap()).find(|name| *name != newest);
        if generation == 1 { newest.to_owned() } else { other.unwrap().to_owned() }
    };
    assert_in_order(&server, &[name_of(0), name_of(1)], &counts).await;

    // Dead, and started again with the new number: both generations are there, and nothing is read twice.
    drop(further);
    Arc::into_inner(server).unwrap().kill();
    let (code, said) = done(grow(&home, "5", &on));
    assert!(code == Some(2) && said.contains("never shrinks"), "{code:?} {said}");
    let refused = home.command(&on).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "4 partitions");
    assert!(home.stderr().contains("has 7 partitions, and 4 were asked for"), "{}", home.stderr());
    let server = home.up(&[&on[..], &["--partitions", "7"]].concat());
    kafka::send(&server, &(0..GAMES).map(|game| played(game, counts[game])).collect::<Vec<_>>()).await;
    server.flush().await;
    server.balanced().await;
    let counts: Vec<u64> = counts.iter().map(|count| count + 1).collect();
    assert_in_order(&server, &[name_of(0), name_of(1)], &counts).await;
    server.kill();

    refuses_what_is_not_what_was_recorded(&cluster, &home, &on).await;
}

/// Topics made again, with and without the look of the old ones.
async fn refuses_what_is_not_what_was_recorded(cluster: &Cluster, home: &Home, on: &[&str]) {
    let seven = [on, &["--partitions", "7"]].concat();
    let clean = "grow-events.g2.clean";
    let mark = setting(cluster, clean, "delete.retention.ms").await;
    for (mark, says) in [(&mark, "ends at offset 0, and table"), (&"5".to_owned(), "was made again")] {
        remake(cluster, clean, mark).await;
        for role in ["ingest", "process", "sink", "query"] {
            let mut command = Command::new(KILLFEED);
            command.args([role, "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path("data")).args(&seven);
            let (code, said) = done(command);
            assert_eq!(code, Some(2), "{role}: {said}");
            assert!(said.contains(says) && said.contains("events.g2.clean"), "{role}: {said}");
        }
    }
}

fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &cluster.brokers).create().unwrap()
}

async fn setting(cluster: &Cluster, topic: &str, name: &str) -> String {
    let of = [ResourceSpecifier::Topic(topic)];
    let found = admin(cluster).describe_configs(&of, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    found.get(name).unwrap().value.clone().unwrap()
}

/// Deletes a topic, and makes it again with this mark.
async fn remake(cluster: &Cluster, topic: &str, mark: &str) {
    let admin = admin(cluster);
    admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new = NewTopic::new(topic, 7, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime")
        .set("delete.retention.ms", mark);
    for _ in 0..100 {
        if admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{topic} is not made again");
}
