//! The statements on a real server: what the table takes, what a claim gives to whom, what a settlement leaves.

use crate::server::Postgres;
use outbox::{Database, Delivered, PgStore, Row, Settled, Store as _, StoreError, Table, Want};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// One server for all of these, each with a table of its own. It ends with the process.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start("table"));

async fn made(name: &str) -> (Table, Client) {
    let table: Table = name.parse().unwrap();
    let client = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap().with_table(&table).await;
    (table, client)
}

async fn insert(client: &Client, table: &Table, key: Option<&str>) {
    let insert = format!("INSERT INTO {table} (key, source, type, data) VALUES ($1, '/s', 't', '{{\"n\":  1.0}}')");
    client.execute(&insert, &[&key]).await.unwrap();
}

fn want() -> Want {
    Want { rows: 100, bytes: 1 << 20, row_bytes: 1 << 16, blocked: Vec::new() }
}

async fn claim(store: &mut PgStore) -> Vec<i64> {
    store.claim(&want()).await.unwrap().iter().map(|row| row.seq).collect()
}

fn delivered(seqs: &[i64]) -> Settled {
    Settled { delivered: seqs.to_vec(), ..Settled::default() }
}

#[tokio::test]
async fn the_statements_can_be_run_again_and_a_wrong_row_fails_where_it_is_inserted() {
    let (table, client) = made("checks").await;
    client.batch_execute(&table.ddl()).await.unwrap();
    for (columns, values) in [
        ("source, type", "'', 't'"),
        ("source, type", "'/s', ''"),
        ("source, type", "'/s', repeat('t', 2049)"),
        ("source, type, attributes", r#"'/s', 't', '["gameid"]'"#),
        ("source, type, attributes", r#"'/s', 't', '{"id": "mine"}'"#),
        ("source, type, time", "'/s', 't', 'infinity'"),
        ("source, type, data", "'/s', 't', '{broken'"),
        ("type", "'t'"),
        ("source, type, seq", "'/s', 't', 1"),
    ] {
        let refused = client.execute(&format!("INSERT INTO {table} ({columns}) VALUES ({values})"), &[]).await;
        assert!(refused.is_err(), "{columns}: {values}");
    }
    let row = "'/s', 't', '{\"gameid\": \"g\", \"sampledrate\": 2}'";
    client.execute(&format!("INSERT INTO {table} (source, type, attributes) VALUES ({row})"), &[]).await.unwrap();
}

#[tokio::test]
async fn a_row_comes_as_it_was_written() {
    let (table, client) = made("as_written").await;
    let insert = format!(
        "INSERT INTO {table} (id, key, source, type, subject, time, attributes, data) VALUES \
         ('6b7f3b5e-3d6a-4d5c-9d0e-5a1f0c2b7e11', 'g', '/s', 't', 'é', '2026-11-21 10:30:00.5+01', '{{\"gameid\": \"g\"}}', \
          '{{\"b\": 1.50, \"a\":  [1e2]}}')"
    );
    client.execute(&insert, &[]).await.unwrap();
    let rows = SERVER.store(&table, Delivered::Delete).claim(&want()).await.unwrap();
    let [Row { seq: 1, order, id, subject, time, attributes, data, doubt: None, size: 24, .. }] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((order.as_str(), id.as_str()), ("g", "6b7f3b5e-3d6a-4d5c-9d0e-5a1f0c2b7e11"));
    assert_eq!((subject.as_deref(), time.as_str()), (Some("é"), "2026-11-21T09:30:00.500000Z"));
    assert_eq!((attributes.as_str(), data.as_deref()), ("{\"gameid\": \"g\"}", Some("{\"b\": 1.50, \"a\":  [1e2]}")));
}

#[tokio::test]
async fn a_row_that_commits_after_a_later_one_is_not_passed_over() {
    let (table, mut first) = made("late_commit").await;
    let second = SERVER.client().await;
    let open = first.transaction().await.unwrap();
    let row = format!("INSERT INTO {table} (key, source, type) VALUES ('k', '/s', 't')");
    open.execute(&row, &[]).await.unwrap();
    second.execute(&row, &[]).await.unwrap();
    let mut store = SERVER.store(&table, Delivered::Delete);
    assert_eq!(claim(&mut store).await, [2]);
    store.settle(&delivered(&[2])).await.unwrap();
    open.commit().await.unwrap();
    assert_eq!(claim(&mut store).await, [1]);
}

#[tokio::test]
async fn an_order_is_one_relays_until_it_is_settled_or_its_session_ends() {
    let (table, client) = made("one_relay").await;
    for _ in 0..3 {
        insert(&client, &table, Some("k")).await;
    }
    let (mut one, mut other) = (SERVER.store(&table, Delivered::Delete), SERVER.store(&table, Delivered::Delete));
    let few = Want { rows: 2, ..want() };
    assert_eq!(one.claim(&few).await.unwrap().len(), 2);
    assert_eq!(claim(&mut other).await, [0; 0], "the third waits for the two before it");
    one.settle(&delivered(&[1])).await.unwrap();
    assert_eq!(claim(&mut other).await, [2, 3]);
    drop(other);
    let patience = Instant::now() + Duration::from_secs(20);
    let mut taken = Vec::new();
    while taken.is_empty() && Instant::now() < patience {
        taken = claim(&mut one).await;
    }
    assert_eq!(taken, [2, 3], "the server let go of a dead session's locks");
}

#[tokio::test]
async fn relays_share_the_lanes() {
    let (table, client) = made("shares").await;
    for n in 0..200 {
        insert(&client, &table, Some(&n.to_string())).await;
    }
    let (mut one, mut other) = (SERVER.store(&table, Delivered::Delete), SERVER.store(&table, Delivered::Delete));
    // Both are known to be there before either counts.
    other.claim(&Want { blocked: (0..200).map(|n| n.to_string()).collect(), ..want() }).await.unwrap();
    let all = Want { rows: 1_000, ..want() };
    let (first, second) = (one.claim(&all).await.unwrap(), other.claim(&all).await.unwrap());
    assert_eq!(first.len() + second.len(), 200);
    assert!(first.len() > 50 && second.len() > 50, "{} and {}", first.len(), second.len());
}

#[tokio::test]
async fn a_row_that_somebody_else_has_locked_holds_up_its_order_and_nothing_else() {
    let (table, mut client) = made("locked").await;
    for key in [Some("a"), Some("a"), Some("a"), Some("b"), None] {
        insert(&client, &table, key).await;
    }
    let open = client.transaction().await.unwrap();
    open.execute(&format!("SELECT FROM {table} WHERE seq = 2 FOR UPDATE"), &[]).await.unwrap();
    let mut store = SERVER.store(&table, Delivered::Delete);
    assert_eq!(claim(&mut store).await, [1, 4, 5]);
    store.settle(&delivered(&[1, 4, 5])).await.unwrap();
    assert_eq!(claim(&mut store).await, [0; 0]);
    open.rollback().await.unwrap();
    assert_eq!(claim(&mut store).await, [2, 3]);
    // Locked between claim and settlement: it is left, and comes again.
    let open = client.transaction().await.unwrap();
    open.execute(&format!("SELECT FROM {table} WHERE seq = 2 FOR UPDATE"), &[]).await.unwrap();
    store.settle(&delivered(&[2, 3])).await.unwrap();
    open.rollback().await.unwrap();
    assert_eq!(claim(&mut store).await, [2]);
}

#[tokio::test]
async fn blocked_orders_are_left_and_rows_and_bytes_have_their_limits() {
    let (table, client) = made("limits").await;
    for key in ["a", "b", "a", "b", "b"] {
        insert(&client, &table, Some(key)).await;
    }
    let large = format!("INSERT INTO {table} (source, type, data) VALUES ('/s', 't', to_json(repeat('x', 100000)))");
    client.execute(&large, &[]).await.unwrap();
    let mut store = SERVER.store(&table, Delivered::Delete);
    let seqs = |rows: Vec<Row>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let none = Settled::default();
    assert_eq!(seqs(store.claim(&Want { blocked: vec!["a".into()], ..want() }).await.unwrap()), [2, 4, 5, 6]);
    store.settle(&none).await.unwrap();
    assert_eq!(seqs(store.claim(&Want { rows: 3, ..want() }).await.unwrap()), [1, 2, 3]);
    store.settle(&none).await.unwrap();
    // Each has ten bytes of payload and two of attributes.
    assert_eq!(seqs(store.claim(&Want { bytes: 30, ..want() }).await.unwrap()), [1, 2]);
    store.settle(&none).await.unwrap();
    assert_eq!(seqs(store.claim(&Want { bytes: 1, ..want() }).await.unwrap()), [1], "one is taken, however large");
    store.settle(&delivered(&[1, 2, 3, 4, 5])).await.unwrap();
    let rows = store.claim(&want()).await.unwrap();
    assert_eq!((rows[0].size, &rows[0].data), (100_002, &None), "what is too large doesn't come");
}

#[tokio::test]
async fn doubt_outlives_a_relay_and_is_cleared_only_by_name() {
    let (table, client) = made("doubt").await;
    insert(&client, &table, None).await;
    insert(&client, &table, None).await;
    drop(SERVER.store(&table, Delivered::Delete).claim(&want()).await.unwrap());
    let mut store = SERVER.store(&table, Delivered::Delete);
    let mut rows = Vec::new();
    while rows.is_empty() {
        rows = store.claim(&want()).await.unwrap();
    }
    assert!(rows.iter().all(|row| row.doubt.is_some_and(|doubt| doubt < Duration::from_secs(60))), "{rows:?}");
    store.settle(&Settled { cleared: vec![1], ..Settled::default() }).await.unwrap();
    let rows = store.claim(&want()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.doubt.is_some()).collect::<Vec<_>>(), [false, true]);
    let attempts = client.query_one(&format!("SELECT min(attempts), max(attempts) FROM {table}"), &[]).await.unwrap();
    assert_eq!((attempts.get::<_, i32>(0), attempts.get::<_, i32>(1)), (3, 3));
}

#[tokio::test]
async fn marked_and_refused_rows_stay_and_are_not_taken_again() {
    let (table, client) = made("marked").await;
    for _ in 0..3 {
        insert(&client, &table, Some("k")).await;
    }
    let mut store = SERVER.store(&table, Delivered::Mark);
    assert_eq!(claim(&mut store).await, [1, 2, 3]);
    let refused = vec![(2, String::from("400: no"))];
    store.settle(&Settled { delivered: vec![1], refused, ..Settled::default() }).await.unwrap();
    assert_eq!(claim(&mut store).await, [3]);
    let rows =
        client.query(&format!("SELECT sent_at IS NOT NULL, error FROM {table} ORDER BY seq"), &[]).await.unwrap();
    let rows: Vec<(bool, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(true, None), (false, Some("400: no".into())), (false, None)]);
}

#[tokio::test]
async fn a_commit_wakes_a_relay_up() {
    let (table, client) = made("wakes").await;
    let mut store = SERVER.store(&table, Delivered::Delete);
    assert_eq!(claim(&mut store).await, [0; 0]);
    let start = Instant::now();
    tokio::join!(store.idle(Duration::from_secs(60)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        insert(&client, &table, None).await;
    });
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(claim(&mut store).await, [1]);
}

#[tokio::test]
async fn what_is_missing_is_said_and_a_session_that_ended_is_made_anew() {
    let (table, client) = made("sessions").await;
    let missing = SERVER.store(&"no_such_table".parse().unwrap(), Delivered::Delete).claim(&want()).await.unwrap_err();
    assert!(matches!(&missing, StoreError::Setup(why) if why.contains("no_such_table")), "{missing}");
    insert(&client, &table, None).await;
    let mut store = SERVER.store(&table, Delivered::Delete);
    assert_eq!(claim(&mut store).await, [1]);
    let ours = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%{table}%' AND pid <> pg_backend_pid() AND application_name = 'killfeed outbox'"
    );
    assert_eq!(client.query_one(&ours, &[]).await.unwrap().get::<_, i64>(0), 1);
    assert!(matches!(store.settle(&delivered(&[1])).await, Err(StoreError::Gone(_))));
    assert!(
        store.settle(&delivered(&[1])).await.is_err(),
        "without the claim's session it can't be known whose rows they are"
    );
    assert_eq!(claim(&mut store).await, [1]);
}

fn run(command: &str, at: &std::path::Path) {
    let output = Command::new("bash").args(["-ec", command]).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn tls_is_checked_as_sslmode_says() {
    let server = tokio::task::spawn_blocking(|| Postgres::start("tls")).await.unwrap();
    let table: Table = "over_tls".parse().unwrap();
    let client = server.with_table(&table).await;
    run(
        "ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
         openssl req -x509 $ec -keyout ca.key -out ca.crt -subj /CN=ca -days 2
         openssl req -x509 $ec -keyout other.key -out other.crt -subj /CN=other -days 2
         openssl req $ec -keyout cluster/server.key -out server.csr -subj /CN=db
         openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out cluster/server.crt \
           -extfile <(echo subjectAltName=DNS:localhost)
         chmod 600 cluster/server.key; chown --reference=cluster cluster/server.key cluster/server.crt",
        server.dir(),
    );
    client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let port = server.url.rsplit_once(':').unwrap().1.to_owned();
    let dir = server.dir().display();
    for (host, query, encrypted) in [
        ("localhost", String::from("sslmode=disable"), Some(false)),
        ("localhost", String::from("sslmode=prefer"), Some(true)),
        ("127.0.0.1", String::from("sslmode=require"), Some(true)),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={dir}/ca.crt"), Some(true)),
        ("localhost", format!("sslmode=verify-full&sslrootcert={dir}/ca.crt"), Some(true)),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={dir}/ca.crt"), None),
        ("localhost", format!("sslmode=verify-full&sslrootcert={dir}/other.crt"), None),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={dir}/other.crt"), None),
        ("localhost", format!("sslmode=require&sslrootcert={dir}/other.crt"), None),
        ("localhost", String::from("sslmode=verify-full&sslrootcert=system"), None),
    ] {
        let url = format!("postgresql://killfeed@{host}:{port}?application_name=this&{query}");
        // A machine without any trusted certificate says so here.
        let Ok(database) = Database::parse(&url, None) else {
            assert!(query.contains("system"), "{url}");
            continue;
        };
        let mut store = PgStore::new(database, table.clone(), Delivered::Delete);
        // The server takes up its new settings in its own time.
        let mut claimed = store.claim(&want()).await;
        for _ in 0..50 {
            if claimed.is_ok() || encrypted.is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            claimed = store.claim(&want()).await;
        }
        assert_eq!(claimed.is_ok(), encrypted.is_some(), "{url}: {claimed:?}");
        let Some(encrypted) = encrypted else { continue };
        let seen =
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'this'";
        assert_eq!(client.query_one(seen, &[]).await.unwrap().get::<_, Option<bool>>(0), Some(encrypted), "{url}");
        drop(store);
        while client.query_one(seen, &[]).await.unwrap().get::<_, Option<bool>>(0).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
