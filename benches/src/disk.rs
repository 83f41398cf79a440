//! The disk between two loads: after hundreds of megabytes a second it answers an `fdatasync` late for a
//! while, whoever asks. A latency at a modest rate is measured when that is over.

use hdrhistogram::Histogram;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// One synced write: what a group of small requests comes to.
const WRITE_BYTES: usize = 16 << 10;
/// Synced writes in one look, and the pause between two of them: a second in all.
const WRITES: u32 = 250;
const PAUSE: Duration = Duration::from_millis(4);
/// The disk is calm when the 99th percentile of one look is below this.
const CALM: Duration = Duration::from_millis(1);
/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the disk below `dir` is calm, for thirty seconds at most; gives the 99th percentile of the
/// last look's synced writes.
pub(crate) fn settle(dir: &Path) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut file = tempfile::tempfile_in(dir)?;
    let block = vec![1; WRITE_BYTES];
    loop {
        let mut took_us = Histogram::<u64>::new(3)?;
        for _ in 0..WRITES {
            let write = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            took_us.record(u64::try_from(write.elapsed().as_micros())?)?;
            std::thread::sleep(PAUSE);
        }
        let p99 = Duration::from_micros(took_us.value_at_quantile(0.99));
        if p99 < CALM || start.elapsed() > PATIENCE {
            return Ok(p99);
        }
        file.rewind()?;
    }
}
