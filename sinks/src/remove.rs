//! Rows taken out on purpose, so that the books still balance.
//!
//! First the rows are counted, by incarnation and partition (and by reason in `dead_letters`), and
//! written to the ledger under a removal's id. Then one commit takes them out and carries the
//! transaction `killfeed/removal/<id>`: the entries count once the table holds it. A commit that
//! loses a file under way starts over with a new id; entries of an id that no table holds count for
//! nothing.

use crate::Error;
use crate::compact::drop_files;
use crate::flush::wait;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type};
use chrono::NaiveDate;
use deltalake::kernel::{Action, Add, Transaction};
use events::ledger::{Count, Entry, new_id};
use events::log::{Append, Durability, Log};
use events::streams::TopicPartition;
use events::{Clock, SharedStreams};
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::files::{self, Encoded, Encoder, LiveFile};
use tables::{DeltaTable, Head, Outcome, Store, removal_app_id};

/// Which rows go.
#[derive(Debug, Clone)]
pub(crate) enum Select {
    /// Those received before this date.
    Before(NaiveDate),
    /// Those of this player.
    Player(Arc<str>),
}

/// What a removal came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) rows: u64,
    pub(crate) files: u64,
}

/// Takes rows out of tables.
pub(crate) struct Remover<'a> {
    pub(crate) streams: &'a SharedStreams,
    pub(crate) instance: &'a str,
    pub(crate) log: &'a Arc<dyn Log>,
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

/// Rows by incarnation and partition, then by reason.
type Counts = BTreeMap<(String, i32), BTreeMap<String, u64>>;

/// A commit in the making.
#[derive(Default)]
struct Plan {
    counts: Counts,
    gone: Vec<LiveFile>,
    adds: Vec<Add>,
    rows: u64,
}

impl Remover<'_> {
    /// Takes the selected rows out of a table, until none is left.
    pub(crate) async fn remove(&self, name: &str, select: &Select, cause: &str) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        loop {
            let Some((table, mut head)) = self.store.open_table(name).await? else { return Ok(removed) };
            let plan = self.plan(&table, &head, select).await?;
            if plan.gone.is_empty() {
                return Ok(removed);
            }
            let removal = new_id();
            self.announce(name, &removal, cause, &plan.counts).await?;
            if self.commit(&mut head, &removal, &plan).await? {
                tracing::info!(table = name, cause, rows = plan.rows, files = plan.gone.len(), "removed rows");
                metrics::counter!("killfeed_sink_removed_rows_total", "cause" => cause.to_owned()).increment(plan.rows);
                removed.rows += plan.rows;
                removed.files += plan.gone.len() as u64;
            } else {
                drop_files(&table, &plan.adds).await;
            }
        }
    }

    async fn plan(&self, table: &DeltaTable, head: &Head, select: &Select) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let store = table.object_store();
        for file in files::live(table)? {
            if matches!(select, Select::Before(before) if file.date >= *before) {
                continue;
            }
            let rows = files::read(store.as_ref(), &file, head.schema().clone()).await?;
            let (select, schema) = (select.clone(), head.schema().clone());
            let date = file.date;
            let work = move || split(rows, Encoder::new(&schema, date)?, &select);
            let (counts, kept) = tokio::task::spawn_blocking(work).await??;
            if counts.is_empty() {
                continue;
            }
            if let Some(kept) = kept {
                plan.adds.push(files::put(store.as_ref(), kept, true).await?);
            }
            for (place, reasons) in counts {
                for (reason, rows) in reasons {
                    plan.rows += rows;
                    *plan.counts.entry(place.clone()).or_default().entry(reason).or_default() += rows;
                }
            }
            plan.gone.push(file);
        }
        Ok(plan)
    }

    /// Writes to the ledger what is about to be taken out.
    async fn announce(&self, table: &str, removal: &str, cause: &str, counts: &Counts) -> Result<(), Error> {
        let streams = self.streams.current();
        let mut open = Vec::new();
        for ((incarnation, partition), rows) in counts {
            // Rows of an incarnation that is gone are entered with the first stream; the audit knows
            // whose incarnation it was.
            let own = streams.iter().find(|info| *info.incarnation == **incarnation);
            let info = own.or(streams.first()).ok_or_else(|| Error::NoStream("of these rows".into()))?;
            let entry = Entry {
                id: new_id(),
                time_us: self.clock.now_us(),
                instance: self.instance.to_owned(),
                stream: info.stream.name().to_owned(),
                incarnation: incarnation.clone(),
                partition: *partition,
                count: Count::Removal {
                    removal: removal.to_owned(),
                    cause: cause.to_owned(),
                    table: table.to_owned(),
                    rows: rows.clone(),
                },
            };
            // Such rows may come from a partition that the stream no longer has.
            let to = TopicPartition::new(info.stream.ledger(), partition.rem_euclid(info.partitions.max(1)));
            open.push(Append { to, records: vec![entry.to_record()?] });
        }
        let mut tries = 0;
        while !open.is_empty() {
            let results = self.log.append(open.clone(), Durability::All).await;
            let mut failed = Vec::new();
            for (append, result) in open.into_iter().zip(results) {
                match result {
                    Ok(_) => {}
                    // An entry that was appended twice counts once, by its id.
                    Err(error) if error.is_retryable() => failed.push(append),
                    Err(error) => return Err(error.into()),
                }
            }
            open = failed;
            if !open.is_empty() {
                wait(&mut tries, "the ledger takes no entry of a removal").await;
            }
        }
        Ok(())
    }

    /// Commits; false if a file that the plan stands on is gone.
    async fn commit(&self, head: &mut Head, removal: &str, plan: &Plan) -> Result<bool, Error> {
        let id = removal_app_id(removal);
        let mut actions: Vec<Action> =
            plan.gone.iter().map(|file| Action::Remove(files::removal(file, true))).collect();
        actions.extend(plan.adds.iter().cloned().map(Action::Add));
        let now_ms = Some(self.clock.now_ms());
        actions.push(Action::Txn(Transaction::new_with_last_update(&id, 1, now_ms)));
        let mut tries = 0;
        loop {
            let changes = match head.commit("DELETE", actions.clone()).await {
                Ok(Outcome::Stands(_)) => return Ok(true),
                Ok(Outcome::Lost(changes)) => changes,
                Err(error) if error.is_retryable() => {
                    wait(&mut tries, &error.to_string()).await;
                    match head.refresh().await {
                        Ok(changes) => changes,
                        Err(error) if error.is_retryable() => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            };
            if head.txn(&id).is_some() {
                return Ok(true);
            }
            let gone = plan.gone.iter().any(|file| changes.removed.contains(&file.path));
            if gone || changes.metadata || changes.unknown {
                return Ok(false);
            }
        }
    }
}

/// Splits a file's rows: counts those that go, and encodes the others, if there are any.
fn split(rows: files::Reader, mut kept: Encoder, select: &Select) -> Result<(Counts, Option<Encoded>), Error> {
    let mut counts = Counts::new();
    for batch in rows {
        let batch = batch?;
        let goes = selected(&batch, select)?;
        count(&mut counts, &filter_record_batch(&batch, &goes)?)?;
        kept.write(&filter_record_batch(&batch, &arrow::compute::not(&goes)?)?)?;
    }
    if counts.is_empty() {
        return Ok((counts, None));
    }
    let kept = kept.finish()?;
    Ok((counts, (kept.rows > 0).then_some(kept)))
}

/// Which rows go; never null.
fn selected(batch: &RecordBatch, select: &Select) -> Result<BooleanArray, Error> {
    let player = match select {
        Select::Before(_) => return Ok(BooleanArray::from(vec![true; batch.num_rows()])),
        Select::Player(player) => player,
    };
    let none = || BooleanArray::from(vec![false; batch.num_rows()]);
    let Some(players) = batch.column_by_name("player_id") else { return Ok(none()) };
    let players = arrow::compute::cast(players, &DataType::Utf8)?;
    Ok(players.as_string::<i32>().iter().map(|found| Some(found == Some(player.as_ref()))).collect())
}

fn count(counts: &mut Counts, gone: &RecordBatch) -> Result<(), Error> {
    let texts = |name: &str| -> Result<Option<ArrayRef>, Error> {
        let column = gone.column_by_name(name);
        Ok(column.map(|column| arrow::compute::cast(column, &DataType::Utf8)).transpose()?)
    };
    let (incarnations, reasons) = (texts("_incarnation")?, texts("reason")?);
    let reasons = reasons.filter(|_| gone.column_by_name("_topic").is_some());
    let partitions = gone.column_by_name("_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
    for row in 0..gone.num_rows() {
        let text = |column: &Option<ArrayRef>| {
            column
                .as_ref()
                .filter(|column| column.is_valid(row))
                .map(|column| column.as_string::<i32>().value(row).to_owned())
        };
        let place = (text(&incarnations).unwrap_or_default(), partitions.map_or(0, |column| column.value(row)));
        let reason = text(&reasons).unwrap_or_else(|| "row".to_owned());
        *counts.entry(place).or_default().entry(reason).or_default() += 1;
    }
    Ok(())
}
