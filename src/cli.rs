//! The command line: what each command is called and takes. Its doc comments are the help.

use crate::client::{Load, Server};
use crate::options::Options;
use clap::{Args, Parser, Subcommand, ValueEnum};
use edge::Scope;
use std::path::PathBuf;

/// A telemetry pipeline for online games: events in over HTTP, deduplicated and enriched, out as
/// Delta tables and SQL.
///
/// Exit codes: 0 done; 1 the answer is no (books don't balance, events refused, query failed, the
/// server stopped by a fault); 2 wrong usage or configuration, or the server can't be reached.
#[derive(Debug, Parser)]
#[command(name = "killfeed", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: ingest, processors, sinks, queries.
    Up(Options),
    /// Run one role: accept events over HTTP into the log.
    Ingest(Options),
    /// Run one role: deduplicate and enrich, from raw to clean.
    Process(Options),
    /// Run one role: write clean events to their tables.
    Sink(Options),
    /// Run one role: answer SQL, reports and the audit.
    Query(Options),
    /// Print every option of a server with its default and reason, as a config file; what is set by a
    /// flag, the environment or --config stands uncommented.
    Config(Options),
    /// Streams in the log: what Kafka's topics should be, making them so, and growing.
    #[command(subcommand)]
    Topics(Topics),
    /// Ask in SQL: one question, those of standard input, or many in a shell.
    Sql(Sql),
    /// List or run reports.
    #[command(subcommand)]
    Report(Report),
    /// Send CloudEvents from a file of one JSON object a line. Exit code 1 if any was refused.
    Send(Send),
    /// Relay events from a table of a game's own PostgreSQL, written in the game's own transactions: each
    /// committed row reaches the server, at least once and with the same id, so that it is in the tables
    /// once. In order per key. Runs until a signal.
    Outbox(Outbox),
    /// Wait until all events acknowledged before are in their tables.
    Flush {
        #[command(flatten)]
        server: Server,
    },
    /// Prove that every acknowledged event is accounted for. Exit code 1 if the books don't balance.
    Audit {
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Schemas of event types: what there is, what may change, what would.
    #[command(subcommand)]
    Schema(Schema),
    /// Erase a player from tables and dead letters, and say what remains in the log and until when.
    Forget {
        /// The player's id, as events carry it in `playerid`.
        #[arg(long, value_name = "ID")]
        player: String,
        #[command(flatten)]
        server: Server,
    },
    /// Make plausible games, and say what the reports must answer about them.
    Generate(Generate),
    /// Run processors and sinks in a simulated world, in which a seed decides what goes wrong and when, and
    /// look whether the laws hold. Exit code 1 if one is broken: seed, step and history say how.
    Simulate(Simulate),
    /// How toxic chat is: train a model on labels of one's own, judge it, score messages. Needs no server.
    #[command(subcommand)]
    Toxicity(Toxicity),
    /// Play with a crowd of clients through the SDK, and measure: requests per second, or players online. Exit code
    /// 1 if an event was refused, lost or left in doubt.
    Load(Load),
    /// API keys.
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// What `apply` would do for the streams of the options and schemas. Exit code 1 if there is something.
    Plan(Options),
    /// Make topics that are missing, bring settings to what they should be, record each stream.
    Apply(Options),
    /// Go on without records that Kafka deleted before a role had read them: positions move past them, and the
    /// ledger counts them as `expired`. Stop processors and sinks first.
    AcceptLoss {
        /// Only say what would be given up. Exit code 1 if there is something.
        #[arg(long)]
        dry_run: bool,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Give streams more partitions, while they are served: each grows to --partitions by a new generation.
    /// Repeat it after any error. On the embedded log, stop the server first.
    Grow {
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
}

/// Ask in SQL.
#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The query. Without one a terminal gets a shell; else, and by `-`, standard input is asked, each statement
    /// ended by `;`. KILLFEED_HISTORY names the shell's history file.
    pub(crate) query: Option<String>,
    /// How the answer looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// How rows look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One array of row objects.
    Json,
    /// One row object a line.
    Ndjson,
    /// A Parquet file; not for a terminal.
    Parquet,
    /// A table in GitHub's Markdown.
    Markdown,
    /// One HTML file, a report's with its chart.
    Html,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// The reports there are, with the question each answers and its parameters.
    List {
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Run a report.
    Run {
        /// Its name.
        name: String,
        /// A parameter of the report; repeatable.
        #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
        params: Vec<(String, String)>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        server: Server,
    },
    /// Reports that are run by the clock.
    #[command(subcommand)]
    Schedule(Schedule),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// The schedules there are, and when each is due next.
    List {
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Run a schedule now, beside its timetable: the output is stored and delivered.
    Run {
        /// Its name.
        name: String,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// What ran, when, for how long, and who got it; newest first.
    History {
        /// One schedule; all without it.
        name: Option<String>,
        /// Lines.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The file; `-` is standard input.
    pub(crate) file: PathBuf,
    /// The summary as JSON, with the first thousand refusals.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: SendHow,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// How events are sent.
#[derive(Debug, Clone, Args)]
pub(crate) struct SendHow {
    /// Events in one request.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// How request bodies are compressed.
    #[arg(long, value_enum, default_value_t = Compression::Zstd)]
    pub(crate) compression: Compression,
    /// How long to go on trying without any progress before giving up.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::options::parse_time)]
    pub(crate) retry_for: std::time::Duration,
}

/// Relay an outbox.
#[derive(Debug, Args)]
pub(crate) struct Outbox {
    /// The database, as libpq has it: `postgresql://USER@HOST/DATABASE?sslmode=verify-full`. A password is better
    /// in PGPASSWORD than here.
    #[arg(
        long,
        value_name = "URL",
        env = "KILLFEED_POSTGRES",
        hide_env_values = true,
        required_unless_present = "print_schema"
    )]
    pub(crate) postgres: Option<String>,
    /// The outbox table, perhaps with its schema.
    #[arg(long, value_name = "NAME", default_value = outbox::Table::DEFAULT, value_parser = parse_table)]
    pub(crate) table: outbox::Table,
    /// Print the statements that make the table, and end: `killfeed outbox --print-schema | psql`.
    #[arg(long)]
    pub(crate) print_schema: bool,
    /// Rows in one request.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// Delete rows once they are acknowledged; the default.
    #[arg(long)]
    pub(crate) delete: bool,
    /// Keep rows once they are acknowledged, with the time in `sent_at`; deleting them is yours.
    #[arg(long, conflicts_with = "delete")]
    pub(crate) mark: bool,
    /// How often to look for rows that no notification told of.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = crate::options::parse_time)]
    pub(crate) poll: std::time::Duration,
    /// Relays in this process, each with a connection; further processes may run beside it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) relays: u32,
    /// Answer `/healthz`, `/readyz` and `/metrics` here.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// How logs look on stderr: `text` for people, `json` for machines. RUST_LOG filters them.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: crate::options::LogFormat,
    #[command(flatten)]
    pub(crate) server: Server,
}

fn parse_table(text: &str) -> Result<outbox::Table, String> {
    text.parse()
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// The event types there are, their schema versions, and what is marked for a change.
    List {
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// One type's schema and columns.
    Show {
        /// The event type.
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Whether a schema may be the next version of its type. Exit code 1 if not, with the reasons.
    Check {
        /// The schema; `<type>/<version>.json` names its type and version.
        file: PathBuf,
        /// The event type, if the file's folder isn't named after it.
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        #[command(flatten)]
        server: Server,
    },
    /// What `apply` would change in a type's table. Exit code 1 if there is something.
    Diff {
        /// The event type.
        #[arg(value_name = "TYPE")]
        event_type: String,
        #[command(flatten)]
        server: Server,
    },
    /// Widen a type's columns from int64 to float64 where its events or its schema ask for it: the
    /// table is rewritten in one commit, values kept in `extra` move to their column.
    Apply {
        /// The event type.
        #[arg(value_name = "TYPE")]
        event_type: String,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a random key, and print the lines for the config file: the key itself is stored nowhere.
    New {
        /// Whose it is; named in errors and logs.
        #[arg(long)]
        name: String,
        /// What it may do: ingest, server, query, personal, admin.
        #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// Requests per second on average; no limit if not given.
        #[arg(long, value_name = "N")]
        rate: Option<std::num::NonZeroU32>,
        /// Requests at once, after a pause; as many as --rate if not given.
        #[arg(long, value_name = "N", requires = "rate")]
        burst: Option<std::num::NonZeroU32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Toxicity {
    /// Fit a linear model to labelled messages. Exit code 1 if there are too few.
    Train {
        /// CSV with a header: `text`, `label` (none, toxic, or insult;hate;threat;sexual;spam), perhaps `group`.
        labels: PathBuf,
        /// Where the model goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The same labels and seed make the same model.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// The summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Precision, recall and F1 by class, and the worst errors.
    Eval {
        /// Labelled messages, as for `train`; ones that a model hasn't seen.
        labels: PathBuf,
        /// A model [default: the built-in rules].
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// Errors to print of each kind.
        #[arg(long, value_name = "N", default_value_t = 20)]
        worst: usize,
        /// Exit code 1 if F1 of toxic or not is below this.
        #[arg(long, value_name = "F1", value_parser = parse_rate)]
        min_f1: Option<f64>,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Score, sentiment, message, labels and the words that decided, one line each, with tabs between.
    Score {
        /// A message; without one, each line of standard input.
        text: Vec<String>,
        /// A model [default: the built-in rules].
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The first seed. The same seed and steps are the same faults, and nearly always the same history.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seeds to run [default: 1000, or as many as --for allows].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// Things that happen in each run before it is healed and drained.
    #[arg(long, value_name = "M", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) steps: u32,
    /// Stop after this time.
    #[arg(long, value_name = "TIME", value_parser = crate::options::parse_time)]
    pub(crate) r#for: Option<std::time::Duration>,
    /// Runs at once; each is one thread. As many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Lines of history that a broken law is printed with.
    #[arg(long, value_name = "N", default_value_t = 160)]
    pub(crate) history: usize,
    /// Leave the audit at the end of each run out, which plans queries.
    #[arg(long)]
    pub(crate) no_audit: bool,
    /// The summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Games to play.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) games: u32,
    /// The same seed makes the same events.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Spread the games over so many days, from 2026-01-05 on; else they start 90 s apart.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
    pub(crate) days: Option<u32>,
    /// Write the events to this file, one JSON object a line; `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) out: Option<PathBuf>,
    /// Send the events to this server.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API key for --url.
    #[arg(long, value_name = "KEY", env = "KILLFEED_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Share of events sent a second time, 0 to 1.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    pub(crate) duplicates: f64,
    /// Share of events sent a second time with other data, 0 to 1.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    pub(crate) conflicts: f64,
    /// Malformed lines per event, 0 to 1.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    pub(crate) malformed: f64,
    /// Share of events that come late, 0 to 1.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    pub(crate) late: f64,
    /// Write what the reports must answer about these games to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Write a MaxMind database of the players' addresses to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) geoip_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: SendHow,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("give a share from 0 to 1, for example 0.05".into()),
    }
}
