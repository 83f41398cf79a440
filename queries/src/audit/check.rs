//! The equation, worked out for one partition: what the ledger says against what the tables hold.
//! Pure: everything that it needs stands in the account.

use super::cut::Account;
use super::{Partition, Sums};
use events::dead::Reason;
use events::log::Offset;
use std::collections::{BTreeMap, BTreeSet};
use tables::DEAD_LETTERS;

/// Ranges that one sentence names.
const RANGES_MAX: usize = 3;
/// How the names of raw topics end.
const RAW: &str = ".raw";

/// A partition's books, and what is wrong with them.
pub(crate) fn balance(account: &Account) -> (Partition, Vec<String>) {
    let mut problems = Vec::new();
    tiles(account, &mut problems);
    acknowledged(account, &mut problems);
    let mut removed = Taken::of(account);
    let accepted: u64 = account.entries.processed.iter().map(|step| step.accepted).sum();
    let in_flight = accepted - account.settled().map(|step| step.accepted).sum::<u64>();
    places(account, &removed, in_flight, &mut problems);
    reasons(account, &removed, &mut problems);
    tables(account, &removed, in_flight, &mut problems);
    let total = removed.total();
    removed.set_aside(total.saturating_sub(lacking(account)));
    let counted = &account.counted;
    let sums = Sums {
        acknowledged: account.entries.acknowledged,
        accepted,
        delivered: counted.delivered + removed.rows,
        duplicates: account.settled().map(|step| step.duplicates).sum(),
        conflicts: counted.dead.get(Reason::Conflict.as_str()).copied().unwrap_or(0) + removed.conflicts(),
        dead: counted
            .dead
            .iter()
            .filter(|(reason, _)| *reason != Reason::Conflict.as_str())
            .map(|(_, n)| n)
            .sum::<u64>()
            + removed.dead(),
        in_flight,
        expired: account.entries.expired.iter().map(|expired| expired.records).sum(),
    };
    let whole = sums.delivered + sums.duplicates + sums.conflicts + sums.dead + sums.in_flight;
    let lost = sums.accepted.saturating_sub(whole);
    if problems.is_empty() && (whole > sums.accepted || lost > expired_past_raw(account)) {
        problems.push(format!(
            "{}: {} accepted are not {} delivered + {} duplicates + {} conflicts + {} dead + {} in flight",
            account.key, sums.accepted, sums.delivered, sums.duplicates, sums.conflicts, sums.dead, sums.in_flight
        ));
    }
    let partition = Partition {
        stream: account.key.stream.clone(),
        partition: account.key.partition,
        incarnation: account.key.incarnation.clone(),
        cut: account.cut,
        sums,
        removed: total,
        balanced: problems.is_empty(),
    };
    (partition, problems)
}

/// Rows that were taken out on purpose.
#[derive(Debug, Default)]
struct Taken {
    /// From event tables.
    rows: u64,
    /// From `dead_letters`, by reason.
    letters: BTreeMap<String, u64>,
    /// By table.
    tables: BTreeMap<String, u64>,
}

impl Taken {
    fn of(account: &Account) -> Self {
        let mut taken = Self::default();
        for removal in &account.removed {
            *taken.tables.entry(removal.table.clone()).or_default() += removal.rows.values().sum::<u64>();
            for (what, rows) in &removal.rows {
                if removal.table == DEAD_LETTERS {
                    *taken.letters.entry(what.clone()).or_default() += rows;
                } else {
                    taken.rows += rows;
                }
            }
        }
        taken
    }

    fn conflicts(&self) -> u64 {
        self.letters.get(Reason::Conflict.as_str()).copied().unwrap_or(0)
    }

    fn dead(&self) -> u64 {
        self.letters.values().sum::<u64>() - self.conflicts()
    }

    fn total(&self) -> u64 {
        self.rows + self.letters.values().sum::<u64>()
    }

    /// Leaves out rows that were taken from past the cut: their events count as in flight.
    fn set_aside(&mut self, mut rows: u64) {
        for count in std::iter::once(&mut self.rows).chain(self.letters.values_mut()) {
            let aside = rows.min(*count);
            *count -= aside;
            rows -= aside;
        }
    }
}

/// Records that expired between raw and the tables: an upper bound of the rows that may be missing.
fn expired_past_raw(account: &Account) -> u64 {
    let past = account.entries.expired.iter().filter(|expired| !expired.topic.ends_with(RAW));
    past.map(|expired| expired.records).sum()
}

/// Entries of a reader must tile from 0 to its position.
fn tiles(account: &Account, problems: &mut Vec<String>) {
    let key = &account.key;
    let expired = |topic: &str| {
        let of_topic = account.entries.expired.iter().filter(|expired| expired.topic.ends_with(topic));
        of_topic.map(|expired| (expired.from, expired.to)).collect::<Vec<_>>()
    };
    let mut steps: Vec<_> = account.entries.processed.iter().map(|step| (step.from, step.to)).collect();
    steps.extend(expired(RAW));
    let position = account.positions.as_ref().map(|positions| positions.raw.unwrap_or(0));
    tile(&format!("{key}: entries of the processor"), &format!("{}{RAW}", key.stream), steps, position, problems);
    for (what, end) in [(".clean", account.clean), (".dead", account.dead)] {
        let topic = format!("{}{what}", key.stream);
        let flushes = account.entries.sunk.iter().filter(|flush| flush.topic.ends_with(what) && flush.to <= end);
        let mut flushes: Vec<_> = flushes.map(|flush| (flush.from, flush.to)).collect();
        flushes.extend(expired(what));
        tile(
            &format!("{key}: entries of the sink"),
            &topic,
            flushes,
            account.positions.as_ref().map(|_| end),
            problems,
        );
    }
}

fn tile(
    whose: &str,
    topic: &str,
    mut ranges: Vec<(Offset, Offset)>,
    position: Option<Offset>,
    problems: &mut Vec<String>,
) {
    ranges.sort_unstable();
    let mut at = 0;
    for (from, to) in ranges {
        if from > at {
            problems.push(format!("{whose} leave out offsets {at} to {from} of {topic}"));
        } else if from < at {
            problems.push(format!("{whose} count offsets {from} to {} of {topic} twice", at.min(to)));
        }
        at = at.max(to);
    }
    if let Some(position) = position
        && at < position
    {
        problems.push(format!("{whose} end at offset {at} of {topic}, but its position is {position}"));
    }
}

/// What ingest acknowledged must have been read, or be there to read.
fn acknowledged(account: &Account, problems: &mut Vec<String>) {
    let accepted: u64 = account.entries.processed.iter().map(|step| step.accepted).sum();
    let raw = account.entries.expired.iter().filter(|expired| expired.topic.ends_with(RAW));
    let expired: u64 = raw.map(|expired| expired.records).sum();
    let there = accepted + account.unread + expired;
    if account.entries.acknowledged > there {
        problems.push(format!(
            "{}: ingest acknowledged {} events, but only {accepted} were read from raw and {} are there to read: {} are lost",
            account.key,
            account.entries.acknowledged,
            account.unread,
            account.entries.acknowledged - there
        ));
    }
}

/// Each step's rows must stand in the tables, each once.
fn places(account: &Account, removed: &Taken, in_flight: u64, problems: &mut Vec<String>) {
    let key = &account.key;
    let counted = &account.counted;
    if counted.doubled > 0 {
        let examples = counted.examples.iter().map(|(table, raw)| format!("raw offset {raw} in table {table}"));
        let examples = examples.collect::<Vec<_>>().join(", ");
        problems.push(format!("{key}: {} rows stand twice: {examples}", counted.doubled));
    }
    let covered: u64 = account.settled().map(|step| step.found).sum();
    if counted.distinct > covered {
        let rows = counted.distinct - covered;
        problems.push(format!(
            "{key}: {rows} rows come from raw offsets below {} that no ledger entry covers",
            account.cut
        ));
    }
    let (lacking, mut lacks, mut over) = (lacking(account), Vec::new(), Vec::new());
    for step in account.settled() {
        let (expected, found) = (step.rows(), step.found);
        if found < expected {
            lacks.push(format!("{} of {expected} from raw offsets {} to {}", expected - found, step.from, step.to));
        } else if found > expected {
            over.push(format!(
                "{} more than {expected} from raw offsets {} to {}",
                found - expected,
                step.from,
                step.to
            ));
        }
    }
    if !over.is_empty() {
        problems.push(format!("{key}: there are rows too many: {}", some(&over)));
    }
    let explained = removed.total();
    if lacking > explained + expired_past_raw(account) {
        let missing = lacking - explained;
        let removed =
            if explained > 0 { format!(" ({explained} more were removed on purpose)") } else { String::new() };
        problems.push(format!("{key}: {missing} rows are missing{removed}: {}", some(&lacks)));
    } else if explained > lacking + in_flight {
        problems.push(format!("{key}: {explained} rows were removed on purpose, but only {lacking} are gone"));
    }
}

/// Rows that steps below the cut made, and that are in no table.
fn lacking(account: &Account) -> u64 {
    account.settled().map(|step| step.rows().saturating_sub(step.found)).sum()
}

fn some(ranges: &[String]) -> String {
    let named = ranges.iter().take(RANGES_MAX).cloned().collect::<Vec<_>>().join("; ");
    let more = ranges.len().saturating_sub(RANGES_MAX);
    if more > 0 { format!("{named}; and {more} more places") } else { named }
}

/// Dead letters of the processor must stand there with the reasons that it counted.
fn reasons(account: &Account, removed: &Taken, problems: &mut Vec<String>) {
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, letters) in account.settled().flat_map(|step| &step.dead) {
        *counted.entry(reason.as_str()).or_default() += letters;
    }
    for (reason, letters) in counted {
        let there = account.counted.dead.get(reason).copied().unwrap_or(0);
        let gone = removed.letters.get(reason).copied().unwrap_or(0);
        if there + gone + expired_past_raw(account) < letters {
            problems.push(format!(
                "{}: the processor counted {letters} dead letters for {reason}, table {DEAD_LETTERS} has {there}",
                account.key
            ));
        }
    }
}

/// Each table must have the rows that sinks counted into it. Some that were removed may have lain
/// past the sinks' positions.
fn tables(account: &Account, removed: &Taken, in_flight: u64, problems: &mut Vec<String>) {
    let mut sunk: BTreeMap<&str, u64> = BTreeMap::new();
    for flush in &account.entries.sunk {
        let end = if flush.topic.ends_with(".dead") { account.dead } else { account.clean };
        if flush.to <= end {
            for (table, rows) in &flush.rows {
                *sunk.entry(table).or_default() += rows;
            }
        }
    }
    let names: BTreeSet<&str> = sunk.keys().copied().chain(account.counted.sunk.keys().map(String::as_str)).collect();
    for table in names {
        let counted = sunk.get(table).copied().unwrap_or(0);
        let there = account.counted.sunk.get(table).copied().unwrap_or(0);
        let gone = removed.tables.get(table).copied().unwrap_or(0);
        if there > counted || there + gone < counted || there + gone > counted + in_flight {
            let gone = if gone > 0 { format!(" and {gone} were removed on purpose") } else { String::new() };
            problems.push(format!(
                "{}: sinks counted {counted} rows into table {table}, it has {there}{gone}",
                account.key
            ));
        }
    }
}
