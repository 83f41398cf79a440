//! What is asked, by whom, and what there is beside the events' tables.

use crate::engine::{Parameters, Viewer};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use std::fmt::Debug;
use std::sync::Arc;

/// A statement, and all that it is run with.
#[derive(Debug, Clone)]
pub struct Question {
    /// One statement.
    pub sql: String,
    /// Values for its placeholders.
    pub parameters: Parameters,
    /// Who asks.
    pub viewer: Viewer,
    /// Whether the answer has the column [`crate::FRESHNESS`].
    pub is_report: bool,
    /// The id by which it can be ended, if the asker chose one.
    pub id: Option<String>,
    /// What the protocol brings that it came by.
    pub surroundings: Option<Arc<dyn Surroundings>>,
}

impl Question {
    /// A statement with values for its placeholders, no more.
    pub fn new(sql: &str, parameters: Parameters, viewer: &Viewer) -> Self {
        Self { sql: sql.to_owned(), parameters, viewer: viewer.clone(), is_report: false, id: None, surroundings: None }
    }
}

/// Tables and functions that the clients of a protocol look for, beside those of the events. They are there for
/// statements that name one of their schemas, or no table at all.
#[async_trait]
pub trait Surroundings: Debug + Send + Sync {
    /// Whether it brings a schema of this name.
    fn has(&self, schema: &str) -> bool;

    /// Whether it brings a function of this name that gives a table.
    fn has_table_function(&self, name: &str) -> bool;

    /// Adds all to the session of one statement.
    ///
    /// # Errors
    /// What DataFusion says.
    async fn add(&self, context: &SessionContext) -> Result<()>;
}

/// What a statement would answer, and what it wants to be told first.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its columns.
    pub schema: SchemaRef,
    /// The types of its placeholders `$1`, `$2`, and so on; `None` where anything may stand.
    pub parameters: Vec<Option<DataType>>,
}

impl Described {
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Self> {
        let types = plan.get_parameter_types()?;
        let number = |name: &str| name.trim_start_matches('$').parse::<usize>().ok();
        let count = types.keys().filter_map(|name| number(name)).max().unwrap_or(0);
        let parameters = (1..=count).map(|number| types.get(&format!("${number}")).cloned().flatten()).collect();
        Ok(Self { schema: Arc::clone(plan.schema().inner()), parameters })
    }
}
