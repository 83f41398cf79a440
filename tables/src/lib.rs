//! Where Delta tables lie, and how they are opened, followed and committed to.
//!
//! Sinks write tables and queries read them; both find them here, and neither knows the other.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Store`] | the directory or bucket that holds one Delta table per event type |
//! | [`Access`] | settings and credentials of a store that is not on this machine |
//! | [`Head`] | a writer's view of one table: version, columns, transactions; and the one way to commit |
//! | [`Txns`] | up to which offset a table holds each topic partition |
//! | [`files`] | rows to Parquet files and back, with statistics |
//! | [`Lease`] | who may rearrange tables, by conditional put with an expiry |
//! | [`conformance`] | what an object store must promise, as a suite that each passes |
//! | [`faults`] | a store in which things go wrong, by a seed |
//!
//! Layout: `<root>/<table>/_delta_log/` and `<root>/<table>/date=YYYY-MM-DD/*.parquet`. A table is a
//! plain Delta table (reader version 1, writer version 2: no optional features), so that any reader
//! opens it unchanged.

mod access;
mod check;
pub mod conformance;
mod create;
mod durable;
mod error;
pub mod faults;
pub mod files;
mod head;
mod lease;
mod replay;
mod s3;
mod store;
mod upload;

pub use access::Access;
pub use check::Purpose;
pub use create::{Definition, EVENT_TYPE, delta_schema};
pub use error::{Error, Result};
pub use head::{Changes, Head, Outcome, schema};
pub use lease::{Held, Lease};
pub use replay::Txns;
pub use store::Store;

/// Deltalake's table, as [`Store::load`] answers it.
pub use deltalake::DeltaTable;

use arrow::datatypes::Schema;
use events::log::Offset;

/// The table of dead letters.
pub const DEAD_LETTERS: &str = "dead_letters";
/// The table that the ledger's entries are carried to.
pub const LEDGER: &str = "killfeed_ledger";

/// The application id of the `txn` action that says up to which offset a table holds the rows of
/// this topic partition: `killfeed/<incarnation>/<topic>/<partition>`.
pub fn app_id(incarnation: &str, topic: &str, partition: i32) -> String {
    format!("killfeed/{incarnation}/{topic}/{partition}")
}

/// The application id of the `txn` action that says that a removal took place: rows that the ledger's
/// entries of this removal count are gone from the table that holds it.
pub fn removal_app_id(removal: &str) -> String {
    format!("killfeed/removal/{removal}")
}

/// The exclusive offset up to which `table` holds the rows of `app_id`; `None` if it never got any.
/// Looks it up in the table's log: for many ids at once, [`Store::txns`] is cheaper.
///
/// # Errors
/// If the table's log can't be read.
pub async fn txn(table: &DeltaTable, app_id: &str) -> Result<Option<Offset>> {
    let snapshot = table.snapshot()?;
    Ok(snapshot.transaction_version(table.log_store().as_ref(), app_id).await?)
}

/// Whether a table of this name and these columns is killfeed's: it bears the name of its event type, or
/// is one of killfeed's own and has their columns.
pub fn is_own(name: &str, has_event_type: bool, schema: &Schema) -> bool {
    let has = |column: &str| schema.column_with_name(column).is_some();
    has_event_type || matches!(name, DEAD_LETTERS | LEDGER) && has("_partition") && has("_offset")
}
