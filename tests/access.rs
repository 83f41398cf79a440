//! Keys and scopes, personal fields, a player forgotten.

use crate::support::{Home, KILLFEED, Server, event, text};
use serde_json::{Value, json};
use std::process::Command;

/// Makes a key with the command for it; gives the key and its lines of configuration.
pub(crate) fn new_key(name: &str, scopes: &str) -> (String, String) {
    let made = Command::new(KILLFEED).args(["key", "new", "--name", name, "--scopes", scopes]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let lines = String::from_utf8(made.stdout).unwrap();
    let key = lines.split_whitespace().find(|word| word.starts_with("kf_")).unwrap().to_owned();
    assert_eq!(lines.matches(&key).count(), 1);
    (key, lines)
}

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
  "properties": { "email": { "type": "string" }, "score": { "type": "integer" } },
  "x-killfeed": { "personal": ["email", "playerid"] }
}"#;

async fn ask(server: &Server, key: &str, sql: &str) -> (u16, Value) {
    let request = server.http.post(format!("{}/v1/sql", server.url)).bearer_auth(key).json(&json!({ "sql": sql }));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn keys_do_what_their_scopes_say_and_personal_fields_stay_hidden() {
    let home = Home::new();
    home.write("schemas/account.seen/1.json", SCHEMA);
    let keys = [("client", "ingest"), ("analyst", "query"), ("officer", "query,personal"), ("operator", "admin")];
    let keys: Vec<(String, String)> = keys.iter().map(|(name, scopes)| new_key(name, scopes)).collect();
    let config: String = keys.iter().map(|(_, lines)| lines.as_str()).collect();
    let config = home.write("killfeed.toml", &config);
    let schemas = home.path("schemas");
    let server = home.up(&["--config", config.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()]);
    let [client, analyst, officer, operator] = [0, 1, 2, 3].map(|place| keys[place].0.as_str());

    // (key, method and path, status)
    let cases = [
        (None, "POST /v1/batch", 401),
        (Some("kf_nobody"), "POST /v1/batch", 401),
        (Some(analyst), "POST /v1/batch", 403),
        (None, "POST /v1/sql", 401),
        (Some(client), "POST /v1/sql", 403),
        (Some(analyst), "POST /v1/flush", 403),
        (Some(analyst), "POST /v1/forget", 403),
        (Some(client), "GET /v1/schemas", 403),
        (Some(analyst), "GET /v1/schemas", 200),
        (Some(operator), "POST /v1/flush", 200),
        (None, "GET /healthz", 200),
    ];
    for (key, line, status) in cases {
        let (method, path) = line.split_once(' ').unwrap();
        let request = server.http.request(method.parse().unwrap(), format!("{}{path}", server.url));
        let request =
            key.map_or_else(|| request.try_clone().unwrap(), |key| request.try_clone().unwrap().bearer_auth(key));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{line} {key:?}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{line}");
    }

    let mut seen = event("account.seen", "1", &json!({ "email": "a@example.org", "score": 7, "nick": "a" }));
    seen["playerid"] = json!("p1");
    let request = server.http.post(format!("{}/v1/batch", server.url)).bearer_auth(client);
    let sent = request.header("content-type", "application/x-ndjson").body(seen.to_string()).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    let flush = server.http.post(format!("{}/v1/flush", server.url)).bearer_auth(operator).send().await.unwrap();
    assert_eq!(flush.status(), 200);

    let sql = "SELECT email, player_id, score FROM account_seen";
    assert_eq!(ask(&server, analyst, sql).await, (200, json!([{ "email": null, "player_id": null, "score": 7 }])));
    let full = json!([{ "email": "a@example.org", "player_id": "p1", "score": 7 }]);
    assert_eq!(ask(&server, officer, sql).await, (200, full));
    let (_, found) = ask(&server, analyst, "SELECT count(*) AS n FROM account_seen WHERE email LIKE 'a@%'").await;
    assert_eq!(found, json!([{ "n": 0 }]), "a condition saw what the answer hides");
}

#[tokio::test]
async fn a_report_hides_what_its_asker_may_not_see() {
    let home = Home::new();
    home.write("data/schemas/lol.player_result/1.json", r#"{"x-killfeed":{"personal":["playerid"]}}"#);
    let keys = [("operator", "ingest,server,admin"), ("analyst", "query"), ("officer", "query,personal")];
    let keys: Vec<(String, String)> = keys.iter().map(|(name, scopes)| new_key(name, scopes)).collect();
    let config: String = keys.iter().map(|(_, lines)| lines.as_str()).collect();
    let config = home.write("killfeed.toml", &config);
    let server = home.up(&["--config", config.to_str().unwrap()]);
    let [operator, analyst, officer] = [0, 1, 2].map(|place| keys[place].0.as_str());
    let generated = server.run(&["generate", "--games", "3", "--seed", "5", "--url", &server.url, "--key", operator]);
    assert!(generated.status.success(), "{}", text(&generated));
    assert!(server.run(&["flush", "--key", operator]).status.success());
    let run = |key: &str, more: &[&str]| {
        let args = [&["report", "run", "champion_mastery", "--format", "json", "--key", key], more].concat();
        let answer = server.run(&args);
        assert!(answer.status.success(), "{}", text(&answer));
        let rows: Vec<Value> = serde_json::from_slice(&answer.stdout).unwrap();
        rows
    };
    let seen = run(officer, &[]);
    assert!(seen.len() >= 10 && seen.iter().all(|row| row["player_id"].is_string()), "{seen:?}");
    let hidden = run(analyst, &[]);
    assert!(hidden.iter().all(|row| row["player_id"].is_null()), "{hidden:?}");
    // Nor can a parameter be used to find a player.
    let player = format!("player={}", seen[0]["player_id"].as_str().unwrap());
    assert!(!run(officer, &["--param", &player]).is_empty());
    assert_eq!(run(analyst, &["--param", &player]), Vec::<Value>::new());
}

#[tokio::test]
async fn a_forgotten_player_is_gone_and_the_books_balance() {
    let home = Home::new();
    let server = home.up(&[]);
    let mut events = Vec::new();
    for n in 0..40 {
        let mut event = event("forget.tried", &format!("e{n}"), &json!({ "n": n }));
        event["playerid"] = json!(format!("p{}", n % 4));
        events.push(event);
    }
    server.accept(&events).await;
    // A dead letter of the same player: the same id, other data.
    events[1]["data"]["n"] = json!(1_000);
    server.accept(&events[1..2]).await;
    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM dead_letters WHERE player_id = 'p1'").await, 1);

    let forgot = server.run(&["forget", "--player", "p1"]);
    assert!(forgot.status.success(), "{}", text(&forgot));
    assert!(text(&forgot).contains("11  rows of player p1 erased"), "{}", text(&forgot));
    assert!(text(&forgot).contains("remains:"), "{}", text(&forgot));
    server.flush().await;
    assert_eq!(server.number("SELECT count(*) FROM forget_tried WHERE player_id = 'p1'").await, 0);
    assert_eq!(server.number("SELECT count(*) FROM dead_letters WHERE player_id = 'p1'").await, 0);
    assert_eq!(server.number("SELECT count(*) FROM forget_tried").await, 30);
    let audit = server.balanced().await;
    assert_eq!((&audit["acknowledged"], &audit["delivered"], &audit["conflicts"]), (&json!(41), &json!(40), &json!(1)));
}
