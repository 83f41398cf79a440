//! What the system says of this process and of its data directory, at the moment of a scrape.

use cpu_time::ProcessTime;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Metrics with the names that Prometheus gives them for any process: name, kind, meaning.
pub(super) const PROCESS: &[(&str, &str, &str)] = &[
    ("process_cpu_seconds_total", "counter", "User and system time that the process has used"),
    ("process_resident_memory_bytes", "gauge", "Resident memory of the process"),
    ("process_open_fds", "gauge", "Open file descriptors"),
    ("process_start_time_seconds", "gauge", "Start of the process since the epoch"),
];

/// When this process began to count, and where its data lies.
#[derive(Debug, Clone)]
pub(crate) struct System {
    data_dir: PathBuf,
    started: Duration,
}

impl System {
    /// Of a process that starts now.
    pub(crate) fn new(data_dir: &Path) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { data_dir: data_dir.to_owned(), started }
    }

    /// Sets the gauges of the machine: room on disk, and the most memory that may be had.
    #[expect(clippy::cast_precision_loss, reason = "for gauges")]
    pub(crate) fn measure(&self) {
        static MEMORY: OnceLock<Option<u64>> = OnceLock::new();
        if let Ok(disk) = rustix::fs::statvfs(&self.data_dir) {
            let unit = disk.f_frsize;
            metrics::gauge!("killfeed_data_dir_free_bytes").set(disk.f_bavail.saturating_mul(unit) as f64);
            metrics::gauge!("killfeed_data_dir_size_bytes").set(disk.f_blocks.saturating_mul(unit) as f64);
        }
        if let Some(bytes) = MEMORY.get_or_init(memory_limit) {
            metrics::gauge!("killfeed_memory_limit_bytes").set(*bytes as f64);
        }
    }

    /// The metrics of [`PROCESS`], in Prometheus' text format. What the system doesn't tell is left out.
    pub(crate) fn page(&self) -> String {
        let cpu = ProcessTime::try_now().ok().map(|used| used.as_duration().as_secs_f64());
        let values = [cpu, resident(), open_files(), Some(self.started.as_secs_f64())];
        let mut page = String::new();
        for ((name, kind, meaning), value) in PROCESS.iter().zip(values) {
            if let Some(value) = value {
                // Writing to a string can't fail.
                let _ = write!(page, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value}\n\n");
            }
        }
        page
    }
}

/// The number behind a name in one of the kernel's tables, in bytes.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let line =
        std::fs::read_to_string(table).ok()?.lines().find_map(|line| Some(line.strip_prefix(name)?.to_owned()))?;
    line.trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[expect(clippy::cast_precision_loss, reason = "for a gauge")]
fn resident() -> Option<f64> {
    Some(kibibytes("/proc/self/status", "VmRSS:")? as f64)
}

fn open_files() -> Option<f64> {
    let count = u32::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    // One of them is the look itself.
    Some(f64::from(count.saturating_sub(1)))
}

/// What the container may use, or else what the machine has.
fn memory_limit() -> Option<u64> {
    let machine = kibibytes("/proc/meminfo", "MemTotal:");
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.iter().find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    [machine, container].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_metric_with_a_likely_value() {
        let system = System::new(Path::new("."));
        let page = system.page();
        for (name, kind, _) in PROCESS {
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{page}");
            let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
        }
        assert!(memory_limit().unwrap() > 64 << 20);
    }
}
