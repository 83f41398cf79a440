//! Everything in one process: from HTTP to committed rows, with the books balanced at the end.

use crate::child::Server;
use crate::table::{Row, grouped, print};
use crate::{cpu, samples};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Events sent, in batches.
const EVENTS: u64 = 1_000_000;
/// Events in one request.
const BATCH: u64 = 500;
/// One event, envelope included.
const EVENT_BYTES: usize = 870;

/// Sends over one connection, flushes, audits.
pub(crate) fn run(killfeed: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::killfeed(killfeed, "up", dir.path(), &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cpu_start = cpu::of_process(server.pid())?;
    let start = Instant::now();
    let bytes = runtime.block_on(send(&server.address))?;
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
    let audit: serde_json::Value = serde_json::from_str(&client(&["audit", "--json"])?)?;
    if audit["delivered"] != EVENTS || audit["balanced"] != true {
        bail!("the books: {audit}");
    }
    let row = |what: &str, ours: f64, note: String| Row { what: what.into(), ours, limit: None, note };
    let rate = |seconds: f64| format!("{:.1} MB/s", bytes as f64 / seconds / 1e6);
    print(
        &format!("The whole pipeline: {} events of {EVENT_BYTES} B in batches of {BATCH}", grouped(EVENTS as f64)),
        "events/s",
        &[
            row("accepted, by the wall", EVENTS as f64 / accepted.as_secs_f64(), rate(accepted.as_secs_f64())),
            row("visible in SQL, by the wall", EVENTS as f64 / visible.as_secs_f64(), rate(visible.as_secs_f64())),
            row("per CPU-second of the process", EVENTS as f64 / used.as_secs_f64(), rate(used.as_secs_f64())),
        ],
    );
    println!("\npeak memory {} MiB, books balanced", cpu::memory_peak_bytes(server.pid())? >> 20);
    Ok(())
}

async fn send(address: &str) -> anyhow::Result<u64> {
    let mut random = samples::random();
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let (mut next, mut bytes) = (0, 0);
    while next < EVENTS {
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
                503 => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
                other => bail!("answered {other}"),
            }
        }
    }
    Ok(bytes)
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
