//! 3. Deliver: clean events to Delta tables, each exactly once.
//!
//! ```text
//!  <stream>.clean ─┐                ┌─ route by type ─ decode ─ Parquet ─ commit ─▶ one table per type
//!  <stream>.dead  ─┼─▶ worker ─▶ flush ── what can't be a row ──────────────────▶ dead_letters
//!  <stream>.ledger ┘   (buffers)    └────────────────────────────────────────────▶ killfeed_ledger
//!                          ▲                      then, in one step of the log:
//!                          └───────────── positions forward + ledger entries ◀─────┘
//! ```
//!
//! **Invariant.** Table T holds exactly T's rows of partition p with an offset below
//! max(T.txn\[p\], position\[p\]). Each commit carries a `txn` action per partition whose rows it
//! brings; the group's position moves after every table of the flush. So a restart reads again what
//! some tables have already, and those cut it off; a zombie finds the transactions past its rows.
//!
//! | start here | to learn |
//! |---|---|
//! | [`run`] | the worker: what it holds in memory, when it flushes |
//! | `flush` | one flush, from records to committed tables |
//! | `append` | the commit loop of one table |
//! | [`check_log`] | what a log that forgot is told at start |
//! | [`losses`] | what was deleted unread, and how a sink goes on without it |
//! | [`maintain`] | compaction, checkpoints, vacuum, rows past their keep |
//! | [`forget`], [`apply`] | a player erased; a column widened |
//! | [`conformance`] | what any sink must do, as a suite |

mod append;
mod apply;
mod behind;
mod compact;
mod config;
pub mod conformance;
mod entries;
mod error;
mod flush;
mod forget;
mod losses;
mod maintain;
mod recover;
mod remove;
mod route;
mod signal;
#[cfg(test)]
mod tests;
mod vacuum;
mod worker;

pub use apply::{Applied, apply};
pub use behind::check_log;
pub use config::Config;
pub use error::Error;
pub use forget::{Forgotten, forget};
pub use losses::{accept_losses, losses};
pub use maintain::{Maintained, Maintenance, maintain, maintain_once};
pub use signal::{FlushSignal, Health};
pub use worker::run;
