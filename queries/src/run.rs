//! One query on its way: from its text to a plan over tables of one moment, and from there to rows.

use crate::answer::Notes;
use crate::calls;
use crate::engine::{CATALOG, FRESHNESS, Running, SCHEMA};
use crate::guard::{self, Asked};
use crate::question::{Described, Question};
use crate::{Engine, Error, Result, catalogue, near};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::prelude::{SessionContext, lit};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

pub(crate) type Head = Result<(SchemaRef, Notes)>;

/// What a running query sends.
pub(crate) enum Rows {
    /// More rows.
    Batch(RecordBatch),
    /// It failed.
    Failed(Error),
    /// All rows were sent. A query that ends without saying so was stopped, or panicked.
    End,
}

/// One query on its way.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) question: Question,
    pub(crate) permit: Running,
}

impl Run {
    pub(crate) async fn drive(self, head: oneshot::Sender<Head>, rows: mpsc::Sender<Rows>) {
        let (mut stream, notes) = match self.begin().await {
            Ok(begun) => begun,
            Err(error) => {
                // Here and below: its place is free when its asker knows.
                drop(self.permit);
                head.send(Err(error)).unwrap_or_default();
                return;
            }
        };
        if head.send(Ok((stream.schema(), notes))).is_err() {
            return;
        }
        let limit = self.engine.config().rows_max;
        let mut count = 0;
        while let Some(batch) = stream.next().await {
            count += batch.as_ref().map_or(0, RecordBatch::num_rows);
            let error = match batch {
                Err(error) => self.engine.failed(&error),
                Ok(_) if count > limit => Error::Rows(limit),
                Ok(batch) => match rows.send(Rows::Batch(batch)).await {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            drop((stream, self.permit));
            rows.send(Rows::Failed(error)).await.unwrap_or_default();
            return;
        }
        drop((stream, self.permit));
        rows.send(Rows::End).await.unwrap_or_default();
    }

    async fn begin(&self) -> Result<(SendableRecordBatchStream, Notes)> {
        let (frame, notes) = self.plan().await?;
        let stream = frame.execute_stream().await.map_err(|error| self.engine.failed(&error))?;
        Ok((stream, notes))
    }

    /// What it would answer.
    pub(crate) async fn describe(self) -> Result<Described> {
        let (frame, _) = self.plan().await?;
        Described::of(frame.logical_plan()).map_err(|error| self.engine.failed(&error))
    }

    /// What planning and running took, and its plan with what each step took.
    pub(crate) async fn profile(self) -> Result<String> {
        let start = Instant::now();
        let (frame, _) = self.plan().await?;
        let read = start.elapsed();
        let failed = |error| self.engine.failed(&error);
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        let planned = start.elapsed();
        collect(plan.clone(), context).await.map_err(failed)?;
        let shown = DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(true);
        Ok(format!(
            "tables and statement read {read:.1?}, planned {planned:.1?}, done {:.1?}\n{shown}",
            start.elapsed()
        ))
    }

    async fn plan(&self) -> Result<(DataFrame, Notes)> {
        let context = self.engine.session();
        let state = context.state();
        let failed = |error| self.engine.failed(&error);
        let mut statement = state.sql_to_statement(&self.question.sql, &Dialect::PostgreSQL).map_err(failed)?;
        calls::name_fields(&mut statement);
        match guard::classify(statement)? {
            Asked::Rows(statement) => self.plan_rows(&context, *statement).await,
            Asked::Tables => {
                let (batch, notes) = catalogue::tables_batch(&self.engine).await?;
                Ok((context.read_batch(batch).map_err(failed)?, notes))
            }
            Asked::Columns(table) => {
                let views = self.engine.views([table.clone()].into(), &context).await?;
                let Some(snapshot) = views.tables.get(&table) else {
                    return Err(self.engine.no_table(&table).await);
                };
                let batch = catalogue::columns_batch(snapshot)?;
                Ok((context.read_batch(batch).map_err(failed)?, Notes::default()))
            }
        }
    }

    async fn plan_rows(&self, context: &SessionContext, statement: Statement) -> Result<(DataFrame, Notes)> {
        let failed = |error| self.engine.failed(&error);
        let called = calls::tables(&statement);
        let references = context.state().resolve_table_references(&statement).map_err(failed)?;
        let (mut names, mut notes) = (BTreeSet::new(), Notes::default());
        let surroundings = self.question.surroundings.as_deref();
        let mut looks_around = references.is_empty();
        for reference in references {
            let name = match &reference {
                TableReference::Bare { table } => table.clone(),
                TableReference::Partial { schema, table } if schema.as_ref() == SCHEMA => table.clone(),
                TableReference::Full { catalog, schema, table } if (&**catalog, &**schema) == (CATALOG, SCHEMA) => {
                    table.clone()
                }
                other if surroundings.is_some_and(|around| other.schema().is_some_and(|name| around.has(name))) => {
                    looks_around = true;
                    continue;
                }
                other if called.contains(&other.to_string()) => return Err(no_function(&other.to_string())),
                other => return Err(self.engine.no_table(&other.to_string()).await),
            };
            if context.table_exist(TableReference::bare(&*name)).map_err(failed)?
                || context.table_function(&name).is_ok()
            {
                continue;
            }
            if surroundings.is_some_and(|around| around.has_table_function(&name)) {
                looks_around = true;
                continue;
            }
            if name.as_ref() == catalogue::TABLE {
                let (batch, of_tables) = catalogue::tables_batch(&self.engine).await?;
                notes = of_tables;
                context.register_batch(catalogue::TABLE, batch).map_err(failed)?;
                continue;
            }
            if called.contains(&*name) {
                return Err(no_function(&name));
            }
            names.insert(name.to_string());
        }
        let views = self.engine.views(names.clone(), context).await?;
        if let Some(missing) = names.iter().find(|name| !views.tables.contains_key(*name)) {
            return Err(self.engine.no_table(missing).await);
        }
        let mut narrow = Vec::new();
        for (name, snapshot) in &views.tables {
            narrow.extend(snapshot.narrow_columns().into_iter().map(|column| (name.clone(), column)));
            let provider = self.engine.visible(snapshot, &self.question.viewer)?;
            notes.warnings.extend(self.engine.keyless(snapshot, &self.question.viewer));
            context.register_table(TableReference::bare(name.as_str()), provider).map_err(failed)?;
        }
        if self.question.is_report {
            notes.received(views.newest_us()?);
        }
        notes.take(views);
        if let Some(around) = surroundings.filter(|_| looks_around) {
            around.add(context).await.map_err(failed)?;
        }
        let is_explain = matches!(statement, Statement::Explain(_));
        let plan = context.state().statement_to_plan(statement).await.map_err(failed)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&plan).map_err(failed)?;
        let parameters = &self.question.parameters;
        let plan =
            if parameters.is_empty() { plan } else { plan.with_param_values(parameters.clone()).map_err(failed)? };
        notes.warnings.extend(narrow_warnings(&plan, narrow));
        let frame = DataFrame::new(context.state(), plan);
        if is_explain {
            return Ok((frame, notes));
        }
        // One row past the limit is enough to know that it is passed. It also keeps the last sort from taking part in
        // the pool's shares: without it, large answers ran out of memory now and then.
        let frame = frame.limit(0, Some(self.engine.config().rows_max.saturating_add(1))).map_err(failed)?;
        let frame = match self.question.is_report {
            true => frame.with_column(FRESHNESS, lit(ScalarValue::Float64(notes.age_s()))).map_err(failed)?,
            false => frame,
        };
        Ok((frame, notes))
    }
}

/// The error for a function that gives no rows, or isn't there.
fn no_function(name: &str) -> Error {
    let known = ["generate_series", "range"].map(str::to_owned);
    let near = near::clause(name, &known);
    Error::Refused(format!("no function {name:?} gives a table{near}; there are {}", known.join(" and ")))
}

/// A warning for each narrow column that the plan reads.
fn narrow_warnings(plan: &datafusion::logical_expr::LogicalPlan, narrow: Vec<(String, String)>) -> Vec<String> {
    if narrow.is_empty() {
        return Vec::new();
    }
    let text = plan.display_indent().to_string();
    let names: HashSet<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let read = narrow.into_iter().filter(|(_, column)| names.contains(column.as_str()));
    read.map(|(table, column)| {
        format!(
            "{table}.{column}: some values don't fit its type and stand in extra; `killfeed schema apply` widens it"
        )
    })
    .collect()
}
