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
//! | [`conformance`] | what any sink must do, as a suite |

mod append;
mod config;
pub mod conformance;
mod entries;
mod error;
mod flush;
mod recover;
mod route;
mod signal;
mod worker;

pub use config::Config;
pub use error::Error;
pub use signal::{FlushSignal, Health};
pub use worker::run;
