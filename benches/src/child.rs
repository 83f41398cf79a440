//! Starts a server as a process of its own, so that its CPU time is its alone, and ends it.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server process on 127.0.0.1; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, `127.0.0.1:PORT`.
    pub address: String,
}

/// The binary to measure: `given`, or `killfeed` beside this program.
pub(crate) fn killfeed_binary(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("killfeed"),
    };
    if !path.exists() {
        bail!("{} is not there: cargo build --release --bin killfeed", path.display());
    }
    Ok(path)
}

impl Server {
    /// Starts `killfeed ROLE` with data under `dir`, and waits until it is ready.
    pub(crate) fn killfeed(binary: &Path, role: &str, dir: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.args([role, "--listen", &address, "--data-dir"]).arg(dir).args(more);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn().context("killfeed doesn't start")?, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.get_status("/readyz") != Some(200) {
            if let Some(status) = server.child.try_wait()? {
                bail!("killfeed {role} ended at start: {status}");
            }
            if Instant::now() > deadline {
                bail!("killfeed {role} not ready after 60 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Starts this program's bare server, which prints its address once it listens. It stores in `dir`, or in
    /// Kafka where brokers are given.
    pub(crate) fn bare(dir: &Path, brokers: Option<&str>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare-server", "--dir"]).arg(dir).stdout(Stdio::piped());
        if let Some(brokers) = brokers {
            command.args(["--brokers", brokers]);
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn get_status(&self, path: &str) -> Option<u16> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_address() -> anyhow::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
