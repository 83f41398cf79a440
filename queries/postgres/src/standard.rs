//! `information_schema`, as views of `pg_catalog`: with PostgreSQL's columns and names of types, which tools read
//! where they don't read `pg_catalog` itself.

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use parking_lot::RwLock;
use std::fmt;
use std::sync::{Arc, Weak};

/// Names and statements.
const VIEWS: [(&str, &str); 9] = [
    (
        "schemata",
        "SELECT current_database() AS catalog_name, n.nspname AS schema_name, pg_get_userbyid(n.nspowner) AS schema_owner
         FROM pg_catalog.pg_namespace n",
    ),
    (
        "tables",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema, c.relname AS table_name,
                'BASE TABLE' AS table_type, 'NO' AS is_insertable_into, 'NO' AS is_typed
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r'",
    ),
    (
        "columns",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema, c.relname AS table_name,
                a.attname AS column_name, CAST(a.attnum AS INT) AS ordinal_position,
                CAST(NULL AS TEXT) AS column_default,
                CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END AS is_nullable,
                CASE WHEN t.typelem <> 0 THEN 'ARRAY' ELSE format_type(a.atttypid, a.atttypmod) END AS data_type,
                CAST(NULL AS INT) AS character_maximum_length, CAST(NULL AS INT) AS numeric_precision,
                CAST(NULL AS INT) AS numeric_scale, CAST(NULL AS INT) AS datetime_precision,
                current_database() AS udt_catalog, 'pg_catalog' AS udt_schema, t.typname AS udt_name,
                'NO' AS is_identity, 'NEVER' AS is_generated, 'NO' AS is_updatable
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attnum > 0",
    ),
    (
        "views",
        "SELECT table_catalog, table_schema, table_name, CAST(NULL AS TEXT) AS view_definition
         FROM information_schema.tables WHERE false",
    ),
    (
        "table_constraints",
        "SELECT table_catalog AS constraint_catalog, table_schema AS constraint_schema, table_name AS constraint_name,
                table_catalog, table_schema, table_name, table_type AS constraint_type
         FROM information_schema.tables WHERE false",
    ),
    (
        "key_column_usage",
        "SELECT table_catalog AS constraint_catalog, table_schema AS constraint_schema, table_name AS constraint_name,
                table_catalog, table_schema, table_name, column_name, ordinal_position,
                ordinal_position AS position_in_unique_constraint
         FROM information_schema.columns WHERE false",
    ),
    (
        "constraint_column_usage",
        "SELECT table_catalog, table_schema, table_name, column_name, table_catalog AS constraint_catalog,
                table_schema AS constraint_schema, table_name AS constraint_name
         FROM information_schema.columns WHERE false",
    ),
    (
        "referential_constraints",
        "SELECT table_catalog AS constraint_catalog, table_schema AS constraint_schema, table_name AS constraint_name,
                table_catalog AS unique_constraint_catalog, table_schema AS unique_constraint_schema,
                table_name AS unique_constraint_name, 'NONE' AS match_option, 'NO ACTION' AS update_rule,
                'NO ACTION' AS delete_rule
         FROM information_schema.tables WHERE false",
    ),
    (
        "routines",
        "SELECT table_catalog AS routine_catalog, table_schema AS routine_schema, table_name AS routine_name,
                table_type AS routine_type, CAST(NULL AS TEXT) AS data_type
         FROM information_schema.tables WHERE false",
    ),
];

/// The schema, for one statement: views are planned when they are asked for.
pub(crate) struct Standard(Weak<RwLock<SessionState>>);

impl Standard {
    /// Of a session that has `pg_catalog`. It holds the session no longer than others do.
    pub(crate) const fn new(state: Weak<RwLock<SessionState>>) -> Self {
        Self(state)
    }
}

impl fmt::Debug for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standard")
    }
}

#[async_trait]
impl SchemaProvider for Standard {
    fn table_names(&self) -> Vec<String> {
        VIEWS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        VIEWS.iter().any(|(known, _)| *known == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((_, sql)) = VIEWS.iter().find(|(known, _)| *known == name) else { return Ok(None) };
        let state = self.0.upgrade().ok_or_else(|| DataFusionError::Internal("the session has ended".into()))?;
        let state = state.read().clone();
        let plan = state.create_logical_plan(sql).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some((*sql).to_owned())))))
    }
}
