//! MinIO for tests: a store that speaks S3, built by `make test`, ended with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The bucket that is there from the start.
pub(crate) const BUCKET: &str = "lake";
/// Its only user.
pub(crate) const KEY: &str = "minioadmin";
/// And their secret.
pub(crate) const SECRET: &str = "minioadmin";

/// One server, and the folder that it writes to. Dropping it ends it.
pub(crate) struct Minio {
    dir: PathBuf,
    /// As clients want it.
    pub(crate) endpoint: String,
}

impl Minio {
    /// Starts one; panics with what the script says if it doesn't come up.
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("s3-{}-{number}", std::process::id()));
        let mut minio = Self { dir, endpoint: String::new() };
        minio.endpoint = minio.up();
        minio
    }

    /// Starts it again where it was.
    pub(crate) fn up(&self) -> String {
        self.script("up", &[])
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&self) {
        self.script("down", &["--kill"]);
    }

    /// Stops it where it is: connections stand, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    fn script(&self, name: &str, args: &[&str]) -> String {
        let scripts = Path::new(crate::ROOT).join("deploy/dev/s3");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut command = Command::new(scripts.join(name));
        command.args(args).env("S3_DATA", &self.dir).env("S3_HOME", target.join("s3"));
        command.env("S3_BUCKET", BUCKET).env("S3_OWNER", std::process::id().to_string());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "these tests need MinIO, and it could not be started: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.script("down", &["--kill", "--purge"]);
    }
}

/// What a client of the server at `endpoint` must be told, as variables of the environment.
pub(crate) fn environment(endpoint: &str) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
