//! The tables that one statement names, all as of one moment: snapshots, each with the tail of the log that
//! it lacks. The order of the steps is that of [`crate::fresh`].

use crate::fresh::{Cut, Known};
use crate::snapshots::{Looked, Snapshot};
use crate::{Engine, Error, Result, latest};
use datafusion::prelude::SessionContext;
use events::schema::Registry;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tables::DEAD_LETTERS;

/// Tables that are looked at at once.
const AT_ONCE: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// Those that are there, by name.
    pub(crate) tables: BTreeMap<String, Snapshot>,
    /// The time in µs up to which they are complete, if not up to now.
    pub(crate) fresh_to_us: Option<i64>,
    /// What to know about that, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Views {
    /// When the newest event of all of them was received, in µs.
    pub(crate) fn newest_us(&self) -> Result<Option<i64>> {
        let mut newest_us = None;
        for table in self.tables.values() {
            newest_us = newest_us.max(table.newest_us()?);
        }
        Ok(newest_us)
    }

    /// Puts to each table that of its newest rows, where there is a key.
    fn with_latest(mut self, registry: &Registry) -> Self {
        // Their names are kept free.
        self.tables.retain(|name, _| latest::table_of(name).is_none());
        let latest: Vec<Snapshot> = self.tables.values().filter_map(|table| table.latest(registry)).collect();
        self.tables.extend(latest.into_iter().map(|table| (table.name.clone(), table)));
        self
    }
}

impl Engine {
    /// The tables of these names as they are now.
    pub(crate) async fn views(&self, names: BTreeSet<String>, context: &SessionContext) -> Result<Views> {
        let made_of = |name: &String| latest::table_of(name).unwrap_or(name).to_owned();
        let views = self.tables_of(names.iter().map(made_of).collect(), context).await?;
        let mut views = views.with_latest(&self.registry().current());
        views.tables.retain(|name, _| names.contains(name));
        Ok(views)
    }

    async fn tables_of(&self, names: BTreeSet<String>, context: &SessionContext) -> Result<Views> {
        let Some(fresh) = self.fresh() else {
            let tables = self.look(names, context).await?.into_iter();
            let tables = tables.filter_map(|(name, looked)| Some((name, looked.snapshot?)));
            return Ok(Views { tables: tables.collect(), ..Views::default() });
        };
        let pinned = fresh.pin(names.iter().map(String::as_str)).await;
        let looked = self.look(names, context).await?;
        let cut = pinned.cut().await;
        self.unite(looked, &cut, context).await
    }

    /// All tables that there are, and those that are in the making.
    pub(crate) async fn all_views(&self, context: &SessionContext) -> Result<Views> {
        Ok(self.all_tables(context).await?.with_latest(&self.registry().current()))
    }

    async fn all_tables(&self, context: &SessionContext) -> Result<Views> {
        let Some(fresh) = self.fresh() else {
            let names = self.store().table_names().await?.into_iter().collect();
            return self.tables_of(names, context).await;
        };
        let all = ["", DEAD_LETTERS, tables::LEDGER];
        let pinned = fresh.pin(all.into_iter()).await;
        let names = self.store().table_names().await?.into_iter().collect();
        let mut looked = self.look(names, context).await?;
        let cut = pinned.cut().await;
        let further = cut.event_tables().into_iter().chain([DEAD_LETTERS.to_owned(), tables::LEDGER.to_owned()]);
        for name in further.filter(|name| !looked.contains_key(name)).collect::<Vec<_>>() {
            looked.insert(name, Looked::default());
        }
        self.unite(looked, &cut, context).await
    }

    /// Puts to each snapshot the rows that it lacks.
    async fn unite(&self, looked: BTreeMap<String, Looked>, cut: &Cut, context: &SessionContext) -> Result<Views> {
        let others = match looked.contains_key(DEAD_LETTERS) {
            false => BTreeMap::new(),
            true => self.known(cut.event_tables(), &looked, context).await?,
        };
        let mut views = Views { fresh_to_us: cut.fresh_to_us, ..Views::default() };
        for (name, looked) in looked {
            if looked.is_foreign() {
                continue;
            }
            let tail = cut.tail(&name, &looked.known, &others)?;
            let owner = cut.owner(&name, &looked.known);
            let Some(mut snapshot) = Snapshot::united(&name, looked.snapshot, tail)? else { continue };
            snapshot.event_type = owner;
            snapshot.seen_us = cut.newest_us(&name);
            views.tables.insert(name, snapshot);
        }
        if let Some(fresh_to) = cut.fresh_to_us.and_then(crate::present::micros) {
            let why = cut.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
            let why = why.replace(|c: char| c.is_control(), " ");
            views.warnings.push(format!("complete up to {fresh_to} only; what came later is in it in part{why}"));
        }
        Ok(views)
    }

    /// What is known of tables, looked up where the statement didn't.
    async fn known(
        &self,
        names: BTreeSet<String>,
        looked: &BTreeMap<String, Looked>,
        context: &SessionContext,
    ) -> Result<BTreeMap<String, Known>> {
        let (mut known, mut further) = (BTreeMap::new(), BTreeSet::new());
        for name in names {
            match looked.get(&name) {
                Some(looked) => drop(known.insert(name, looked.known.clone())),
                None => drop(further.insert(name)),
            }
        }
        let further = self.look(further, context).await?.into_iter();
        known.extend(further.map(|(name, looked)| (name, looked.known)));
        Ok(known)
    }

    async fn look(&self, names: BTreeSet<String>, context: &SessionContext) -> Result<BTreeMap<String, Looked>> {
        let with_txns = self.fresh().is_some();
        let looks = names.into_iter().map(|name| async move {
            let looked = match crate::engine::is_name(&name) {
                true => Snapshot::look(self.store(), &name, context, with_txns).await?,
                false => Looked::default(),
            };
            Ok::<_, Error>((name, looked))
        });
        futures::stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await
    }
}
