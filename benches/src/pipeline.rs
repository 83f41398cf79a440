//! Everything in one process: from HTTP to committed rows, with the books balanced at the end, and memory
//! on the way.

use crate::child::Server;
use crate::table::{Row, grouped, print};
use crate::{cpu, samples};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Events in one request.
const BATCH: u64 = 500;
/// One event, envelope included.
const EVENT_BYTES: usize = 870;

/// What is sent.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Load {
    /// How many events.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How many a second at the most; as fast as they are accepted unless given.
    #[arg(long)]
    rate: Option<u64>,
}

impl Default for Load {
    fn default() -> Self {
        Self { events: 1_000_000, rate: None }
    }
}

/// Resident memory of the server, in MiB, after each tenth of the events.
type Memory = Vec<u64>;

/// Sends over one connection, flushes, audits. `more` are further options of the server.
pub(crate) fn run(killfeed: &Path, load: Load, more: &[&str]) -> anyhow::Result<()> {
    let Load { events, .. } = load;
    let dir = tempfile::tempdir()?;
    let server = Server::killfeed(killfeed, "up", dir.path(), more)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cpu_start = cpu::of_process(server.pid())?;
    let start = Instant::now();
    let (bytes, memory) = runtime.block_on(send(&server, load))?;
    let accepted = start.elapsed();
    let client = |arguments: &[&str]| -> anyhow::Result<String> {
        let url = format!("http://{}", server.address);
        let output = Command::new(killfeed).args(arguments).args(["--url", &url]).output()?;
        if !output.status.success() {
            bail!("killfeed {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    client(&["flush"])?;
    let visible = start.elapsed();
    let used = cpu::of_process(server.pid())?.saturating_sub(cpu_start);
    let (audit_start, peak) = (Instant::now(), cpu::memory_peak_bytes(server.pid())? >> 20);
    let audit: serde_json::Value = serde_json::from_str(&client(&["audit", "--json"])?)?;
    if audit["delivered"] != events || audit["balanced"] != true {
        bail!("the books: {audit}");
    }
    let row = |what: &str, ours: f64, note: String| Row { what: what.into(), ours, limit: None, note };
    let rate = |seconds: f64| format!("{:.1} MB/s", bytes as f64 / seconds / 1e6);
    print(
        &format!("The whole pipeline: {} events of {EVENT_BYTES} B in batches of {BATCH}", grouped(events as f64)),
        "events/s",
        &[
            row("accepted, by the wall", events as f64 / accepted.as_secs_f64(), rate(accepted.as_secs_f64())),
            row("visible in SQL, by the wall", events as f64 / visible.as_secs_f64(), rate(visible.as_secs_f64())),
            row("per CPU-second of the process", events as f64 / used.as_secs_f64(), rate(used.as_secs_f64())),
        ],
    );
    let audited = audit_start.elapsed().as_secs_f64();
    let peak_after = cpu::memory_peak_bytes(server.pid())? >> 20;
    println!("\nmemory after each tenth, in MiB: {}", memory.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
    println!("peak {peak} MiB; {peak_after} MiB with the audit, which took {audited:.1} s; books balanced");
    Ok(())
}

async fn send(server: &Server, Load { events, rate }: Load) -> anyhow::Result<(u64, Memory)> {
    let mut random = samples::random();
    let mut stream = tokio::net::TcpStream::connect(&server.address).await?;
    let (mut next, mut bytes, mut memory, start) = (0, 0, Memory::new(), Instant::now());
    while next < events {
        if next >= events / 10 * (memory.len() as u64 + 1) {
            memory.push(cpu::memory_bytes(server.pid())? >> 20);
        }
        if let Some(rate) = rate {
            tokio::time::sleep_until((start + Duration::from_secs_f64(next as f64 / rate as f64)).into()).await;
        }
        let mut body = Vec::new();
        for id in next..next + BATCH {
            body.extend_from_slice(samples::event(&mut random, id, id % 997, EVENT_BYTES).as_bytes());
            body.push(b'\n');
        }
        next += BATCH;
        bytes += body.len() as u64;
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        loop {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            match status(&mut stream).await? {
                202 => break,
                // Full for a moment: the client's part is to wait and send again.
                503 => tokio::time::sleep(Duration::from_millis(200)).await,
                other => bail!("answered {other}"),
            }
        }
    }
    memory.push(cpu::memory_bytes(server.pid())? >> 20);
    Ok((bytes, memory))
}

/// Reads one answer whole and gives its status.
async fn status(stream: &mut tokio::net::TcpStream) -> anyhow::Result<u16> {
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 64 << 10];
        let read = stream.read(&mut buffer).await?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..read]);
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).context("no length")?;
        if answer.len() >= head + 4 + length.trim().parse::<usize>()? {
            return text.split_whitespace().nth(1).context("no status")?.parse().map_err(Into::into);
        }
    }
}
