//! Kafka for tests: started from the jars that `make test` fetches, ended with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Some nodes, and the folder that they write to. Dropping it ends them.
pub(crate) struct Cluster {
    dir: PathBuf,
    pub(crate) nodes: usize,
    /// Addresses, as clients want them.
    pub(crate) brokers: String,
}

impl Cluster {
    /// Starts that many nodes; panics with what the script says if they don't come up.
    pub(crate) fn start(nodes: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kafka-{}-{number}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut cluster = Self { dir, nodes, brokers: String::new() };
        cluster.brokers = cluster.up();
        cluster
    }

    /// Starts the nodes that aren't up; gives the brokers' addresses.
    pub(crate) fn up(&self) -> String {
        self.script("up", &[])
    }

    /// Kills a node, counted from 1, as a power cut would.
    pub(crate) fn kill(&self, node: usize) {
        self.script_for("down", &["--kill"], Some(node));
    }

    fn script(&self, name: &str, args: &[&str]) -> String {
        self.script_for(name, args, None)
    }

    fn script_for(&self, name: &str, args: &[&str], node: Option<usize>) -> String {
        let scripts = Path::new(crate::ROOT).join("deploy/dev/kafka");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut command = Command::new(scripts.join(name));
        command.args(args).env("KAFKA_DATA", &self.dir).env("KAFKA_HOME", target.join("kafka"));
        command.env("KAFKA_NODES", self.nodes.to_string()).env("KAFKA_OWNER", std::process::id().to_string());
        if let Some(node) = node {
            command.env("KAFKA_NODE", node.to_string());
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "these tests need a Kafka, and it could not be started: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("down", &["--kill", "--purge"]);
    }
}
