//! What a seed decides before anything runs: how large the world is, and which kinds of faults it has.
//! Not every seed has all of them: a fault that drowns everything else hides what lies below it.

use events::log::memory::Faults;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// See the module. Rates are in parts of a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) partitions: i32,
    /// Processes that shall run at once.
    pub(crate) processors: usize,
    pub(crate) sinks: usize,
    pub(crate) maintains: bool,
    /// Faults that the log draws itself.
    pub(crate) log: Faults,
    /// Reads of the log that fail.
    pub(crate) log_reads_failed: u64,
    pub(crate) puts_failed: u64,
    pub(crate) puts_in_doubt: u64,
    pub(crate) store_reads_failed: u64,
    /// Calls that take effect long after the caller stopped to wait.
    pub(crate) stragglers: u64,
    /// How long a listing of the store lacks what was put, in ms.
    pub(crate) list_lag_ms: u64,
    /// How often the driver does each thing, relative to the others.
    pub(crate) appends: u32,
    pub(crate) kills: u32,
    pub(crate) pauses: u32,
    pub(crate) upsets: u32,
    pub(crate) crashes: u32,
    pub(crate) clocks: u32,
    pub(crate) outages: u32,
    pub(crate) flushes: u32,
    /// Records that are sent again, and others under the same key.
    pub(crate) resent: u64,
    pub(crate) conflicting: u64,
    /// Tens that calls take at most, on a usual day.
    pub(crate) slow: u64,
    pub(crate) flush_ms: u64,
    pub(crate) flush_rows: usize,
    pub(crate) tables_at_once: usize,
    pub(crate) step_records: usize,
    pub(crate) workers: usize,
    pub(crate) linger_ms: u64,
}

impl Plan {
    /// What this seed decides.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x706c_616e);
        let mut some = |often: f64, most: u64| if rng.random_bool(often) { rng.random_range(1..=most) } else { 0 };
        let rate = |drawn: u64| f64::from(u32::try_from(drawn).unwrap_or(0)) / 1_000.0;
        let log = Faults {
            gap: rate(some(0.6, 400)),
            aborted: rate(some(0.5, 300)),
            open: rate(some(0.5, 300)),
            unavailable: rate(some(0.5, 60)),
            in_doubt: rate(some(0.5, 120)),
            fenced: rate(some(0.4, 60)),
            crash: rate(some(0.2, 8)),
        };
        let weight = |drawn: u64| u32::try_from(drawn).unwrap_or(0);
        Self {
            seed,
            log,
            log_reads_failed: some(0.4, 20),
            puts_failed: some(0.5, 80),
            puts_in_doubt: some(0.5, 120),
            store_reads_failed: some(0.4, 20),
            stragglers: some(0.3, 40),
            list_lag_ms: some(0.3, 1_500),
            appends: 30 + weight(some(1.0, 30)),
            kills: weight(some(0.7, 12)),
            pauses: weight(some(0.6, 8)),
            upsets: weight(some(0.5, 8)),
            crashes: weight(some(0.2, 2)),
            clocks: weight(some(0.5, 8)),
            outages: weight(some(0.3, 4)),
            flushes: weight(some(0.5, 10)),
            resent: 30 + some(1.0, 250),
            conflicting: some(0.8, 60),
            slow: 1 + some(0.7, 6),
            partitions: rng.random_range(1..=4),
            processors: rng.random_range(1..=3),
            sinks: rng.random_range(1..=3),
            maintains: rng.random_bool(0.4),
            flush_ms: rng.random_range(1..=8) * 100,
            flush_rows: rng.random_range(2..=40),
            tables_at_once: rng.random_range(1..=4),
            step_records: rng.random_range(1..=24),
            workers: if rng.random_bool(0.2) { 2 } else { 1 },
            linger_ms: rng.random_range(0..=3) * 10,
        }
    }
}
