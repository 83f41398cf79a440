//! Each stage against its limit: the same work without our code, measured in the same run, so that a
//! figure is a ratio and survives a noisy machine.
//!
//! `make bench` runs them all; `benches NAME` runs one. Rates are per CPU-second (user plus system) of
//! the measured work alone: a load generator's own CPU is never in them, because the server under
//! load is another process. The figures of a run that was kept stand in docs/performance.md.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

mod bare;
mod child;
mod cpu;
mod decoding;
mod disk;
mod filled;
mod http;
mod kafka;
mod pipeline;
mod processing;
mod records;
mod reports;
mod samples;
mod sinking;
mod table;
mod visibility;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each stage of killfeed against its limit.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// The killfeed binary to put under load; the one beside this program unless given.
    #[arg(long, global = true)]
    killfeed: Option<std::path::PathBuf>,
    /// How long each load lasts, in seconds.
    #[arg(long, global = true, default_value_t = 8)]
    seconds: u64,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// JSON payloads to Arrow, beside arrow-json on the same bytes.
    Decode,
    /// The pure processing step, cold and warm, and the loop around it beside a bare copy.
    Process,
    /// Clean records to committed Parquet, beside bare decode and write.
    Sink,
    /// HTTP to durable 202, beside a server that only reads, scans and stores.
    Ingest {
        /// Only the shapes whose name has this in it, `1 x` or `4096 B`.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Everything in one process, from HTTP to committed rows, and its memory on the way.
    Pipeline(pipeline::Load),
    /// From 202 to SELECT, long before a flush: without load, under 1,000 events/s, and under more.
    Visibility {
        /// Events/s of the greater load.
        #[arg(long, default_value_t = 20_000)]
        load: u64,
    },
    /// Each report beside DuckDB on the same Parquet files.
    Reports(reports::Options),
    /// Ingest, processor and sink on Apache Kafka, beside librdkafka alone; there, too, the pipeline and from 202 to SELECT.
    Kafka {
        /// One of them.
        #[arg(value_enum)]
        only: Option<kafka::Part>,
    },
    /// The limit that `ingest` is held against; started by it as a process of its own.
    #[command(hide = true)]
    BareServer {
        /// Where it stores.
        #[arg(long)]
        dir: std::path::PathBuf,
        /// Kafka's brokers, to store there.
        #[arg(long)]
        brokers: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let killfeed = || child::killfeed_binary(arguments.killfeed.clone());
    let seconds = arguments.seconds;
    match arguments.what {
        Some(What::Decode) => decoding::run(),
        Some(What::Process) => processing::run(),
        Some(What::Sink) => sinking::run(),
        Some(What::Ingest { only }) => http::run(&killfeed()?, seconds, &only),
        Some(What::Pipeline(load)) => pipeline::run(&killfeed()?, load, &[]),
        Some(What::Visibility { load }) => visibility::run(&killfeed()?, &visibility::settings(load), &[]),
        Some(What::Reports(options)) => reports::run(&killfeed()?, &options),
        Some(What::Kafka { only }) => kafka::run(&killfeed()?, seconds, only),
        Some(What::BareServer { dir, brokers }) => bare::serve(&dir, brokers.as_deref()),
        None => {
            decoding::run()?;
            processing::run()?;
            sinking::run()?;
            http::run(&killfeed()?, seconds, "")?;
            pipeline::run(&killfeed()?, pipeline::Load::default(), &[])?;
            visibility::run(&killfeed()?, &visibility::settings(20_000), &[])?;
            reports::run(&killfeed()?, &reports::Options::default())?;
            kafka::run(&killfeed()?, seconds, None)
        }
    }
}
