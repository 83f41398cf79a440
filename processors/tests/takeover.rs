//! Taking a partition over: each state of the log in which a new owner may find it.

use crate::support::{BRIEF, DAY, Ground, START_US, event, raw_offset};
use events::ledger::{Count, Entry};
use events::log::memory::{Faults, MemoryLog};
use events::log::{Log, NewRecord, Poll, ReadLimit, Step};
use events::streams::{PROCESSOR_GROUP, TopicPartition};
use processors::Error;
use processors::state::{Head, pack};
use std::time::Duration;

async fn quiet() -> Ground {
    Ground::new(1, MemoryLog::new).await
}

/// Sends these ids, and lets a processor work them off.
async fn process(ground: &Ground, ids: &[&str]) {
    for id in ids {
        ground.send(0, vec![event("a.type", id, "g", "{}")]).await;
    }
    let running = ground.start();
    ground.settled().await;
    running.stop().await.unwrap();
}

async fn clean_ids(ground: &Ground) -> Vec<String> {
    ground.clean(0).await.iter().map(|record| record.headers.get_str("ce_id").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_new_partition_starts_at_zero_and_says_so() {
    let ground = quiet().await;
    let running = ground.start();
    ground.state_grown_past(0, 0).await;
    running.stop().await.unwrap();
    let pages = ground.pages(0).await;
    assert_eq!((pages.len(), pages[0].from, pages[0].to), (1, 0, 0));
    process(&ground, &["1"]).await;
    assert_eq!(clean_ids(&ground).await, ["1"]);
}

#[tokio::test]
async fn a_restart_remembers() {
    let ground = quiet().await;
    process(&ground, &["1", "2"]).await;
    process(&ground, &["2", "3", "1"]).await;
    assert_eq!(clean_ids(&ground).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn no_state_but_a_ledger_that_agrees_is_an_empty_window() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    ground.log.delete_below(&ground.state(0), ground.log.ends(&ground.state(0)).await.unwrap().end);
    process(&ground, &["1", "2"]).await;
    assert_eq!(clean_ids(&ground).await, ["1", "1", "2"], "forgotten with the state");
}

#[tokio::test]
async fn no_state_and_a_ledger_that_disagrees_stops() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    ground.log.delete_below(&ground.state(0), ground.log.ends(&ground.state(0)).await.unwrap().end);
    let count = Count::Process {
        from: 1,
        to: 2,
        accepted: 1,
        clean: 1,
        duplicates: 0,
        dead: std::collections::BTreeMap::new(),
        redriven: 0,
    };
    let entry = Entry {
        id: "x".into(),
        time_us: 0,
        instance: "test".into(),
        stream: "events".into(),
        incarnation: ground.info.incarnation.to_string(),
        partition: 0,
        count,
    };
    ground.append(entry.destination(&ground.info.stream), vec![entry.to_record().unwrap()]).await;
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::StateMismatch { state_to: Some(2), committed: Some(1), .. }), "{error}");
}

#[tokio::test]
async fn state_that_does_not_lead_up_to_the_position_stops() {
    let ground = quiet().await;
    process(&ground, &["1", "2"]).await;
    // Somebody moves the position by hand.
    let raw = ground.raw(0);
    let mut member = ground.log.join(PROCESSOR_GROUP, std::slice::from_ref(&raw.topic), "hand").await.unwrap();
    assert!(matches!(member.poll(ReadLimit::default(), Duration::ZERO).await.unwrap(), Poll::Assigned(_)));
    member.commit(&[(raw, 1)]).await.unwrap();
    drop(member);
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::StateMismatch { state_to: Some(2), committed: Some(1), .. }), "{error}");
}

#[tokio::test]
async fn a_position_that_nothing_explains_stops() {
    let ground = quiet().await;
    ground.send(0, vec![event("a.type", "1", "g", "{}"), event("a.type", "2", "g", "{}")]).await;
    let raw = ground.raw(0);
    let mut member = ground.log.join(PROCESSOR_GROUP, std::slice::from_ref(&raw.topic), "hand").await.unwrap();
    assert!(matches!(member.poll(ReadLimit::default(), Duration::ZERO).await.unwrap(), Poll::Assigned(_)));
    member.commit(&[(raw, 1)]).await.unwrap();
    drop(member);
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::StateMismatch { state_to: None, committed: Some(1), .. }), "{error}");
}

#[tokio::test]
async fn state_of_another_incarnation_stops() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    let head = Head { incarnation: "another", from: 1, to: 1, time_ms: START_US / 1_000, horizon_ms: 0 };
    let payload = Some(pack(head, &[]).remove(0));
    ground.append(ground.state(0), vec![NewRecord { payload, ..NewRecord::default() }]).await;
    let error = ground.start().failed().await;
    assert!(matches!(&error, Error::StateBroken { detail, .. } if detail.contains("another")), "{error}");
}

#[tokio::test]
async fn a_missing_state_record_stops() {
    let ground = quiet().await;
    for id in ["1", "2", "3"] {
        process(&ground, &[id]).await;
    }
    let records = ground.read(&ground.state(0)).await;
    let step = records.iter().rfind(|record| {
        let page = processors::state::unpack(record.payload.as_ref().unwrap()).unwrap();
        page.from == 1 && page.to == 2
    });
    assert!(ground.log.remove_record(&ground.state(0), step.unwrap().offset));
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::StateBroken { .. }), "{error}");
    assert!(error.to_string().contains("the one before ends at 1"), "{error}");
}

#[tokio::test]
async fn a_state_record_that_can_not_be_read_stops() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    let garbage = events::log::NewRecord { payload: Some("KFST?".into()), ..Default::default() };
    ground.append(ground.state(0), vec![garbage]).await;
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::StateBroken { .. }), "{error}");
}

#[tokio::test]
async fn an_open_transaction_in_state_is_waited_for() {
    let faults = Faults { open: 1.0, ..Faults::default() };
    let ground = Ground::new(1, |clock| MemoryLog::with_faults(3, faults, clock)).await;
    process(&ground, &["1"]).await;
    process(&ground, &["1", "2"]).await;
    assert_eq!(clean_ids(&ground).await, ["1", "2"]);
}

#[tokio::test]
async fn raw_deleted_unread_stops_and_is_entered_in_the_ledger_once() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    ground.send(0, (0..4).map(|id| event("a.type", &format!("n{id}"), "g", "{}")).collect()).await;
    ground.log.delete_below(&ground.raw(0), 3);
    for _ in 0..2 {
        let error = ground.start().failed().await;
        assert!(matches!(error, Error::Log(events::log::Error::OutOfRange { position: 1, .. })), "{error}");
    }
    let ledger = ground.read(&TopicPartition::new(ground.info.stream.ledger(), 0)).await;
    let entries = ledger.iter().map(|record| Entry::from_payload(record.payload.as_ref().unwrap()).unwrap());
    let mut expired: Vec<_> = entries.filter(|entry| matches!(entry.count, Count::Expired { .. })).collect();
    assert!(matches!(expired[0].count, Count::Expired { from: 1, to: 3, records: 2, .. }), "{expired:?}");
    expired.dedup_by_key(|entry| entry.id.clone());
    assert_eq!(expired.len(), 1, "the same id each time");
}

#[tokio::test]
async fn what_was_deleted_unread_is_given_up_by_word_and_what_was_claimed_stays_so() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    ground.send(0, (0..4).map(|id| event("a.type", &format!("n{id}"), "g", "{}")).collect()).await;
    assert_eq!(processors::losses(&ground.log, &ground.info, &ground.clock).await.unwrap(), []);
    ground.log.delete_below(&ground.raw(0), 3);
    ground.start().failed().await;
    // More goes before the operator comes.
    ground.log.delete_below(&ground.raw(0), 4);
    let losses = processors::losses(&ground.log, &ground.info, &ground.clock).await.unwrap();
    assert_eq!((losses.len(), losses[0].from, losses[0].to), (1, 1, 4));
    let accept = || processors::accept_losses(&ground.log, &ground.info, &ground.clock, "word", losses.clone());
    accept().await.unwrap();
    assert_eq!(processors::losses(&ground.log, &ground.info, &ground.clock).await.unwrap(), []);
    process(&ground, &["1", "n0"]).await;
    assert_eq!(clean_ids(&ground).await, ["1", "n3", "n0"], "1 is claimed, n0 was never seen");
    let expired = ground.entries(0).await.into_iter().filter_map(|count| match count {
        Count::Expired { from, to, .. } => Some((from, to)),
        _ => None,
    });
    assert_eq!(expired.collect::<Vec<_>>(), [(1, 3), (1, 4)], "what the processor found, and what was given up");
}

#[tokio::test]
async fn a_log_that_ends_below_the_position_stops() {
    let ground = quiet().await;
    process(&ground, &["1", "2"]).await;
    ground.log.truncate(&ground.raw(0), 1);
    let error = ground.start().failed().await;
    assert!(matches!(error, Error::Log(events::log::Error::OutOfRange { position: 2, .. })), "{error}");
}

#[tokio::test]
async fn state_is_renewed_while_raw_is_silent_and_outlives_its_retention() {
    let ground = quiet().await;
    process(&ground, &["1"]).await;
    let running = ground.start();
    ground.state_grown_past(0, 2).await;
    for _ in 0..10 {
        let last = ground.log.records(&ground.state(0)).last().unwrap().offset;
        ground.clock.advance_us(i64::try_from(DAY.as_micros()).unwrap());
        while ground.log.records(&ground.state(0)).last().unwrap().offset == last {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ground.log.enforce_retention();
    }
    running.stop().await.unwrap();
    let pages = ground.pages(0).await;
    assert!(pages.len() <= 6 && pages.iter().all(|page| (page.from, page.to) == (1, 1)), "{pages:?}");
    process(&ground, &["2"]).await;
    assert_eq!(clean_ids(&ground).await.last().unwrap(), "2");
}

#[tokio::test]
async fn a_short_window_does_not_hide_a_long_one() {
    let ground = quiet().await;
    process(&ground, &["long"]).await;
    for number in 0..50 {
        ground.clock.advance_us(20 * 60 * 1_000_000);
        ground.send(0, vec![event(BRIEF, &number.to_string(), "g", "{}")]).await;
    }
    process(&ground, &[]).await;
    process(&ground, &["long"]).await;
    let long = clean_ids(&ground).await.iter().filter(|id| *id == "long").count();
    assert_eq!(long, 1, "admitted 17 hours ago, with a window of 24");
    assert!(ground.clean(0).await.windows(2).all(|pair| raw_offset(&pair[0]) < raw_offset(&pair[1])));
}

#[tokio::test]
async fn a_step_of_another_generation_is_dropped() {
    let ground = quiet().await;
    let running = ground.start();
    ground.state_grown_past(0, 0).await;
    let raw = ground.raw(0);
    let mut old = ground.log.join(PROCESSOR_GROUP, std::slice::from_ref(&raw.topic), "old").await.unwrap();
    _ = old.poll(ReadLimit::default(), Duration::from_millis(10)).await.unwrap();
    let generation = old.generation();
    drop(old);
    ground.send(0, vec![event("a.type", "1", "g", "{}")]).await;
    ground.settled().await;
    let mut transactor = ground.log.transactor("old").await.unwrap();
    let step = Step { appends: Vec::new(), positions: vec![(raw, 0)], generation };
    assert!(matches!(transactor.commit(step).await, Err(events::log::Error::Fenced(_))));
    running.stop().await.unwrap();
    assert_eq!(clean_ids(&ground).await, ["1"]);
}

#[tokio::test]
async fn too_short_a_retention_of_state_is_refused_at_start() {
    let mut ground = quiet().await;
    ground.config.state_retention = DAY.into();
    let error = ground.start().failed().await;
    assert!(error.to_string().contains("need at least 172800s"), "{error}");
}
