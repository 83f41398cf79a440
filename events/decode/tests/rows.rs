//! Single cases: what a payload becomes, what goes to `extra`, what is refused.

use crate::support::{decode, discovered, extra, payload, record, record_with, text};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use decode::{Discovery, TableSchema};
use events::dead::Reason;
use events::schema::{Schema, declared};
use serde_json::{Value, json};
use std::sync::Arc;

fn schema(version: i32, document: Value) -> Arc<Schema> {
    Arc::new(declared::read("t", version, document).unwrap())
}

/// A table of the types that values can have.
fn typed() -> TableSchema {
    let properties = json!({
        "i": {"type": "integer"}, "f": {"type": "number"}, "s": {"type": "string"}, "b": {"type": ["boolean", "null"]},
        "any": {}, "o": {"type": "object", "properties": {"x": {"type": "integer"}}},
        "l": {"type": "array", "items": {"type": "integer"}},
        "lo": {"type": "array", "items": {"$ref": "#/$defs/point"}},
    });
    let point = json!({"type": "object", "properties": {"x": {"type": "integer"}}});
    let document = json!({"type": "object", "properties": properties, "$defs": {"point": point}});
    TableSchema::new("t", None, &[schema(1, document)]).unwrap()
}

#[test]
fn values_go_to_their_columns_and_misfits_to_extra_in_their_own_bytes() {
    let table = typed();
    for (given, columns, over) in [
        (r#"{"i":1,"f":2,"s":"x","b":true}"#, json!({"i":1,"f":2.0,"s":"x","b":true}), None),
        (r#"{"i":1.0,"f":1e2}"#, json!({"i":1,"f":100.0}), None),
        (r#"{"i":1.5}"#, json!({}), Some(r#"{"i":1.5}"#)),
        (r#"{"i":9223372036854775807}"#, json!({"i": i64::MAX}), None),
        (r#"{"i":-9223372036854775808}"#, json!({"i": i64::MIN}), None),
        (r#"{"i":9223372036854775808}"#, json!({}), Some(r#"{"i":9223372036854775808}"#)),
        (r#"{"f":9007199254740993}"#, json!({}), Some(r#"{"f":9007199254740993}"#)),
        (r#"{"f":1e400,"i":-0}"#, json!({"i":0}), Some(r#"{"f":1e400}"#)),
        (r#"{"s": {"deep" : [1, 2]} ,"b":"yes"}"#, json!({}), Some(r#"{"s":{"deep" : [1, 2]},"b":"yes"}"#)),
        (r#"{"i":null,"s":null,"unknown":null}"#, json!({}), None),
        (r#"{"i":1,"i":2,"i":3}"#, json!({"i":1}), Some(r#"{"i":2,"i":3}"#)),
        (r#"{"\u0069":7,"s":"\ud83d\ude00\n"}"#, json!({"i":7,"s":"😀\n"}), None),
        (r#"{"s":"\ud83d"}"#, json!({}), Some(r#"{"s":"\ud83d"}"#)),
        (r#"{"any":[1,"a"],"o":{}}"#, json!({"any":[1,"a"],"o":{}}), None),
        (r#"{"o":{"x":"1","y":2},"l":3}"#, json!({"o":{}}), Some(r#"{"o":{"x":"1","y":2},"l":3}"#)),
        (r#"{"l":[1,"2",3]}"#, json!({"l":[1,null,3]}), Some(r#"{"l":[null,"2"]}"#)),
        (
            r#"{"lo":[{"x":1},{"x":2,"y":{"z":0}},null,{"x":"3","y":4}]}"#,
            json!({"lo":[{"x":1},{"x":2},null,{}]}),
            Some(r#"{"lo":[null,{"y":{"z":0}},null,{"x":"3","y":4}]}"#),
        ),
        (
            r#"{"data":1,"i":"a","attributes":{"k":2}}"#,
            json!({}),
            Some(r#"{"i":"a","data":{"data":1,"attributes":{"k":2}}}"#),
        ),
        ("{}", json!({}), None),
        ("null", json!({}), None),
        (" [1, 2] ", json!({}), Some(r#"{"data":[1, 2]}"#)),
        (r#""text""#, json!({}), Some(r#"{"data":"text"}"#)),
    ] {
        let decoded = decode(&table, Discovery::Off, &[record(given)]);
        assert_eq!(decoded.rejects, [], "{given}");
        assert_eq!(payload(&table, &decoded.batch, 0), columns, "columns of {given}");
        assert_eq!(extra(&decoded.batch, 0).as_deref(), over, "extra of {given}");
    }
}

#[test]
fn misfits_are_counted_and_fractions_in_integer_columns_are_named() {
    let given = [r#"{"i":1.5,"o":{"x":2.5},"s":1}"#, r#"{"i":"a","l":[0.5]}"#, r#"{"i":99999999999999999999}"#];
    let decoded = decode(&typed(), Discovery::Off, &given.map(record));
    assert_eq!(decoded.extra_values, 6);
    let named: Vec<String> = decoded.widenings.iter().map(|path| path.join(".")).collect();
    assert_eq!(named, ["i", "l", "o.x"]);
}

#[test]
fn what_is_no_json_is_rejected_and_leaves_the_rows_around_it_whole() {
    let deep = |levels: usize| format!("{}{}", r#"{"u":"#.repeat(levels) + "1", "}".repeat(levels));
    let table = typed();
    let good = r#"{"i":1,"s":"kept","o":{"x":1},"lo":[{"x":1}]}"#;
    for bad in [
        "",
        "{",
        r#"{"i":1,"s":"cut","o":{"x":2},"lo":[{"x":1},{"x":2"#,
        r#"{"i":01}"#,
        r#"{"i":1}x"#,
        "{'i':1}",
        "nul",
        r#"{"s":"a	b"}"#,
        r#"{"s":"\x"}"#,
        r#"{"i":1.}"#,
        r#"{"i":-}"#,
        r#"{"i":1,}"#,
        "\u{feff}{}",
        &deep(65),
    ] {
        let decoded = decode(&table, Discovery::On, &[record(good), record(bad), record(good)]);
        let reasons: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
        assert_eq!(reasons, [(1, Reason::PayloadNotJson)], "{bad}");
        assert_eq!(decoded.batch.num_rows(), 2);
        for row in 0..2 {
            let expected: Value = serde_json::from_str(good).unwrap();
            assert_eq!(payload(&table, &decoded.batch, row), expected, "beside {bad}");
        }
    }
    let invalid = record_with(&[("content-type", "application/json")], Some(b"{\"s\":\"\xff\"}"));
    assert_eq!(decode(&table, Discovery::On, &[invalid]).rejects.len(), 1);
    assert_eq!(decode(&table, Discovery::On, &[record(&deep(64))]).rejects, []);
}

#[test]
fn what_never_claimed_to_be_json_is_kept_whole() {
    let table = discovered(&[r#"{"a":1}"#]);
    type Case = (&'static [(&'static str, &'static str)], &'static [u8], &'static str);
    let cases: [Case; 8] = [
        (
            &[("content-type", "text/plain")],
            b"hi \"you\"",
            r#"{"data":"hi \"you\"","attributes":{"datacontenttype":"text/plain"}}"#,
        ),
        (
            &[("content-type", "image/png")],
            b"\x89PNG",
            r#"{"data":"iVBORw==","attributes":{"datacontenttype":"image/png","data_encoding":"base64"}}"#,
        ),
        // Whether bytes happen to be UTF-8 makes no difference: else base64 and text look alike.
        (
            &[("content-type", "application/octet-stream")],
            b"iVBORw==",
            r#"{"data":"aVZCT1J3PT0=","attributes":{"datacontenttype":"application/octet-stream","data_encoding":"base64"}}"#,
        ),
        (
            &[("content-type", "text/plain")],
            b"caf\xe9",
            r#"{"data":"Y2Fm6Q==","attributes":{"datacontenttype":"text/plain","data_encoding":"base64"}}"#,
        ),
        (&[], b"\xff\xfe", r#"{"data":"//4=","attributes":{"data_encoding":"base64"}}"#),
        (&[], b"not json", r#"{"data":"bm90IGpzb24=","attributes":{"data_encoding":"base64"}}"#),
        (&[("content-type", "application/json")], b"\"text\"", r#"{"data":"text"}"#),
        (
            &[("content-type", "application/problem+json; charset=utf-8"), ("ce_mood", "good")],
            b"{\"a\":2,\"b\":3}",
            r#"{"b":3,"attributes":{"mood":"good"}}"#,
        ),
    ];
    for (headers, given, expected) in cases {
        let decoded = decode(&table, Discovery::Off, &[record_with(headers, Some(given))]);
        assert_eq!(extra(&decoded.batch, 0).as_deref(), Some(expected));
    }
    let without_data = decode(&table, Discovery::Off, &[record_with(&[], None)]);
    assert_eq!((without_data.batch.num_rows(), extra(&without_data.batch, 0)), (1, None));
}

#[test]
fn the_envelope_comes_from_the_headers_and_a_bad_one_never_costs_the_row() {
    let headers = [
        ("ce_time", "2026-11-21T11:59:59.5+02:00"),
        ("ce_sampledrate", "abc"),
        ("ce_originaltime", "yesterday"),
        ("ce_sentat", "2026-11-21T10:00:00Z"),
        ("ce_playerid", "p1"),
        ("kf_country", "DE"),
        ("kf_asn", "3320"),
        ("kf_schema", "2"),
        ("ce_mod", "x"),
    ];
    let decoded = decode(&discovered(&[]), Discovery::On, &[record_with(&headers, None)]);
    let batch = &decoded.batch;
    let integer = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    let time = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(text(batch, "player_id", 0).as_deref(), Some("p1"));
    assert_eq!(text(batch, "geo_country", 0).as_deref(), Some("DE"));
    assert_eq!(text(batch, "_incarnation", 0).as_deref(), Some("quiet-otter"));
    assert_eq!([integer("geo_asn"), integer("_offset"), integer("_raw_offset")], [3320, 5, 7]);
    assert_eq!(time("time") + 500_001, time("received_at"));
    assert_eq!(batch.column_by_name("date").unwrap().as_primitive::<Date32Type>().value(0), 20_778);
    assert!(batch.column_by_name("sampled_rate").unwrap().is_null(0));
    assert_eq!(
        extra(batch, 0).as_deref(),
        Some(r#"{"attributes":{"sampledrate":"abc","originaltime":"yesterday","mod":"x"}}"#)
    );
}

#[test]
fn a_header_that_is_no_utf_8_costs_only_what_cannot_be_read() {
    let mut headers = events::HeadersBuilder::default();
    headers.push("ce_id", b"a\xffb");
    headers.push("ce_source", "größe".as_bytes());
    let broken = events::log::Record { headers: headers.build(), ..record_with(&[], None) };
    let decoded = decode(&discovered(&[]), Discovery::On, &[record_with(&[], None), broken]);
    let ids: Vec<_> = (0..2).map(|row| text(&decoded.batch, "id", row).unwrap()).collect();
    assert_eq!(ids, ["1", "a\u{fffd}b"]);
    assert_eq!(text(&decoded.batch, "source", 1).as_deref(), Some("größe"));
    assert_eq!(text(&decoded.batch, "type", 1), None);
}

#[test]
fn discovery_makes_columns_of_what_it_sees() {
    for (given, columns) in [
        (vec![r#"{"a":1}"#, r#"{"a":1.5}"#], "a:float64"),
        (vec![r#"{"a":1}"#, r#"{"a":"x"}"#], "a:int64"),
        (vec![r#"{"a":null,"b":{},"c":[],"d":[null]}"#], ""),
        (vec![r#"{"a":[1,"x"],"b":[1,2.5],"c":[[1],[]]}"#], "b:list of float64 c:list of list of int64"),
        (
            vec![r#"{"a":{"kdaRatio":1.5,"none":null}}"#, r#"{"a":{"Name":"x"}}"#],
            "a:struct a.kda_ratio:float64 a.name:string",
        ),
        (vec![r#"{"p":[{"x":1},{"y":true}]}"#], "p:list of struct p.x:int64 p.y:boolean"),
        (
            vec![r#"{"id":1,"time":2,"data_time":3,"Kills":4,"kills":5}"#],
            "data_id:int64 data_time:int64 data_data_time:int64 kills:int64 data_kills:int64",
        ),
        (vec![r#"{"big":99999999999999999999}"#], ""),
    ] {
        assert_eq!(listed(&discovered(&given)), columns, "{given:?}");
    }
}

fn listed(table: &TableSchema) -> String {
    fn list(fields: &[decode::tree::Field], before: &str, out: &mut Vec<String>) {
        for field in fields {
            let name = format!("{before}{}", field.column);
            out.push(format!("{name}:{}", field.kind.word()));
            list(field.kind.fields().unwrap_or_default(), &format!("{name}."), out);
        }
    }
    let mut out = Vec::new();
    list(table.fields(), "", &mut out);
    out.join(" ")
}

#[test]
fn discovery_has_limits_and_what_is_past_them_stays_in_extra() {
    let many = format!("{{{}}}", (0..1_500).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","));
    let table = discovered(&[&many]);
    assert_eq!(table.fields().len(), 1_000);
    let again = decode(&table, Discovery::On, &[record(&many)]);
    assert!(again.extended.is_none());
    assert_eq!(again.extra_values, 500);

    let deep = r#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1,"b":2}},"c":3}}}}}}}"#;
    let table = discovered(&[deep]);
    assert!(decode(&table, Discovery::On, &[record(deep)]).extended.is_none());
    let long = format!("{{\"{}\":1}}", "x".repeat(129));
    assert_eq!(listed(&discovered(&[&long])), "");
}

#[test]
fn a_table_read_back_from_its_arrow_schema_is_the_same_and_grows() {
    let table = discovered(&[r#"{"championId":1,"p":[{"x":1}]}"#]);
    let again = TableSchema::new("t", Some(table.arrow()), &[]).unwrap();
    assert_eq!(again.fields(), table.fields());
    assert!(!again.adds_to(table.arrow()));
    let grown = decode(&again, Discovery::On, &[record(r#"{"championId":2,"p":[{"x":1,"y":"new"}]}"#)]);
    assert_eq!(extra(&grown.batch, 0).as_deref(), Some(r#"{"p":[{"y":"new"}]}"#));
    let grown = grown.extended.unwrap();
    assert!(grown.adds_to(table.arrow()));
    assert_eq!(listed(&grown), "champion_id:int64 p:list of struct p.x:int64 p.y:string");
}

#[test]
fn a_closed_schema_keeps_unknown_fields_in_extra_and_an_open_one_discovers_them() {
    let document = |closed: bool| {
        let inner =
            json!({"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": !closed});
        json!({"type": "object", "properties": {"o": inner}, "additionalProperties": !closed})
    };
    let given = record_with(&[("kf_schema", "1")], Some(br#"{"o":{"x":1,"y":2},"z":3}"#));
    for (closed, columns) in [(true, None), (false, Some("o:struct o.x:int64 o.y:int64 z:int64"))] {
        let table = TableSchema::new("t", None, &[schema(1, document(closed))]).unwrap();
        let decoded = decode(&table, Discovery::On, std::slice::from_ref(&given));
        assert_eq!(decoded.extended.as_ref().map(listed).as_deref(), columns);
        assert_eq!(extra(&decoded.batch, 0).as_deref(), Some(r#"{"o":{"y":2},"z":3}"#));
    }
}

#[test]
fn a_strict_schema_rejects_and_names_the_field() {
    let document = json!({
        "type": "object", "required": ["id"], "additionalProperties": false, "x-killfeed": {"mode": "strict"},
        "properties": {"id": {"type": "integer", "minimum": 1}, "team": {"enum": ["red", "blue"]}},
    });
    let table = TableSchema::new("t", None, &[schema(1, document)]).unwrap();
    for (given, reason, named) in [
        (r#"{"id":1,"team":"red"}"#, None, ""),
        (r#"{"id":0}"#, Some(Reason::SchemaViolation), "/id"),
        (r#"{"team":"green","id":1}"#, Some(Reason::SchemaViolation), "/team"),
        (r#"{"team":"red"}"#, Some(Reason::SchemaViolation), "\"id\""),
        (r#"{"id":1,"other":2}"#, Some(Reason::SchemaViolation), "other"),
        ("[]", Some(Reason::SchemaViolation), "the payload"),
        ("{", Some(Reason::PayloadNotJson), "byte 1"),
    ] {
        let strict = record_with(&[("content-type", "application/json"), ("kf_schema", "1")], Some(given.as_bytes()));
        let decoded = decode(&table, Discovery::On, &[strict]);
        assert_eq!(decoded.rejects.first().map(|reject| reject.reason), reason, "{given}");
        assert!(decoded.rejects.iter().all(|reject| reject.detail.contains(named)), "{:?}", decoded.rejects);
        // The version of the record decides: a discovered one is taken as it is.
        assert_eq!(decode(&table, Discovery::Off, &[record_with(&[], Some(given.as_bytes()))]).rejects, []);
    }
}

#[test]
fn one_and_then_one_and_a_half_and_then_apply() {
    let table = discovered(&[r#"{"rate":1,"data":1,"l":[1]}"#]);
    let given = [
        r#"{"rate":1,"l":[1,2]}"#,
        r#"{"rate":1.5,"other":true,"data":0.5,"l":[0.5,2,"x"]}"#,
        r#"{"rate":2,"rate":2.5}"#,
        r#"{"rate":"fast"}"#,
    ];
    let decoded = decode(&table, Discovery::Off, &given.map(record));
    let marked = table.marked(&decoded.widenings).unwrap();
    assert!(marked.adds_to(table.arrow()));
    let proposal = decode::propose(&marked);
    assert_eq!(proposal["properties"]["rate"], json!({"type": "number"}));
    assert_eq!(proposal["properties"]["l"], json!({"type": "array", "items": {"type": "number"}}));

    let to = marked.widened().unwrap();
    let wide = decode::widen_batch(&decoded.batch, &marked, &to).unwrap();
    for (row, (columns, over)) in [
        (json!({"rate":1.0,"l":[1.0,2.0]}), None),
        (json!({"rate":1.5,"data":0.5,"l":[0.5,2.0,null]}), Some(r#"{"l":[null,null,"x"],"other":true}"#)),
        (json!({"rate":2.0}), Some(r#"{"rate":2.5}"#)),
        (json!({}), Some(r#"{"rate":"fast"}"#)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(payload(&to, &wide, row), columns);
        let as_json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(extra(&wide, row).as_deref().map(as_json), over.map(as_json));
    }
}

#[test]
fn a_schema_that_widens_marks_the_columns_that_a_table_has() {
    let document = |kind: &str| json!({"type": "object", "properties": {"x": {"type": kind}}});
    let [first, second] = [schema(1, document("integer")), schema(2, document("number"))];
    let old = TableSchema::new("t", None, std::slice::from_ref(&first)).unwrap();
    let marked = TableSchema::new("t", Some(old.arrow()), &[first.clone(), second.clone()]).unwrap();
    assert!(marked.fields()[0].widen && marked.adds_to(old.arrow()));
    assert_eq!(listed(&marked.widened().unwrap()), "x:float64");
    assert_eq!(listed(&TableSchema::new("t", None, &[first, second]).unwrap()), "x:float64");
}

#[test]
fn a_proposal_maps_to_the_columns_that_it_came_from() {
    let table = discovered(&[r#"{"championId":1,"p":[{"x":1.5,"o":{"s":""}}],"m":[[true]]}"#]);
    let again = TableSchema::new("t", None, &[schema(1, decode::propose(&table))]).unwrap();
    let sorted =
        |table: &TableSchema| listed(table).split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&again), sorted(&table));
}
