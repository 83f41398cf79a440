//! A table as SQL sees it: the files of its snapshot united with rows of the log's tail.
//!
//! Columns that only one half has are NULL in the other. Filters and projections go to both halves: files
//! are skipped by what their statistics and their dates say, the tail's rows are filtered as they are
//! read. The engine applies each filter once more over both, so that a filter is never more than a help.

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::nested_struct::cast_column;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;

/// A snapshot and its tail. See the module.
#[derive(Debug)]
pub(crate) struct Union {
    /// `None` for a table that no sink has made yet.
    snapshot: Option<Arc<dyn TableProvider>>,
    /// Under the columns of `schema`.
    tail: Vec<RecordBatch>,
    schema: SchemaRef,
}

impl Union {
    /// Puts `batches`, whose columns are those of `schemas`, to a snapshot.
    ///
    /// # Errors
    /// If a column of theirs has a type that can't be one with the snapshot's.
    pub(crate) fn new(
        snapshot: Option<Arc<dyn TableProvider>>,
        batches: &[RecordBatch],
        schemas: &[SchemaRef],
    ) -> Result<Self> {
        let known = snapshot.as_ref().map(|snapshot| snapshot.schema());
        let mut fields: Vec<Arc<Field>> = known.iter().flat_map(|schema| schema.fields().iter().cloned()).collect();
        for schema in schemas {
            for field in schema.fields() {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) => *known = widened(known, field),
                    None => fields.push(field.clone()),
                }
            }
        }
        let metadata = known.map(|schema| schema.metadata().clone()).unwrap_or_default();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let tail = batches.iter().map(|batch| fit(batch, &schema)).collect::<Result<Vec<_>>>()?;
        Ok(Self { snapshot, tail, schema })
    }

    /// The half that stands in files, under the projected columns.
    async fn files(
        &self,
        snapshot: &Arc<dyn TableProvider>,
        session: &dyn Session,
        projected: &SchemaRef,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stored = snapshot.schema();
        let wanted = projected.fields().iter().filter_map(|field| stored.index_of(field.name()).ok()).collect();
        let filters: Vec<Expr> = filters.iter().filter(|filter| self.is_stored(&stored, filter)).cloned().collect();
        let scan = snapshot.scan(session, Some(&wanted), &filters, limit).await?;
        let read = scan.schema();
        let mut changed = false;
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(projected.fields().len());
        for field in projected.fields() {
            let column: Arc<dyn PhysicalExpr> = match read.index_of(field.name()) {
                Ok(at) if read.field(at).data_type() == field.data_type() => Arc::new(Column::new(field.name(), at)),
                Ok(at) => {
                    changed = true;
                    let column = Arc::new(Column::new(field.name(), at));
                    Arc::new(CastExpr::new(column, field.data_type().clone(), None))
                }
                Err(_) => {
                    changed = true;
                    Arc::new(Literal::new(ScalarValue::try_new_null(field.data_type())?))
                }
            };
            columns.push((column, field.name().clone()));
        }
        if !changed {
            return Ok(scan);
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, scan)?))
    }

    /// Whether a filter can be asked of the files: their columns, with the types that they have there.
    fn is_stored(&self, stored: &SchemaRef, filter: &Expr) -> bool {
        filter.column_refs().iter().all(|column| {
            let fields = stored.field_with_name(&column.name).ok().zip(self.schema.field_with_name(&column.name).ok());
            fields.is_some_and(|(stored, seen)| stored.data_type() == seen.data_type())
        })
    }

    /// The half that stands in memory, under these columns of it, with the rows that the filters leave.
    fn memory(&self, session: &dyn Session, projection: &[usize], filters: &[Expr]) -> Result<Arc<dyn ExecutionPlan>> {
        let source = |projection: Option<Vec<usize>>| {
            MemorySourceConfig::try_new_exec(std::slice::from_ref(&self.tail), self.schema.clone(), projection)
        };
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(source(Some(projection.to_vec()))?) };
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let predicate = session.create_physical_expr(filter, &schema)?;
        let filtered: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(predicate, source(None)?)?);
        let columns = projection.iter().map(|at| {
            let name = self.schema.field(*at).name();
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, *at));
            (column, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), filtered)?))
    }
}

#[async_trait]
impl TableProvider for Union {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match filter.column_refs().is_empty() {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Inexact,
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
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let memory = self.memory(session, projection, filters)?;
        let Some(snapshot) = &self.snapshot else { return Ok(memory) };
        let projected = Arc::new(self.schema.project(projection)?);
        let limit = limit.filter(|_| filters.is_empty());
        let files = self.files(snapshot, session, &projected, filters, limit).await?;
        UnionExec::try_new(vec![files, memory])
    }
}

/// A column as both halves can have it: fields that only one half's struct has are added.
fn widened(known: &Arc<Field>, further: &Field) -> Arc<Field> {
    let wide = widened_type(known.data_type(), further.data_type());
    let mut metadata = known.metadata().clone();
    metadata.extend(further.metadata().clone());
    if wide == *known.data_type() && metadata == *known.metadata() {
        return known.clone();
    }
    Arc::new(known.as_ref().clone().with_data_type(wide).with_metadata(metadata))
}

fn widened_type(known: &DataType, further: &DataType) -> DataType {
    match (known, further) {
        (DataType::Struct(known), DataType::Struct(further)) => {
            let mut fields: Vec<Arc<Field>> = known.iter().cloned().collect();
            for field in further {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) => *known = widened(known, field),
                    None => fields.push(field.clone()),
                }
            }
            DataType::Struct(Fields::from(fields))
        }
        (DataType::List(known), DataType::List(further)) => DataType::List(widened(known, further)),
        _ => known.clone(),
    }
}

/// The batch under these columns.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => cast_column(column, field.data_type(), &Default::default()),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| DataFusionError::ArrowError(Box::new(error), None))
}
