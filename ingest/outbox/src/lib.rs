//! The outbox relay: events that a game wrote into a table of its own PostgreSQL, in its own transactions, go to the
//! collection API. At least once, with ids that never change, so that each is in the tables once.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Relay`] | the loop; knows neither PostgreSQL nor HTTP |
//! | [`Store`], [`Api`] | what it asks of the table and of the API, and the laws that its promises rest on |
//! | [`PgStore`], `sql` | the table in PostgreSQL: lanes, claims, settlements |
//! | [`Table::ddl`] | the table itself |
//! | [`run()`] | all of it together, as `killfeed outbox` runs it |
//!
//! Time and chance are handed in.

mod api;
mod clock;
mod database;
mod http;
mod pace;
mod postgres;
mod relay;
mod row;
mod run;
mod schema;
mod server;
mod sql;
mod status;
mod store;
mod tls;

pub use api::{Api, Limits, Published, Reply, Verdict, Windows, interpret};
pub use clock::{Clock, SystemClock};
pub use database::Database;
pub use http::HttpApi;
pub use pace::Chance;
pub use postgres::PgStore;
pub use relay::{Relay, Settings, Stop};
pub use row::Row;
pub use run::{Options, RunError, run};
pub use schema::Table;
pub use server::router;
pub use sql::Delivered;
pub use status::Status;
pub use store::{Settled, Store, StoreError, Want};
