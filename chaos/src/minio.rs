//! MinIO: a store that speaks S3, built by `make test`, ended with the value.

use crate::role::signal;
use crate::scripts::{run, script, target};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The bucket that is there from the start.
pub const BUCKET: &str = "lake";
/// Its only user.
pub const KEY: &str = "minioadmin";
/// And their secret.
pub const SECRET: &str = "minioadmin";

/// One server, and the folder that it writes to. Dropping it ends it.
#[derive(Debug)]
pub struct Minio {
    dir: PathBuf,
    /// As clients want it.
    pub endpoint: String,
}

impl Minio {
    /// Starts one.
    ///
    /// # Panics
    /// With what the script says, if it doesn't come up.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::at(&target().join(format!("tmp/s3-{}-{number}", std::process::id())))
    }

    /// Starts one that writes there.
    pub(crate) fn at(dir: &Path) -> Self {
        let mut this = Self { dir: dir.to_owned(), endpoint: String::new() };
        this.endpoint = this.up();
        this
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// The same.
    pub fn up(&self) -> String {
        run(self.script("up").env("S3_BUCKET", BUCKET))
    }

    /// Kills it, as a power cut would.
    pub fn kill(&self) {
        run(self.script("down").arg("--kill"));
    }

    /// Stops it properly.
    pub fn stop(&self) {
        run(&mut self.script("down"));
    }

    /// Its process, if it is up.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    /// Stops it where it is: connections stand, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// # Panics
    /// If it isn't up.
    fn signal(&self, what: Signal) {
        let sent = self.pid().map(|pid| signal(pid, what));
        assert!(matches!(sent, Some(Ok(()))), "MinIO in {} does not run", self.dir.display());
    }

    /// Its port.
    pub(crate) fn port(&self) -> Option<u16> {
        self.endpoint.rsplit_once(':')?.1.parse().ok()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = script(&format!("s3/{name}"));
        command.env("S3_DATA", &self.dir).env("S3_HOME", target().join("s3"));
        command.env("S3_OWNER", std::process::id().to_string()).env("S3_KEY", KEY).env("S3_SECRET", SECRET);
        command
    }
}

/// What a client must be told that finds it there, as variables of the environment.
pub fn environment(endpoint: &str) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Drop for Minio {
    fn drop(&mut self) {
        let ended =
            self.script("down").args(["--kill", "--purge"]).output().is_ok_and(|output| output.status.success());
        // A panic while another one unwinds would abort, and leave more behind.
        assert!(ended || std::thread::panicking(), "MinIO in {} could not be ended", self.dir.display());
    }
}
