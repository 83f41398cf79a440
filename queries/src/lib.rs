//! 4. Ask: SQL, reports and the audit, over the tables that sinks write.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Engine`] | how a statement becomes an answer, and on which threads |
//! | [`Config`] | every limit that a query meets |
//! | [`Fresh`] | how answers have events that are in no table yet |
//! | [`router`] | the same over HTTP |
//! | [`reports`] | the `.sql` files with a header, and how their parameters are bound |
//! | [`format`] | an answer as bytes: eight formats |
//! | [`catalogue`] | which tables and columns there are |
//! | [`mod@audit`] | whether the books balance |
//! | [`view`] | answers, tables and events for pages |
//!
//! A query sees the newest committed version of each table that it names, united with what stands in the
//! log and not in the table yet ([`mod@fresh`]). Personal fields read as
//! NULL for those without the scope `personal`, below everything that a query could do with them.

mod answer;
pub mod audit;
mod calls;
pub mod catalogue;
mod chat;
mod config;
mod engine;
mod error;
pub mod format;
pub mod fresh;
mod functions;
mod guard;
mod http;
mod latest;
mod manage;
mod markdown;
mod mask;
mod near;
pub mod page;
mod paging;
mod personal;
mod present;
mod question;
pub mod reports;
mod run;
mod running;
mod scan;
mod snapshots;
#[cfg(test)]
mod tests;
mod union;
pub mod view;
mod views;
mod words;
mod written_out;

pub use crate::http::{FRESH_TO, QUERY_ID, WARNING, router};
pub use answer::Answer;
pub use audit::audit;
pub use config::Config;
pub use engine::{CATALOG, Engine, FRESHNESS, Parameters, SCHEMA, Viewer};
pub use error::{Error, Result};
pub use fresh::Fresh;
pub use question::{Described, Question, Surroundings};
pub use words::unread;
