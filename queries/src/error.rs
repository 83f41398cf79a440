//! What can go wrong with a question, by what the asker can do about it.

use ::http::StatusCode;
use edge::Problem;
use std::time::Duration;

/// Why a query has no answer, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL is wrong, or asks for what isn't allowed.
    #[error("{0}")]
    Refused(String),
    /// The SQL names a table that isn't there.
    #[error("no table {table:?}{near}: {why}")]
    NoTable {
        /// As the SQL names it.
        table: String,
        /// Similar names, as a clause of the sentence; or empty.
        near: String,
        /// Why there is none, as far as its name tells.
        why: String,
    },
    /// There is no report of this name.
    #[error("no report {0:?}; GET /v1/reports lists them")]
    NoReport(String),
    /// It took longer than [`crate::Config::time_limit`].
    #[error("the query was stopped at its time limit of {} s", .0.as_secs_f64())]
    Time(Duration),
    /// The answer has more rows than [`crate::Config::rows_max`].
    #[error("the answer has more than {0} rows, the limit; add a LIMIT, a filter or a GROUP BY")]
    Rows(usize),
    /// It needs more memory or spill space than there is.
    #[error("the query needs more memory than the {limit} bytes that all queries share: {detail}")]
    Memory {
        /// [`crate::Config::memory_bytes`].
        limit: usize,
        /// What asked for more.
        detail: String,
    },
    /// Too many are running and waiting.
    #[error("{}", busy(*.running, *.ending, *.waiting, *.waited))]
    Busy {
        /// Those that run and are wanted.
        running: usize,
        /// Those that nobody wants any more and that hold their places still.
        ending: usize,
        /// Those that wait for a place, this one left out.
        waiting: usize,
        /// How long it waited itself: all of [`crate::Config::time_limit`], or not at all, since
        /// [`crate::Config::waiting_max`] did.
        waited: Option<Duration>,
    },
    /// Somebody who may ended it.
    #[error("the query was cancelled")]
    Cancelled,
    /// The asker has a query of this id.
    #[error("you have a query {0:?} running, ending or open; choose another id, or leave it to the server")]
    Taken(String),
    /// The asker has too many answers in pages open.
    #[error("you have {answers} answers open, which is the limit; close one with DELETE, or wait {} s", .idle.as_secs_f64())]
    Open {
        /// How many.
        answers: usize,
        /// [`crate::Config::pages_idle`].
        idle: Duration,
    },
    /// An answer is too large to be kept for pages.
    #[error("the answer takes more than {0} bytes, the limit for pages; ask without page_rows, or for less")]
    Pages(usize),
    /// The answers that are open take all memory that there is for them.
    #[error(
        "the answers that are open take the {limit} bytes that there are for pages; try again, or ask without page_rows"
    )]
    NoRoom {
        /// [`crate::Config::pages_bytes_max`].
        limit: usize,
        /// [`crate::Config::pages_idle`].
        idle: Duration,
    },
    /// The tables can't be read.
    #[error(transparent)]
    Store(#[from] tables::Error),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] events::log::Error),
    /// A fault of ours, for the log.
    #[error("the query failed inside: {0}")]
    Internal(String),
}

fn busy(running: usize, ending: usize, waiting: usize, waited: Option<Duration>) -> String {
    let are = |count: usize| if count == 1 { "is" } else { "are" };
    let queries = if running == 1 { "query" } else { "queries" };
    let stand = format!(
        "{running} {queries} {} running, {ending} {} ending and {waiting} {} waiting",
        are(running),
        are(ending),
        are(waiting)
    );
    match waited {
        None => format!("there is no place for the query: {stand}, which is the limit; try again"),
        Some(waited) => {
            format!("no place came free in the {} s that a query may take: {stand}; try again", waited.as_secs_f64())
        }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The word for it in metrics and in the problem's member `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NoTable { .. } => "no_table",
            Self::NoReport(_) => "no_report",
            Self::Time(_) => "time_limit",
            Self::Rows(_) => "row_limit",
            Self::Memory { .. } => "memory_limit",
            Self::Busy { .. } => "busy",
            Self::Cancelled => "cancelled",
            Self::Taken(_) => "id_taken",
            Self::Open { .. } => "open_limit",
            Self::Pages(_) => "page_limit",
            Self::NoRoom { .. } => "page_memory",
            Self::Store(_) => "store",
            Self::Log(_) => "log",
            Self::Internal(_) => "internal",
        }
    }

    /// As a client sees it.
    pub fn to_problem(&self) -> Problem {
        let status = match self {
            Self::Refused(_) | Self::Rows(_) | Self::Memory { .. } | Self::Pages(_) => StatusCode::BAD_REQUEST,
            Self::Cancelled | Self::Taken(_) => StatusCode::CONFLICT,
            Self::Open { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoTable { .. } | Self::NoReport(_) => StatusCode::NOT_FOUND,
            Self::Time(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } | Self::NoRoom { .. } | Self::Store(_) | Self::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // What the store or the log said is for the operator: who asked can only come again.
        let detail = match self {
            Self::Store(_) => "the tables can't be read at the moment; the server's log says why".into(),
            Self::Internal(_) => "the query failed by a fault of the server; its log says why".into(),
            other => other.to_string(),
        };
        let problem = Problem::new(status, detail).with("kind", self.kind());
        match self {
            Self::Open { idle, .. } | Self::NoRoom { idle, .. } => problem.with_retry_after(*idle),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => problem.with_retry_after(Duration::from_secs(1)),
            _ => problem,
        }
    }
}
