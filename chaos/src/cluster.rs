//! Kafka: started from the jars that `make test` fetches, ended with the value.

use crate::scripts::{run, script, target};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Some nodes, and the folder that they write to. Dropping it ends them.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    /// How many.
    pub nodes: usize,
    /// Addresses, as clients want them.
    pub brokers: String,
    /// The port of the first node, and what clients are told, if proxies stand in between.
    proxied: Option<(u16, String)>,
    /// `user:password`, if clients have to speak TLS and say who they are.
    login: Option<&'static str>,
}

/// The second node is so many ports above the first.
const BETWEEN_NODES: u16 = 10;

impl Cluster {
    /// Starts that many nodes, one or three.
    ///
    /// # Panics
    /// With what the script says, if they don't come up.
    pub fn start(nodes: usize) -> Self {
        Self { dir: own_dir(), nodes, brokers: String::new(), proxied: None, login: None }.started()
    }

    /// Starts one node that speaks TLS only with clients, and only with those that know `login`, which is
    /// `user:password`, by PLAIN or SCRAM-SHA-512.
    ///
    /// # Panics
    /// The same.
    pub fn secured(login: &'static str) -> Self {
        Self { dir: own_dir(), nodes: 1, brokers: String::new(), proxied: None, login: Some(login) }.started()
    }

    /// The authority that clients of a secured node have to trust: a file in PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Starts as many nodes as there are `clients`: addresses that clients are told in place of the nodes'
    /// own. What comes there has to be passed on to [`Self::clients_port`].
    ///
    /// # Panics
    /// The same.
    pub fn behind(dir: &Path, port: u16, clients: &[String]) -> Self {
        let proxied = Some((port, clients.join(",")));
        Self { dir: dir.to_owned(), nodes: clients.len(), brokers: String::new(), proxied, login: None }.started()
    }

    /// Where node `node`, counted from 1, listens for clients, if the first one's port is `port`.
    pub fn clients_port(port: u16, node: usize) -> u16 {
        port + BETWEEN_NODES * u16::try_from(node - 1).unwrap_or_default() + 2
    }

    fn started(mut self) -> Self {
        self.brokers = self.up();
        self
    }

    /// Starts the nodes that aren't up; gives the brokers' addresses.
    ///
    /// # Panics
    /// The same.
    pub fn up(&self) -> String {
        run(&mut self.script("up"))
    }

    /// Kills a node, counted from 1, as a power cut would.
    pub fn kill(&self, node: usize) {
        run(self.script("down").arg("--kill").env("KAFKA_NODE", node.to_string()));
    }

    /// Kills all nodes at once.
    pub fn kill_all(&self) {
        run(self.script("down").arg("--kill"));
    }

    /// Stops a node properly: it hands over first.
    pub fn stop(&self, node: usize) {
        run(self.script("down").env("KAFKA_NODE", node.to_string()));
    }

    /// A node's process, if it is up.
    pub fn pid(&self, node: usize) -> Option<u32> {
        std::fs::read_to_string(self.dir.join(format!("node-{node}/pid"))).ok()?.trim().parse().ok()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = script(&format!("kafka/{name}"));
        command.env("KAFKA_DATA", &self.dir).env("KAFKA_HOME", target().join("kafka"));
        command.env("KAFKA_NODES", self.nodes.to_string()).env("KAFKA_OWNER", std::process::id().to_string());
        if let Some((port, clients)) = &self.proxied {
            command.env("KAFKA_PORT", port.to_string()).env("KAFKA_CLIENTS", clients);
        }
        if let Some(login) = self.login {
            command.env("KAFKA_SASL", login);
        }
        command
    }
}

/// A folder that no other cluster of this process writes to.
fn own_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    target().join(format!("tmp/kafka-{}-{number}", std::process::id()))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut down = self.script("down");
        let ended = down.args(["--kill", "--purge"]).output().is_ok_and(|output| output.status.success());
        // A panic while another one unwinds would abort, and leave more behind.
        assert!(ended || std::thread::panicking(), "Kafka's nodes in {} could not be ended", self.dir.display());
    }
}
