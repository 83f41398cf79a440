//! Several streams: one that a schema brings while the server runs, and rows taken out of all of them.

use crate::support::{Home, PATIENCE, Server, event, text};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A schema whose events go to a stream of their own.
fn schema(stream: &str) -> String {
    json!({
        "type": "object", "properties": { "n": { "type": "integer" } },
        "x-killfeed": { "stream": stream, "dedupe": { "window": "30d" } },
    })
    .to_string()
}

fn hit(n: u64) -> Value {
    let mut hit = event("fight.hit", &format!("h{n}"), &json!({ "n": n }));
    hit["playerid"] = json!(format!("p{}", n % 4));
    hit
}

/// A sum of the audit, of one stream's partitions.
fn of(audit: &Value, stream: &str, sum: &str) -> u64 {
    let partitions = audit["partitions"].as_array().unwrap().iter();
    partitions.filter(|partition| partition["stream"] == stream).map(|partition| partition[sum].as_u64().unwrap()).sum()
}

/// Waits until a version of the type is known.
async fn until_known(server: &Server, event_type: &str) {
    let start = Instant::now();
    loop {
        let schemas = server.get("/v1/schemas").await;
        let types = schemas["types"].as_array().unwrap();
        if types.iter().any(|known| known["type"] == event_type && known["versions"] == json!([1])) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the schema was never taken up: {schemas}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stream_that_a_schema_brings_is_served_without_a_restart() {
    let home = Home::new();
    let server = home.up(&[]);
    server.accept(&[event("game.over", "g", &json!({}))]).await;
    home.write("data/schemas/fight.hit/1.json", &schema("combat"));
    until_known(&server, "fight.hit").await;
    let hits: Vec<Value> = (0..20).map(hit).collect();
    server.accept(&hits).await;
    server.accept(&hits[..5]).await;
    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM fight_hit").await, 20);
    assert_eq!(server.number("SELECT count(*) FROM game_over").await, 1);
    let audit = server.balanced().await;
    assert_eq!((of(&audit, "combat", "acknowledged"), of(&audit, "events", "acknowledged")), (25, 1));
    assert_eq!((of(&audit, "combat", "delivered"), of(&audit, "combat", "duplicates")), (20, 5));
    assert_eq!(server.get("/readyz").await["ready"], true);

    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let server = home.up(&[]);
    server.accept(&[hit(3), hit(20)]).await;
    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM fight_hit").await, 21);
    assert_eq!(of(&server.balanced().await, "combat", "duplicates"), 6, "{}", home.stderr());
}

#[tokio::test]
async fn a_stream_that_cannot_be_made_costs_no_event_and_stops_nothing() {
    let home = Home::new();
    home.write("data/schemas/fight.hit/1.json", &schema("combat"));
    let server = home.up(&["--partitions", "2"]);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    // Another log under the same roof: the stream of the options has 4 partitions, `combat` has 2.
    std::fs::remove_dir_all(home.path("data/schemas/fight.hit")).unwrap();
    let server = home.up(&["--stream", "others"]);
    home.write("data/schemas/fight.hit/1.json", &schema("combat"));
    until_known(&server, "fight.hit").await;
    let response = server.post("/v1/events", "application/cloudevents+json", hit(1).to_string()).await;
    assert_eq!(response.status(), 503);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["results"][0]["retry"], true, "{answer}");
    assert!(home.stderr().contains("stream combat has 2 partitions, and 4 were asked for"), "{}", home.stderr());
    // A schema that names no stream means the one that is served.
    let plain = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    home.write("data/schemas/game.over/1.json", &plain.to_string());
    until_known(&server, "game.over").await;
    server.accept(&[event("game.over", "g", &json!({ "n": 1 }))]).await;
    server.flush().await;
    assert_eq!(of(&server.balanced().await, "others", "delivered"), 1);
}

#[tokio::test]
async fn a_player_is_forgotten_in_every_stream_and_each_ledger_says_so() {
    let home = Home::new();
    home.write("data/schemas/fight.hit/1.json", &schema("combat"));
    let server = home.up(&[]);
    let mut events: Vec<Value> = (0..20).map(hit).collect();
    for n in 0..8 {
        let mut said = event("chat.message", &format!("c{n}"), &json!({ "text": "gg" }));
        said["playerid"] = json!(format!("p{}", n % 4));
        events.push(said);
    }
    server.accept(&events).await;
    // One conflict in each stream, both of p1.
    for place in [1, 21] {
        events[place]["data"] = json!({ "n": 1_000, "text": "bg" });
        server.accept(&events[place..=place]).await;
    }
    server.flush().await;
    let forgot = server.run(&["forget", "--player", "p1"]);
    assert!(forgot.status.success(), "{}", text(&forgot));
    server.flush().await;
    let rows = server
        .sql(
            "SELECT stream, count(*) AS entries FROM killfeed_ledger WHERE stage = 'removal' GROUP BY stream ORDER BY stream",
        )
        .await;
    let streams: Vec<&Value> = rows.iter().map(|row| &row["stream"]).collect();
    assert_eq!(streams, ["combat", "events"], "{rows:?}");
    let audit = server.balanced().await;
    assert_eq!((of(&audit, "combat", "removed"), of(&audit, "events", "removed")), (5 + 1, 2 + 1));
    assert_eq!((of(&audit, "combat", "delivered"), of(&audit, "events", "delivered")), (20, 8));
    assert_eq!((of(&audit, "combat", "conflicts"), of(&audit, "events", "conflicts")), (1, 1));
    for table in ["fight_hit", "chat_message", "dead_letters"] {
        assert_eq!(server.number(&format!("SELECT count(*) FROM {table} WHERE player_id = 'p1'")).await, 0, "{table}");
    }
}
