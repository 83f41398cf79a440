//! Personal fields: shown with the scope, NULL without it, and no way around.

use super::support::{Fixture, chat, config, csv_as, schema_of, viewer};
use crate::Engine;
use events::schema::Registry;

async fn engine() -> (Fixture, Engine) {
    let fixture = chat().await;
    let schemas = [
        schema_of("chat.message", 1, &["playerid", "home.city", "realName"]),
        schema_of("chat.message", 2, &[]),
        schema_of("other", 1, &[]),
    ];
    let engine = fixture.engine_with(config(), Registry::of(schemas));
    (fixture, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_personal_reads_as_null_without_the_scope() {
    let (_fixture, engine) = engine().await;
    for (sql, with, without) in [
        (
            "SELECT player_id FROM chat_message ORDER BY _offset",
            "player_id\np1\np2\np1\n",
            "player_id\n\"\"\n\"\"\n\"\"\n",
        ),
        (
            "SELECT home FROM chat_message WHERE _offset = 0",
            "home\n\"{\"\"city\"\":\"\"Kiel\"\",\"\"zip\"\":1}\"\n",
            "home\n\"{\"\"city\"\":null,\"\"zip\"\":1}\"\n",
        ),
        ("SELECT home.city AS c, home.zip AS z FROM chat_message WHERE _offset = 1", "c,z\nBonn,2\n", "c,z\n,2\n"),
        (
            "SELECT extra FROM chat_message WHERE _offset = 1",
            "extra\n\"{\"\"realName\"\":\"\"Jane\"\",\"\"mood\"\":\"\"x\"\"}\"\n",
            "extra\n\"{\"\"mood\"\":\"\"x\"\"}\"\n",
        ),
        ("SELECT text FROM chat_message WHERE _offset = 0", "text\n\"gg, wp\"\n", "text\n\"gg, wp\"\n"),
        (
            "SELECT player_id, payload, detail FROM dead_letters ORDER BY _offset",
            "player_id,payload,detail\np3,SmFuZQ==,\"said \"\"Jane\"\"\"\np4,b3RoZXI=,\"said \"\"Jane\"\"\"\n,SmFuZQ==,\"said \"\"Jane\"\"\"\n",
            "player_id,payload,detail\n,,\np4,b3RoZXI=,\"said \"\"Jane\"\"\"\n,,\n",
        ),
        (
            "SELECT headers FROM dead_letters WHERE _offset = 0",
            "headers\n\"{\"\"ce_playerid\"\":\"\"p3\"\",\"\"ce_id\"\":\"\"7\"\",\"\"kf_detail\"\":\"\"said Jane\"\"}\"\n",
            "headers\n\"{\"\"ce_id\"\":\"\"7\"\"}\"\n",
        ),
    ] {
        assert_eq!(csv_as(&engine, sql, &viewer(true)).await.unwrap(), with, "{sql}");
        assert_eq!(csv_as(&engine, sql, &viewer(false)).await.unwrap(), without, "{sql}");
    }
}

/// Each would tell something of a hidden value if it were looked at before it is hidden.
#[tokio::test(flavor = "multi_thread")]
async fn no_question_gets_around_it() {
    let (_fixture, engine) = engine().await;
    for sql in [
        "SELECT count(*) AS n FROM chat_message WHERE player_id = 'p1'",
        "SELECT count(*) AS n FROM chat_message WHERE player_id IS NOT NULL",
        "SELECT count(player_id) AS n FROM chat_message",
        "SELECT count(DISTINCT player_id) AS n FROM chat_message",
        "SELECT count(max) AS n FROM (SELECT max(player_id) AS max FROM chat_message)",
        "SELECT count(*) AS n FROM chat_message a JOIN chat_message b ON a.player_id = b.player_id",
        "SELECT count(*) AS n FROM chat_message WHERE home.city LIKE 'K%'",
        "SELECT count(*) AS n FROM chat_message WHERE extra LIKE '%Jane%'",
        "SELECT count(*) AS n FROM chat_message WHERE player_id IN (SELECT 'p1')",
        "SELECT count(*) AS n FROM (SELECT player_id AS x FROM chat_message) WHERE x > ''",
        "SELECT count(*) AS n FROM dead_letters WHERE player_id = 'p3'",
        "SELECT count(*) AS n FROM dead_letters WHERE headers LIKE '%p3%'",
        "SELECT count(*) AS n FROM dead_letters WHERE type = 'chat.message' AND payload IS NOT NULL",
        "WITH c AS (SELECT * FROM chat_message) SELECT count(*) AS n FROM c WHERE CASE WHEN player_id = 'p1' THEN true END",
    ] {
        assert_eq!(csv_as(&engine, sql, &viewer(false)).await.unwrap(), "n\n0\n", "{sql}");
    }
    let leaky = "SELECT cast(player_id AS int) AS n FROM chat_message LIMIT 1";
    assert_eq!(csv_as(&engine, leaky, &viewer(false)).await.unwrap(), "n\n\"\"\n");
    let plan =
        csv_as(&engine, "EXPLAIN SELECT * FROM chat_message WHERE player_id = 'p1'", &viewer(false)).await.unwrap();
    assert!(!plan.contains(".parquet"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_stay_the_same() {
    let (_fixture, engine) = engine().await;
    for table in ["chat_message", "dead_letters"] {
        let sql = format!("SELECT * FROM {table} ORDER BY _offset");
        let shown = engine.query(&sql, Vec::new(), &viewer(true)).await.unwrap();
        let hidden = engine.query(&sql, Vec::new(), &viewer(false)).await.unwrap();
        let types = |answer: &crate::Answer| {
            let fields = answer.schema().fields().clone();
            fields.iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(types(&shown), types(&hidden));
        assert_eq!(hidden.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);
    }
}
