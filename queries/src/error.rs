//! What can go wrong with a question, by what the asker can do about it.

use ::http::StatusCode;
use datafusion::error::DataFusionError;
use edge::Problem;
use std::time::Duration;

/// Why a query has no answer, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL is wrong, or asks for what isn't allowed.
    #[error("{0}")]
    Refused(String),
    /// The SQL names a table that isn't there.
    #[error("no table {table:?}{near}: no event of that type has arrived yet")]
    NoTable {
        /// As the SQL names it.
        table: String,
        /// Similar names, as a clause of the sentence; or empty.
        near: String,
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
    #[error("the query needs more memory than its limit of {limit} bytes: {detail}")]
    Memory {
        /// [`crate::Config::memory_bytes`].
        limit: usize,
        /// What asked for more.
        detail: String,
    },
    /// Too many are running and waiting.
    #[error("{running} queries are running and {waiting} are waiting, which is the limit; try again")]
    Busy {
        /// [`crate::Config::running_max`].
        running: usize,
        /// [`crate::Config::waiting_max`].
        waiting: usize,
    },
    /// The tables can't be read.
    #[error(transparent)]
    Store(#[from] tables::Error),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] events::log::Error),
    /// A fault of ours.
    #[error("the query failed inside: {0}")]
    Internal(String),
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
            Self::Store(_) => "store",
            Self::Log(_) => "log",
            Self::Internal(_) => "internal",
        }
    }

    /// As a client sees it.
    pub fn to_problem(&self) -> Problem {
        let status = match self {
            Self::Refused(_) | Self::Rows(_) | Self::Memory { .. } => StatusCode::BAD_REQUEST,
            Self::NoTable { .. } | Self::NoReport(_) => StatusCode::NOT_FOUND,
            Self::Time(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } | Self::Store(_) | Self::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Problem::new(status, self.to_string()).with("kind", self.kind());
        match status {
            StatusCode::SERVICE_UNAVAILABLE => problem.with_retry_after(Duration::from_secs(1)),
            _ => problem,
        }
    }

    /// What DataFusion said, in one line and by whose fault it is.
    pub(crate) fn of_datafusion(error: &DataFusionError, memory_limit: usize) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(detail) => {
                Self::Memory { limit: memory_limit, detail: one_line(detail) }
            }
            DataFusionError::IoError(error) => Self::Internal(one_line(&error.to_string())),
            DataFusionError::ObjectStore(error) => Self::Internal(one_line(&error.to_string())),
            DataFusionError::ParquetError(error) => Self::Internal(one_line(&error.to_string())),
            DataFusionError::Internal(detail) => Self::Refused(one_line(detail)),
            root => Self::Refused(one_line(&root.strip_backtrace())),
        }
    }
}

/// The first sentence, without DataFusion's prefixes and line breaks.
fn one_line(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    let text = text.split("\n\nThis issue was likely caused by").next().unwrap_or(text);
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for prefix in ["Error during planning: ", "SQL error: ", "Schema error: ", "Execution error: ", "Arrow error: "] {
        if let Some(rest) = line.strip_prefix(prefix) {
            line = rest.to_owned();
        }
    }
    const LENGTH_MAX: usize = 1_000;
    if line.len() > LENGTH_MAX {
        let cut = (0..=LENGTH_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}
