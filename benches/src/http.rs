//! HTTP to durable 202: batches of 1, 10, 100 and 500, events of 0.3, 0.85, 1 and 4 KB.
//!
//! First each connection sends as fast as it is answered, for the rate per CPU-second of the server;
//! then, once the disk is calm again, requests are sent on a schedule at half the rate reached, and each
//! latency is counted from the moment at which the request was due, so that a slow answer can't hide the
//! ones behind it. The bare server gets the same schedule: what its tail shows is the machine's, its
//! disk's and the load generator's.

use crate::child::Server;
use crate::table::{Row, grouped, print};
use crate::{cpu, disk, samples};
use anyhow::bail;
use hdrhistogram::Histogram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One shape of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Events in a request.
    pub events: u64,
    /// Bytes of one, envelope included.
    pub bytes: usize,
    /// Connections, each with one request at a time.
    pub connections: usize,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} B, {} connections", self.events, self.bytes, self.connections)
    }
}

/// What one load reached.
struct Reached {
    requests: u64,
    wall: Duration,
    cpu: Duration,
    latency_us: Histogram<u64>,
}

/// What a server reaches when each connection sends as fast as it is answered.
pub(crate) struct Full {
    /// Events per CPU-second of the server.
    pub per_cpu_second: f64,
    /// Events per second by the wall.
    pub per_second: f64,
    /// Peak resident memory of the server, in bytes.
    pub memory_bytes: u64,
}

/// As fast as the server answers, for `seconds`.
pub(crate) fn full(server: &Server, shape: Shape, seconds: u64) -> anyhow::Result<Full> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reached = runtime.block_on(load(server, shape, seconds, None))?;
    let events = (reached.requests * shape.events) as f64;
    Ok(Full {
        per_cpu_second: events / reached.cpu.as_secs_f64(),
        per_second: events / reached.wall.as_secs_f64(),
        memory_bytes: cpu::memory_peak_bytes(server.pid())?,
    })
}

/// Runs every shape whose name has `only` in it against killfeed and against the bare server.
pub(crate) fn run(killfeed: &Path, seconds: u64, only: &str) -> anyhow::Result<()> {
    let shape = |events, bytes, connections| Shape { events, bytes, connections };
    let shapes = [
        shape(1, 300, 64),
        shape(1, 1_024, 64),
        shape(1, 4_096, 64),
        shape(10, 300, 32),
        shape(10, 1_024, 32),
        shape(10, 4_096, 32),
        shape(100, 870, 8),
        shape(500, 300, 4),
        shape(500, 1_024, 4),
        shape(500, 4_096, 4),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut rows, mut tails) = (Vec::new(), Vec::new());
    for shape in shapes.into_iter().filter(|shape| shape.to_string().contains(only)) {
        let dir = tempfile::tempdir()?;
        let ours = Server::killfeed(killfeed, "ingest", dir.path(), &[])?;
        let reached = full(&ours, shape, seconds)?;
        let rate = reached.per_second / shape.events as f64;
        let half = steady(&runtime, &ours, dir.path(), shape, seconds, rate / 2.0)?;
        let memory = cpu::memory_peak_bytes(ours.pid())?;
        drop((ours, dir));
        let dir = tempfile::tempdir()?;
        let bare = Server::bare(dir.path(), None)?;
        let limit = full(&bare, shape, seconds)?;
        let limit_half = steady(&runtime, &bare, dir.path(), shape, seconds, rate / 2.0)?;
        let what = shape.to_string();
        let by_the_wall = grouped(reached.per_second);
        tails.push(format!("| {what} | {half} | {limit_half} |"));
        rows.push(Row {
            what,
            ours: reached.per_cpu_second,
            limit: Some(limit.per_cpu_second),
            note: format!("{by_the_wall} events/s by the wall; {} MiB", memory >> 20),
        });
    }
    print("HTTP to durable 202", "events per CPU-second", &rows);
    println!("\n### HTTP to durable 202 at half of that rate, in ms\n");
    println!("| what | p50 | p95 | p99 | disk | limit's p50 | p95 | p99 | disk |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    tails.iter().for_each(|tail| println!("{tail}"));
    Ok(())
}

/// Latencies on a schedule, after a rest: the median, two tails, and the tail of a bare synced write on the
/// disk just before, as cells of a table.
fn steady(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    dir: &Path,
    shape: Shape,
    seconds: u64,
    rate: f64,
) -> anyhow::Result<String> {
    let disk = disk::settle(dir)?;
    let reached = runtime.block_on(load(server, shape, seconds, Some(rate)))?;
    let ms = |quantile| reached.latency_us.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(format!("{:.1} | {:.1} | {:.1} | {:.1}", ms(0.5), ms(0.95), ms(0.99), disk.as_secs_f64() * 1_000.0))
}

/// Bodies are made before the clock starts: every request of a connection is another set of events.
fn bodies(shape: Shape, connection: u64, count: u64) -> Vec<Vec<u8>> {
    let mut random = samples::random();
    let mut next = connection << 40;
    let mut made = Vec::new();
    for _ in 0..count {
        let mut body = Vec::new();
        for _ in 0..shape.events {
            body.extend_from_slice(samples::event(&mut random, next, next % 97, shape.bytes).as_bytes());
            body.push(b'\n');
            next += 1;
        }
        if shape.events == 1 {
            body.pop();
        }
        let (path, kind) = if shape.events == 1 {
            ("/v1/events", "application/cloudevents+json")
        } else {
            ("/v1/batch", "application/x-ndjson")
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        made.push([head.as_bytes(), &body].concat());
    }
    made
}

async fn load(server: &Server, shape: Shape, seconds: u64, rate: Option<f64>) -> anyhow::Result<Reached> {
    // Some 48 MB of ready-made requests, gone round: ingest doesn't deduplicate.
    let per_connection = (48_000_000 / (shape.events * shape.bytes as u64) / shape.connections as u64).clamp(4, 2_000);
    let made: Vec<_> =
        (0..shape.connections as u64).map(|connection| bodies(shape, connection, per_connection)).collect();
    let done = Arc::new(AtomicU64::new(0));
    let (cpu, start) = (cpu::of_process(server.pid())?, Instant::now());
    let end = start + Duration::from_secs(seconds);
    let tasks: Vec<_> = made
        .into_iter()
        .enumerate()
        .map(|(place, requests)| {
            let (address, done) = (server.address.clone(), done.clone());
            let every = rate.map(|rate| Duration::from_secs_f64(shape.connections as f64 / rate));
            let first = start + every.unwrap_or_default().mul_f64(place as f64 / shape.connections as f64);
            tokio::task::spawn(connection(address, requests, every, first, end, done))
        })
        .collect();
    let mut latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for task in futures_join(tasks).await? {
        latency_us.add(task)?;
    }
    let requests = done.load(Ordering::Relaxed);
    Ok(Reached { requests, wall: start.elapsed(), cpu: cpu::of_process(server.pid())?.saturating_sub(cpu), latency_us })
}

async fn futures_join(
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<Histogram<u64>>>>,
) -> anyhow::Result<Vec<Histogram<u64>>> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(all)
}

/// One connection: the next request when the last one is answered, or when it is due.
async fn connection(
    address: String,
    requests: Vec<Vec<u8>>,
    every: Option<Duration>,
    first: Instant,
    end: Instant,
    done: Arc<AtomicU64>,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let mut due = first;
    let mut buffer = vec![0; 256 << 10];
    for request in requests.iter().cycle() {
        if let Some(every) = every {
            tokio::time::sleep_until(due.into()).await;
            due += every;
        }
        let started = if every.is_some() { due - every.unwrap_or_default() } else { Instant::now() };
        if started >= end {
            break;
        }
        stream.write_all(request).await?;
        answer(&mut stream, &mut buffer).await?;
        let took = u64::try_from(started.elapsed().as_micros())?.max(1);
        latency_us.saturating_record(took);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(latency_us)
}

/// Reads one answer; anything but 202 ends the run.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(Ok(0), |length| length.trim().parse())?;
        if filled >= head + 4 + length {
            if !text.starts_with("http/1.1 202") {
                bail!("not accepted: {}", String::from_utf8_lossy(&buffer[..filled.min(600)]));
            }
            return Ok(());
        }
    }
}
