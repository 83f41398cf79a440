//! The reports over small tables made by hand (reports/tables.sql), with the corners in which a
//! count goes wrong: ties, missing values, games that never finished, events that came late.

#![allow(clippy::unwrap_used, reason = "a test may")]

use datafusion::arrow::array::{
    ArrayRef, AsArray as _, Float64Array, ListBuilder, RecordBatch, StringBuilder, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use datafusion::prelude::{SessionContext, create_udf};
use queries::reports;
use std::sync::Arc;

/// A report, what it is asked with, and its answer: the columns, then a line for each row.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    ("first_blood", &[], &["champion,games,first_bloods,rate", "Ahri,2,1,0.5", "Zed,3,1,0.3333", "Garen,1,0,0.0"]),
    ("first_blood", &[("min_games", "2")], &["champion,games,first_bloods,rate", "Ahri,2,1,0.5", "Zed,3,1,0.3333"]),
    (
        "champion_mastery",
        &[],
        &[
            "player_id,champion,games,win_rate,kda,kills,deaths,assists",
            "ann,Ahri,2,0.5,3.33,6,3,4",
            "cas,Zed,1,1.0,1.5,2,4,4",
            "bob,Zed,1,1.0,0.5,0,2,1",
            "ann,Zed,1,1.0,0.0,0,0,0",
            "bob,Ahri,1,0.0,0.17,1,6,0",
        ],
    ),
    (
        "champion_mastery",
        &[("player", "ann"), ("min_games", "2")],
        &["player_id,champion,games,win_rate,kda,kills,deaths,assists", "ann,Ahri,2,0.5,3.33,6,3,4"],
    ),
    (
        "connection_types",
        &[],
        &["region,connection,share,players", "EUW1,Cable/DSL,0.5,3", "EUW1,Cellular,0.5,3", "KR,unknown,1.0,1"],
    ),
    (
        "provider_leaderboard",
        &[],
        &[
            "provider,score,share,great,good,ok,poor,players,samples",
            "Copper,75.0,0.2,0.0,1.0,0.0,0.0,1,1",
            "Fiber,71.7,0.4,0.3333,0.3333,0.3333,0.0,2,3",
            "Radio,0.0,0.4,0.0,0.0,0.0,1.0,2,2",
        ],
    ),
    (
        "provider_leaderboard",
        &[("sort", "share")],
        &[
            "provider,score,share,great,good,ok,poor,players,samples",
            "Fiber,71.7,0.4,0.3333,0.3333,0.3333,0.0,2,3",
            "Radio,0.0,0.4,0.0,0.0,0.0,1.0,2,2",
            "Copper,75.0,0.2,0.0,1.0,0.0,0.0,1,1",
        ],
    ),
    (
        "provider_leaderboard",
        &[("city", "Berlin"), ("min_players", "2")],
        &["provider,score,share,great,good,ok,poor,players,samples", "Fiber,71.7,0.6667,0.3333,0.3333,0.3333,0.0,2,3"],
    ),
    ("key_bindings", &[], &["spell,key,share,players", "Flash,F,0.6667,2", "Flash,D,0.3333,1", "Ignite,F,1.0,1"]),
    ("key_bindings", &[("spell", "Ignite")], &["spell,key,share,players", "Ignite,F,1.0,1"]),
    ("crashes", &[], &["signature,version,crashes,players", "audio,1.0,2,2", "render,1.0,2,1", "render,1.1,1,1"]),
    ("crashes", &[("version", "1.1")], &["signature,version,crashes,players", "render,1.1,1,1"]),
    (
        "crash_groups",
        &[],
        &[
            "signature,crashes,players,recent,before,trend,versions,drivers,first_seen,last_seen",
            "render,3,2,1,1,0,1.0, 1.1,RTX 5, RX unknown,2026-01-05T10:00:00,2026-01-19T10:00:00",
            "audio,2,2,1,1,0,1.0,RTX 6, unknown unknown,2026-01-12T10:00:00,2026-01-13T10:00:00",
        ],
    ),
    (
        "crash_groups",
        &[("days", "8"), ("version", "1.0")],
        &[
            "signature,crashes,players,recent,before,trend,versions,drivers,first_seen,last_seen",
            "audio,2,2,2,0,2,1.0,RTX 6, unknown unknown,2026-01-12T10:00:00,2026-01-13T10:00:00",
            "render,2,1,1,1,0,1.0,RTX 5,2026-01-05T10:00:00,2026-01-10T10:00:00",
        ],
    ),
    (
        "crash_trend",
        &[],
        &[
            "day,signature,crashes,players",
            "2026-01-05,render,1,1",
            "2026-01-10,render,1,1",
            "2026-01-12,audio,1,1",
            "2026-01-13,audio,1,1",
            "2026-01-19,render,1,1",
        ],
    ),
    (
        "crash_trend",
        &[("signature", "render"), ("version", "1.1")],
        &["day,signature,crashes,players", "2026-01-19,render,1,1"],
    ),
    (
        "crash_drivers",
        &[],
        &[
            "gpu,driver,crashes,share,players,signatures",
            "RTX,5,2,0.4,1,1",
            "RTX,6,1,0.2,1,1",
            "RX,unknown,1,0.2,1,1",
            "unknown,unknown,1,0.2,1,1",
        ],
    ),
    (
        "player_support",
        &[],
        &[
            "time,signature,version,gpu,driver,player_id,note,name,mail",
            "2026-01-19T10:00:00,render,1.1,RX,,bob,bad,,",
            "2026-01-13T10:00:00,audio,1.0,,,bob,hm,,",
            "2026-01-10T10:00:00,render,1.0,RTX,5,ann,again,Ann,ann@example.com",
        ],
    ),
    (
        "player_support",
        &[("player", "bob"), ("signature", "audio")],
        &["time,signature,version,gpu,driver,player_id,note,name,mail", "2026-01-13T10:00:00,audio,1.0,,,bob,hm,,"],
    ),
    ("retention", &[], &["cohort,players,day_1,day_7,day_30", "2026-01-05,3,0.3333,0.0,", "2026-01-12,1,,,"]),
    ("retention", &[("region", "KR")], &["cohort,players,day_1,day_7,day_30", "2026-01-06,1,,,"]),
    (
        "sessions",
        &[],
        &[
            "day,sessions,players,games,minutes,games_per_session",
            "2026-01-05,4,3,6,45.0,1.5",
            "2026-01-12,1,1,1,10.0,1.0",
            "2026-01-13,1,1,1,10.0,1.0",
        ],
    ),
    (
        "sessions",
        &[("gap_min", "4"), ("region", "EUW1")],
        &[
            "day,sessions,players,games,minutes,games_per_session",
            "2026-01-05,5,3,5,30.0,1.0",
            "2026-01-12,1,1,1,10.0,1.0",
            "2026-01-13,1,1,1,10.0,1.0",
        ],
    ),
    (
        "concurrent_players",
        &[],
        &[
            "hour,players",
            "2026-01-05T10:00:00,3",
            "2026-01-05T11:00:00,2",
            "2026-01-05T23:00:00,2",
            "2026-01-06T00:00:00,2",
            "2026-01-12T19:00:00,1",
            "2026-01-12T20:00:00,0",
            "2026-01-13T08:00:00,1",
            "2026-01-13T09:00:00,0",
        ],
    ),
    ("concurrent_players", &[("region", "KR")], &["hour,players", "2026-01-05T23:00:00,2", "2026-01-06T00:00:00,2"]),
    (
        "match_length",
        &[],
        &[
            "mode,games,shortest_s,median_s,p90_s,longest_s,mean_s",
            "ARAM,1,1200,1200,1200,1200,1200.0",
            "CLASSIC,2,1800,1800,1801,1801,1800.5",
            "unknown,1,900,900,900,900,900.0",
        ],
    ),
    (
        "match_length",
        &[("version", "1.1"), ("region", "EUW1")],
        &["mode,games,shortest_s,median_s,p90_s,longest_s,mean_s", "CLASSIC,1,1801,1801,1801,1801,1801.0"],
    ),
    (
        "pipeline_health",
        &[],
        &[
            "stream,accepted,clean,duplicates,duplicate_share,conflicts,dead,dead_share,acknowledged,newest",
            "events,9,6,1,0.1111,1,1,0.1111,9,2026-01-05T10:00:03",
            "quiet,0,0,0,0.0,0,0,0.0,0,2026-01-05T10:00:00",
        ],
    ),
    (
        "toxicity_by_hour",
        &[],
        &[
            "hour,messages,toxic,rate",
            "2026-01-05T10:00:00,4,3,0.75",
            "2026-01-05T11:00:00,1,1,1.0",
            "2026-01-06T11:00:00,1,0,0.0",
        ],
    ),
    ("toxicity_by_hour", &[("channel", "all")], &["hour,messages,toxic,rate", "2026-01-05T10:00:00,1,1,1.0"]),
    (
        "toxicity_by_region",
        &[],
        &[
            "region,messages,toxic,rate,players,insult,hate,threat,sexual,spam",
            "EUW1,5,4,0.8,2,4,0,0,0,0",
            "unknown,1,0,0.0,0,0,0,0,0,0",
        ],
    ),
    ("toxicity_by_champion", &[], &["champion,messages,toxic,rate", "Ahri,4,3,0.75", "unknown,2,1,0.5"]),
    ("toxicity_by_champion", &[("min_messages", "3")], &["champion,messages,toxic,rate", "Ahri,4,3,0.75"]),
    (
        "toxic_players",
        &[],
        &[
            "player_id,toxic,messages,rate,games,last,evidence",
            "ann,2,3,0.6667,2,2026-01-05T10:40:00,[noob again, noob]",
        ],
    ),
    (
        "toxic_players",
        &[("min_toxic", "1"), ("evidence", "1")],
        &[
            "player_id,toxic,messages,rate,games,last,evidence",
            "ann,2,3,0.6667,2,2026-01-05T10:40:00,[noob again]",
            "bob,1,1,1.0,1,2026-01-05T10:06:00,[noob team]",
        ],
    ),
    (
        "toxic_matches",
        &[],
        &[
            "game_id,region,first,toxic,messages,rate,transcript",
            "g2,EUW1,2026-01-05T10:40:00,2,2,1.0,[! ann: noob again, ! unknown: noob]",
            "g1,EUW1,2026-01-05T10:05:00,2,3,0.6667,[ann: gg, ! ann: noob, ! bob: noob team]",
        ],
    ),
    (
        "toxic_matches",
        &[("matches", "1")],
        &[
            "game_id,region,first,toxic,messages,rate,transcript",
            "g2,EUW1,2026-01-05T10:40:00,2,2,1.0,[! ann: noob again, ! unknown: noob]",
        ],
    ),
    (
        "toxicity_by_patch",
        &[],
        &[
            "version,since,messages,toxic,rate,before,change",
            "1.0,2026-01-05T10:00:00,3,2,0.6667,,",
            "1.1,2026-01-05T10:35:00,2,2,1.0,0.6667,0.3333",
        ],
    ),
];

async fn tables() -> SessionContext {
    let context = SessionContext::new();
    context.register_udf(judge());
    for statement in include_str!("reports/tables.sql").split_inclusive(";\n") {
        context.sql(statement).await.unwrap().collect().await.unwrap();
    }
    context
}

/// A scorer that knows one word: how messages are judged is tested elsewhere.
fn judge() -> ScalarUDF {
    let list = || DataType::new_list(DataType::Utf8, true);
    let fields = Fields::from(vec![Field::new("score", DataType::Float64, true), Field::new("labels", list(), true)]);
    let made = fields.clone();
    let judge = move |arguments: &[ColumnarValue]| {
        let texts = cast(&arguments[0].to_array(1)?, &DataType::Utf8)?;
        let is_toxic: Vec<bool> =
            texts.as_string::<i32>().iter().map(|text| text.is_some_and(|text| text.contains("noob"))).collect();
        let scores = Float64Array::from_iter_values(is_toxic.iter().map(|toxic| if *toxic { 0.9 } else { 0.1 }));
        let mut labels = ListBuilder::new(StringBuilder::new());
        for toxic in is_toxic {
            labels.append_value(toxic.then_some(Some("insult")));
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(scores), Arc::new(labels.finish())];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(made.clone(), columns, None)?)))
    };
    create_udf("toxicity", vec![DataType::Utf8], DataType::Struct(fields), Volatility::Immutable, Arc::new(judge))
}

async fn run(context: &SessionContext, name: &str, given: &[(&str, &str)]) -> Vec<String> {
    let report = reports::find(name).unwrap();
    let given: Vec<(String, String)> = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let bound = report.bind(&given).unwrap();
    let frame = context.sql(&report.sql).await.unwrap();
    let frame = if bound.is_empty() { frame } else { frame.with_param_values(bound).unwrap() };
    let names: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut lines = vec![names.join(",")];
    for batch in frame.collect().await.unwrap() {
        lines.extend(rows(&batch));
    }
    lines
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |at: usize| columns.iter().map(|column| column.value(at).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}

#[tokio::test]
async fn each_report_answers_as_counted_by_hand() {
    let context = tables().await;
    for (name, given, expected) in CASES {
        assert_eq!(run(&context, name, given).await, *expected, "{name} {given:?}");
    }
    let tried: std::collections::BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).chain(["freshness"]).collect();
    assert!(reports::all().keys().map(String::as_str).eq(tried), "a report without a case");
}

#[tokio::test]
async fn each_chart_draws_columns_that_its_report_has() {
    let context = tables().await;
    for (name, report) in reports::all() {
        let Some(drawing) = &report.chart else { continue };
        let bound = report.bind(&[]).unwrap();
        let frame = context.sql(&report.sql).await.unwrap();
        let frame = if bound.is_empty() { frame } else { frame.with_param_values(bound).unwrap() };
        let schema = frame.schema().as_arrow().clone();
        drawing.check(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        let chart = drawing.chart(&report.title, &frame.collect().await.unwrap()).unwrap();
        let is_drawn = chart.series.iter().flat_map(|series| &series.values).any(|value| value.is_finite());
        assert!(is_drawn && !charts::pictures(&chart).contains("No figures"), "{name}: {chart:?}");
    }
    let wrong = reports::Drawing::parse("bar x=champion y=champion").unwrap();
    let frame = context.sql("SELECT 'Ahri' AS champion").await.unwrap();
    assert!(wrong.check(frame.schema().as_arrow()).unwrap_err().contains("no number"));
}

#[tokio::test]
async fn freshness_names_what_is_empty_first_then_what_is_stale() {
    let lines = run(&tables().await, "freshness", &[]).await;
    assert_eq!(lines[0], "table,newest,age_s");
    assert_eq!(lines[1], "empty,,");
    for (line, table, age_s) in [(&lines[2], "stale", 7_200.0), (&lines[3], "fresh", 3_600.0)] {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[0], table);
        let found: f64 = fields[2].parse().unwrap();
        assert!((age_s..age_s + 600.0).contains(&found), "{table} is {found} s old");
    }
}
