//! An answer: its columns at once, its rows as they are computed.

use crate::engine::{died, millis};
use crate::run::Rows;
use crate::running::Ticket;
use crate::views::Views;
use crate::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use events::{Clock as _, SystemClock};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Who asked, for the log, and until when the answer must be whole.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) name: Arc<str>,
    pub(crate) sql_bytes: usize,
    pub(crate) started: Instant,
    pub(crate) deadline: tokio::time::Instant,
    pub(crate) limit: Duration,
    /// Ends with the answer.
    pub(crate) span: tracing::Span,
    /// Its place among those that can be ended.
    pub(crate) ticket: Ticket,
}

/// What to know about an answer beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) fresh_to_us: Option<i64>,
    /// When the newest event of its tables was received, in µs.
    pub(crate) newest_us: Option<i64>,
}

impl Notes {
    /// Takes in what is to be known of tables.
    pub(crate) fn take(&mut self, views: Views) {
        self.fresh_to_us = [self.fresh_to_us, views.fresh_to_us].into_iter().flatten().min();
        self.warnings.extend(views.warnings);
        self.warnings.dedup();
    }

    /// Events were received up to then, in µs.
    pub(crate) fn received(&mut self, newest_us: Option<i64>) {
        self.newest_us = self.newest_us.max(newest_us);
    }

    /// Seconds since the newest event was received.
    #[expect(clippy::cast_precision_loss, reason = "an age, in ms")]
    pub(crate) fn age_s(&self) -> Option<f64> {
        let newest_us = self.newest_us?;
        Some((SystemClock.now_us().saturating_sub(newest_us).max(0) / 1_000) as f64 / 1e3)
    }
}

/// The rows of a query that runs. Dropping it stops the query.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    notes: Notes,
    rows: mpsc::Receiver<Rows>,
    task: Option<AbortOnDropHandle<()>>,
    asker: Asker,
    counted: u64,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Answer {
    pub(crate) const fn new(
        schema: SchemaRef,
        notes: Notes,
        rows: mpsc::Receiver<Rows>,
        task: AbortOnDropHandle<()>,
        asker: Asker,
    ) -> Self {
        Self { schema, notes, rows, task: Some(task), asker, counted: 0 }
    }

    /// Its columns.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What to know about the values, one sentence each; empty most of the time.
    pub fn warnings(&self) -> &[String] {
        &self.notes.warnings
    }

    /// The time in µs since the epoch up to which the answer is complete; `None` if it is up to now.
    pub const fn fresh_to_us(&self) -> Option<i64> {
        self.notes.fresh_to_us
    }

    /// The id by which it can be ended.
    pub fn id(&self) -> Arc<str> {
        self.asker.ticket.id()
    }

    pub(crate) const fn sql_bytes(&self) -> usize {
        self.asker.sql_bytes
    }

    /// The next rows; `None` after the last ones. After an error there are no more.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.task.as_ref()?;
        let message = tokio::select! {
            biased;
            () = self.asker.ticket.cancelled() => None,
            message = tokio::time::timeout_at(self.asker.deadline, self.rows.recv()) => Some(message),
        };
        let Some(message) = message else {
            self.ended(Some(&Error::Cancelled));
            return Some(Err(Error::Cancelled));
        };
        let error = match message {
            Ok(Some(Rows::Batch(batch))) => {
                self.counted += batch.num_rows() as u64;
                return Some(Ok(batch));
            }
            Ok(Some(Rows::End)) => {
                self.ended(None);
                return None;
            }
            Ok(Some(Rows::Failed(error))) => error,
            Err(_) => Error::Time(self.asker.limit),
            Ok(None) if tokio::time::Instant::now() >= self.asker.deadline => Error::Time(self.asker.limit),
            Ok(None) => match self.task.take() {
                Some(task) => died(task.detach()).await,
                None => return None,
            },
        };
        self.ended(Some(&error));
        Some(Err(error))
    }

    /// All rows at once.
    ///
    /// # Errors
    /// The first one of the stream.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    fn ended(&mut self, error: Option<&Error>) {
        self.task = None;
        let Asker { name, sql_bytes, started, .. } = &self.asker;
        let (rows, ms) = (self.counted, millis(*started));
        metrics::histogram!("killfeed_queries_duration_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("killfeed_queries_rows_total").increment(rows);
        match error {
            None => tracing::info!(principal = %name, sql_bytes, rows, ms, "query answered"),
            Some(error) => {
                metrics::counter!("killfeed_queries_errors_total", "kind" => error.kind()).increment(1);
                traces::fail(&self.asker.span, error);
                tracing::info!(principal = %name, sql_bytes, rows, ms, %error, "query failed");
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.task.take().is_some() {
            tracing::info!(principal = %self.asker.name, rows = self.counted, "query dropped by the asker");
        }
    }
}
