//! Ports that are free, and stay so: below those that the system gives to clients.

use anyhow::bail;
use parking_lot::Mutex;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 20_000..30_000;

/// The next ports to try, so that two callers never get the same ones.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// So many ports in a row that nobody listens on.
///
/// # Errors
/// There are none.
pub fn free(count: u16) -> anyhow::Result<Range<u16>> {
    let mut next = NEXT.lock();
    // Processes that start at the same time begin at different places.
    let mut first = next.unwrap_or_else(|| rand::random_range(RANGE));
    for _ in 0..RANGE.len() {
        if first + count >= RANGE.end {
            first = RANGE.start;
        }
        if (first..first + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            *next = Some(first + count);
            return Ok(first..first + count);
        }
        first += 1;
    }
    bail!("no {count} free ports in a row between {} and {}", RANGE.start, RANGE.end)
}
