//! One process of killfeed, and a supervisor that starts it again when it ends by itself.

use crate::reaper;
use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take to stop, its drain included.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take until it is ready.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(90);
/// What says how a process is takes no longer, unless it is frozen.
const QUICK: Duration = Duration::from_secs(2);
/// A process that ended by itself is started again after this.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Ingest,
    Process,
    Sink,
    Query,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ingest, Self::Process, Self::Sink, Self::Query];

    /// The command that starts it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Sink => "sink",
            Self::Query => "query",
        }
    }

    /// Whether it opens tables.
    pub(crate) fn has_store(self) -> bool {
        matches!(self, Self::Sink | Self::Query)
    }
}

/// How to start it.
pub(crate) struct Recipe {
    pub(crate) killfeed: PathBuf,
    /// Options that all processes share.
    pub(crate) options: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A process of killfeed. Dropping it kills it.
pub(crate) struct Role {
    pub(crate) kind: Kind,
    /// `sink-2`: its kind, and its number from 1 on.
    pub(crate) name: String,
    /// Where it listens itself; clients of ingest come through a proxy.
    pub(crate) port: u16,
    dir: PathBuf,
    recipe: Recipe,
    http: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// Whether the supervisor has to see to it that it runs.
    is_wanted: bool,
    ended: Option<Instant>,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Role {
    pub(crate) fn new(dir: &Path, kind: Kind, number: usize, port: u16, recipe: Recipe) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().build()?;
        let name = format!("{}-{number}", kind.name());
        Ok(Self { kind, name, port, dir: dir.to_owned(), recipe, http, state: Mutex::default() })
    }

    /// Starts it, if it isn't running.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        state.is_wanted = true;
        if state.child.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.recipe.killfeed);
        command.arg(self.kind.name()).args(&self.recipe.options);
        command
            .arg("--data-dir")
            .arg(self.dir.join(&self.name))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KILLFEED_") || name.starts_with("AWS_"))
        {
            command.env_remove(name);
        }
        command.env("RUST_LOG", "info").env("NO_COLOR", "1").envs(self.recipe.environment.iter().cloned());
        state.child = Some(reaper::spawn(&self.dir, &self.name, &mut command)?);
        Ok(())
    }

    /// SIGKILL; nobody starts it again but by [`Self::start`].
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock();
        state.is_wanted = false;
        if let Some(mut child) = state.child.take() {
            reaper::end(&self.dir, &mut child);
        }
    }

    /// Stops it as an operator would, and waits for its end. Blocks.
    ///
    /// # Errors
    /// It did not end in time, or not well.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let taken = {
            let mut state = self.state.lock();
            state.is_wanted = false;
            state.child.take()
        };
        let Some(mut child) = taken else { return Ok(()) };
        let began = Instant::now();
        signal(child.id(), Signal::TERM)?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                reaper::gone(&self.dir, child.id());
                break Some(status);
            }
            if began.elapsed() > STOP_LIMIT {
                reaper::end(&self.dir, &mut child);
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let status = status.with_context(|| format!("{} did not stop within {STOP_LIMIT:?}", self.name))?;
        ensure!(status.success(), "{} was stopped and ended with {status}: {}", self.name, self.last_words());
        Ok(())
    }

    /// Its process, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.state.lock().child.as_ref().map(Child::id)
    }

    /// Starts it again if it ended by itself; gives how and why it had.
    pub(crate) fn tend(&self) -> anyhow::Result<Option<String>> {
        let mut state = self.state.lock();
        let said = match state.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => {
                if let Some(child) = state.child.take() {
                    reaper::gone(&self.dir, child.id());
                }
                state.ended = Some(Instant::now());
                Some(format!("{status}: {}", self.last_words()))
            }
            None => None,
        };
        let is_due = state.is_wanted && state.child.is_none();
        let waited = state.ended.is_none_or(|ended| ended.elapsed() > RESTART_WAIT);
        drop(state);
        if is_due && waited {
            self.start()?;
        }
        Ok(said)
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("logs").join(&self.name)).unwrap_or_default();
        log.lines().last().unwrap_or("nothing was said").to_owned()
    }

    /// Text that it answers with at once, whatever the status, and whether that was 200.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(bool, String)> {
        self.ask(path, QUICK).await
    }

    /// The same for what takes its time.
    pub(crate) async fn ask(&self, path: &str, limit: Duration) -> anyhow::Result<(bool, String)> {
        let response = self.http.get(format!("http://127.0.0.1:{}{path}", self.port)).timeout(limit).send().await?;
        Ok((response.status() == 200, response.text().await?))
    }

    /// Why it isn't ready, if it isn't.
    pub(crate) async fn trouble(&self) -> Option<String> {
        match self.get("/readyz").await {
            Ok((true, _)) => None,
            Ok((false, body)) => Some(words_of(&body).unwrap_or(body)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It isn't, after a long time.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while let Some(trouble) = self.trouble().await {
            ensure!(began.elapsed() < READY_LIMIT, "{} is not ready: {trouble}: {}", self.name, self.last_words());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("process 0")?;
    kill_process(pid, signal)?;
    Ok(())
}

/// The parts that aren't ready, out of what `/readyz` answers.
fn words_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let parts = body["parts"].as_object()?.iter().filter(|(_, state)| *state != "ready");
    Some(
        parts
            .map(|(part, state)| format!("{part}: {}", state.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join("; "),
    )
}
