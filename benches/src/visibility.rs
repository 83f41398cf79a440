//! From the 202 of an event to the SELECT that sees it: single events at random moments, beside no other
//! load and beside batches for many tables.
//!
//! One connection asks for all probes again and again, so that each figure is late by one such query at
//! the most, and never early.

use crate::child::Server;
use crate::table::grouped;
use crate::{cpu, samples};
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rand::Rng;
use reqwest::Client;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events that are looked for, in each setting.
const PROBES: usize = 300;
/// The pause between two of them at most; half of it on average.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// Tables that the load goes to.
const TABLES: u64 = 20;
/// Events in one request of the load.
const BATCH: u64 = 250;
/// One event of the load, envelope included.
const EVENT_BYTES: usize = 870;
/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long a probe may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The flush interval, in seconds with an `s` behind.
    pub interval: &'static str,
    /// Events/s of the load; 0 for none.
    pub rate: u64,
}

/// A flush each five seconds, without load and under 1,000 and `load` events/s.
pub(crate) fn settings(load: u64) -> Vec<Setting> {
    [0, 1_000, load].map(|rate| Setting { interval: "5s", rate }).into()
}

/// Runs each setting on a server of its own; `more` are further options of it.
pub(crate) fn run(killfeed: &Path, settings: &[Setting], more: &[&str]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("\n### From 202 to SELECT: {PROBES} events at random moments\n");
    println!("| flush interval | load, {TABLES} tables | reached | p50 | p95 | p99 | longest | peak memory |");
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    for (place, Setting { interval, rate }) in settings.iter().enumerate() {
        let dir = tempfile::tempdir()?;
        // A cluster may be shared: each setting's topics are its own.
        let prefix = format!("visibility{place}-");
        let mut options = vec!["--flush-interval", interval];
        options.extend(more);
        if more.contains(&"--log") {
            options.extend(["--kafka-prefix", &prefix]);
        }
        let server = Server::killfeed(killfeed, "up", dir.path(), &options)?;
        let (latency_ms, reached) = runtime.block_on(measure(&server, interval, *rate))?;
        let at = |quantile| latency_ms.value_at_quantile(quantile) as f64 / 1_000.0;
        let (p50, p95, p99, longest) = (at(0.5), at(0.95), at(0.99), latency_ms.max() as f64 / 1_000.0);
        let load = if *rate == 0 { "none".into() } else { format!("{} events/s", grouped(*rate as f64)) };
        let (reached, memory) = (grouped(reached), cpu::memory_peak_bytes(server.pid())? >> 20);
        println!(
            "| {interval} | {load} | {reached} | {p50:.3} s | {p95:.3} s | {p99:.3} s | {longest:.3} s | {memory} MiB |"
        );
    }
    Ok(())
}

/// When each probe was acknowledged, by its number.
type Pending = Arc<parking_lot::Mutex<HashMap<u64, Instant>>>;

async fn measure(server: &Server, interval: &str, rate: u64) -> anyhow::Result<(Histogram<u64>, f64)> {
    let url = format!("http://{}", server.address);
    let client = Client::builder().no_proxy().build()?;
    let seconds: f64 = interval.trim_end_matches('s').parse()?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(press(client.clone(), url.clone(), rate, stop.clone()));
    // The table, and the load's, are there before the first probe is timed.
    send(&client, &url, probe(u64::MAX >> 1)).await?;
    tokio::time::sleep(Duration::from_secs_f64(seconds * 2.0)).await;
    let (pending, sent) = (Pending::default(), Arc::new(AtomicU64::new(0)));
    let probing = tokio::spawn(probes(client.clone(), url.clone(), pending.clone(), sent.clone()));
    let mut latency_ms = Histogram::new(3)?;
    let mut seen = 0;
    while seen < PROBES {
        ensure!(!load.is_finished(), "the load ended early: {:?}", load.await);
        ensure!(seen > 0 || !probing.is_finished() || sent.load(Ordering::SeqCst) > 0, "no probe was sent");
        for number in visible(&client, &url).await? {
            let Some(acknowledged) = pending.lock().remove(&number) else { continue };
            latency_ms.record(u64::try_from(acknowledged.elapsed().as_millis())?)?;
            seen += 1;
        }
        let oldest = pending.lock().values().map(Instant::elapsed).max().unwrap_or_default();
        ensure!(oldest < PATIENCE, "an event is not there {} s after its 202", oldest.as_secs());
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    probing.await??;
    stop.store(true, Ordering::SeqCst);
    Ok((latency_ms, load.await??))
}

/// Sends probes at random moments.
async fn probes(client: Client, url: String, pending: Pending, sent: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut random = samples::random();
    for number in 0..PROBES as u64 {
        tokio::time::sleep(PROBE_PAUSE.mul_f64(random.random_range(0.0..1.0))).await;
        send(&client, &url, probe(number)).await?;
        pending.lock().insert(number, Instant::now());
        sent.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

fn probe(number: u64) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"p{number}","source":"/bench","type":"bench.probe","gameid":"g{number}","data":{{"n":{number}}}}}"#
    )
}

async fn send(client: &Client, url: &str, body: String) -> anyhow::Result<()> {
    let request = client.post(format!("{url}/v1/batch")).header("content-type", "application/x-ndjson").body(body);
    let status = request.send().await?.status();
    ensure!(status == 202, "answered {status}");
    Ok(())
}

/// Numbers of the probes that a SELECT sees.
async fn visible(client: &Client, url: &str) -> anyhow::Result<Vec<u64>> {
    let asked = serde_json::json!({ "sql": "SELECT n FROM bench_probe" });
    let answer = client.post(format!("{url}/v1/sql")).json(&asked).send().await?;
    let status = answer.status();
    let rows: serde_json::Value = answer.json().await?;
    let rows = rows.as_array().with_context(|| format!("{status}: {rows}"))?;
    Ok(rows.iter().filter_map(|row| row["n"].as_u64()).collect())
}

/// Sends batches at `rate` events/s until told to stop; gives the rate that was reached.
async fn press(client: Client, url: String, rate: u64, stop: Arc<AtomicBool>) -> anyhow::Result<f64> {
    let mut random = samples::random();
    let (start, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::SeqCst) {
        if rate == 0 || sent as f64 > start.elapsed().as_secs_f64() * rate as f64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let mut body = String::new();
        for id in sent..sent + BATCH {
            let event = samples::event(&mut random, id, id % 997, EVENT_BYTES);
            body.push_str(&event.replacen("bench.event", &format!("bench.event{}", id % TABLES), 1));
            body.push('\n');
        }
        send(&client, &url, body).await?;
        sent += BATCH;
    }
    Ok(sent as f64 / start.elapsed().as_secs_f64())
}
