//! Responses by status.

use axum::http::StatusCode;
use metrics::{Counter, counter};
use std::sync::{LazyLock, OnceLock};

/// Statuses from 100 to 599.
const STATUSES: usize = 500;

/// Handles by status: each is looked up at its first response only.
static COUNTERS: LazyLock<Vec<OnceLock<Counter>>> = LazyLock::new(|| (0..STATUSES).map(|_| OnceLock::new()).collect());

/// Counts a response. Not before the metrics' recorder is installed.
pub(crate) fn count(status: StatusCode) {
    let place = usize::from(status.as_u16()).wrapping_sub(100);
    if let Some(counter) = COUNTERS.get(place) {
        let make = || counter!("killfeed_http_responses_total", "status" => status.as_str().to_owned());
        counter.get_or_init(make).increment(1);
    }
}
