//! Tables as a server leaves them: games played against `killfeed up`, and what maintenance makes of its files.

use crate::child::Server;
use crate::table::grouped;
use anyhow::{Context, bail, ensure};
use events::log::Log;
use events::log::memory::MemoryLog;
use events::{Clock, SharedStreams, SystemClock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tables::{LEDGER, Store};

/// Events of a game, a little less than on average.
const EVENTS_PER_GAME: u64 = 115;
/// What the log may keep on disk: what every reader has read goes first.
const LOG_SIZE: &str = "1GiB";

/// Plays games until there are this many events in the tables below `dir`; the books must balance.
pub(super) fn make(killfeed: &Path, dir: &Path, events: u64) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let geoip = dir.join("geoip.mmdb");
    gamegen::write_geoip(&geoip)?;
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../generator/schemas");
    let geoip = geoip.to_str().context("path is no UTF-8")?;
    let options = ["--geoip", geoip, "--schemas", schemas, "--log-size-limit", LOG_SIZE, "--no-fresh"];
    let server = Server::killfeed(killfeed, "up", dir, &options)?;
    let url = format!("http://{}", server.address);
    let client = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new(killfeed).args(arguments).args(["--url", &url]).output()?;
        if !output.status.success() {
            bail!("killfeed {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    let start = Instant::now();
    client(&["generate", "--games", &events.div_ceil(EVENTS_PER_GAME).to_string()])?;
    client(&["flush"])?;
    let audit: serde_json::Value = serde_json::from_str(&client(&["audit", "--json"])?)?;
    let delivered = audit["delivered"].as_u64().unwrap_or_default();
    ensure!(audit["balanced"] == true && delivered >= events, "the books: {audit}");
    println!("\n{} events in tables after {:.0} s", grouped(delivered as f64), start.elapsed().as_secs_f64());
    drop(server);
    // It is ended by force, as a crash would: the tables are whole all the same. The log isn't needed any more.
    std::fs::remove_dir_all(dir.join("log"))?;
    Ok(())
}

/// One round of the maintenance that servers do all the time.
pub(super) async fn settle(store: &Store) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(clock.clone()));
    let config = sinks::Maintenance::new(SharedStreams::new(Vec::new()), "bench");
    sinks::maintain_once(&config, &log, store, &clock).await?;
    Ok(())
}

/// The files of each table at its newest version.
pub(super) async fn files(store: &Store) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut files = BTreeMap::new();
    let root = store.url().to_file_path().ok().context("the tables are not on this disk")?;
    for name in store.table_names().await? {
        let table = store.load(&name).await?.with_context(|| format!("{name} is gone"))?;
        let live = tables::files::live(&table)?;
        files.insert(name.clone(), live.iter().map(|file| root.join(&name).join(&file.path)).collect());
    }
    Ok(files)
}

/// Rows of all tables, but for the ledger's, by what Parquet says of itself.
pub(super) async fn rows(store: &Store) -> anyhow::Result<u64> {
    let mut rows = 0;
    for path in files(store).await?.into_iter().filter(|(name, _)| name != LEDGER).flat_map(|(_, files)| files) {
        let reader = parquet::file::reader::SerializedFileReader::new(std::fs::File::open(&path)?)?;
        let count = parquet::file::reader::FileReader::metadata(&reader).file_metadata().num_rows();
        rows += u64::try_from(count)?;
    }
    Ok(rows)
}
