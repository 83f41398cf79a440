//! `<table>_latest`: records beside the events that tell of them. Where the newest schema of a table's type
//! declares a key, this table has, of all rows with the same key, the newest one.
//!
//! Newest is the row whose event happened last: by `time`, and without one by `received_at`. Of those that
//! happened at the same time it is the one that was received last, and of those received at the same time, the
//! last in the log: by `_partition`, within it by `_offset`. That is total, so that two looks at the same rows
//! never differ. An event that comes late therefore never covers a newer one, whatever its offset; and no clock
//! of a client can hold a record for long, since ingest allows no `time` far ahead of its own.
//!
//! A key that is NULL in one of its columns names no record, as in any table with a key: such rows aren't here. A
//! column that the table doesn't have yet is NULL in all of its rows, as everywhere. A key that is personal is NULL
//! for those who may not see it, who therefore find no rows: each row would be one player to count.
//!
//! It is a view, of the same moment as the table itself: its rows are found anew by each statement, by a window
//! over the table. What a statement asks of the key alone is asked of the table. Nothing else may be: a row that
//! such a filter left out would not be there to cover an older one. Planning it apart from the statement, as
//! here, keeps the optimizer from trying (it takes a condition without columns, such as `random() < 0.5`, for
//! one that may go below a window).

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, Result};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, UNNAMED_TABLE, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use events::schema::Registry;
use std::sync::Arc;

/// What the name of such a table has behind that of the table that it is made of.
pub(crate) const SUFFIX: &str = "_latest";
/// The number of a row among those of its key; no column of a table can be called so.
const PLACE: &str = "#";

/// The table that one of this name is made of; `None` for all other names.
pub(crate) fn table_of(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)
}

/// The columns that the newest schema of a type declares as key; empty for none.
pub(crate) fn key_of(registry: &Registry, event_type: &str) -> Vec<String> {
    registry.newest(event_type).map(|schema| schema.key.clone()).unwrap_or_default()
}

/// The newest row of each key among these; without a key, all of them.
pub(crate) fn newest(rows: Arc<dyn TableProvider>, key: &[String]) -> Arc<dyn TableProvider> {
    if key.is_empty() { rows } else { Arc::new(Newest { rows, key: key.to_vec() }) }
}

/// See the module.
#[derive(Debug)]
struct Newest {
    rows: Arc<dyn TableProvider>,
    key: Vec<String>,
}

impl Newest {
    fn has(&self, name: &str) -> bool {
        self.rows.schema().column_with_name(name).is_some()
    }

    /// Whether a filter holds for all rows of a key or for none.
    fn is_of_key(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty() && !filter.is_volatile() && columns.iter().all(|column| self.key.contains(&column.name))
    }

    /// The rows that name a record.
    fn named(&self) -> impl Iterator<Item = Expr> {
        self.key.iter().map(|name| if self.has(name) { column(name).is_not_null() } else { lit(false) })
    }

    /// The newest first.
    fn order(&self) -> Vec<Sort> {
        let happened =
            ["time", "received_at"].into_iter().filter(|name| self.has(name)).map(column).collect::<Vec<_>>();
        let happened = (!happened.is_empty()).then(|| coalesce(happened));
        let place = ["received_at", "_incarnation", "_partition", "_offset"];
        let place = place.into_iter().filter(|name| self.has(name)).map(column);
        happened.into_iter().chain(place).map(|by| by.sort(false, false)).collect()
    }

    fn plan(&self, projection: Option<&Vec<usize>>, filters: &[Expr], limit: Option<usize>) -> Result<LogicalPlan> {
        let schema = self.rows.schema();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let asked = projection.unwrap_or(&all).iter().map(|at| column(schema.field(*at).name()));
        let key = self.key.iter().filter(|name| self.has(name)).map(|name| column(name));
        let place = row_number().partition_by(key.collect()).order_by(self.order()).build()?.alias(PLACE);
        let mut plan = LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(self.rows.clone()), None)?;
        if let Some(filter) = conjunction(self.named().chain(filters.iter().cloned())) {
            plan = plan.filter(filter)?;
        }
        plan = plan.window(vec![place])?.filter(column(PLACE).eq(lit(1_u64)))?.project(asked.collect::<Vec<_>>())?;
        if filters.is_empty() && limit.is_some() {
            plan = plan.limit(0, limit)?;
        }
        plan.build()
    }
}

#[async_trait]
impl TableProvider for Newest {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.is_of_key(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        session.create_physical_plan(&self.plan(projection, filters, limit)?).await
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
