//! What the two halves of a table may differ in.

use super::world::{World, record, viewer};
use crate::Question;
use crate::fresh::Config;
use crate::tests::support::{csv, csv_as, schema_of};
use events::log::{Append, Durability, Log as _};
use events::schema::Registry;
use events::{Headers, TopicPartition, headers};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_there_before_any_sink_has_made_it_and_the_same_afterwards() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let sql = "SELECT id, player_id, n, name, extra FROM game_a ORDER BY _raw_offset";
    assert!(csv(&engine, sql).await.unwrap_err().to_string().contains("no table \"game_a\""));
    world
        .put(0, vec![record(1, "game.a", "p", r#"{"n":1}"#), record(2, "game.a", "q", r#"{"n":2.5,"name":"x"}"#)])
        .await;
    let rows = "id,player_id,n,name,extra\n1,p,1.0,,\n2,q,2.5,x,\n";
    assert_eq!(csv(&engine, sql).await.unwrap(), rows);
    let catalogue = "SELECT \"table\", rows FROM killfeed_tables";
    assert_eq!(csv(&engine, catalogue).await.unwrap(), "table,rows\ngame_a,2\n");
    let columns = csv(&engine, "DESCRIBE game_a").await.unwrap();
    world.flush().await;
    assert_eq!(csv(&engine, sql).await.unwrap(), rows);
    assert_eq!(csv(&engine, catalogue).await.unwrap(), "table,rows\ngame_a,2\n");
    assert_eq!(csv(&engine, "DESCRIBE game_a").await.unwrap(), columns);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_one_half_lacks_are_null_in_it_and_nested_ones_too() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    world.put(0, vec![record(1, "game.a", "p", r#"{"old":1,"home":{"city":"Kiel"},"list":[{"a":1}]}"#)]).await;
    world.flush().await;
    world.put(0, vec![record(2, "game.a", "p", r#"{"new":"x","home":{"zip":7},"list":[{"a":2,"b":true}]}"#)]).await;
    let sql = "SELECT id, old, new, home, home.zip AS zip, list FROM game_a ORDER BY id";
    let rows = "id,old,new,home,zip,list\n\
        1,1,,\"{\"\"city\"\":\"\"Kiel\"\",\"\"zip\"\":null}\",,\"[{\"\"a\"\":1,\"\"b\"\":null}]\"\n\
        2,,x,\"{\"\"city\"\":null,\"\"zip\"\":7}\",7,\"[{\"\"a\"\":2,\"\"b\"\":true}]\"\n";
    assert_eq!(csv(&engine, sql).await.unwrap(), rows);
    for (filter, ids) in [
        ("new = 'x'", "2"),
        ("new IS NULL", "1"),
        ("old = 1", "1"),
        ("home.zip = 7", "2"),
        ("home.city = 'Kiel'", "1"),
        ("date = DATE '2026-11-21' AND old IS NULL", "2"),
        ("id IN ('1', '2') AND received_at >= TIMESTAMP '2026-11-21T00:00:00Z' AND n IS NULL", "1 2"),
    ] {
        let sql = format!("SELECT string_agg(id, ' ' ORDER BY id) AS ids FROM game_a WHERE {filter}");
        let sql = sql.replace(" AND n IS NULL", "");
        assert_eq!(csv(&engine, &sql).await.unwrap(), format!("ids\n{ids}\n"), "{filter}");
    }
    world.flush().await;
    assert_eq!(csv(&engine, sql).await.unwrap(), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_sums_limits_joins_and_orders_are_over_both_halves() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let some = |ids: std::ops::Range<u64>| ids.map(|id| record(id, "game.a", "p", &format!(r#"{{"n":{id}}}"#)));
    world.put(0, some(0..500).collect()).await;
    world.flush().await;
    world.put(1, some(500..900).collect()).await;
    for (sql, answer) in [
        ("SELECT count(*) AS n FROM game_a", "n\n900\n"),
        ("SELECT sum(n) AS s, min(n) AS low, max(n) AS high FROM game_a", "s,low,high\n404550,0,899\n"),
        ("SELECT n FROM game_a ORDER BY n DESC LIMIT 2", "n\n899\n898\n"),
        ("SELECT n FROM game_a WHERE n BETWEEN 499 AND 501 ORDER BY n", "n\n499\n500\n501\n"),
        ("SELECT count(*) AS n FROM (SELECT * FROM game_a LIMIT 700)", "n\n700\n"),
        ("SELECT count(*) AS n FROM (SELECT date FROM game_a LIMIT 7)", "n\n7\n"),
        ("SELECT count(*) AS n FROM game_a a JOIN game_a b ON a.n = b.n", "n\n900\n"),
        ("SELECT _partition AS p, count(*) AS n FROM game_a GROUP BY p ORDER BY p", "p,n\n0,500\n1,400\n"),
        ("SELECT count(*) AS n FROM game_a WHERE false", "n\n0\n"),
    ] {
        assert_eq!(csv(&engine, sql).await.unwrap(), answer, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_personal_is_hidden_in_both_halves() {
    let world = World::calm().await;
    world.registry.replace(Registry::of([schema_of("game.a", 1, &["playerid", "realName"])]));
    let engine = world.quiet_engine(Config::default());
    world.put(0, vec![record(1, "game.a", "p", r#"{"n":1,"realName":"Jane"}"#)]).await;
    world.flush().await;
    world.put(0, vec![record(2, "game.a", "q", r#"{"n":2,"realName":"Joan"}"#)]).await;
    let sql = "SELECT id, player_id, real_name FROM game_a ORDER BY id";
    assert_eq!(csv(&engine, sql).await.unwrap(), "id,player_id,real_name\n1,p,Jane\n2,q,Joan\n");
    let officer = crate::tests::support::viewer(false);
    assert_eq!(csv_as(&engine, sql, &officer).await.unwrap(), "id,player_id,real_name\n1,,\n2,,\n");
    let sql = "SELECT count(*) AS n FROM game_a WHERE player_id = 'q' OR real_name LIKE 'J%'";
    assert_eq!(csv_as(&engine, sql, &officer).await.unwrap(), "n\n0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_the_log_and_those_that_a_sink_will_find_are_there() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let sql = "SELECT reason, stage, id FROM dead_letters ORDER BY id";
    assert!(csv(&engine, sql).await.unwrap_err().to_string().contains("no table"));
    let letter = Headers::of([
        (headers::ID, "1"),
        (headers::TYPE, "game.a"),
        (headers::DEAD_REASON, "conflict"),
        (headers::DEAD_STAGE, "process"),
    ]);
    let to = TopicPartition::new(super::world::stream().dead(), 0);
    let records = vec![events::log::NewRecord { headers: letter, payload: Some("x".into()), ..Default::default() }];
    world.log.append(vec![Append { to, records }], Durability::All).await.remove(0).unwrap();
    let records = vec![
        record(2, "game.a", "p", "no json"),
        record(3, "game.a", "p", "{}"),
        record(4, "killfeed.x", "p", "{}"),
        record(5, "game_a", "p", "{}"),
    ];
    world.put(0, records).await;
    let letters = "reason,stage,id\nconflict,process,1\npayload_not_json,sink,2\ntable_name_taken,sink,4\ntable_name_taken,sink,5\n";
    assert_eq!(csv(&engine, sql).await.unwrap(), letters);
    assert_eq!(csv(&engine, "SELECT id FROM game_a").await.unwrap(), "id\n3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_sink_widened_or_gave_columns_is_read_under_the_new_ones() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let sql = "SELECT id, n, extra FROM game_a ORDER BY id";
    world.put(0, vec![record(1, "game.a", "p", r#"{"n":1}"#)]).await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "id,n,extra\n1,1,\n");
    // Seen before and after the rows of the first were made: both are made anew, as one flush would.
    world.put(0, vec![record(2, "game.a", "p", r#"{"n":1.5}"#)]).await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "id,n,extra\n1,1.0,\n2,1.5,\n");
    world.flush().await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "id,n,extra\n1,1.0,\n2,1.5,\n");
    world.put(0, vec![record(3, "game.a", "p", r#"{"n":3}"#)]).await;
    assert_eq!(csv(&engine, sql).await.unwrap(), "id,n,extra\n1,1.0,\n2,1.5,\n3,3.0,\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_how_old_the_newest_event_is() {
    let world = World::calm().await;
    let engine = world.quiet_engine(Config::default());
    let report = Question { is_report: true, ..Question::new("SELECT n FROM game_a", Vec::new(), &viewer()) };
    world.put(0, vec![record(1, "game.a", "p", r#"{"n":1}"#)]).await;
    for _ in 0..2 {
        let answer = engine.ask(report.clone()).await.unwrap();
        let text = crate::tests::support::written(answer, crate::format::Format::Csv).await.unwrap();
        let (head, row) = text.split_once('\n').unwrap();
        assert_eq!(head, "n,freshness");
        let age_s: f64 = row.trim().strip_prefix("1,").unwrap().parse().unwrap();
        let received = chrono::DateTime::parse_from_rfc3339("2026-11-21T09:30:00Z").unwrap();
        let expected = (chrono::Utc::now() - received.to_utc()).as_seconds_f64();
        assert!((age_s - expected.max(0.0)).abs() < 60.0, "{age_s}, not {expected}");
        world.flush().await;
    }
}
