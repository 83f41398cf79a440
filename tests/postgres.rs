//! SQL by PostgreSQL's protocol, asked by psql, by two drivers, and in the ways of other tools.

use crate::access::new_key;
use crate::readers::python;
use crate::support::{Home, KILLFEED, Server, event, repository, text};
use serde_json::json;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A server with a few events in its tables, and where it speaks PostgreSQL's protocol.
async fn served(home: &Home, args: &[&str]) -> (Server, u16) {
    let port = chaos::free_ports(1).unwrap().start;
    let address = format!("127.0.0.1:{port}");
    let server = home.up(&[&["--pg-listen", &address], args].concat());
    (server, port)
}

pub(crate) async fn with_events(home: &Home) -> (Server, u16) {
    let (server, port) = served(home, &[]).await;
    let said = |n: u32| event("chat.message", &format!("c{n}"), &json!({ "text": format!("gg {n}"), "n": n }));
    let score = |n: u32| {
        event("game.score", &format!("s{n}"), &json!({ "score": f64::from(n) / 2.0, "won": n.is_multiple_of(2) }))
    };
    server.accept(&(0..50).map(said).chain((0..10).map(score)).collect::<Vec<_>>()).await;
    server.flush().await;
    (server, port)
}

pub(crate) async fn connect(port: u16, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("analyst").dbname("killfeed").password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn psql(port: u16, password: &str, script: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "analyst", "-d", "killfeed"]);
    command.args(["-p", &port.to_string()]).env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "20");
    for statement in script {
        command.args(["-c", statement]);
    }
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn psql_lists_describes_completes_and_asks() {
    let home = Home::new();
    let (server, port) = with_events(&home).await;
    let tables = lines(&psql(port, "", &["\\dt"]));
    for table in ["chat_message", "game_score", "killfeed_ledger"] {
        assert!(tables.iter().any(|line| line.starts_with(&format!("public|{table}|table|"))), "{tables:?}");
    }
    let columns = lines(&psql(port, "", &["\\d chat_message"]));
    for column in ["id|text", "received_at|timestamp", "text|", "n|bigint"] {
        assert!(columns.iter().any(|line| line.starts_with(column)), "{column}: {columns:?}");
    }
    // Twice in one session: the number of a table is the same the next time it is asked for.
    let twice = lines(&psql(port, "", &["\\d game_score", "\\d game_score"]));
    assert_eq!(twice[..twice.len() / 2], twice[twice.len() / 2..]);
    for command in ["\\l", "\\dn", "\\d", "\\conninfo", "\\df", "\\dt+", "\\d+ chat_message", "\\d+", "\\du"] {
        let said = psql(port, "", &[command]);
        assert!(said.status.success(), "{command}: {}", text(&said));
    }
    // What a tab asks for.
    let completed = lines(&psql(
        port,
        "",
        &["SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND \
           substring(c.relname, 1, 5) = 'chat_' AND pg_catalog.pg_table_is_visible(c.oid)"],
    ));
    assert_eq!(completed, ["chat_message"]);
    let asked = psql(port, "", &["BEGIN", "SELECT count(*), sum(n) FROM chat_message WHERE n < 10", "COMMIT"]);
    assert_eq!(lines(&asked), ["BEGIN", "10|45", "COMMIT"]);
    let wrong = psql(port, "", &["SELECT nn FROM chat_message"]);
    assert!(!wrong.status.success() && text(&wrong).contains("nn"), "{}", text(&wrong));
    let wrong = psql(port, "", &["SELECT * FROM chat_massage"]);
    assert!(text(&wrong).contains("no table \"chat_massage\""), "{}", text(&wrong));
    drop(server);
}

#[tokio::test]
async fn a_driver_prepares_binds_and_reads_binary_values() {
    let home = Home::new();
    let (_server, port) = with_events(&home).await;
    let client = connect(port, "").await.unwrap();
    let asked =
        client.prepare("SELECT n, text, received_at FROM chat_message WHERE n >= $1 AND text <> $2 ORDER BY n").await;
    let asked = asked.unwrap();
    assert_eq!(asked.params(), [Type::INT8, Type::TEXT]);
    let types: Vec<&Type> = asked.columns().iter().map(tokio_postgres::Column::type_).collect();
    assert!(types.len() == 3 && *types[0] == Type::INT8, "{types:?}");
    let rows = client.query(&asked, &[&40_i64, &"gg 41"]).await.unwrap();
    let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(numbers, [40, 42, 43, 44, 45, 46, 47, 48, 49]);
    assert_eq!(rows[0].get::<_, &str>(1), "gg 40");
    let row =
        client.query_one("SELECT score, won, NULL::bigint FROM game_score WHERE score = $1", &[&1.5]).await.unwrap();
    assert_eq!((row.get::<_, f64>(0), row.get::<_, bool>(1), row.get::<_, Option<i64>>(2)), (1.5, false, None));
    // A text of several statements, and an empty one.
    let told = client.simple_query("SELECT 1 AS a; SELECT 2 AS b; ").await.unwrap();
    let values: Vec<&str> = told
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(values, ["1", "2"]);
    assert!(client.simple_query("").await.is_ok());
}

#[tokio::test]
async fn errors_have_the_codes_that_drivers_know_and_the_connection_goes_on() {
    let home = Home::new();
    let (_server, port) = with_events(&home).await;
    let client = connect(port, "").await.unwrap();
    // (statement, code)
    let cases = [
        ("SELECT FROM WHERE", "42601"),
        ("SELECT nowhere FROM chat_message", "42601"),
        ("SELECT * FROM chat_massage", "42P01"),
        ("INSERT INTO chat_message SELECT * FROM chat_message", "25006"),
        ("DROP TABLE chat_message", "25006"),
        ("COPY chat_message TO '/tmp/killfeed-hostile.csv'", "25006"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "42601"),
        ("SELECT * FROM '/etc/passwd'", "42601"),
        ("SELECT pg_read_file('/etc/passwd')", "42601"),
        ("SELECT repeat('x', 2000000000)", "42601"),
    ];
    for (statement, code) in cases {
        for error in [client.simple_query(statement).await.err(), client.query(statement, &[]).await.err()] {
            let error = error.unwrap_or_else(|| panic!("{statement} was answered"));
            let found = error.code().map(|code| code.code().to_owned());
            assert!(
                found.as_deref().is_some_and(|found| found == code || found.starts_with("42")),
                "{statement}: {error:?}"
            );
        }
        assert_eq!(client.query_one("SELECT count(*) FROM chat_message", &[]).await.unwrap().get::<_, i64>(0), 50);
    }
    // A client marks the place.
    for (statement, place) in [
        ("selec 1", 1),
        ("SELECT 'ä',\n  nowhere FROM chat_message", 15),
        ("SELECT (1 + 2;", 14),
        ("SELECT 1; SELECT (;", 19),
    ] {
        let error = client.simple_query(statement).await.unwrap_err();
        let found = error.as_db_error().and_then(|error| error.position());
        assert_eq!(found, Some(&ErrorPosition::Original(place)), "{statement}: {error:?}");
    }
    // Deep and long ones end neither the connection nor the server.
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let long = format!("SELECT {}", vec!["1"; 50_000].join("+"));
    let setting = format!("SET a = {}", vec!["1"; 50_000].join("+"));
    for statement in [&deep, &long, &setting] {
        assert!(client.simple_query(statement).await.is_err());
    }
    // In a transaction that failed, nothing but its end is answered.
    client.simple_query("BEGIN").await.unwrap();
    assert!(client.simple_query("SELECT nowhere FROM chat_message").await.is_err());
    let held = client.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(held.code().unwrap().code(), "25P02");
    client.simple_query("ROLLBACK").await.unwrap();
    assert!(client.simple_query("SELECT 1").await.is_ok());
}

#[tokio::test]
async fn a_query_is_cancelled() {
    let home = Home::new();
    let (server, port) = with_events(&home).await;
    let client = connect(port, "").await.unwrap();
    let token = client.cancel_token();
    let long = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    let asked = tokio::spawn(async move { (client.simple_query(long).await, client) });
    let running = async || {
        let metrics = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        metrics.lines().any(|line| line.starts_with("killfeed_queries_running") && line.ends_with(" 1"))
    };
    while !running().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cancelled = Instant::now();
    token.cancel_query(NoTls).await.unwrap();
    let (ended, client) = asked.await.unwrap();
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57014");
    while running().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(cancelled.elapsed() < Duration::from_secs(30), "the limit of time ended it");
    assert!(client.simple_query("SELECT 1").await.is_ok());
}

#[tokio::test]
async fn the_password_is_a_key_and_its_scopes_hold() {
    let home = Home::new();
    home.write(
        "schemas/account.seen/1.json",
        r#"{ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
             "properties": { "email": { "type": "string" } }, "x-killfeed": { "personal": ["email"] } }"#,
    );
    let keys = [("client", "ingest"), ("analyst", "query"), ("officer", "query,personal"), ("operator", "admin")];
    let keys: Vec<(String, String)> = keys.iter().map(|(name, scopes)| new_key(name, scopes)).collect();
    let config = home.write("killfeed.toml", &keys.iter().map(|(_, lines)| lines.as_str()).collect::<String>());
    let schemas = home.path("schemas");
    let args = ["--config", config.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()];
    let (server, port) = served(&home, &args).await;
    let [client, analyst, officer, operator] = [0, 1, 2, 3].map(|place| keys[place].0.as_str());
    let seen = event("account.seen", "a", &json!({ "email": "a@example.com" })).to_string();
    let sent = server.http.post(format!("{}/v1/batch", server.url)).bearer_auth(client).body(seen);
    assert_eq!(sent.header("content-type", "application/x-ndjson").send().await.unwrap().status(), 202);
    let flushed = server.http.post(format!("{}/v1/flush", server.url)).bearer_auth(operator).send().await.unwrap();
    assert_eq!(flushed.status(), 200);
    for password in ["kf_nobody", client, operator] {
        let refused = connect(port, password).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "28P01", "{refused:?}");
    }
    let email = async |key| {
        let client = connect(port, key).await.unwrap();
        client.query_one("SELECT email FROM account_seen", &[]).await.unwrap().get::<_, Option<String>>(0)
    };
    assert_eq!(email(officer).await.as_deref(), Some("a@example.com"));
    assert_ne!(email(analyst).await.as_deref(), Some("a@example.com"));
}

#[tokio::test]
async fn tls_is_spoken_and_asked_for_beyond_this_machine() {
    let home = Home::new();
    let (certificate, key) = (home.path("pg.crt"), home.path("pg.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let files = ["--pg-tls-cert", certificate.to_str().unwrap(), "--pg-tls-key", key.to_str().unwrap()];
    let (_server, port) = served(&home, &files).await;
    let target = format!(
        "host=127.0.0.1 port={port} user=a dbname=killfeed sslmode=verify-full sslrootcert={}",
        certificate.display()
    );
    let asked = Command::new("psql")
        .args(["-X", "-A", "-t", "-d", &target, "-c", "SELECT 1", "-c", "\\conninfo"])
        .output()
        .unwrap();
    let said = lines(&asked);
    assert!(said[0] == "1" && said.iter().any(|line| line.contains("SSL connection")), "{said:?}");

    let (_, config) = new_key("analyst", "query");
    let config = home.write("keys.toml", &config);
    let open = Command::new(KILLFEED)
        .args(["up", "--listen", "127.0.0.1:0", "--pg-listen", "0.0.0.0:0", "--config", config.to_str().unwrap()])
        .arg("--data-dir")
        .arg(home.path("other"))
        .output()
        .unwrap();
    assert!(!open.status.success() && text(&open).contains("give --pg-tls-cert and --pg-tls-key"), "{}", text(&open));
}

#[tokio::test]
async fn psycopg_reads_rows_types_and_errors() {
    let home = Home::new();
    let (_server, port) = with_events(&home).await;
    let script = repository().join("tests/readers/postgres.py");
    let said = Command::new(python()).arg(script).arg(port.to_string()).output().unwrap();
    assert!(said.status.success(), "{}", text(&said));
}
