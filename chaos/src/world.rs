//! All that is needed, started and stopped: Kafka, the store, proxies, and killfeed's processes.

use crate::cluster::Cluster;
use crate::minio::{BUCKET, Minio, environment};
use crate::role::{Kind, Recipe, Role};
use crate::toxiproxy::Toxiproxy;
use crate::watch::Watch;
use crate::{ports, reaper, scripts};
use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, block_in_place};

/// Nodes of Kafka.
pub(crate) const NODES: usize = 3;
/// Partitions of each topic: some for each of several processes.
const PARTITIONS: &str = "6";
/// Ports of a node, its proxy included.
const PORTS_OF_NODE: u16 = 10;

/// The whole, at work. Dropping it ends everything and deletes what it wrote.
#[derive(Debug)]
pub(crate) struct World {
    // In the order in which they end.
    supervisor: AbortHandle,
    watching: AbortHandle,
    pub(crate) roles: Arc<Vec<Role>>,
    pub(crate) cluster: Cluster,
    pub(crate) minio: Minio,
    pub(crate) proxies: Toxiproxy,
    /// Where clients send: proxies of the ingests.
    pub(crate) urls: Vec<String>,
    pub(crate) watch: Watch,
    /// Processes that ended by themselves.
    deaths: Arc<Mutex<Vec<String>>>,
    folder: Folder,
}

/// Where the tables are.
pub(crate) fn tables() -> String {
    format!("s3://{BUCKET}/tables")
}

/// A folder that goes with the value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = scripts::target().join(format!("tmp/chaos-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // The watcher knows processes by the folder that they work in, as the system names it.
        Ok(Self(dir.canonicalize()?))
    }
}

impl World {
    /// Starts everything, with so many processes of each role, and waits until all are ready.
    pub(crate) async fn start(killfeed: &Path, of_each: usize) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let dir = folder.0.clone();
        reaper::watch_over(&dir)?;
        let proxies = Toxiproxy::start(&dir).await?;
        let cluster = start_kafka(&dir, &proxies).await?;
        let minio = block_in_place(|| Minio::at(&dir.join("s3")));
        let kitchen = Kitchen { killfeed, dir: &dir, brokers: &cluster.brokers, minio: &minio, proxies: &proxies };
        kitchen.make_topics()?;
        let (mut roles, mut urls) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            for number in 1..=of_each {
                let port = ports::free(1)?.start;
                if kind == Kind::Ingest {
                    let proxy = ports::free(1)?.start;
                    proxies.put(&format!("ingest-{number}"), proxy, port).await?;
                    urls.push(format!("http://127.0.0.1:{proxy}"));
                }
                let recipe = kitchen.recipe(kind, number).await?;
                roles.push(Role::new(&dir, kind, number, port, recipe)?);
            }
        }
        let roles = Arc::new(roles);
        roles.iter().try_for_each(Role::start)?;
        let deaths = Arc::new(Mutex::new(Vec::new()));
        let supervisor = tokio::spawn(supervise(roles.clone(), deaths.clone(), Instant::now())).abort_handle();
        let watch = Watch::default();
        let watching = tokio::spawn(watch.clone().run(roles.clone())).abort_handle();
        let this = Self { supervisor, watching, roles, cluster, minio, proxies, urls, watch, deaths, folder };
        this.ready().await?;
        Ok(this)
    }

    /// Waits until every process is ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        for role in self.roles.iter() {
            role.ready().await?;
        }
        Ok(())
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(move |role| role.kind == kind)
    }

    /// A process, by its number from 1 on.
    pub(crate) fn role(&self, kind: Kind, number: usize) -> anyhow::Result<&Role> {
        self.of(kind).nth(number - 1).with_context(|| format!("there is no {} {number}", kind.name()))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.folder.0
    }

    /// What a reader of the tables has to know beside their place.
    pub(crate) fn reader_environment(&self) -> Vec<(String, String)> {
        environment(&self.minio.endpoint)
    }

    /// Puts what processes said where it stays, and says where.
    pub(crate) fn keep_logs(&self) -> anyhow::Result<PathBuf> {
        let kept = scripts::target().join("chaos-logs");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::create_dir_all(&kept)?;
        for entry in std::fs::read_dir(self.dir().join("logs"))? {
            let path = entry?.path();
            std::fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
        }
        Ok(kept)
    }

    /// Processes that ended by themselves so far, with when and why.
    pub(crate) fn deaths(&self) -> Vec<String> {
        self.deaths.lock().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Before the processes: it would start them again.
        self.supervisor.abort();
        self.watching.abort();
        for role in self.roles.iter() {
            role.kill();
        }
    }
}

/// Three nodes that tell clients of the proxies in front of them.
async fn start_kafka(dir: &Path, proxies: &Toxiproxy) -> anyhow::Result<Cluster> {
    let count = u16::try_from(NODES)?;
    let port = ports::free(PORTS_OF_NODE * count)?.start;
    let mut clients = Vec::new();
    for node in 1..=NODES {
        let to = Cluster::clients_port(port, node);
        proxies.put(&format!("kafka-{node}"), to + 1, to).await?;
        clients.push(format!("127.0.0.1:{}", to + 1));
    }
    Ok(block_in_place(|| Cluster::behind(&dir.join("kafka"), port, &clients)))
}

/// Starts again what ends by itself, as an operator's supervisor does.
async fn supervise(roles: Arc<Vec<Role>>, deaths: Arc<Mutex<Vec<String>>>, began: Instant) {
    loop {
        for role in roles.iter() {
            let said = role.tend().unwrap_or_else(|error| Some(error.to_string()));
            if let Some(said) = said {
                deaths.lock().push(format!("{:.1} s: {} ended: {said}", began.elapsed().as_secs_f64(), role.name));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What processes are told.
struct Kitchen<'a> {
    killfeed: &'a Path,
    dir: &'a Path,
    brokers: &'a str,
    minio: &'a Minio,
    proxies: &'a Toxiproxy,
}

impl Kitchen<'_> {
    fn log(&self) -> String {
        format!("kafka://{}", self.brokers)
    }

    fn make_topics(&self) -> anyhow::Result<()> {
        let mut command = Command::new(self.killfeed);
        command.args(["topics", "apply", "--partitions", PARTITIONS, "--log", &self.log()]);
        let output = block_in_place(|| command.arg("--data-dir").arg(self.dir.join("topics")).output())?;
        ensure!(output.status.success(), "topics apply: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    async fn recipe(&self, kind: Kind, number: usize) -> anyhow::Result<Recipe> {
        let mut options = vec!["--log".into(), self.log(), "--partitions".into(), PARTITIONS.into()];
        options.extend(["--flush-interval", "1s"].map(String::from));
        let mut told = Vec::new();
        if kind.has_store() {
            options.extend(["--store".into(), tables()]);
            let (proxy, store) = (ports::free(1)?.start, self.minio.port().context("the store has no port")?);
            self.proxies.put(&format!("{}-{number}", kind.name()), proxy, store).await?;
            told = environment(&format!("http://127.0.0.1:{proxy}"));
        }
        Ok(Recipe { killfeed: self.killfeed.to_owned(), options, environment: told })
    }
}
