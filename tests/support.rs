//! Starts `killfeed up` in a directory of its own, and talks to it.

use reqwest::{Client, Response};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const KILLFEED: &str = env!("CARGO_BIN_EXE_killfeed");
/// How long anything may take before a test calls it hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A directory that servers of one test share, one after the other.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    /// What every server started here finds in its environment.
    env: Vec<(String, String)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    pub(crate) fn with_env(self, env: Vec<(String, String)>) -> Self {
        Self { env, ..self }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `killfeed up`, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of("up", args)
    }

    fn command_of(&self, role: &str, args: &[&str]) -> Command {
        let mut command = Command::new(KILLFEED);
        command.args([role, "--listen", "127.0.0.1:0"]);
        for (option, value) in [("--flush-interval", "500ms"), ("--partitions", "4")] {
            if !args.contains(&option) {
                command.args([option, value]);
            }
        }
        command.arg("--data-dir").arg(self.path("data")).args(args);
        command.stdout(Stdio::piped()).env_remove("KILLFEED_KEY").env_remove("KILLFEED_URL");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stderr(File::options().create(true).append(true).open(self.path("stderr")).unwrap());
        command
    }

    /// A server that is up; panics with what it said if it doesn't come up.
    pub(crate) fn up(&self, args: &[&str]) -> Server {
        self.role("up", args)
    }

    /// The same for one of the roles.
    pub(crate) fn role(&self, role: &str, args: &[&str]) -> Server {
        let mut child = self.command_of(role, args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.trim_start().strip_prefix("listening").map(|url| url.trim().to_owned()));
        let Some(url) = url else {
            let status = child.wait().unwrap();
            panic!("killfeed up did not start: {status}\n{}", self.stderr());
        };
        // Whatever else it prints must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child: Some(child), url, http: Client::builder().no_proxy().build().unwrap() }
    }

    /// What servers wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.path("data").join("tables")
    }
}

/// A server at work. Dropping it kills it.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) url: String,
    pub(crate) http: Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait(&mut self.child.take().unwrap())
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", content_type);
        request.body(body).send().await.unwrap()
    }

    /// Sends lines, each of which must be accepted.
    pub(crate) async fn accept(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let response = self.post("/v1/batch", "application/x-ndjson", lines).await;
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, 202, "{body}");
    }

    pub(crate) async fn flush(&self) {
        let response = self.post("/v1/flush", "application/json", "").await;
        let status = response.status();
        assert_eq!(status, 200, "{}", response.text().await.unwrap());
    }

    /// Rows of a query, as objects.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<Value> {
        let response = self.post("/v1/sql", "application/json", json!({ "sql": sql }).to_string()).await;
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, 200, "{sql}\n{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The one number that a query answers.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let rows = self.sql(sql).await;
        rows[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }

    /// The books, which must balance.
    pub(crate) async fn balanced(&self) -> Value {
        let audit = self.get("/v1/audit").await;
        assert_eq!(audit["balanced"], true, "{audit:#}");
        let sum: u64 = ["delivered", "duplicates", "conflicts", "dead", "in_flight"]
            .iter()
            .map(|count| audit[*count].as_u64().unwrap())
            .sum();
        assert_eq!(audit["accepted"].as_u64().unwrap(), sum, "{audit:#}");
        audit
    }

    /// Runs a client command against this server.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(KILLFEED).args(args).env("KILLFEED_URL", &self.url).output().unwrap()
    }
}

/// Waits for a child's end, with patience.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the process did not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An event of this type and id.
pub(crate) fn event(event_type: &str, id: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": event_type, "gameid": id,
        "datacontenttype": "application/json", "data": data,
    })
}

/// What a command printed, with its stderr if it failed.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The folder of the sources.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
