//! Deltalake's table provider, asked only what it answers right.
//!
//! Two answers of deltalake 1.1.3 are wrong. It calls a filter without columns (`NULL`, after a
//! hidden column was replaced) exact, and drops it. And a scan of nothing but partition columns
//! takes a limit on itself and passes all rows. So filters only skip what they can, the engine
//! applies each once more, and a scan always reads a column that is in the files.
//!
//! Filters go to where files are decoded, which pays for those that few rows pass. `IS NOT NULL` is passed by
//! almost all, and there it only costs: it stays with the engine, and row groups of nothing but NULL are
//! skipped all the same.

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use std::sync::Arc;

/// A provider around deltalake's.
#[derive(Debug)]
pub(crate) struct Scan {
    inner: Arc<dyn TableProvider>,
    partition_columns: Vec<String>,
}

impl Scan {
    pub(crate) fn new(inner: Arc<dyn TableProvider>, partition_columns: Vec<String>) -> Self {
        Self { inner, partition_columns }
    }

    /// A column that must be read too, where all that are asked for are partition columns.
    fn anchor(&self, projection: &[usize]) -> Option<usize> {
        let schema = self.inner.schema();
        let is_stored = |index: usize| !self.partition_columns.contains(schema.field(index).name());
        if projection.iter().any(|index| is_stored(*index)) {
            return None;
        }
        let preferred = schema.index_of("_partition").ok().filter(|index| is_stored(*index));
        preferred.or_else(|| (0..schema.fields().len()).find(|index| is_stored(*index)))
    }
}

#[async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answers = self.inner.supports_filters_pushdown(filters)?;
        let answers = filters.iter().zip(answers).map(|(filter, answer)| match answer {
            _ if filter.column_refs().is_empty() => TableProviderFilterPushDown::Unsupported,
            TableProviderFilterPushDown::Exact => TableProviderFilterPushDown::Inexact,
            other => other,
        });
        Ok(answers.collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let limit = limit.filter(|_| filters.is_empty());
        let filters: Vec<Expr> =
            filters.iter().filter(|filter| !matches!(filter, Expr::IsNotNull(_))).cloned().collect();
        let anchor = projection.and_then(|projection| Some((projection, self.anchor(projection)?)));
        let Some((asked, anchor)) = anchor else {
            return self.inner.scan(session, projection, &filters, limit).await;
        };
        let widened: Vec<usize> = asked.iter().copied().chain([anchor]).collect();
        let scan = self.inner.scan(session, Some(&widened), &filters, limit).await?;
        let schema = scan.schema();
        let columns = schema.fields().iter().take(asked.len()).enumerate().map(|(index, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
            (column, field.name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), scan)?))
    }
}
