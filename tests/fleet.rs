//! Three nodes of Kafka, a store, two of each role, under load: the short form of `make chaos`.

use crate::readers::python;
use crate::support::{Home, KILLFEED, event, repository, text};
use chaos::{Options, Outage, Read};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_each_acknowledged_event_becomes_one_row() {
    let _turn = crate::kafka::TURN.lock().await;
    let options = Options {
        killfeed: KILLFEED.into(),
        seed: 1,
        of_each: 2,
        clients: 8,
        rate: 200.0,
        outages: vec![(Outage::Kafka, Duration::from_secs(6))],
        rolling: false,
        random: true,
        total: Duration::from_secs(80),
        longest: Duration::from_secs(12),
    };
    let report = chaos::run(&options, &|line| println!("{line}")).await.unwrap();
    println!("{}", report.text());
    assert_eq!(report.wrongs(), Vec::<String>::new());
}

/// An event as chaos' clients send them.
fn played(game: &str, number: u64, source: &str) -> Value {
    let mut event = event("chaos.kill", &format!("{game}:{number}"), &json!({ "game": game, "n": number }));
    event["gameid"] = json!(game);
    event["source"] = json!(source);
    event
}

#[tokio::test]
async fn the_other_reader_finds_what_is_lost_doubled_unknown_and_out_of_order() {
    let home = Home::new();
    let server = home.up(&[]);
    let read = async |books: &str| -> Read {
        server.flush().await;
        let books = home.write("books.csv", &format!("game,sent,acknowledged\n{books}"));
        let script = repository().join("tests/readers/chaos.py");
        let output =
            Command::new(python()).arg(script).arg(home.tables()).arg(books).arg("chaos_kill").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let counts = |read: &Read| (read.lost, read.doubled, read.unknown, read.disorder);

    server.accept(&[played("a", 0, "/1"), played("a", 1, "/1"), played("b", 0, "/1")]).await;
    let well = read("a,3,2\nb,1,1\n").await;
    assert_eq!((well.rows, well.rows_by_delta_rs, well.ids, counts(&well)), (3, 3, 3, (0, 0, 0, 0)));
    assert_eq!(counts(&read("a,3,3\nb,1,1\nc,2,2\n").await), (1 + 2, 0, 0, 0));
    assert_eq!(counts(&read("a,1,1\n").await), (0, 0, 2, 0));
    // The same id from elsewhere is another event to killfeed, and a second row of one to the reader.
    server.accept(&[played("b", 0, "/2"), played("a", 3, "/1"), played("a", 2, "/1")]).await;
    let worse = read("a,4,4\nb,1,1\n").await;
    assert_eq!(counts(&worse), (0, 1, 0, 1 + 1), "{worse:?}");
}
