//! How many events were acknowledged, by partition, and their way to the ledger.
//!
//! An entry whose fate is unknown is sent again as it was, under the same id, before anything new
//! goes out for its partition: the ledger counts an id once. What was surely not written is added
//! back, so that an outage of the log costs no memory.

use events::ledger::{Count, Entry, new_id};
use events::log::{Append, Durability, Error, Log, Result, StreamInfo};
use events::streams::DEFAULT_STREAM;
use events::{Clock, Stream};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The longest that one try to write the ledger waits for the log.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries of a drain.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The streams that are served; the first takes what no schema sends elsewhere. A stream's place is
/// its own for good: further ones come behind it, and so do its further generations.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    served: Vec<Arc<Served>>,
    /// For each place that of the newest generation of the same stream.
    newest: Vec<usize>,
}

/// A generation of a stream, and the counts of each of its partitions.
#[derive(Debug)]
struct Served {
    info: StreamInfo,
    raw: Arc<str>,
    counts: Vec<Counts>,
    /// Whether the log said lately that it takes no more.
    has_ended: AtomicBool,
}

impl Served {
    fn new(info: StreamInfo) -> Arc<Self> {
        let counts = (0..info.partitions).map(|_| Counts::default()).collect();
        Arc::new(Self { raw: info.stream.raw(), info, counts, has_ended: AtomicBool::new(false) })
    }
}

impl Streams {
    pub(crate) fn new(infos: Vec<StreamInfo>) -> Option<Self> {
        let served: Vec<_> = infos.into_iter().map(Served::new).collect();
        let newest = |of: &Arc<Served>| {
            let same = served.iter().enumerate().filter(|(_, other)| other.info.stream.name() == of.info.stream.name());
            same.max_by_key(|(_, other)| other.info.stream.generation()).map_or(0, |(place, _)| place)
        };
        let newest = served.iter().map(newest).collect();
        Some(Self { served, newest }).filter(|streams: &Self| !streams.served.is_empty())
    }

    /// The same and a further one.
    fn with(&self, info: StreamInfo) -> Self {
        let mut more = self.clone();
        more.newest.push(more.served.len());
        for (newest, served) in more.newest.iter_mut().zip(&self.served) {
            let known = &self.served[*newest].info.stream;
            if served.info.stream.name() == info.stream.name() && known.generation() < info.stream.generation() {
                *newest = self.served.len();
            }
        }
        more.served.push(Served::new(info));
        more
    }

    /// The place of the stream of this name, in its newest generation. A schema that names none says
    /// `events`, which is the first stream where it isn't served under its own name.
    pub(crate) fn place(&self, stream: &Stream) -> Option<usize> {
        let own = self.served.iter().position(|served| served.info.stream.name() == stream.name());
        own.map(|place| self.newest[place]).or_else(|| (stream.name() == DEFAULT_STREAM).then_some(self.first()))
    }

    /// The place of what no schema sends elsewhere.
    pub(crate) fn first(&self) -> usize {
        self.newest[0]
    }

    pub(crate) fn partitions(&self, place: usize) -> i32 {
        self.served[place].info.partitions
    }

    /// The raw topic of the stream.
    pub(crate) fn raw(&self, place: usize) -> Arc<str> {
        self.served[place].raw.clone()
    }

    /// Whether nothing is to be appended there for now: it has ended, and what follows isn't known yet.
    pub(crate) fn has_ended(&self, place: usize) -> bool {
        self.served[place].has_ended.load(Ordering::Relaxed)
    }
}

/// Counts of one partition since its last entry.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    unacknowledged: AtomicU64,
}

/// The counts, and the entries on their way.
#[derive(Debug)]
pub(crate) struct Tally {
    streams: RwLock<Arc<Streams>>,
    /// Sent, and nobody knows whether they stand: stream's place, entry.
    in_doubt: tokio::sync::Mutex<Vec<(usize, Entry)>>,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    instance: String,
    has_ended: Notify,
}

impl Tally {
    pub(crate) fn new(streams: Streams, log: Arc<dyn Log>, clock: Arc<dyn Clock>, instance: String) -> Self {
        let streams = RwLock::new(Arc::new(streams));
        Self { streams, in_doubt: tokio::sync::Mutex::default(), log, clock, instance, has_ended: Notify::new() }
    }

    /// The streams as of now.
    pub(crate) fn streams(&self) -> Arc<Streams> {
        self.streams.read().clone()
    }

    /// Serves a further stream from now on.
    pub(crate) fn serve(&self, info: StreamInfo) {
        let mut streams = self.streams.write();
        if !streams.served.iter().any(|served| served.info.stream == info.stream) {
            *streams = Arc::new(streams.with(info));
        }
    }

    /// The log said that this generation takes no more: whoever knows the next one is to say so. Until
    /// then, or the next look, nothing is appended there.
    pub(crate) fn ended(&self, place: usize) {
        if let Some(served) = self.streams().served.get(place) {
            served.has_ended.store(true, Ordering::Relaxed);
        }
        self.has_ended.notify_one();
    }

    /// Ready when some generation has ended since the last time.
    pub(crate) async fn some_ended(&self) {
        self.has_ended.notified().await;
    }

    /// Adds to the counts of a partition.
    pub(crate) fn count(&self, stream: usize, partition: i32, acknowledged: u64, unacknowledged: u64) {
        let place = usize::try_from(partition).unwrap_or_default();
        if let Some(counts) = self.streams().served.get(stream).and_then(|served| served.counts.get(place)) {
            counts.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
            counts.unacknowledged.fetch_add(unacknowledged, Ordering::Relaxed);
        }
    }

    /// Writes all that was counted before this call to the ledger.
    pub(crate) async fn write(&self) -> Result<()> {
        let held_back = self.write_once().await?;
        if held_back {
            self.write_once().await?;
        }
        Ok(())
    }

    /// Gives whether there were entries in doubt, which hold back what was counted since.
    async fn write_once(&self) -> Result<bool> {
        let mut in_doubt = self.in_doubt.lock().await;
        // If this future is dropped while the log works, the entries stay here, in doubt.
        let mut entries = std::mem::take(&mut *in_doubt);
        let first_new = entries.len();
        self.take_new(&mut entries);
        if entries.is_empty() {
            return Ok(false);
        }
        let appends = entries.iter().map(|(stream, entry)| self.to_append(*stream, entry)).collect::<Result<Vec<_>>>();
        let appends = match appends {
            Ok(appends) => appends,
            Err(error) => {
                *in_doubt = entries;
                return Err(error);
            }
        };
        in_doubt.clone_from(&entries);
        let asked = appends.len();
        let answers = match tokio::time::timeout(WRITE_LIMIT, self.log.append(appends, Durability::All)).await {
            Ok(answers) if answers.len() == asked => answers,
            _ => return Err(Error::InDoubt("the log did not answer the ledger's entries".into())),
        };
        in_doubt.clear();
        let mut failed = None;
        for (place, ((stream, entry), answer)) in entries.into_iter().zip(answers).enumerate() {
            let Err(error) = answer else { continue };
            // An old one may stand from its first try, whatever became of this one.
            if place < first_new || matches!(error, Error::InDoubt(_)) {
                in_doubt.push((stream, entry));
            } else if let Count::Ingest { acknowledged, unacknowledged } = entry.count {
                self.count(stream, entry.partition, acknowledged, unacknowledged);
            }
            failed = Some(error);
        }
        failed.map_or(Ok(first_new > 0), Err)
    }

    /// Takes the counts of each partition that has no entry on its way.
    fn take_new(&self, entries: &mut Vec<(usize, Entry)>) {
        let on_their_way = entries.len();
        for (stream, served) in self.streams().served.iter().enumerate() {
            served.has_ended.store(false, Ordering::Relaxed);
            for (partition, counts) in (0..).zip(&served.counts) {
                let waits = |(place, entry): &(usize, Entry)| *place == stream && entry.partition == partition;
                if entries[..on_their_way].iter().any(waits) {
                    continue;
                }
                let acknowledged = counts.acknowledged.swap(0, Ordering::Relaxed);
                let unacknowledged = counts.unacknowledged.swap(0, Ordering::Relaxed);
                if acknowledged + unacknowledged == 0 {
                    continue;
                }
                let entry = Entry {
                    id: new_id(),
                    time_us: self.clock.now_us(),
                    instance: self.instance.clone(),
                    stream: served.info.stream.name().to_owned(),
                    incarnation: served.info.incarnation.to_string(),
                    partition,
                    count: Count::Ingest { acknowledged, unacknowledged },
                };
                entries.push((stream, entry));
            }
        }
    }

    fn to_append(&self, stream: usize, entry: &Entry) -> Result<Append> {
        let record = entry.to_record().map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Append { to: entry.destination(&self.streams().served[stream].info.stream), records: vec![record] })
    }

    fn has_pending(&self) -> bool {
        let counted = |counts: &Counts| {
            counts.acknowledged.load(Ordering::Relaxed) + counts.unacknowledged.load(Ordering::Relaxed) > 0
        };
        self.streams().served.iter().flat_map(|served| &served.counts).any(counted)
    }

    /// Writes until nothing is left to write, or the deadline is past.
    pub(crate) async fn write_until(&self, deadline: Instant) -> Result<()> {
        loop {
            let written = tokio::time::timeout_at(deadline, self.write()).await;
            match written {
                Ok(Ok(())) if !self.has_pending() => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(error)) if Instant::now() + RETRY_WAIT >= deadline => return Err(error),
                Ok(Err(_)) => tokio::time::sleep(RETRY_WAIT).await,
                Err(_) => return Err(Error::InDoubt("the ledger was not written within the limit".into())),
            }
        }
    }
}

/// Writes the ledger at each interval, until `closed` is ready.
pub(crate) async fn keep_writing(tally: Arc<Tally>, interval: Duration, closed: impl Future<Output = ()>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(closed);
    loop {
        tokio::select! {
            () = &mut closed => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = tally.write().await {
            tracing::warn!(%error, "acknowledged counts wait for the ledger");
        }
    }
}
