//! The engine: takes SQL and who asks, answers with a stream of batches, within the limits.
//!
//! Queries are planned and run on threads of their own, with large stacks: a slow query never holds
//! up HTTP, and a deep expression never overflows. The time limit stands outside of the query, so
//! that it holds for operators that don't yield, too; a place among the running is given back only
//! when the query has really ended.

use crate::answer::Asker;
use crate::fresh::Fresh;
use crate::guard;
use crate::paging::Open;
use crate::personal::Declared;
use crate::question::{Described, Question};
use crate::run::Run;
use crate::running::{Placed, Queries, Ticket};
use crate::snapshots::Snapshot;
use crate::{Answer, Config, Error, Result, functions, near, words};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use events::schema::SharedRegistry;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tables::Store;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// A file of a table from which threads get parts of their own, in bytes.
const FILE_PART_BYTES: usize = 256 << 10;
/// Rows after which a thread that has hardly grouped any of them leaves grouping to the next step.
const PROBE_ROWS: usize = 20_000;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// For the query log.
    pub name: Arc<str>,
    /// Whether personal fields are shown.
    pub personal: bool,
}

impl Viewer {
    /// The holder of a key.
    pub fn of(principal: &edge::Principal) -> Self {
        Self { name: principal.name.clone(), personal: principal.has(edge::Scope::Personal) }
    }
}

/// The column that a report's answer has behind its own: seconds since the newest event of its tables was
/// received.
pub const FRESHNESS: &str = "freshness";
/// What SQL calls all that there is, and where the tables lie in it.
pub const CATALOG: &str = "killfeed";
/// Where the tables lie.
pub const SCHEMA: &str = "public";

/// Values for the named placeholders (`$name`) of a statement.
pub type Parameters = Vec<(String, ScalarValue)>;

/// Answers SQL over the tables of a store. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Store,
    registry: SharedRegistry,
    config: Config,
    environment: Arc<RuntimeEnv>,
    runtime: Option<Runtime>,
    /// What stands in the log only; `None` where answers have what is in the tables.
    fresh: Option<Fresh>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// What waits, runs or ends, by its ids.
    queries: Queries,
    /// Answers in pages.
    open: Open,
    /// Held by the audit that runs: one is enough.
    audits: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({:?}, {:?})", self.0.store, self.0.config)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime can't be waited for inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// An engine over `store`; `registry` says what is personal.
    ///
    /// # Errors
    /// If its threads or its spill directory can't be made.
    pub fn new(store: Store, registry: SharedRegistry, config: Config) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_stack_size(config.stack_bytes)
            .thread_name("killfeed-query")
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("threads for queries can't be made: {error}")))?;
        let disk = match &config.spill_dir {
            None => DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
            Some(dir) => {
                std::fs::create_dir_all(dir)
                    .map_err(|error| Error::Internal(format!("spill directory {}: {error}", dir.display())))?;
                DiskManagerBuilder::default()
                    .with_mode(DiskManagerMode::Directories(vec![dir.clone()]))
                    .with_max_temp_directory_size(config.spill_bytes)
            }
        };
        const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN;
        let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), CONSUMERS_NAMED);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            store,
            registry,
            fresh: None,
            running: Arc::new(Semaphore::new(config.running_max.max(1))),
            waiting: AtomicUsize::new(0),
            queries: Queries::default(),
            open: Open::new(&config),
            audits: tokio::sync::Mutex::new(()),
            config,
            environment,
            runtime: Some(runtime),
        })))
    }

    /// The same, with answers that have what stands in the log and not in the tables yet. To be called before
    /// it is cloned: others would not know.
    #[must_use]
    pub fn with_fresh(mut self, fresh: Fresh) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.fresh = Some(fresh);
        }
        self
    }

    pub(crate) fn fresh(&self) -> Option<&Fresh> {
        self.0.fresh.as_ref()
    }

    /// What waits, runs or ends.
    pub(crate) fn queries(&self) -> &Queries {
        &self.0.queries
    }

    /// Answers in pages that are open.
    pub(crate) fn open(&self) -> &Open {
        &self.0.open
    }

    /// The store that it reads.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn registry(&self) -> &SharedRegistry {
        &self.0.registry
    }

    /// Its limits.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Starts a query; the answer's rows are computed as they are taken.
    ///
    /// # Errors
    /// Anything that is found before the first row: SQL that is wrong or not allowed, a table that
    /// isn't there, no place to run, the time limit. What goes wrong later comes in the stream.
    pub async fn query(&self, sql: &str, parameters: Parameters, viewer: &Viewer) -> Result<Answer> {
        self.ask(Question::new(sql, parameters, viewer)).await
    }

    /// The same with all that a question may have.
    ///
    /// # Errors
    /// The same.
    pub async fn ask(&self, question: Question) -> Result<Answer> {
        let started = Instant::now();
        let (name, sql_bytes) = (question.viewer.name.clone(), question.sql.len());
        let answer = self.start(question, started).await;
        if let Err(error) = &answer {
            metrics::counter!("killfeed_queries_errors_total", "kind" => error.kind()).increment(1);
            traces::fail(&tracing::Span::current(), error);
            tracing::info!(principal = %name, sql_bytes, ms = millis(started), %error, "query refused");
        }
        answer
    }

    /// What an answer would look like, and what the statement wants to be told first; nothing is run.
    ///
    /// # Errors
    /// What is found before a first row.
    pub async fn describe(&self, question: Question) -> Result<Described> {
        guard::check_text(&question.sql, self.config())?;
        let limit = self.config().time_limit;
        let deadline = tokio::time::Instant::now() + limit;
        let ticket = self.0.queries.enter(&question.viewer.name, None, question.sql.len())?;
        let describing = async {
            let permit = Running::new(self.turn(deadline).await?, Some(ticket.placed()));
            let run = Run { engine: self.clone(), question, permit };
            let task = AbortOnDropHandle::new(self.runtime()?.spawn(async move { run.describe().await }));
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(described)) => described,
                Ok(Err(error)) => Err(Error::Internal(error.to_string())),
                Err(_) => Err(Error::Time(limit)),
            }
        };
        tokio::select! {
            () = ticket.cancelled() => Err(Error::Cancelled),
            described = describing => described,
        }
    }

    /// Runs a statement to its end, and gives its plan as text, with the rows, time and memory of each step; the answer
    /// is thrown away. For who runs the engine: a plan says more of personal fields and of files than a viewer may see.
    ///
    /// # Errors
    /// What the query fails with.
    pub async fn profile(&self, question: Question) -> Result<String> {
        guard::check_text(&question.sql, self.config())?;
        let limit = self.config().time_limit;
        let deadline = tokio::time::Instant::now() + limit;
        let permit = Running::new(self.turn(deadline).await?, None);
        let run = Run { engine: self.clone(), question, permit };
        let task = self.runtime()?.spawn(tokio::time::timeout_at(deadline, async move { run.profile().await }));
        let profiled = task.await.map_err(|error| Error::Internal(error.to_string()))?;
        profiled.map_err(|_| Error::Time(limit))?
    }

    /// Hands a text of any number of statements, which keeps the limits, to `read`, on a stack that is large enough
    /// for what a parser may make of it.
    ///
    /// # Errors
    /// Names the limit that it passes.
    pub async fn read<T: Send + 'static>(&self, sql: &str, read: impl FnOnce(&str) -> T + Send + 'static) -> Result<T> {
        guard::check_size(sql, self.config())?;
        let sql = sql.to_owned();
        let task = self.runtime()?.spawn(async move { read(&sql) });
        task.await.map_err(|error| Error::Internal(error.to_string()))
    }

    /// All tables that there are, with their columns.
    ///
    /// # Errors
    /// If they can't be read.
    pub async fn tables(&self) -> Result<BTreeMap<String, SchemaRef>> {
        let views = self.all_views(&self.session()).await?;
        Ok(views.tables.into_iter().map(|(name, snapshot)| (name, snapshot.schema())).collect())
    }

    async fn start(&self, question: Question, started: Instant) -> Result<Answer> {
        guard::check_text(&question.sql, self.config())?;
        let ticket = self.0.queries.enter(&question.viewer.name, question.id.as_deref(), question.sql.len())?;
        let token = ticket.token();
        tokio::select! {
            () = token.cancelled() => Err(Error::Cancelled),
            begun = self.begin(question, started, ticket) => begun,
        }
    }

    /// Up to the columns of the answer. Whoever stops waiting for it stops the query.
    async fn begin(&self, question: Question, started: Instant, ticket: Ticket) -> Result<Answer> {
        let config = &self.0.config;
        let deadline = tokio::time::Instant::from_std(started) + config.time_limit;
        let permit = Running::new(self.turn(deadline).await?, Some(ticket.placed()));
        let (head_sender, head) = oneshot::channel();
        let (rows, receiver) = mpsc::channel(2);
        let (name, sql_bytes) = (question.viewer.name.clone(), question.sql.len());
        let run = Run { engine: self.clone(), question, permit };
        let task = self.runtime()?.spawn(async move {
            // The asker learns of a time-out by their own clock.
            tokio::time::timeout_at(deadline, run.drive(head_sender, rows)).await.unwrap_or_default();
        });
        let task = AbortOnDropHandle::new(task);
        ticket.runs(task.abort_handle());
        let limit = config.time_limit;
        let answer = tokio::time::timeout_at(deadline, head).await;
        let (schema, notes) = match answer {
            Err(_) => return Err(Error::Time(limit)),
            Ok(Ok(head)) => head?,
            Ok(Err(_)) => return Err(died(task.detach()).await),
        };
        metrics::counter!("killfeed_queries_total").increment(1);
        let span = tracing::Span::current();
        let asked = Asker { name, sql_bytes, started, deadline, limit, span, ticket };
        Ok(Answer::new(schema, notes, receiver, task, asked))
    }

    /// Waits for a place among the running.
    pub(crate) async fn turn(&self, deadline: tokio::time::Instant) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.0.running).try_acquire_owned() {
            return Ok(permit);
        }
        let config = &self.0.config;
        let before = self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(&self.0.waiting);
        metrics::gauge!("killfeed_queries_waiting").increment(1.0);
        if before >= config.waiting_max {
            return Err(self.busy(before, None));
        }
        let turn = tokio::time::timeout_at(deadline, Arc::clone(&self.0.running).acquire_owned()).await;
        drop(waiting);
        let turn = turn.map_err(|_| self.busy(self.0.waiting.load(Ordering::SeqCst), Some(config.time_limit)))?;
        turn.map_err(|error| Error::Internal(error.to_string()))
    }

    /// The error for one that has no place, beside so many others.
    fn busy(&self, waiting: usize, waited: Option<Duration>) -> Error {
        let held = self.0.config.running_max.max(1).saturating_sub(self.0.running.available_permits());
        let ending = self.0.queries.ending().min(held);
        Error::Busy { running: held - ending, ending, waiting, waited }
    }

    pub(crate) fn runtime(&self) -> Result<&Handle> {
        let runtime = self.0.runtime.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| Error::Internal("the engine has stopped".into()))
    }

    /// Waits until no other audit runs.
    pub(crate) async fn audit_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.audits.lock().await
    }

    /// A session that knows no table yet.
    pub(crate) fn session(&self) -> SessionContext {
        let mut settings = SessionConfig::new()
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(true)
            .with_target_partitions(self.0.config.threads.max(1))
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        let options = settings.options_mut();
        options.sql_parser.dialect = Dialect::PostgreSQL;
        options.sql_parser.collect_spans = true;
        options.explain.logical_plan_only = true;
        options.execution.time_zone = Some("UTC".into());
        // What a table's scan is handed is applied where files are decoded ([`crate::scan`] says what); what stands
        // above it only skips row groups and pages.
        options.execution.parquet.pushdown_filters = false;
        options.execution.parquet.reorder_filters = true;
        // Tables of some megabytes are read by all threads, too.
        options.optimizer.repartition_file_min_size = FILE_PART_BYTES;
        // Grouping by what nearly each row has its own of (games, players) is done once, not first within each thread.
        options.execution.skip_partial_aggregation_probe_rows_threshold = PROBE_ROWS;
        let builder = SessionStateBuilder::new()
            .with_config(settings)
            .with_runtime_env(self.0.environment.clone())
            .with_default_features();
        SessionContext::new_with_state(functions::restrict(builder).build())
    }

    /// The newest snapshot of a table.
    pub(crate) async fn snapshot(&self, name: &str, context: &SessionContext) -> Result<Option<Snapshot>> {
        if !is_name(name) {
            return Ok(None);
        }
        Snapshot::newest(&self.0.store, name, context).await
    }

    /// What DataFusion's error means to who asked.
    pub(crate) fn failed(&self, error: &DataFusionError) -> Error {
        words::of(error, self.0.config.memory_bytes)
    }

    /// A table for this viewer, with what is personal hidden where it must be.
    pub(crate) fn visible(&self, snapshot: &Snapshot, viewer: &Viewer) -> Result<Arc<dyn TableProvider>> {
        if viewer.personal {
            return Ok(snapshot.whole());
        }
        snapshot.without_personal(&Declared::of(&self.0.registry.current()))
    }

    /// What this viewer should know of a table without rows.
    pub(crate) fn keyless(&self, snapshot: &Snapshot, viewer: &Viewer) -> Option<String> {
        if snapshot.key.is_empty() {
            return None;
        }
        let hidden = (!viewer.personal).then(|| Declared::of(&self.0.registry.current()));
        snapshot.keyless(hidden.as_ref())
    }

    /// The error for a table that isn't there.
    pub(crate) async fn no_table(&self, name: &str) -> Error {
        let names = self.0.store.table_names().await.unwrap_or_default();
        Error::NoTable { table: name.to_owned(), near: near::clause(name, &names), why: words::why_no(name, &names) }
    }
}

/// Counts one who waits, for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        metrics::gauge!("killfeed_queries_waiting").decrement(1.0);
    }
}

/// A place among the running, and its count. It leaves the list before the place is free: who gets it next finds the
/// list without this one.
pub(crate) struct Running {
    _listed: Option<Placed>,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    pub(crate) fn new(permit: OwnedSemaphorePermit, listed: Option<Placed>) -> Self {
        metrics::gauge!("killfeed_queries_running").increment(1.0);
        Self { _listed: listed, _permit: permit }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::gauge!("killfeed_queries_running").decrement(1.0);
    }
}

/// Tables are named in lower case, digits and `_`; anything else can't name one, and never reaches
/// the store.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
}

/// Why a query ended without an answer: a panic, which it alone felt.
pub(crate) async fn died(task: tokio::task::JoinHandle<()>) -> Error {
    match task.await {
        Err(error) if error.is_panic() => {
            let panic = error.into_panic();
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Error::Internal(said.lines().next().unwrap_or_default().to_owned())
        }
        _ => Error::Internal("it ended without an answer".into()),
    }
}

pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
