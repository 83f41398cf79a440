//! PostgreSQL's own tables and functions, about the tables of events: what `\d` and the start of every tool ask for.
//!
//! Numbers of tables (oids) are given once and kept, since tools look a number up and come back with it.

use crate::standard::Standard;
use crate::{functions, settings};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::TableType;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use parking_lot::Mutex;
use queries::{CATALOG, Engine, SCHEMA, Surroundings};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

const OWN: &str = "pg_catalog";
const STANDARD: &str = "information_schema";

/// The same for all connections.
pub(crate) struct Catalogue {
    tables: Tables,
    own: Arc<dyn SchemaProvider>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").finish_non_exhaustive()
    }
}

impl Catalogue {
    pub(crate) fn new(engine: Engine) -> Result<Self> {
        let tables = Tables { engine, known: Arc::default() };
        let fixed = Arc::new(PgCatalogStaticTables::try_new()?);
        let own = PgCatalogSchemaProvider::try_new(tables.clone(), fixed, EmptyContextProvider)?;
        let own = Own { library: Arc::new(own), settings: Arc::new(settings::table()?) };
        Ok(Self { tables, own: Arc::new(own) })
    }
}

#[async_trait]
impl Surroundings for Catalogue {
    fn has(&self, schema: &str) -> bool {
        [OWN, STANDARD].contains(&schema)
    }

    fn has_table_function(&self, name: &str) -> bool {
        name == "pg_get_keywords"
    }

    async fn add(&self, context: &SessionContext) -> Result<()> {
        setup_pg_catalog(context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        // With the numbers that were given before.
        let catalog = context.catalog(CATALOG);
        let catalog = catalog.ok_or_else(|| DataFusionError::Internal(format!("there is no catalogue {CATALOG}")))?;
        catalog.register_schema(OWN, self.own.clone())?;
        catalog.register_schema(STANDARD, Arc::new(Standard::new(context.state_weak_ref())))?;
        functions::add(context);
        for (table, schema) in self.tables.look().await? {
            let reference = TableReference::bare(table);
            if !context.table_exist(reference.clone())? {
                context.register_table(reference, Arc::new(EmptyTable::new(schema)))?;
            }
        }
        Ok(())
    }
}

/// `pg_catalog` as the library has it, with settings of our own.
struct Own {
    library: Arc<dyn SchemaProvider>,
    settings: Arc<dyn TableProvider>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

#[async_trait]
impl SchemaProvider for Own {
    fn table_names(&self) -> Vec<String> {
        self.library.table_names()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.library.table_exist(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name {
            "pg_settings" => Ok(Some(self.settings.clone())),
            _ => self.library.table(name).await,
        }
    }
}

/// What tables there are, as of the statement that looked last.
#[derive(Debug, Clone)]
struct Tables {
    engine: Engine,
    known: Arc<Mutex<BTreeMap<String, SchemaRef>>>,
}

impl Tables {
    async fn look(&self) -> Result<BTreeMap<String, SchemaRef>> {
        let tables = self.engine.tables().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.known.lock().clone_from(&tables);
        Ok(tables)
    }
}

#[async_trait]
impl CatalogInfo for Tables {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG.into()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        Ok((catalog == CATALOG).then(|| [SCHEMA, OWN, STANDARD].map(str::to_owned).into()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        match (catalog, schema) {
            (CATALOG, SCHEMA) => Ok(Some(self.known.lock().keys().cloned().collect())),
            (CATALOG, OWN | STANDARD) => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        let is_ours = (catalog, schema) == (CATALOG, SCHEMA);
        Ok(self.known.lock().get(table).filter(|_| is_ours).cloned())
    }

    async fn table_type(&self, _: &str, _: &str, _: &str) -> Result<Option<TableType>> {
        Ok(Some(TableType::Base))
    }
}
