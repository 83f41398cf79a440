//! Column names, order and types against golden files: other programs rely on them to the letter.

use crate::support::record_with;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Field, Int64Type};
use decode::letters::{DeadLetter, dead_letter_rows, ledger_rows};
use decode::{Row, columns};
use events::dead::Reason;
use events::ledger::{Count, Entry};
use events::log::Record;

fn listed<'a>(fields: impl IntoIterator<Item = &'a Field>) -> String {
    fields.into_iter().map(|field| format!("{} {}\n", field.name(), field.data_type())).collect()
}

#[test]
fn columns_are_those_of_the_golden_files() {
    assert_eq!(listed(columns::envelope()), include_str!("formats/event.columns"));
    let dead = columns::dead_letters();
    assert_eq!(listed(dead.fields().iter().map(AsRef::as_ref)), include_str!("formats/dead_letters.columns"));
    let ledger = columns::ledger();
    assert_eq!(listed(ledger.fields().iter().map(AsRef::as_ref)), include_str!("formats/killfeed_ledger.columns"));
}

#[test]
fn a_dead_letter_keeps_its_bytes_and_loses_its_address() {
    let headers =
        [("kf_reason", "conflict"), ("kf_detail", "why"), ("kf_stage", "process"), ("ce_clientaddress", "192.0.2.1")];
    let from_processor = record_with(&headers, Some(b"\xff{"));
    let from_sink = record_with(&[], Some(b"{"));
    let letter = |record, topic, found| DeadLetter { record, topic, partition: 3, incarnation: "x", found };
    let rows = dead_letter_rows(&[
        letter(&from_processor, "events.dead", None),
        letter(&from_sink, "events.clean", Some((Reason::PayloadNotJson, "cut"))),
    ])
    .unwrap();
    let text = |column: &str, row: usize| rows.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned();
    for (row, reason, detail, stage) in [(0, "conflict", "why", "process"), (1, "payload_not_json", "cut", "sink")] {
        assert_eq!([text("reason", row), text("detail", row), text("stage", row)], [reason, detail, stage]);
        let headers: serde_json::Value = serde_json::from_str(&text("headers", row)).unwrap();
        assert_eq!(headers["ce_id"], "1");
        assert!(headers.get("ce_clientaddress").is_none());
    }
    assert_eq!(rows.column_by_name("payload").unwrap().as_binary::<i32>().value(0), b"\xff{");
}

#[test]
fn a_ledger_row_says_what_its_entry_says() {
    let entry = Entry {
        id: "e".into(),
        time_us: 1,
        instance: "i".into(),
        stream: "events".into(),
        incarnation: "x".into(),
        partition: 3,
        count: Count::Process {
            from: 10,
            to: 20,
            accepted: 9,
            clean: 5,
            duplicates: 1,
            dead: [(Reason::Conflict, 2), (Reason::UnknownType, 1)].into(),
            redriven: 0,
        },
    };
    let payload = entry.to_record().unwrap().payload;
    let record = Record { payload, ..record_with(&[], None) };
    let broken = record_with(&[], Some(b"not an entry"));
    let row = |record| Row { record, partition: 3, incarnation: "x" };
    let rows = ledger_rows(&[row(&record), row(&broken)]).unwrap();
    let number = |column: &str| rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(0);
    let counts =
        ["from_offset", "to_offset", "accepted", "clean", "duplicates", "conflicts", "dead", "redriven", "_offset"];
    assert_eq!(counts.map(number), [10, 20, 9, 5, 1, 2, 1, 0, 5]);
    let detail = rows.column_by_name("detail").unwrap().as_string::<i32>();
    assert_eq!(Entry::from_payload(detail.value(0).as_bytes()).unwrap(), entry);
    assert_eq!(detail.value(1), "not an entry");
    assert!(rows.column_by_name("stage").unwrap().is_null(1));
}
