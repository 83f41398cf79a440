//! Where a client is: whose word counts for its address, as seen in the columns that the look-up
//! fills. The addresses themselves stand nowhere.

use crate::access::new_key;
use crate::support::{Home, KILLFEED, Server, event, text};
use serde_json::{Value, json};
use std::process::Command;

/// Two addresses of the generated world, with what it knows of them, and one that nobody knows.
struct World {
    path: std::path::PathBuf,
    home: String,
    abroad: String,
}

fn world(home: &Home) -> World {
    let (path, out) = (home.path("world.mmdb"), home.path("events.ndjson"));
    let made = Command::new(KILLFEED)
        .args(["generate", "--games", "20", "--seed", "3", "--geoip-out"])
        .arg(&path)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let events = std::fs::read_to_string(out).unwrap();
    let mut addresses: Vec<String> = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["clientaddress"].as_str().map(Into::into))
        .filter(|address: &String| !address.starts_with("192.0.2."))
        .collect();
    addresses.sort();
    addresses.dedup();
    World { path, home: addresses[0].clone(), abroad: addresses[addresses.len() - 1].clone() }
}

async fn post(server: &Server, id: &str, claimed: Option<&str>, forwarded: &[&str], key: Option<&str>) {
    let mut event = event("where.from", id, &json!({}));
    if let Some(address) = claimed {
        event["clientaddress"] = json!(address);
    }
    let mut request = server.http.post(format!("{}/v1/batch", server.url)).header("content-type", "text/plain");
    for line in forwarded {
        request = request.header("x-forwarded-for", *line);
    }
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.body(event.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 202, "{id}");
}

/// City by id, as an analyst sees it.
async fn cities(server: &Server, key: Option<&str>) -> Vec<(String, Option<String>)> {
    let sql = "SELECT id, geo_city FROM where_from ORDER BY id";
    let request = server.http.post(format!("{}/v1/sql", server.url)).json(&json!({ "sql": sql }));
    let request = key.map_or_else(|| request.try_clone().unwrap(), |key| request.try_clone().unwrap().bearer_auth(key));
    let rows: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rows.iter().map(|row| (text(&row["id"]).unwrap(), text(&row["geo_city"]))).collect()
}

/// City of an address, asked as a game server may name it.
async fn city_of(server: &Server, key: Option<&str>, world: &World) -> (String, String) {
    let found = cities(server, key).await;
    let of = |id: &str| found.iter().find(|(found, _)| found == id).unwrap().1.clone();
    let (home, abroad) = (of("0-home").unwrap(), of("0-abroad").unwrap());
    assert_ne!(home, abroad, "{} and {} tell nothing apart", world.home, world.abroad);
    (home, abroad)
}

#[tokio::test]
async fn a_forwarded_address_counts_from_a_trusted_proxy_alone() {
    for trusted in [false, true] {
        let home = Home::new();
        let world = world(&home);
        let mut args = vec!["--geoip", world.path.to_str().unwrap()];
        if trusted {
            args.extend(["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.0/8"]);
        }
        let server = home.up(&args);
        post(&server, "0-home", Some(&world.home), &[], None).await;
        post(&server, "0-abroad", Some(&world.abroad), &[], None).await;
        post(&server, "1-none", None, &[], None).await;
        post(&server, "2-forwarded", None, &[&world.home], None).await;
        // Only the last hop that is no proxy counts: the one before it is what the client wrote.
        let chain = format!("{}, {}, 10.1.2.3", world.abroad, world.home);
        post(&server, "3-chain", None, &[&chain], None).await;
        post(&server, "4-nonsense", None, &["not an address"], None).await;
        server.flush().await;
        let (city, _) = city_of(&server, None, &world).await;
        let seen = trusted.then_some(city);
        let found = cities(&server, None).await;
        let expected = [("1-none", None), ("2-forwarded", seen.clone()), ("3-chain", seen), ("4-nonsense", None)];
        for (id, city) in expected {
            assert!(found.contains(&(id.to_owned(), city.clone())), "trusted {trusted}: {id} {city:?} in {found:?}");
        }
    }
}

#[tokio::test]
async fn an_event_speaks_for_its_player_only_with_a_servers_key() {
    let home = Home::new();
    let world = world(&home);
    let keys = [("server", "server,query,admin"), ("client", "ingest")].map(|(name, scopes)| new_key(name, scopes));
    let config: String = keys.iter().map(|(_, lines)| lines.as_str()).collect();
    let config = home.write("killfeed.toml", &config);
    let server = home.up(&["--config", config.to_str().unwrap(), "--geoip", world.path.to_str().unwrap()]);
    let [trusted, client] = [0, 1].map(|place| Some(keys[place].0.as_str()));
    post(&server, "0-home", Some(&world.home), &[], trusted).await;
    post(&server, "0-abroad", Some(&world.abroad), &[], trusted).await;
    post(&server, "1-client", Some(&world.home), &[], client).await;
    let flush = server.http.post(format!("{}/v1/flush", server.url)).bearer_auth(trusted.unwrap()).send().await;
    assert_eq!(flush.unwrap().status(), 200);
    city_of(&server, trusted, &world).await;
    let found = cities(&server, trusted).await;
    assert!(found.contains(&("1-client".to_owned(), None)), "{found:?}");
    // Whoever it was: the address stands in no file of a table.
    let grep = Command::new("grep").args(["-rlaF", &world.home]).arg(home.tables()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}

/// The network alone stays where the policy says so: in clean records, which other readers of the log
/// may look up again; in no table either way.
#[tokio::test]
async fn an_address_is_dropped_or_truncated_as_the_policy_says() {
    for (policy, kept) in [("drop", false), ("truncate", true)] {
        let home = Home::new();
        let server = home.up(&["--address-policy", policy]);
        post(&server, "1", Some("198.51.100.77"), &[], None).await;
        server.flush().await;
        server.signal(rustix::process::Signal::TERM);
        assert!(server.wait().success(), "{}", home.stderr());
        let stands = |what: &str, dir: std::path::PathBuf| {
            Command::new("grep").args(["-rqaF", what]).arg(dir).status().unwrap().success()
        };
        assert_eq!(stands("198.51.100.0", home.path("data/log/store")), kept, "{policy}");
        assert!(!stands("198.51.100.", home.tables()), "{policy}");
    }
}
