//! What the relay asks of the table: rows to send, and that it takes down what became of them.

use crate::row::Row;
use std::future::Future;
use std::time::Duration;

/// What a claim may take.
#[derive(Debug, Clone)]
pub struct Want {
    /// Rows at most.
    pub rows: usize,
    /// Bytes of attributes and payloads at most; a single row may have more.
    pub bytes: u64,
    /// A row of more bytes comes without its payload.
    pub row_bytes: u64,
    /// Orders (see [`Row::order`]) of which nothing is to be taken now.
    pub blocked: Vec<String>,
}

/// What became of the rows of a claim. A row that is named nowhere stays as it is: in doubt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Acknowledged: marked, or deleted.
    pub delivered: Vec<i64>,
    /// Never to be sent again, with the reason. They stay, and hold nothing up.
    pub refused: Vec<(i64, String)>,
    /// Surely not kept by the API, and not in doubt before this claim either.
    pub cleared: Vec<i64>,
}

/// Why the table could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't work as it is set up: no such table, no permission. Waiting doesn't help, somebody has to act.
    #[error("{0}")]
    Setup(String),
    /// The database is away, or the connection broke.
    #[error("{0}")]
    Gone(String),
}

/// The table of one relay.
///
/// Laws, which the relay's promises rest on:
/// 1. Between a claim and what follows it (`settle`, or the loss of the connection) no other relay is given rows of
///    the same order.
/// 2. A claim's rows are committed, durably, and stand in the order of `seq`. Of each order it takes a prefix of what is
///    neither settled nor blocked, as far as one snapshot shows it.
/// 3. When a claim has returned, the table knows durably that its rows are in doubt, and since when.
/// 4. `settle` does all of it, or fails; then nothing is known.
pub trait Store: Send {
    /// Takes rows; none, if there is nothing to do for this relay now.
    fn claim(&mut self, want: &Want) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Takes down what became of the rows of the last claim, and lets others have their orders.
    fn settle(&mut self, settled: &Settled) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns when something may have come, at the latest after `at_most`.
    fn idle(&mut self, at_most: Duration) -> impl Future<Output = ()> + Send;
}
