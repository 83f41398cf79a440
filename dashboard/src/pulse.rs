//! The figures that move: what the stages counted of late, read from the ledger.
//!
//! Each stage writes its counts to `<stream>.ledger`: processors with each step, sinks with each flush. That is
//! little to read, holds for the whole fleet, and goes back in time: it is read while somebody looks, and the
//! figures of five minutes are there at once. The audit counts; this only watches: where the ledger can't be read, it goes on from its end.

use events::dead::Reason;
use events::ledger::{Count, Entry};
use events::log::{Error, Log, Offset, ReadLimit};
use events::{SharedStreams, TopicPartition};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Seconds that are kept, and drawn.
pub const SECONDS: usize = 300;
/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(500);
/// Who looked this long ago looks no more: pages ask each second.
const WATCHED: Duration = Duration::from_secs(30);
/// Not read for this long, the ledgers are read from [`SECONDS`] ago on, not from where the reading ended.
const AWAY: Duration = Duration::from_secs(60);
/// How long the first one to look waits.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Entries of one partition that one look takes at most.
const LIMIT: ReadLimit = ReadLimit { records: 4_096, bytes: 4 << 20 };
/// Tables that are told apart; what further ones get stands under [`OTHERS`].
const TABLES_MAX: usize = 200;
/// The name for all tables past [`TABLES_MAX`].
pub const OTHERS: &str = "(others)";

/// What was counted in one second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Second {
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    dead: u64,
    rows: BTreeMap<String, u64>,
}

/// What was counted of late. Cheap to clone. Read while somebody looks; who is the first waits until it was.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seconds: Mutex<BTreeMap<i64, Second>>,
    /// When somebody looked last.
    looked: watch::Sender<Option<Instant>>,
    /// How often all ledgers were read.
    rounds: watch::Sender<u64>,
}

/// What was counted in the last [`SECONDS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Events that processors read in each second, the oldest first; the second that runs is left out.
    pub accepted: Vec<u64>,
    /// Events a second, over the last ten whole seconds.
    pub rate: f64,
    /// Dropped as having come before, in all these seconds.
    pub duplicates: u64,
    /// Come before with other data, likewise.
    pub conflicts: u64,
    /// Other dead letters, likewise.
    pub dead: u64,
    /// Rows a second by table, over the last thirty whole seconds: sinks count with each flush.
    pub tables: BTreeMap<String, f64>,
}

impl Pulse {
    /// Takes an entry in.
    fn take(&self, entry: Entry) {
        let mut seconds = self.0.seconds.lock();
        let known = |seconds: &BTreeMap<i64, Second>, table: &str| seconds.values().any(|s| s.rows.contains_key(table));
        match entry.count {
            Count::Process { accepted, duplicates, dead, .. } => {
                let second = seconds.entry(entry.time_us.div_euclid(1_000_000)).or_default();
                let conflicts = dead.get(&Reason::Conflict).copied().unwrap_or_default();
                second.accepted += accepted;
                second.duplicates += duplicates;
                second.conflicts += conflicts;
                second.dead += dead.values().sum::<u64>() - conflicts;
            }
            Count::Sink { rows, topic, .. } if topic.ends_with(".clean") => {
                for (table, count) in rows {
                    let told_apart: usize = seconds.values().map(|second| second.rows.len()).max().unwrap_or_default();
                    let is_room = told_apart < TABLES_MAX || known(&seconds, &table);
                    let second = seconds.entry(entry.time_us.div_euclid(1_000_000)).or_default();
                    *second.rows.entry(if is_room { table } else { OTHERS.to_owned() }).or_default() += count;
                }
            }
            _ => {}
        }
        while seconds.len() > SECONDS + 10 {
            seconds.pop_first();
        }
    }

    /// The figures at a time, in seconds since the epoch.
    #[expect(clippy::cast_precision_loss, reason = "rates for people to look at")]
    pub fn figures(&self, now: i64) -> Figures {
        let seconds = self.0.seconds.lock();
        let span = i64::try_from(SECONDS).unwrap_or(i64::MAX);
        let mut figures = Figures::default();
        for at in now - span..now {
            figures.accepted.push(seconds.get(&at).map_or(0, |second| second.accepted));
        }
        for (at, second) in seconds.range(now - span..) {
            figures.duplicates += second.duplicates;
            figures.conflicts += second.conflicts;
            figures.dead += second.dead;
            for (table, count) in second.rows.iter().filter(|_| *at >= now - 30 && *at < now) {
                *figures.tables.entry(table.clone()).or_default() += *count as f64 / 30.0;
            }
        }
        figures.rate = figures.accepted.iter().rev().take(10).sum::<u64>() as f64 / 10.0;
        figures
    }

    /// The figures at this time, for somebody who looks.
    pub(crate) async fn watched(&self) -> Figures {
        let mut rounds = self.0.rounds.subscribe();
        let before = self.0.looked.send_replace(Some(Instant::now()));
        if !is_recent(before) {
            // Whoever doesn't read in time shows what it has.
            let _ = tokio::time::timeout(PATIENCE, rounds.changed()).await;
        }
        self.figures(now())
    }

    /// Reads the ledgers of these streams while somebody looks, until `stop`.
    pub async fn keep(self, log: Arc<dyn Log>, streams: SharedStreams, stop: CancellationToken) {
        let mut positions = HashMap::new();
        let mut looked = self.0.looked.subscribe();
        let mut read = Instant::now();
        while !stop.is_cancelled() {
            if !is_recent(*looked.borrow_and_update()) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = looked.changed() => {}
                }
                if read.elapsed() > AWAY {
                    // What came since then is older than what is drawn: begin anew.
                    positions.clear();
                    self.0.seconds.lock().clear();
                }
                continue;
            }
            for info in streams.current() {
                for partition in 0..info.partitions {
                    let of = TopicPartition::new(info.stream.ledger(), partition);
                    if let Err(error) = self.look(&*log, &of, &mut positions).await {
                        tracing::debug!(%of, %error, "the ledger can't be looked at");
                    }
                }
            }
            read = Instant::now();
            self.0.rounds.send_modify(|rounds| *rounds += 1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(
        &self,
        log: &dyn Log,
        of: &TopicPartition,
        positions: &mut HashMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let position = match positions.get(of) {
            Some(position) => *position,
            None => {
                let span = i64::try_from(SECONDS).unwrap_or(i64::MAX);
                log.offset_at(of, (now() - span) * 1_000).await?
            }
        };
        match log.read(of, position, LIMIT).await {
            Ok(batch) => {
                let payloads = batch.records.iter().filter_map(|record| record.payload.as_ref());
                payloads.filter_map(|payload| Entry::from_payload(payload).ok()).for_each(|entry| self.take(entry));
                positions.insert(of.clone(), batch.next);
                Ok(())
            }
            // Nothing hangs on these figures: what is gone is left out of them.
            Err(Error::OutOfRange { ends, .. }) => {
                positions.insert(of.clone(), ends.last_stable);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether somebody still looks who looked then.
fn is_recent(looked: Option<Instant>) -> bool {
    looked.is_some_and(|looked| looked.elapsed() < WATCHED)
}

/// Seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::log::memory::MemoryLog;
    use events::log::{Durability, StreamSpec};
    use events::{ManualClock, Stream};

    fn entry(second: i64, count: Count) -> Entry {
        Entry {
            id: String::new(),
            time_us: second * 1_000_000 + 7,
            instance: String::new(),
            stream: "events".into(),
            incarnation: String::new(),
            partition: 0,
            count,
        }
    }

    fn step(accepted: u64) -> Count {
        let dead = [(Reason::Conflict, 1), (Reason::SchemaViolation, 2)].into();
        Count::Process { from: 0, to: 0, accepted, clean: 0, duplicates: 3, dead, redriven: 0 }
    }

    fn flush(topic: &str, table: &str, rows: u64) -> Count {
        let rows = [(table.to_owned(), rows)].into();
        Count::Sink { topic: topic.into(), from: 0, to: 0, records: 0, rows }
    }

    #[test]
    fn figures_are_of_whole_seconds_and_of_the_last_five_minutes() {
        let pulse = Pulse::default();
        for (second, count) in [
            (699, step(1_000)),
            (700, step(7)),
            (990, step(30)),
            (999, step(70)),
            (1_000, step(500)),
            (980, flush("events.clean", "chat", 60)),
            (960, flush("events.clean", "chat", 600)),
            (980, flush("events.dead", "dead_letters", 60)),
        ] {
            pulse.take(entry(second, count));
        }
        let figures = pulse.figures(1_000);
        assert_eq!((figures.accepted.len(), figures.accepted[0], figures.accepted[299]), (SECONDS, 7, 70));
        assert_eq!(figures.rate, 10.0);
        assert_eq!((figures.duplicates, figures.conflicts, figures.dead), (12, 4, 8));
        assert_eq!(figures.tables, [("chat".to_owned(), 2.0)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn ledgers_are_read_while_somebody_looks_and_no_entry_twice() {
        let log = Arc::new(MemoryLog::new(Arc::new(ManualClock::at(now() * 1_000_000))));
        let stream = Stream::new("events").unwrap();
        let day = Duration::from_secs(86_400);
        let spec = StreamSpec { stream: stream.clone(), partitions: 2, retention: day, state_retention: day };
        let streams = SharedStreams::new(vec![log.create_stream(&spec).await.unwrap()]);
        let append = entry(now() - 5, step(50)).to_append(&stream).unwrap();
        log.append(vec![append.clone()], Durability::All).await.remove(0).unwrap();
        let (pulse, stop) = (Pulse::default(), CancellationToken::new());
        let reading = tokio::spawn(pulse.clone().keep(log.clone(), streams, stop.clone()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(pulse.0.seconds.lock().is_empty(), "nobody looks");
        assert_eq!(pulse.watched().await.accepted.iter().sum::<u64>(), 50);
        tokio::time::sleep(AWAY * 3).await;
        log.append(vec![append], Durability::All).await.remove(0).unwrap();
        assert_eq!(pulse.watched().await.accepted.iter().sum::<u64>(), 100);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(pulse.watched().await.accepted.iter().sum::<u64>(), 100);
        stop.cancel();
        reading.await.unwrap();
    }

    #[test]
    fn neither_seconds_nor_tables_grow_without_end() {
        let pulse = Pulse::default();
        for second in 0..1_000 {
            pulse.take(entry(second, step(1)));
        }
        for table in 0..TABLES_MAX + 50 {
            pulse.take(entry(999, flush("events.clean", &format!("t{table}"), 30)));
        }
        let figures = pulse.figures(1_000);
        assert_eq!(figures.tables.len(), TABLES_MAX + 1);
        assert_eq!(figures.tables[OTHERS], 50.0);
        assert!(pulse.0.seconds.lock().len() <= SECONDS + 10);
    }
}
