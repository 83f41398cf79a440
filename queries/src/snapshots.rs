//! Tables as a query sees them: the newest snapshot of each table that it names, united with the tail of
//! the log, with what is personal hidden from those who may not see it; and the newest rows of such a table.

use crate::fresh::{Known, Tail};
use crate::latest::{self, SUFFIX};
use crate::mask::{Hide, Mask};
use crate::personal::{Declared, Personal, Rule};
use crate::scan::Scan;
use crate::union::Union;
use crate::{Error, Result, near};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, UNNAMED_TABLE, lit};
use datafusion::prelude::{SessionContext, when};
use events::schema::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{DEAD_LETTERS, DeltaTable, Store};

/// A table, pinned at its newest version.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    /// The event type whose table it is; `None` for killfeed's own.
    pub(crate) event_type: Option<String>,
    /// All rows of the table, or of the one that its rows are the newest of.
    provider: Arc<dyn TableProvider>,
    /// The columns of which its rows are the newest; empty for a table as it is.
    pub(crate) key: Vec<String>,
    /// The table itself; `None` where all rows are in the log.
    files: Option<DeltaTable>,
    /// When the newest event that came through the log was received, in µs.
    pub(crate) seen_us: Option<i64>,
}

/// What stands under a name.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The table, if killfeed made it.
    pub(crate) snapshot: Option<Snapshot>,
    /// What the tail is put to.
    pub(crate) known: Known,
}

impl Looked {
    /// Whether somebody else made the table.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.known.exists && self.snapshot.is_none()
    }
}

impl Snapshot {
    /// The newest version of the table; `None` if killfeed made no such table.
    pub(crate) async fn newest(store: &Store, name: &str, context: &SessionContext) -> Result<Option<Self>> {
        Ok(Self::look(store, name, context, false).await?.snapshot)
    }

    /// What stands under a name, at its newest version; with its transactions, if they are asked for.
    pub(crate) async fn look(store: &Store, name: &str, context: &SessionContext, with_txns: bool) -> Result<Looked> {
        let Some(table) = store.load(name).await? else { return Ok(Looked::default()) };
        let state = table.snapshot().map_err(tables::Error::from)?;
        let partition_columns = state.metadata().partition_columns().to_vec();
        let snapshot = state.snapshot().clone();
        let provider = table
            .table_provider()
            .with_eager_snapshot(snapshot)
            .with_session(Arc::new(context.state()))
            .build()
            .await
            .map_err(|error| Error::Internal(error.strip_backtrace()))?;
        let owner = state.metadata().configuration().get(tables::EVENT_TYPE).cloned();
        let mut known = Known { exists: true, ..Known::default() };
        if !tables::is_own(name, owner.is_some(), &provider.schema()) {
            return Ok(Looked { snapshot: None, known });
        }
        if with_txns {
            let existing = Some(tables::schema(name, &table)?);
            known = Known { exists: true, owner: owner.clone(), existing, txns: store.txns(&table).await? };
        }
        let provider = Arc::new(Scan::new(Arc::new(provider), partition_columns));
        let snapshot = Self {
            name: name.to_owned(),
            event_type: owner,
            provider,
            key: Vec::new(),
            files: Some(table),
            seen_us: None,
        };
        Ok(Looked { snapshot: Some(snapshot), known })
    }

    /// A snapshot with the rows that it lacks; `None` if there is neither.
    pub(crate) fn united(name: &str, snapshot: Option<Self>, tail: Option<Tail>) -> Result<Option<Self>> {
        let Some(tail) = tail else { return Ok(snapshot) };
        let (stored, files, event_type) = match snapshot {
            Some(snapshot) => (Some(snapshot.provider), snapshot.files, snapshot.event_type),
            None => (None, None, None),
        };
        let provider = Union::new(stored, &tail.batches, &tail.schemas)
            .map_err(|error| Error::Internal(error.strip_backtrace()))?;
        let (name, provider) = (name.to_owned(), Arc::new(provider));
        Ok(Some(Self { name, event_type, provider, key: Vec::new(), files, seen_us: None }))
    }

    /// The newest rows of this table by the key that the newest schema of its type declares, if it declares one.
    pub(crate) fn latest(&self, registry: &Registry) -> Option<Self> {
        let key = latest::key_of(registry, self.event_type.as_deref()?);
        (!key.is_empty()).then(|| Self { name: format!("{}{SUFFIX}", self.name), key, ..self.clone() })
    }

    /// Why no row of it has a key, for those who may not see what is declared.
    pub(crate) fn keyless(&self, hidden: Option<&Declared>) -> Option<String> {
        let schema = self.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        if let Some(missing) = self.key.iter().find(|name| !names.contains(name)) {
            let near = near::clause(missing, &names);
            return Some(format!("{}: no rows, since its key {missing:?} is no column yet{near}", self.name));
        }
        let rules = hidden?.table(&self.name)?.rules(&schema);
        let hidden = self.key.iter().find(|name| rules.get(*name) == Some(&Rule::Null))?;
        Some(format!(
            "{}: no rows, since its key {hidden:?} is personal, and hidden without the scope personal",
            self.name
        ))
    }

    /// When its newest event was received, in µs, by the statistics of its files and by what was read of the
    /// log; `None` if it is empty.
    pub(crate) fn newest_us(&self) -> Result<Option<i64>> {
        let stored = self.files.as_ref().map(tables::files::newest_us).transpose()?;
        Ok(stored.flatten().max(self.seen_us))
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    /// Columns whose values partly stand in `extra` because their type is too narrow for them.
    pub(crate) fn narrow_columns(&self) -> Vec<String> {
        fn collect(schema: &Schema, found: &mut Vec<String>) {
            let narrow = schema.fields().iter().filter(|field| field.metadata().contains_key(decode::WIDEN_KEY));
            found.extend(narrow.map(|field| field.name().clone()));
        }
        let mut found = Vec::new();
        collect(&self.schema(), &mut found);
        found
    }

    /// All of it, for those who may see it.
    pub(crate) fn whole(&self) -> Arc<dyn TableProvider> {
        latest::newest(self.provider.clone(), &self.key)
    }

    /// It with what is personal read as NULL: in its key too, before the newest rows are looked for.
    pub(crate) fn without_personal(&self, declared: &Declared) -> Result<Arc<dyn TableProvider>> {
        let hidden = if self.name == DEAD_LETTERS {
            dead_letters(declared.types())
        } else {
            let Some(personal) = declared.table(&self.name) else { return Ok(self.whole()) };
            event_table(personal, &self.schema())
        };
        if hidden.is_empty() {
            return Ok(self.whole());
        }
        let schema = self.schema();
        let columns = schema.fields().iter().map(|field| {
            let name = field.name();
            match hidden.get(name.as_str()) {
                None => Ok(Expr::Column(Column::from_name(name))),
                Some(hidden) => hidden.of(name, field.data_type()).map(|value| value.alias(name)),
            }
        });
        let plan = columns.collect::<Result<Vec<_>, _>>().and_then(|columns| {
            let source = datafusion::datasource::provider_as_source(self.provider.clone());
            LogicalPlanBuilder::scan(UNNAMED_TABLE, source, None)?.project(columns)?.build()
        });
        let plan = plan.map_err(|error| Error::Internal(error.strip_backtrace()))?;
        Ok(latest::newest(Arc::new(datafusion::datasource::ViewTable::new(plan, None)), &self.key))
    }
}

/// What becomes of a column.
enum Hidden {
    Null,
    By(Hide),
    /// NULL where the condition on the row's type holds.
    NullIf(Expr),
    /// By a function that also looks at the row's type.
    ByType(Hide),
}

impl Hidden {
    fn of(&self, column: &str, data_type: &datafusion::arrow::datatypes::DataType) -> datafusion::common::Result<Expr> {
        let value = Expr::Column(Column::from_name(column));
        let null = || Ok::<_, datafusion::error::DataFusionError>(lit(ScalarValue::try_new_null(data_type)?));
        match self {
            Self::Null => null(),
            Self::By(hide) => Ok(Mask::function(hide.clone()).call(vec![value])),
            Self::NullIf(condition) => when(condition.clone(), null()?).otherwise(value),
            Self::ByType(hide) => {
                Ok(Mask::function(hide.clone()).call(vec![value, Expr::Column(Column::from_name("type"))]))
            }
        }
    }
}

fn event_table(personal: &Personal, schema: &Schema) -> BTreeMap<String, Hidden> {
    let rules = personal.rules(schema).into_iter();
    let hidden = rules.map(|(column, rule)| {
        let hidden = match rule {
            Rule::Null => Hidden::Null,
            Rule::Fields(paths) => Hidden::By(Hide::Fields(paths)),
            Rule::Extra => Hidden::By(Hide::Extra(personal.clone())),
        };
        (column, hidden)
    });
    hidden.collect()
}

/// Dead letters keep payloads whole, so that of a type with anything personal all of it is hidden,
/// the detail too, which may quote it; as is a payload of which nobody knows the type.
fn dead_letters(types: &BTreeMap<String, Personal>) -> BTreeMap<String, Hidden> {
    let mut hidden = BTreeMap::new();
    if types.is_empty() {
        return hidden;
    }
    let is_type = |those: Vec<&String>| {
        let kind = Expr::Column(Column::from_name("type"));
        kind.clone().is_null().or(kind.in_list(those.into_iter().map(|kind| lit(kind.as_str())).collect(), false))
    };
    for column in ["payload", "detail"] {
        hidden.insert(column.to_owned(), Hidden::NullIf(is_type(types.keys().collect())));
    }
    for column in ["game_id", "player_id", "source"] {
        let those: Vec<&String> =
            types.iter().filter(|(_, personal)| personal.columns.contains(column)).map(|(kind, _)| kind).collect();
        if !those.is_empty() {
            hidden.insert(column.to_owned(), Hidden::NullIf(is_type(those)));
        }
    }
    hidden.insert("headers".to_owned(), Hidden::ByType(Hide::Headers(Arc::new(types.clone()))));
    hidden
}
