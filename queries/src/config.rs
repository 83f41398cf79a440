//! The limits within which queries run.

use std::path::PathBuf;
use std::time::Duration;

/// What a query may take, and how many may run. Past each limit stands a one-line error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads that plan and run queries, apart from those that serve HTTP.
    pub threads: usize,
    /// Stack of each of these threads, in bytes: planning walks expressions recursively.
    pub stack_bytes: usize,
    /// Memory that all running queries share for what they hold (sorts, joins, groups), in bytes.
    /// DataFusion doesn't count all it holds, so leave as much again free.
    pub memory_bytes: usize,
    /// Where sorts and groups spill when memory is short; `None`: they fail instead.
    pub spill_dir: Option<PathBuf>,
    /// Bytes that all spills together may take.
    pub spill_bytes: u64,
    /// From the start of planning to the last row.
    pub time_limit: Duration,
    /// Rows of one answer.
    pub rows_max: usize,
    /// Length of the SQL text, in bytes.
    pub sql_bytes_max: usize,
    /// Words, numbers and signs in the SQL text. `1+1+...` nests as deep as it is long.
    pub tokens_max: usize,
    /// Parentheses, brackets and CASEs inside each other.
    pub depth_max: usize,
    /// Queries that run at once.
    pub running_max: usize,
    /// Queries that wait for their turn; a further one is refused with 503.
    pub waiting_max: usize,
    /// How long the rows of an answer in pages are kept after the last look at them.
    pub pages_idle: Duration,
    /// Answers in pages that one asker may have open.
    pub pages_answers_max: usize,
    /// Memory of all rows that are kept for pages, in bytes; one answer may take a quarter.
    pub pages_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            stack_bytes: 64 << 20,
            memory_bytes: 1 << 30,
            spill_dir: None,
            spill_bytes: 8 << 30,
            time_limit: Duration::from_secs(60),
            rows_max: 1_000_000,
            sql_bytes_max: 64 << 10,
            tokens_max: 4_000,
            depth_max: 32,
            running_max: 4,
            waiting_max: 64,
            pages_idle: Duration::from_secs(60),
            pages_answers_max: 8,
            pages_bytes_max: 256 << 20,
        }
    }
}
