//! `make chaos`: breaks one thing after another, and holds what came of it against what was promised.

use anyhow::Context as _;
use chaos::{Options, Outage, run};
use clap::{Parser, ValueEnum};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Kafka, a store, several of each role, and clients: what is acknowledged must become a row, once.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it takes, in seconds, but for starting and for the last waiting; random faults fill what the
    /// other parts leave, and last half a minute at least.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Chooses the faults, and the clients' games.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    /// How long each named outage lasts, in seconds.
    #[arg(long, default_value_t = 20)]
    outage: u64,
    /// No random fault lasts longer, in seconds.
    #[arg(long, default_value_t = 60)]
    longest: u64,
    /// Processes of each role.
    #[arg(long, default_value_t = 2)]
    of_each: usize,
    /// Clients that play at the same time.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Events/s of all clients together.
    #[arg(long, default_value_t = 400.0)]
    rate: f64,
    /// The killfeed binary to try; the one beside this program unless given.
    #[arg(long)]
    killfeed: Option<PathBuf>,
    /// Prints the report as JSON, and the timeline to stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Clients cut off from the API.
    Clients,
    /// One of Kafka's nodes killed.
    Node,
    /// One of them frozen.
    Frozen,
    /// All of Kafka killed, and started again.
    Kafka,
    /// The store killed while events go on coming.
    Store,
    /// Every process restarted, one after the other.
    Rolling,
    /// Faults at random.
    Random,
}

impl What {
    fn outage(self) -> Option<Outage> {
        match self {
            Self::Clients => Some(Outage::Clients),
            Self::Node => Some(Outage::Node),
            Self::Frozen => Some(Outage::Frozen),
            Self::Kafka => Some(Outage::Kafka),
            Self::Store => Some(Outage::Store),
            Self::Rolling | Self::Random => None,
        }
    }
}

impl Arguments {
    fn options(&self) -> anyhow::Result<Options> {
        let parts: Vec<What> = match &self.only[..] {
            [] => What::value_variants().to_vec(),
            only => only.to_vec(),
        };
        let killfeed = match &self.killfeed {
            Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
            None => std::env::current_exe()?.with_file_name("killfeed"),
        };
        let lasts = Duration::from_secs(self.outage);
        Ok(Options {
            killfeed,
            seed: self.seed,
            of_each: self.of_each,
            clients: self.clients,
            rate: self.rate,
            outages: parts.iter().filter_map(|part| Some((part.outage()?, lasts))).collect(),
            rolling: parts.contains(&What::Rolling),
            random: parts.contains(&What::Random),
            total: Duration::from_secs(self.seconds),
            longest: Duration::from_secs(self.longest),
        })
    }
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// 0 if nothing is wrong, 1 if something is.
fn start(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.options()?;
    let json = arguments.json;
    let say = move |line: &str| {
        // Whoever stopped reading still wants the run to end well.
        let _ = if json { writeln!(std::io::stderr(), "{line}") } else { writeln!(std::io::stdout(), "{line}") };
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = run(&options, &say) => report.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    })?;
    let Some(report) = report else {
        say("stopped; everything that was started is ended");
        return Ok(ExitCode::from(130));
    };
    if json {
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        say(&report.text());
    }
    Ok(if report.wrongs().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
