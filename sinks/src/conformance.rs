//! What any sink must do, as a suite: whatever the log holds at the end stands delivered, each
//! record exactly once, while log and store fail, members come and go, and sinks are killed in the
//! middle. Another sink than Delta passes it by implementing [`Subject`].

use crate::{Error, FlushSignal};
use async_trait::async_trait;
use events::dead::Reason;
use events::headers::{self, HeadersBuilder};
use events::log::{Append, Durability, Log, NewRecord, ReadLimit};
use events::streams::{SINK_GROUP, Stream, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A record that was delivered: the topic and partition it was read from, and its offset.
pub type Delivered = (Arc<str>, i32, i64);

/// The sink under test.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// Runs one instance of the sink until `shutdown`, on a short flush interval.
    async fn run(&self, instance: String, flush: FlushSignal, shutdown: CancellationToken) -> Result<(), Error>;

    /// Every record that stands delivered, as often as it does.
    async fn delivered(&self) -> Result<Vec<Delivered>, Error>;
}

/// How hard the suite tries.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Rounds of appending.
    pub rounds: usize,
    /// Events of each round, spread over the partitions.
    pub events: usize,
    /// Sinks that run side by side.
    pub sinks: usize,
    /// After so many rounds one of the sinks is killed, and another started; 0 for never.
    pub kill_every: usize,
    /// When to give up.
    pub patience: Duration,
}

/// Appends events, dead letters and foreign entries while sinks run and are killed, and then holds
/// what was delivered against the log.
///
/// # Errors
/// What the sink says when it stops by itself.
///
/// # Panics
/// If a record is missing, doubled, or not delivered in time.
pub async fn every_record_once(
    subject: Arc<dyn Subject>,
    log: Arc<dyn Log>,
    stream: &Stream,
    trial: Trial,
) -> Result<(), Error> {
    let info = log.stream(stream).await?.ok_or_else(|| Error::NoStream(stream.to_string()))?;
    let flush = FlushSignal::default();
    let mut born = 0;
    let mut spawn = || {
        born += 1;
        let (subject, flush, shutdown) = (subject.clone(), flush.clone(), CancellationToken::new());
        let (instance, token) = (format!("sink-{born}"), shutdown.clone());
        (tokio::spawn(async move { subject.run(instance, flush, token).await }), shutdown)
    };
    let mut sinks: Vec<_> = (0..trial.sinks.max(1)).map(|_| spawn()).collect();
    for round in 0..trial.rounds {
        for partition in 0..info.partitions {
            feed(log.as_ref(), stream, partition, round, trial.events).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if trial.kill_every > 0 && round % trial.kill_every == trial.kill_every - 1 {
            let at = round % sinks.len();
            let (killed, _) = std::mem::replace(&mut sinks[at], spawn());
            killed.abort();
        }
    }
    let deadline = Instant::now() + trial.patience;
    // The ledger's own topic comes last: flushing the others writes to it.
    for topic in [stream.clean(), stream.dead(), stream.ledger()] {
        for partition in 0..info.partitions {
            flush.request();
            until_committed(log.as_ref(), &TopicPartition::new(topic.clone(), partition), deadline).await;
        }
    }
    for (sink, shutdown) in sinks {
        shutdown.cancel();
        match sink.await {
            Ok(ended) => ended?,
            Err(error) => return Err(error.into()),
        }
    }
    compare(&subject.delivered().await?, log.as_ref(), stream, info.partitions).await
}

/// One round of one partition: events of four types, some of them broken, and a dead letter.
async fn feed(log: &dyn Log, stream: &Stream, partition: i32, round: usize, events: usize) {
    let event = |number: usize, more: &[(&str, &str)], payload: String| {
        let mut builder = HeadersBuilder::default();
        builder.push(headers::ID, format!("{partition}-{round}-{number}").as_bytes());
        builder.push(headers::SOURCE, b"/conformance");
        builder.push(headers::CONTENT_TYPE, b"application/json");
        builder.push(headers::RECEIVEDAT, b"2026-03-04T05:06:07.000008Z");
        builder.push(headers::RAW_OFFSET, format!("{}", round * events + number).as_bytes());
        more.iter().for_each(|(name, value)| builder.push(name, value.as_bytes()));
        NewRecord { key: "k".into(), headers: builder.build(), payload: Some(payload.into()) }
    };
    let clean = (0..events).map(|number| {
        let (event_type, payload) = match number % 5 {
            0 => ("game.kill", format!("{{\"weapon\":\"axe\",\"round_{}\":{number}}}", round % 7)),
            1 => ("game.chat", format!("{{\"text\":\"{}\"}}", "x".repeat(number % 50))),
            2 => ("killfeed_secret", "{}".to_owned()),
            3 => ("Game Kill", "{\"weapon\":\"spear\"}".to_owned()),
            _ => ("game.chat", "{no json".to_owned()),
        };
        event(number, &[(headers::TYPE, event_type), (headers::SCHEMA_VERSION, "0")], payload)
    });
    let reason = [
        (headers::TYPE, "game.kill"),
        (headers::DEAD_REASON, Reason::Conflict.as_str()),
        (headers::DEAD_STAGE, "process"),
    ];
    let topics = [(stream.clean(), clean.collect()), (stream.dead(), vec![event(events, &reason, "{}".to_owned())])];
    for (topic, records) in topics {
        let append = Append { to: TopicPartition::new(topic, partition), records };
        // What is in doubt may stand twice: the log is what counts, not what we meant.
        while let Some(Err(error)) = log.append(vec![append.clone()], Durability::All).await.pop() {
            assert!(error.is_retryable(), "append: {error}");
        }
    }
}

async fn until_committed(log: &dyn Log, of: &TopicPartition, deadline: Instant) {
    loop {
        let ends = log.ends(of).await;
        let committed = log.committed(SINK_GROUP, of).await;
        // While somebody's transaction is open, what lies behind it can't be read yet.
        if let (Ok(ends), Ok(committed)) = (&ends, &committed)
            && ends.last_stable >= ends.end
            && committed.unwrap_or(0) >= ends.last_stable
        {
            return;
        }
        assert!(Instant::now() < deadline, "{of} not delivered in time: {committed:?} of {ends:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn compare(delivered: &[Delivered], log: &dyn Log, stream: &Stream, partitions: i32) -> Result<(), Error> {
    let mut times: BTreeMap<Delivered, i64> = BTreeMap::new();
    for record in delivered {
        *times.entry(record.clone()).or_default() += 1;
    }
    let mut expected = 0;
    for topic in [stream.clean(), stream.dead(), stream.ledger()] {
        for partition in 0..partitions {
            let of = TopicPartition::new(topic.clone(), partition);
            let ends = log.ends(&of).await?;
            let mut position = ends.start;
            while position < ends.last_stable {
                let batch = log.read(&of, position, ReadLimit::default()).await?;
                for record in &batch.records {
                    let found = times.remove(&(topic.clone(), partition, record.offset));
                    assert_eq!(found, Some(1), "times that offset {} of {of} was delivered", record.offset);
                    expected += 1;
                }
                assert!(batch.next > position, "{of} can't be read past {position}");
                position = batch.next;
            }
        }
    }
    assert!(times.is_empty(), "delivered, and not in the log: {times:?}");
    assert!(expected > 0, "the suite delivered nothing, and so proves nothing");
    Ok(())
}
