//! What processes say of themselves in `/metrics`, summed over their lives, and the memory that they take.

use crate::role::Role;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMORY_EVERY: Duration = Duration::from_millis(250);
/// Metrics are asked for each so many looks at the memory.
const METRICS_EVERY: usize = 4;

/// Watches until it is aborted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// What each process said last, by process and series.
    last: HashMap<(String, String), f64>,
    /// Sums of counters over all processes and their lives, by name.
    counters: BTreeMap<String, f64>,
    /// Bytes, by process.
    memory: HashMap<String, Vec<(Instant, u64)>>,
}

impl Watch {
    pub(crate) async fn run(self, roles: Arc<Vec<Role>>) {
        for round in 0_usize.. {
            for role in roles.iter() {
                if let Some(bytes) = role.pid().and_then(resident) {
                    self.0.lock().memory.entry(role.name.clone()).or_default().push((Instant::now(), bytes));
                }
            }
            if round.is_multiple_of(METRICS_EVERY) {
                self.ask(&roles).await;
            }
            tokio::time::sleep(MEMORY_EVERY).await;
        }
    }

    /// Asks all processes once. What one had counted since it was last asked is lost if it is killed.
    pub(crate) async fn ask(&self, roles: &[Role]) {
        for role in roles.iter() {
            // Frozen ones would hold the others up.
            let asked = tokio::time::timeout(MEMORY_EVERY, role.get("/metrics")).await;
            if let Ok(Ok((true, text))) = asked {
                self.0.lock().take(&role.name, &text);
            }
        }
    }

    /// A counter, over all processes and their lives.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        // Counts are whole, and far below where floats lose them.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let count = self.0.lock().counters.get(name).copied().unwrap_or_default() as u64;
        count
    }

    /// The least and the most memory that a process of this kind took in a time, in bytes.
    pub(crate) fn memory(&self, kind: &str, from: Instant, to: Instant) -> (u64, u64) {
        let seen = self.0.lock();
        let of_kind = seen.memory.iter().filter(|(name, _)| name.starts_with(kind));
        let looks = of_kind.flat_map(|(_, looks)| looks).filter(|(at, _)| (from..=to).contains(at));
        looks.fold((u64::MAX, 0), |(least, most), (_, bytes)| (least.min(*bytes), most.max(*bytes)))
    }
}

impl Seen {
    fn take(&mut self, process: &str, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or(series);
            let Ok(value) = value.parse::<f64>() else { continue };
            if !name.ends_with("_total") {
                continue;
            }
            let before = self.last.insert((process.to_owned(), series.to_owned()), value).unwrap_or_default();
            // Below what it was, it counts anew: the process was started again.
            let more = if value < before { value } else { value - before };
            *self.counters.entry(name.to_owned()).or_default() += more;
        }
    }
}

/// Memory of a process, in bytes.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_processes_and_lives() {
        let mut seen = Seen::default();
        seen.take("sink-1", "# HELP a\na_total 5\na_total{b=\"c d\"} 2\nb 9\n");
        seen.take("sink-2", "a_total 1\n");
        seen.take("sink-1", "a_total 7\n");
        seen.take("sink-1", "a_total 3\n");
        assert_eq!(seen.counters, BTreeMap::from([("a_total".to_owned(), 5.0 + 2.0 + 1.0 + 2.0 + 3.0)]));
    }
}
