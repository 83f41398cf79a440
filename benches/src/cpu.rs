//! CPU time and memory of a process, as the kernel counts them.

use anyhow::Context;
use std::time::Duration;

/// The unit of proc(5)'s times: USER_HZ, 100 on every architecture that Linux has today.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time that a process has used, user plus system, all threads.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let after_name = stat.rsplit_once(')').context("no name in /proc stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |place: usize| -> anyhow::Result<u64> { Ok(fields.get(place).context("short /proc stat")?.parse()?) };
    // utime and stime are fields 14 and 15 of stat(5), 12th and 13th after the name.
    let total = ticks(11)? + ticks(12)?;
    Ok(Duration::from_millis(total * 1_000 / TICKS_PER_SECOND))
}

/// Resident memory of a process, in bytes.
pub(crate) fn memory_bytes(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmRSS:")
}

/// Peak resident memory of a process, in bytes.
pub(crate) fn memory_peak_bytes(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmHWM:")
}

fn of_status(pid: u32, name: &'static str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1_024)
}

/// Does `work` in this process, and says the CPU time that all threads used meanwhile.
pub(crate) fn time<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let start = cpu_time::ProcessTime::now();
    let made = work()?;
    Ok((made, start.elapsed()))
}
