//! What a run found, for people and as JSON.

use crate::books::{Answer, Note};
use crate::judge::Verdict;
use crate::outages::{OutageReport, RollingReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How requests ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Answers {
    /// Requests by their end.
    pub requests: BTreeMap<&'static str, u64>,
    /// Events acknowledged, repeated ones included.
    pub acknowledged: u64,
    /// The slowest request that was accepted whole, in seconds.
    pub slowest_202_s: f64,
    /// The slowest request of all.
    pub slowest_s: f64,
}

impl Answers {
    pub(crate) fn of<'a>(notes: impl Iterator<Item = &'a Note>) -> Self {
        let mut this = Self::default();
        for note in notes {
            *this.requests.entry(note.answer.name()).or_default() += 1;
            this.acknowledged += u64::from(note.acknowledged);
            let took = note.took.as_secs_f64();
            this.slowest_s = this.slowest_s.max(took);
            if note.answer == Answer::Accepted {
                this.slowest_202_s = this.slowest_202_s.max(took);
            }
        }
        this
    }

    /// On one line.
    pub(crate) fn line(&self) -> String {
        let named = Answer::ALL.iter().filter_map(|answer| Some((answer.name(), self.requests.get(answer.name())?)));
        named.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }
}

/// How the random part went.
#[derive(Debug, Clone, Serialize)]
pub struct RandomReport {
    /// How long it took, in seconds.
    pub lasted_s: f64,
    /// Faults, by victim and kind.
    pub faults: BTreeMap<String, BTreeMap<String, u64>>,
    /// How requests ended.
    pub answers: Answers,
    /// Processes that did not stop well when they were told to.
    pub bad_stops: Vec<String>,
    /// What was found afterwards.
    pub verdict: Verdict,
}

/// What a run found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Chose the random faults, and the clients' games.
    pub seed: u64,
    /// The named outages.
    pub outages: Vec<OutageReport>,
    /// The rolling restart.
    pub rolling: Option<RollingReport>,
    /// The random part.
    pub random: Option<RandomReport>,
    /// Why it ended before its time: something could not be broken, mended or asked.
    pub broken_off: Option<String>,
    /// Processes that ended by themselves, when and why; they were started again.
    pub deaths: Vec<String>,
    /// Counters that tell of several writers on one table, over all processes and their lives.
    pub counters: BTreeMap<String, u64>,
}

/// Counters that a report shows.
pub(crate) const COUNTERS: [&str; 15] = [
    "killfeed_process_events_total",
    "killfeed_process_duplicate_events_total",
    "killfeed_process_rejoins_total",
    "killfeed_process_retries_total",
    "killfeed_sink_rows_total",
    "killfeed_sink_conflicts_total",
    "killfeed_sink_schema_races_total",
    "killfeed_sink_retries_total",
    "killfeed_sink_fenced_total",
    "killfeed_sink_positions_rebuilt_total",
    "killfeed_maintenance_compacted_files_total",
    "killfeed_maintenance_gave_way_total",
    "killfeed_maintenance_failures_total",
    "killfeed_ingest_accepted_events_total",
    "killfeed_ingest_refused_events_total",
];

/// Bytes as MiB.
pub(crate) fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

impl Report {
    /// Everything that is wrong; empty if all is well.
    pub fn wrongs(&self) -> Vec<String> {
        let verdicts = self.outages.iter().map(|outage| (outage.name, &outage.verdict));
        let verdicts = verdicts.chain(self.rolling.iter().map(|rolling| ("rolling restart", &rolling.verdict)));
        let verdicts = verdicts.chain(self.random.iter().map(|random| ("random faults", &random.verdict)));
        let wrongs =
            verdicts.flat_map(|(of, verdict)| verdict.wrongs.iter().map(move |wrong| format!("{of}: {wrong}")));
        wrongs.chain(self.broken_off.clone()).collect()
    }

    /// The figures, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for outage in &self.outages {
            outage_text(&mut text, outage);
        }
        if let Some(rolling) = &self.rolling {
            let slowest = rolling.restarted.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
            let _ = writeln!(text, "\nrolling restart");
            row(
                &mut text,
                "processes",
                &format!("{}, each ready again within {slowest:.1} s", rolling.restarted.len()),
            );
            row(&mut text, "requests", &rolling.answers.line());
            verdict_text(&mut text, &rolling.verdict);
        }
        if let Some(random) = &self.random {
            let _ = writeln!(text, "\nrandom faults, seed {}", self.seed);
            row(&mut text, "time", &format!("{:.0} s", random.lasted_s));
            for (victim, faults) in &random.faults {
                let faults: Vec<String> = faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
                row(&mut text, victim, &faults.join(", "));
            }
            row(&mut text, "requests", &random.answers.line());
            verdict_text(&mut text, &random.verdict);
        }
        let _ = writeln!(text, "\nover all processes and their lives");
        for (name, count) in &self.counters {
            let _ = writeln!(text, "  {name:<46} {count:>10}");
        }
        for death in &self.deaths {
            let _ = writeln!(text, "  {death}");
        }
        for wrong in self.wrongs() {
            let _ = writeln!(text, "wrong: {wrong}");
        }
        text
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<18} {value}");
}

fn outage_text(text: &mut String, outage: &OutageReport) {
    let seconds = |time: Option<f64>| time.map_or("never".to_owned(), |time| format!("{time:.1} s"));
    let memory = |[before, during, after]: [u64; 3]| format!("{before}, {during}, {after} MiB before, during, after");
    let _ = writeln!(text, "\n{}, for {:.1} s", outage.name, outage.lasted_s);
    row(text, "first trouble", &seconds(outage.first_trouble_s));
    row(text, "first 503", &seconds(outage.first_503_s));
    let said = outage.not_ready.as_deref().unwrap_or_default();
    row(text, "first not ready", &format!("{} {said}", seconds(outage.not_ready_s)));
    row(text, "requests", &outage.answers.line());
    row(text, "acknowledged", &outage.acknowledged_meanwhile.to_string());
    row(text, "slowest 202", &format!("{:.1} s", outage.answers.slowest_202_s));
    row(text, "slowest answer", &format!("{:.1} s", outage.answers.slowest_s));
    row(text, "memory, ingest", &memory(outage.ingest_mib));
    row(text, "memory, sink", &memory(outage.sink_mib));
    row(text, "recovered", &format!("{} after its end", seconds(outage.recovered_s)));
    verdict_text(text, &outage.verdict);
}

fn verdict_text(text: &mut String, verdict: &Verdict) {
    let (audit, read) = (&verdict.audit, &verdict.read);
    row(text, "all in tables", &format!("{:.1} s after its end", verdict.drained_s));
    let sent = format!("{} events so far, and {} of them again on purpose", verdict.acknowledged, verdict.repeated);
    row(text, "acknowledged", &sent);
    let books = if audit.balanced { "balanced" } else { "NOT balanced" };
    let sums = format!("{} accepted, {} delivered, {} duplicates", audit.accepted, audit.delivered, audit.duplicates);
    row(text, "audit", &format!("{books}: {sums}"));
    let wrong = format!(
        "{} lost, {} doubled, {} unknown, {} out of order",
        read.lost, read.doubled, read.unknown, read.disorder
    );
    row(text, "other readers", &format!("{} rows; {wrong}", read.rows));
}

/// Seconds since the start, for a timeline.
pub(crate) fn clock(elapsed: Duration) -> String {
    format!("{:>8.1} s", elapsed.as_secs_f64())
}
