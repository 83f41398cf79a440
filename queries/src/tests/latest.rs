//! `<table>_latest` on disk: which row is the newest, for whom, and what may be asked of it.

use super::support::{Fixture, config, csv, csv_as, event, event_schema, schema_of, viewer};
use crate::{Config, Engine, Error};
use datafusion::arrow::datatypes::{DataType, Field};
use events::schema::{Registry, Schema};
use serde_json::{Value, json};

/// A schema of `profile` with this key.
fn keyed(version: i32, key: &[&str], personal: &[&str]) -> Schema {
    Schema { key: key.iter().map(ToString::to_string).collect(), ..schema_of("profile", version, personal) }
}

/// A row of a player, at this second.
fn row(offset: i64, player: Option<&str>, second: &str, more: Value) -> Value {
    let mut row = event(offset, offset, json!({"player_id": player, "time": format!("2026-11-20T10:00:{second}Z")}));
    row.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    row
}

async fn profiles(rows: &[Value]) -> Fixture {
    let home = DataType::Struct(
        vec![Field::new("city", DataType::Utf8, true), Field::new("zip", DataType::Int64, true)].into(),
    );
    let fixture = Fixture::new();
    let schema = event_schema(&[("n", DataType::Int64), ("home", home), ("name", DataType::Utf8)]);
    fixture.append("profile", &schema, rows).await;
    fixture
}

fn engine(fixture: &Fixture, schema: Schema) -> Engine {
    fixture.engine_with(config(), Registry::of([schema]))
}

/// Three players, each with an older row that a filter could bring back.
async fn three() -> (Fixture, Engine) {
    let fixture = profiles(&[
        row(0, Some("a"), "01", json!({"n": 1, "home": {"city": "Kiel", "zip": 1}})),
        row(1, Some("b"), "01", json!({"n": 9, "home": {"city": "Kiel", "zip": 1}})),
        row(2, Some("a"), "05", json!({"n": 2, "home": {"city": "Bonn", "zip": 1}})),
        row(3, Some("b"), "02", json!({"n": 4, "home": {"city": "Bonn", "zip": 2}})),
        row(4, Some("c"), "03", json!({"n": 4})),
    ])
    .await;
    let engine = engine(&fixture, keyed(1, &["player_id"], &[]));
    (fixture, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_row_is_by_time_then_by_receipt_then_by_the_place_in_the_log() {
    let received = |at: &str| json!({"n": 1, "received_at": format!("2026-11-20T10:01:{at}Z")});
    let at = |partition: i32| json!({"n": 1, "_partition": partition});
    let fixture = profiles(&[
        // The later time, though it came first.
        row(10, Some("time"), "07", received("00")),
        row(11, Some("time"), "06.999999", received("09")),
        // Of the same time, the one that was received last.
        row(20, Some("receipt"), "01", received("05")),
        row(21, Some("receipt"), "01", received("04")),
        // Of the same receipt, the last one in the log.
        row(31, Some("offset"), "01", json!({})),
        row(32, Some("offset"), "01", json!({})),
        row(30, Some("offset"), "01", json!({})),
        row(40, Some("partition"), "01", at(1)),
        row(41, Some("partition"), "01", at(0)),
        // What has no time happened when it was received, and what has neither, before all else.
        row(50, Some("none"), "01", json!({"time": null, "received_at": "2026-11-20T10:00:02Z"})),
        row(51, Some("none"), "01.5", json!({})),
        row(52, Some("none"), "01", json!({"time": null, "received_at": null})),
    ])
    .await;
    let engine = engine(&fixture, keyed(1, &["player_id"], &[]));
    let sql = "SELECT player_id AS p, _offset AS o FROM profile_latest ORDER BY p";
    let rows = "p,o\nnone,50\noffset,32\npartition,40\nreceipt,20\ntime,10\n";
    assert_eq!(csv(&engine, sql).await.unwrap(), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_key_is_null_in_a_column_names_no_record() {
    let fixture = profiles(&[
        row(0, None, "01", json!({"n": 1, "region": "EUW1"})),
        row(1, Some("a"), "02", json!({"n": 2, "region": null})),
        row(2, Some("a"), "00", json!({"n": 3, "region": "EUW1"})),
        row(3, Some("a"), "03", json!({"n": 4, "region": "NA1"})),
        row(4, Some("a"), "03", json!({"n": 5, "region": "NA1"})),
    ])
    .await;
    let sql = "SELECT n FROM profile_latest ORDER BY n";
    for (key, rows) in [
        (&["player_id", "region"][..], "n\n3\n5\n"),
        (&["player_id"], "n\n5\n"),
        (&["region"], "n\n1\n5\n"),
        // A column that no row has yet.
        (&["player_id", "clan"], "n\n"),
    ] {
        assert_eq!(csv(&engine(&fixture, keyed(1, key, &[])), sql).await.unwrap(), rows, "{key:?}");
    }
    let engine = engine(&fixture, keyed(1, &["playerid"], &[]));
    let answer = engine.query(sql, Vec::new(), &viewer(true)).await.unwrap();
    let warning = "profile_latest: no rows, since its key \"playerid\" is no column yet (near: \"player_id\")";
    assert_eq!(answer.warnings(), [warning]);
    let answer = engine.query("SELECT n FROM profile", Vec::new(), &viewer(true)).await.unwrap();
    assert_eq!(answer.warnings().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_chooses_among_the_newest_rows_and_brings_no_older_one_back() {
    let (_fixture, engine) = three().await;
    for (filter, players) in [
        ("true", "a b c"),
        ("player_id = 'a'", "a"),
        ("player_id > 'a' AND n = 4", "b c"),
        ("n = 1", ""),
        ("n = 9 OR player_id = 'c'", "c"),
        ("home.city = 'Kiel'", ""),
        ("home IS NULL", "c"),
        ("time < TIMESTAMP '2026-11-20T10:00:02Z'", ""),
        ("_offset IN (0, 1, 2)", "a"),
        ("date = DATE '2026-11-20' AND n < 4", "a"),
        ("player_id IN (SELECT player_id FROM profile WHERE n = 1)", "a"),
        ("n IN (SELECT n FROM profile WHERE player_id = 'c')", "b c"),
        ("false", ""),
    ] {
        let sql =
            format!("SELECT string_agg(player_id, ' ' ORDER BY player_id) AS p FROM profile_latest WHERE {filter}");
        let expected = if players.is_empty() { "p\n\"\"\n".to_owned() } else { format!("p\n{players}\n") };
        assert_eq!(csv(&engine, &sql).await.unwrap(), expected, "{filter}");
    }
    // A condition that looks at nothing is asked of the newest rows alone, too.
    for _ in 0..40 {
        let sql = "SELECT n FROM profile_latest WHERE random() < 0.5 AND player_id = 'a'";
        let answer = csv(&engine, sql).await.unwrap();
        assert!(["n\n", "n\n2\n"].contains(&answer.as_str()), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_joins_orders_and_limits_are_over_the_newest_rows() {
    let (_fixture, engine) = three().await;
    for (sql, answer) in [
        ("SELECT count(*) AS n FROM profile_latest", "n\n3\n"),
        ("SELECT sum(n) AS s, max(time) AS t FROM profile_latest", "s,t\n10,2026-11-20T10:00:05Z\n"),
        ("SELECT n, count(*) AS c FROM profile_latest GROUP BY n ORDER BY n", "n,c\n2,1\n4,2\n"),
        ("SELECT player_id AS p FROM profile_latest ORDER BY n, p LIMIT 1", "p\na\n"),
        ("SELECT player_id AS p, n FROM profile_latest ORDER BY n DESC, p LIMIT 2", "p,n\nb,4\nc,4\n"),
        ("SELECT count(*) AS n FROM (SELECT n FROM profile_latest LIMIT 2)", "n\n2\n"),
        ("SELECT count(*) AS n FROM profile_latest a JOIN profile_latest b ON a.n = b.n", "n\n5\n"),
        // What a join asks of it is no reason to leave a newer row out.
        ("SELECT l.n FROM (SELECT n FROM profile WHERE n IN (1, 9, 2)) f JOIN profile_latest l ON l.n = f.n", "n\n2\n"),
        ("SELECT p.n FROM profile p LEFT ANTI JOIN profile_latest l ON l._offset = p._offset ORDER BY 1", "n\n1\n9\n"),
        ("SELECT home.zip AS z FROM profile_latest WHERE player_id = 'b'", "z\n2\n"),
        (
            "SELECT n FROM profile_latest l WHERE EXISTS (SELECT 1 FROM profile p WHERE p.n > l.n) ORDER BY n",
            "n\n2\n4\n4\n",
        ),
        (
            "WITH l AS (SELECT * FROM profile_latest) SELECT a.n FROM l a, l b WHERE a.n < b.n AND b.player_id = 'c'",
            "n\n2\n",
        ),
    ] {
        assert_eq!(csv(&engine, sql).await.unwrap(), answer, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_schema_says_whether_there_is_a_key() {
    let fixture = profiles(&[row(0, Some("a"), "01", json!({"n": 1})), row(1, Some("b"), "01", json!({"n": 1}))]).await;
    let sql = "SELECT count(*) AS c FROM profile_latest";
    for (schemas, count) in [
        (vec![], None),
        (vec![keyed(1, &[], &[])], None),
        (vec![keyed(1, &["player_id"], &[])], Some(2)),
        (vec![keyed(1, &["player_id"], &[]), keyed(2, &[], &[])], None),
        (vec![keyed(1, &["player_id"], &[]), keyed(2, &["n"], &[])], Some(1)),
        // A type that has no table.
        (vec![Schema { key: vec!["n".into()], ..schema_of("other", 1, &[]) }], None),
    ] {
        let engine = fixture.engine_with(config(), Registry::of(schemas));
        match (csv(&engine, sql).await, count) {
            (Ok(answer), Some(count)) => assert_eq!(answer, format!("c\n{count}\n")),
            (Err(Error::NoTable { .. }), None) => {
                assert!(matches!(csv(&engine, "SELECT * FROM other_latest").await, Err(Error::NoTable { .. })));
            }
            (other, count) => panic!("{other:?}, not {count:?}"),
        }
    }
    for name in ["_latest", "dead_letters_latest", "killfeed_ledger_latest", "profile_latest_latest"] {
        let asked = csv(&engine(&fixture, keyed(1, &["n"], &[])), &format!("SELECT * FROM {name}")).await;
        assert!(matches!(asked, Err(Error::NoTable { .. })), "{name}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_key_can_count_no_players_by_it() {
    let fixture = profiles(&[
        row(0, Some("a"), "01", json!({"n": 1, "region": "EUW1", "name": "Jane", "home": {"city": "Kiel", "zip": 1}})),
        row(1, Some("b"), "02", json!({"n": 2, "region": "EUW1", "name": "Joan", "home": {"city": "Bonn", "zip": 1}})),
        row(2, Some("b"), "03", json!({"n": 3, "region": "NA1", "name": "Jane", "home": {"city": "Kiel", "zip": 2}})),
    ])
    .await;
    let count = "SELECT count(*) AS c FROM profile_latest";
    for (key, personal, shown, hidden) in [
        (&["player_id"][..], &["playerid"][..], 2, 0),
        (&["player_id", "region"], &["playerid"], 3, 0),
        (&["name"], &["name"], 2, 0),
        // What is left of it may be seen: two postal codes.
        (&["home"], &["home.city"], 3, 2),
        (&["region"], &["playerid", "name"], 2, 2),
    ] {
        let engine = engine(&fixture, keyed(1, key, personal));
        assert_eq!(csv_as(&engine, count, &viewer(true)).await.unwrap(), format!("c\n{shown}\n"), "{key:?}");
        let answer = engine.query(count, Vec::new(), &viewer(false)).await.unwrap();
        assert_eq!(answer.warnings().len(), usize::from(hidden == 0), "{key:?}: {:?}", answer.warnings());
        assert_eq!(csv_as(&engine, count, &viewer(false)).await.unwrap(), format!("c\n{hidden}\n"), "{key:?}");
        for (scope, rows) in [(true, shown), (false, hidden)] {
            let sql = "SELECT DISTINCT _offset FROM profile_latest";
            let seen = csv_as(&engine, sql, &viewer(scope)).await.unwrap();
            assert_eq!(seen.lines().count(), rows + 1, "{key:?}: {seen}");
        }
        let catalogue = csv_as(&engine, "SHOW TABLES", &viewer(false)).await.unwrap();
        assert!(catalogue.contains("\nprofile_latest,,2026-11-20T10:00:01.500Z\n"), "{key:?}: {catalogue}");
    }
    let engine = engine(&fixture, keyed(1, &["region"], &["playerid", "name", "home.city"]));
    let sql = "SELECT region, player_id, name, home FROM profile_latest ORDER BY region";
    let rows = "region,player_id,name,home\n\
        EUW1,,,\"{\"\"city\"\":null,\"\"zip\"\":1}\"\nNA1,,,\"{\"\"city\"\":null,\"\"zip\"\":2}\"\n";
    assert_eq!(csv_as(&engine, sql, &viewer(false)).await.unwrap(), rows);
    let sql = "SELECT count(*) AS c FROM profile_latest WHERE player_id = 'b' OR name = 'Joan' OR home.city = 'Kiel'";
    assert_eq!(csv_as(&engine, sql, &viewer(false)).await.unwrap(), "c\n0\n");
    assert_eq!(csv_as(&engine, sql, &viewer(true)).await.unwrap(), "c\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_listed_and_described_as_the_others_are() {
    let (_fixture, engine) = three().await;
    let listed = "table,rows,newest\nprofile,5,2026-11-20T10:00:01.500Z\nprofile_latest,,2026-11-20T10:00:01.500Z\n";
    for sql in ["SHOW TABLES", "SELECT * FROM killfeed_tables ORDER BY \"table\""] {
        assert_eq!(csv(&engine, sql).await.unwrap(), listed, "{sql}");
    }
    let described = csv(&engine, "DESCRIBE profile_latest").await.unwrap();
    let marked = "player_id,text,\"key: of each one, the newest row\"";
    assert!(described.contains(&format!("\n{marked}\n")), "{described}");
    assert_eq!(described.replace(marked, "player_id,text,"), csv(&engine, "DESCRIBE profile").await.unwrap());
    let tables = engine.tables().await.unwrap();
    assert_eq!(tables.keys().collect::<Vec<_>>(), ["profile", "profile_latest"]);
    assert_eq!(tables["profile"], tables["profile_latest"]);
    for scope in [true, false] {
        let sql = "SELECT * FROM profile_latest";
        let schema = engine.query(sql, Vec::new(), &viewer(scope)).await.unwrap().schema().clone();
        assert_eq!(schema.fields().len(), tables["profile"].fields().len());
    }
    let report = crate::reports::find("freshness").unwrap();
    assert!(!csv(&engine, &report.sql).await.unwrap().contains("_latest"), "views receive nothing");
    let plan = csv(&engine, "EXPLAIN SELECT * FROM profile_latest WHERE player_id = 'a'").await.unwrap();
    assert!(plan.contains("profile_latest") && plan.contains("partial_filters"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_spills_or_fails_alone() {
    let fixture = Fixture::new();
    let schema = event_schema(&[("n", DataType::Int64), ("name", DataType::Utf8)]);
    // 50 MB that differ from row to row.
    for part in 0..60_i64 {
        let rows = (part * 1_000..(part + 1) * 1_000).map(|n| {
            let name = format!("{n:0>8}").repeat(100);
            row(n, Some(&format!("p{}", n % 100)), "01", json!({"n": n, "name": name}))
        });
        fixture.append("profile", &schema, &rows.collect::<Vec<_>>()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let registry = || Registry::of([keyed(1, &["player_id"], &[])]);
    let small = || Config { threads: 1, memory_bytes: 36 << 20, ..config() };
    let spilling = Config { spill_dir: Some(dir.path().join("spill")), ..small() };
    let sql = "SELECT count(*) AS c, min(n) AS low, sum(length(name)) AS l FROM profile_latest";
    let engine = fixture.engine_with(small(), registry());
    let error = csv(&engine, sql).await.unwrap_err();
    assert!(matches!(error, Error::Memory { .. }) && !error.to_string().contains('\n'), "{error}");
    assert_eq!(csv(&engine, "SELECT count(*) AS c FROM profile_latest").await.unwrap(), "c\n100\n");
    let engine = fixture.engine_with(spilling, registry());
    assert_eq!(csv(&engine, sql).await.unwrap(), "c,low,l\n100,59900,80000\n");
}
