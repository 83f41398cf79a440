//! DuckDB, in a process of its own that is told what to do line by line.

use anyhow::{Context, bail, ensure};
use queries::reports::{Kind, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What DuckDB says otherwise. It keeps times with a zone, whose dates need a calendar: the microseconds since 1970
/// are the quicker way for it. Its `/` gives fractions.
const DIALECT: [(&str, &str); 6] = [
    ("CAST(CAST(time AS TIMESTAMP(6)) AS BIGINT)", "epoch_us(time)"),
    ("CAST(CAST(time AS DATE) AS INT)", "CAST(epoch_us(time) // 86400000000 AS INT)"),
    ("CAST(CAST(first AS INT) AS DATE)", "DATE '1970-01-01' + CAST(first AS INT)"),
    ("CAST(time AS DATE)", "CAST(make_timestamp(epoch_us(time)) AS DATE)"),
    ("to_timestamp_micros(", "make_timestamp("),
    (" + 99) / 100", " + 99) // 100"),
];
/// What DuckDB has not: our functions, and our catalogue.
const OURS_ALONE: [&str; 2] = ["toxicity(", "FROM killfeed_tables"];

/// A report's text for DuckDB, with the defaults of its parameters written into it, which leaves it most to
/// simplify; `None` if it can't be asked.
pub(super) fn translated(report: &Report) -> Option<String> {
    if OURS_ALONE.iter().any(|ours| report.sql.contains(ours)) {
        return None;
    }
    let mut sql = report.sql.clone();
    for (ours, theirs) in DIALECT {
        sql = sql.replace(ours, theirs);
    }
    for param in &report.params {
        let text = report.text(param, &[]);
        let literal = if param.kind == Kind::Int { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) };
        sql = sql.replace(&format!("${}", param.name), &literal);
    }
    Some(sql)
}

/// The process; ended when dropped.
pub(super) struct Duck {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Duck {
    /// Starts it on the files of these tables.
    pub(super) fn start(python: Option<&Path>, files: &BTreeMap<String, Vec<PathBuf>>) -> anyhow::Result<Self> {
        let python = match python {
            Some(python) => python.to_owned(),
            // target/release/benches -> target/reader-venv
            None => std::env::current_exe()?
                .ancestors()
                .nth(2)
                .context("no target directory")?
                .join("reader-venv/bin/python"),
        };
        ensure!(python.exists(), "{} is not there: make reader", python.display());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/reports/duck.py");
        let mut command = Command::new(python);
        let limits = [super::THREADS.to_string(), format!("{}MiB", super::MEMORY_MIB)];
        command.arg(script).args(limits).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("DuckDB doesn't start")?;
        let to = child.stdin.take().context("no stdin")?;
        let from = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut duck = Self { child, to, from };
        duck.ask(&json!({ "tables": files }))?;
        Ok(duck)
    }

    /// How long it takes to have the whole answer in memory.
    pub(super) fn time(&mut self, sql: &str) -> anyhow::Result<Duration> {
        let said = self.ask(&json!({ "run": sql }))?;
        Ok(Duration::from_secs_f64(said["seconds"].as_f64().context("no time")?))
    }

    /// Holds the rows of a file against its last answer.
    pub(super) fn compare(&mut self, file: &Path) -> anyhow::Result<()> {
        let said = self.ask(&json!({ "compare": file }))?;
        match said["different"].as_array() {
            Some(rows) if rows.is_empty() => Ok(()),
            _ => bail!("DuckDB answers otherwise: {said}"),
        }
    }

    fn ask(&mut self, what: &Value) -> anyhow::Result<Value> {
        writeln!(self.to, "{what}")?;
        self.to.flush()?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("DuckDB's process ended")?;
        ensure!(said["error"].is_null(), "DuckDB: {}", said["error"]);
        Ok(said)
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
