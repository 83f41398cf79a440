//! A log, a store, and a sink that goes on by itself whenever the query that is tried touches one of them:
//! so it comes between any two of the query's looks. All is drawn from a seed.

use crate::fresh::{Config, Fresh};
use crate::tests::support::config;
use crate::{Engine, Viewer};
use async_trait::async_trait;
use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use decode::{Decoder, Discovery, Row, TableSchema};
use deltalake::kernel::{Action, Transaction};
use events::headers::{self, Headers};
use events::log::memory::{Faults, MemoryLog};
use events::log::{
    Append, Appended, Batch, Durability, Ends, Log, Member, NewRecord, Offset, ReadLimit, Record, Result, StreamInfo,
    StreamSpec, Transactor,
};
use events::schema::{Registry, SharedRegistry};
use events::streams::{SINK_GROUP, TopicPartition};
use events::{Clock, ManualClock, SharedStreams, Stream};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, DynObjectStore, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tables::{Definition, Outcome, Store, files};

pub(super) const PARTITIONS: i32 = 2;
/// 2026-11-21T09:30:00Z.
const START_US: i64 = 1_795_253_400_000_000;

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A table, its type, and its records with their partitions.
type TableTruth = (String, String, Vec<(i32, Record)>);

/// What a flush at work has still to do.
#[derive(Debug)]
struct Flush {
    from: Vec<Offset>,
    to: Vec<Offset>,
    tables: Vec<TableTruth>,
}

/// See the module.
pub(super) struct World {
    pub(super) log: MemoryLog,
    pub(super) info: StreamInfo,
    pub(super) store: Store,
    pub(super) registry: SharedRegistry,
    pub(super) clock: ManualClock,
    objects: Arc<InMemory>,
    state: tokio::sync::Mutex<Sink>,
    draw: Mutex<Draw>,
    fresh: OnceLock<Fresh>,
    /// What may still happen: files that a query reads must not bring ever more files.
    pub(super) budget: AtomicU64,
    /// The type and place of all events, in order, by partition.
    pub(super) truth: Mutex<BTreeMap<i32, Vec<Offset>>>,
}

struct Sink {
    member: Box<dyn Member>,
    settled: Vec<Offset>,
    flush: Option<Flush>,
    sent: u64,
}

pub(super) fn stream() -> Stream {
    Stream::new("events").unwrap()
}

pub(super) fn record(id: u64, event_type: &str, player: &str, payload: &str) -> NewRecord {
    let headers = Headers::of([
        (headers::ID, id.to_string().as_str()),
        (headers::SOURCE, "/test"),
        (headers::TYPE, event_type),
        (headers::PLAYERID, player),
        (headers::CONTENT_TYPE, "application/json"),
        (headers::RECEIVEDAT, "2026-11-21T09:30:00Z"),
        (headers::SCHEMA_VERSION, "0"),
        (headers::RAW_OFFSET, id.to_string().as_str()),
    ]);
    NewRecord { key: "k".into(), headers, payload: Some(payload.to_owned().into()) }
}

impl World {
    pub(super) async fn new(seed: u64) -> Arc<Self> {
        let clock = ManualClock::at(START_US);
        let log = MemoryLog::with_faults(seed, Faults::GAPS, Arc::new(clock.clone()));
        Self::on(log, clock, seed).await
    }

    /// One in which nothing holds records back.
    pub(super) async fn calm() -> Arc<Self> {
        let clock = ManualClock::at(START_US);
        Self::on(MemoryLog::new(Arc::new(clock.clone())), clock, 0).await
    }

    async fn on(log: MemoryLog, clock: ManualClock, seed: u64) -> Arc<Self> {
        let week = Duration::from_secs(7 * 86_400);
        let spec = StreamSpec { stream: stream(), partitions: PARTITIONS, retention: week, state_retention: week };
        let info = log.create_stream(&spec).await.unwrap();
        let mut member = log.join(SINK_GROUP, &[stream().clean(), stream().dead()], "sink").await.unwrap();
        member.poll(ReadLimit::default(), Duration::ZERO).await.unwrap();
        let objects = Arc::new(InMemory::new());
        let store = Store::with_object_store(objects.clone(), "memory:///lake".parse().unwrap()).unwrap();
        let settled = vec![0; usize::try_from(PARTITIONS).unwrap()];
        Arc::new(Self {
            log,
            info,
            store,
            registry: SharedRegistry::new(Registry::default()),
            clock,
            objects,
            state: tokio::sync::Mutex::new(Sink { member, settled, flush: None, sent: 0 }),
            draw: Mutex::new(Draw(seed)),
            fresh: OnceLock::new(),
            budget: AtomicU64::new(0),
            truth: Mutex::default(),
        })
    }

    /// An engine whose every look makes the world go on.
    pub(super) fn engine(self: &Arc<Self>, fresh: Config) -> Engine {
        let hooked: Arc<DynObjectStore> = Arc::new(HookedStore { inner: self.objects.clone(), world: self.clone() });
        let store = Store::with_object_store(hooked, "memory:///lake".parse().unwrap()).unwrap();
        let log = Arc::new(HookedLog { inner: self.log.clone(), world: self.clone() });
        self.engine_on(store, log, fresh)
    }

    /// An engine that looks while nothing happens.
    pub(super) fn quiet_engine(self: &Arc<Self>, fresh: Config) -> Engine {
        self.engine_on(self.store.clone(), Arc::new(self.log.clone()), fresh)
    }

    fn engine_on(&self, store: Store, log: Arc<dyn Log>, config_of: Config) -> Engine {
        let streams = SharedStreams::new(vec![self.info.clone()]);
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let fresh = Fresh::new(config_of, log, streams, self.registry.clone(), clock);
        let _ = self.fresh.set(fresh.clone());
        Engine::new(store, self.registry.clone(), config()).unwrap().with_fresh(fresh)
    }

    fn below(&self, bound: u64) -> u64 {
        self.draw.lock().below(bound)
    }

    /// Something happens, or nothing; never while something else does. Reading ahead waits for who reads, and
    /// is left out where the caller may be that one.
    pub(super) async fn hook(&self, reads_ahead: bool) {
        let Ok(mut sink) = self.state.try_lock() else { return };
        for _ in 0..self.below(4) {
            if self.budget.load(Ordering::SeqCst) == 0 {
                return;
            }
            self.budget.fetch_sub(1, Ordering::SeqCst);
            match self.below(8) {
                0..3 => self.send(&mut sink).await,
                3..7 => self.flush_on(&mut sink).await,
                _ => {
                    if let Some(fresh) = self.fresh.get().filter(|_| reads_ahead) {
                        fresh.step(true).await.unwrap();
                    }
                }
            }
        }
    }

    /// What every reader may see by now: by partition, the offsets.
    pub(super) async fn stable(&self) -> BTreeMap<i32, Vec<Offset>> {
        let mut seen = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let ends = self.log.ends(&TopicPartition::new(stream().clean(), partition)).await.unwrap();
            let all = self.truth.lock().get(&partition).cloned().unwrap_or_default();
            seen.insert(partition, all.into_iter().filter(|offset| *offset < ends.last_stable).collect());
        }
        seen
    }

    pub(super) async fn put(&self, partition: i32, records: Vec<NewRecord>) {
        let to = TopicPartition::new(stream().clean(), partition);
        let count = records.len() as i64;
        let appended = self.log.append(vec![Append { to, records }], Durability::All).await.remove(0).unwrap();
        assert_eq!(appended.last - appended.first + 1, count);
        self.truth.lock().entry(partition).or_default().extend(appended.first..=appended.last);
    }

    async fn send(&self, sink: &mut Sink) {
        let partition = i32::try_from(self.below(u64::try_from(PARTITIONS).unwrap())).unwrap();
        let count = 1 + self.below(3);
        let mut records = Vec::new();
        for id in sink.sent..sink.sent + count {
            // Every now and then a field that no table has, in an object too; and a number that is none.
            let payload = match id % 40 {
                13 => format!(r#"{{"n":{id},"f{id}":"new"}}"#),
                26 => format!(r#"{{"n":{id},"deep":{{"g{id}":{id}}}}}"#),
                39 => format!(r#"{{"n":{id}.5}}"#),
                _ => format!(r#"{{"n":{id}}}"#),
            };
            records.push(record(id, if self.below(3) == 0 { "game.b" } else { "game.a" }, "p", &payload));
        }
        sink.sent += count;
        self.put(partition, records).await;
        self.clock.advance_us(10_000);
    }

    /// The next part of a flush: its begin, one table, or its end.
    async fn flush_on(&self, sink: &mut Sink) {
        match &mut sink.flush {
            None => {
                let flush = self.begin(&sink.settled).await;
                sink.flush = (flush.to != flush.from).then_some(flush);
            }
            Some(flush) => match flush.tables.pop() {
                Some((table, event_type, rows)) => self.commit(&table, &event_type, flush, rows).await,
                None => {
                    let of = |partition| TopicPartition::new(stream().clean(), partition);
                    let positions: Vec<_> = (0..PARTITIONS).map(of).zip(flush.to.iter().copied()).collect();
                    sink.member.commit(&positions).await.unwrap();
                    sink.settled = flush.to.clone();
                    sink.flush = None;
                }
            },
        }
    }

    /// A whole flush, and the end of one that is at work.
    pub(super) async fn flush(&self) {
        let mut sink = self.state.lock().await;
        for _ in 0..2 {
            self.flush_on(&mut sink).await;
            while sink.flush.is_some() {
                self.flush_on(&mut sink).await;
            }
        }
    }

    async fn begin(&self, from: &[Offset]) -> Flush {
        let (mut to, mut tables) = (Vec::new(), BTreeMap::<String, Vec<(i32, Record)>>::new());
        for (partition, from) in (0..).zip(from) {
            let of = TopicPartition::new(stream().clean(), partition);
            let mut next = *from;
            loop {
                let batch = self.log.read(&of, next, ReadLimit::default()).await.unwrap();
                if batch.next == next {
                    break;
                }
                next = batch.next;
                for record in batch.records {
                    let event_type = record.headers.get_str(headers::TYPE).unwrap().to_owned();
                    tables.entry(event_type).or_default().push((partition, record));
                }
            }
            to.push(next);
        }
        let tables =
            tables.into_iter().map(|(event_type, rows)| (decode::table_name(&event_type).unwrap(), event_type, rows));
        Flush { from: from.to_vec(), to, tables: tables.collect() }
    }

    /// As the sink does it: columns first, then the rows with a transaction for each partition.
    async fn commit(&self, table: &str, event_type: &str, flush: &Flush, placed: Vec<(i32, Record)>) {
        let rows: Vec<Row<'_>> = placed
            .iter()
            .map(|(partition, record)| Row { record, partition: *partition, incarnation: &self.info.incarnation })
            .collect();
        loop {
            let head = self.store.head(table).await.unwrap();
            let existing = head.as_ref().map(|head| head.schema().as_ref().clone());
            let schema = TableSchema::new(event_type, existing.as_ref(), &[]).unwrap();
            let decoded = Decoder::new(schema.clone(), Discovery::On).decode(&rows).unwrap();
            let Some(mut head) = head else {
                let schema = decoded.extended.as_ref().unwrap_or(&schema).arrow().clone();
                let definition = Definition { schema, event_type: Some(event_type.to_owned()) };
                self.store.create(table, &definition).await.unwrap();
                continue;
            };
            if let Some(extended) = decoded.extended {
                let columns = head.with_schema(extended.arrow()).unwrap();
                assert!(matches!(head.commit("ADD COLUMNS", vec![columns]).await.unwrap(), Outcome::Stands(_)));
                continue;
            }
            let mut actions = adds(&head, &decoded.batch).await;
            let partitions: BTreeSet<i32> = placed.iter().map(|(partition, _)| *partition).collect();
            actions.extend(partitions.into_iter().map(|partition| {
                let app_id = tables::app_id(&self.info.incarnation, &stream().clean(), partition);
                let version = flush.to[usize::try_from(partition).unwrap()];
                Action::Txn(Transaction { app_id, version, last_updated: None })
            }));
            assert!(matches!(head.commit("WRITE", actions).await.unwrap(), Outcome::Stands(_)));
            return;
        }
    }
}

async fn adds(head: &tables::Head, batch: &RecordBatch) -> Vec<Action> {
    let all: BooleanArray = (0..batch.num_rows()).map(|_| Some(true)).collect();
    let batch = filter_record_batch(batch, &all).unwrap();
    let mut actions = Vec::new();
    for (date, part) in files::by_date(&batch).unwrap() {
        let file = files::encode(date, &part).unwrap();
        actions.push(Action::Add(files::put(&head.object_store(), file, true).await.unwrap()));
    }
    actions
}

pub(super) fn viewer() -> Viewer {
    crate::tests::support::viewer(true)
}

/// A store that lets the world go on before each look.
struct HookedStore {
    inner: Arc<InMemory>,
    world: Arc<World>,
}

impl std::fmt::Debug for HookedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedStore")
    }
}

impl std::fmt::Display for HookedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedStore")
    }
}

#[async_trait]
impl ObjectStore for HookedStore {
    async fn put_opts(&self, to: &Path, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(to, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, of: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.world.hook(true).await;
        self.inner.get_opts(of, options).await
    }

    fn delete_stream(
        &self,
        of: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(of)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (world, inner, prefix) = (self.world.clone(), self.inner.clone(), prefix.cloned());
        let listed = async move {
            world.hook(true).await;
            inner.list(prefix.as_ref())
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.world.hook(true).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A log that lets the world go on before each look.
struct HookedLog {
    inner: MemoryLog,
    world: Arc<World>,
}

impl std::fmt::Debug for HookedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedLog")
    }
}

#[async_trait]
impl Log for HookedLog {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<StreamInfo> {
        self.inner.create_stream(spec).await
    }

    async fn stream(&self, stream: &Stream) -> Result<Option<StreamInfo>> {
        self.inner.stream(stream).await
    }

    async fn append(&self, appends: Vec<Append>, durability: Durability) -> Vec<Result<Appended>> {
        self.inner.append(appends, durability).await
    }

    async fn read(&self, from: &TopicPartition, position: Offset, limit: ReadLimit) -> Result<Batch> {
        self.world.hook(false).await;
        self.inner.read(from, position, limit).await
    }

    async fn ends(&self, of: &TopicPartition) -> Result<Ends> {
        self.world.hook(true).await;
        self.inner.ends(of).await
    }

    async fn offset_at(&self, of: &TopicPartition, time_ms: i64) -> Result<Offset> {
        self.inner.offset_at(of, time_ms).await
    }

    async fn committed(&self, group: &str, of: &TopicPartition) -> Result<Option<Offset>> {
        self.world.hook(false).await;
        self.inner.committed(group, of).await
    }

    async fn join(&self, group: &str, topics: &[Arc<str>], instance: &str) -> Result<Box<dyn Member>> {
        self.inner.join(group, topics, instance).await
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>> {
        self.inner.transactor(id).await
    }
}
