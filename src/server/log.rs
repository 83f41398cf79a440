//! Which log this process works on, and what each kind wants besides the trait: a directory and its
//! retention the embedded one, a name of our own in the cluster Kafka.

use crate::exit::Failure;
use crate::options::{LogKind, Options};
use crate::server::Role;
use events::Clock;
use events::log::Log;
use events::log::embedded::{self, EmbeddedLog};
use kafka_log::KafkaLog;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The embedded log has one process at a time, and the same name after a restart fences what is left of
/// the one before.
const LOCAL: &str = "local";
/// A command in ledger entries.
const COMMAND: &str = "command";
/// How often the embedded log is asked to delete what is past its retention.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// The log, opened.
#[derive(Clone)]
pub(crate) enum OpenLog {
    Embedded(EmbeddedLog),
    /// Commands have no name there.
    Kafka(KafkaLog, Option<Arc<Instance>>),
}

/// This process' name in a cluster: its transactional ids begin with it, so that the next process of the
/// name ends what this one leaves half done.
pub(crate) struct Instance {
    name: String,
    /// Locked for as long as this process lives.
    _file: File,
}

impl OpenLog {
    pub(crate) async fn open(role: Role, options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        match &options.log {
            LogKind::Embedded => Ok(Self::Embedded(open_embedded(options, clock).await?)),
            LogKind::Kafka(_) => {
                let instance = Instance::take(&options.data_dir, role)?;
                let log = KafkaLog::new(options.kafka()?).map_err(Failure::usage)?;
                Ok(Self::Kafka(log, Some(Arc::new(instance))))
            }
        }
    }

    /// The log for a command, which may run beside servers where the log is Kafka's.
    pub(crate) async fn for_command(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        match &options.log {
            LogKind::Embedded => Ok(Self::Embedded(open_embedded(options, clock).await?)),
            LogKind::Kafka(_) => Ok(Self::Kafka(KafkaLog::new(options.kafka()?).map_err(Failure::usage)?, None)),
        }
    }

    /// What all parts work on.
    pub(crate) fn shared(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Kafka(log, _) => Arc::new(log.clone()),
        }
    }

    /// Whether its retention takes records that nobody has read.
    pub(crate) const fn deletes_unread(&self) -> bool {
        matches!(self, Self::Kafka(..))
    }

    /// This process' name in ledger entries and transactional ids.
    pub(crate) fn instance(&self) -> &str {
        match self {
            Self::Embedded(_) => LOCAL,
            Self::Kafka(_, Some(instance)) => &instance.name,
            Self::Kafka(_, None) => COMMAND,
        }
    }

    /// Does what the log needs done now and then, until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) -> Result<(), String> {
        match self {
            Self::Embedded(log) => keep_retention(log, stop).await,
            Self::Kafka(..) => {
                stop.cancelled().await;
                Ok(())
            }
        }
    }

    pub(crate) async fn close(&self, limit: Duration) {
        match self {
            Self::Embedded(log) => {
                if tokio::time::timeout(limit, log.close()).await.is_err() {
                    tracing::warn!("the log is still writing");
                }
            }
            Self::Kafka(log, _) => log.close(limit).await,
        }
    }
}

impl Instance {
    /// The name that stands in the data directory for this role; made at the first start.
    fn take(data_dir: &Path, role: Role) -> Result<Self, Failure> {
        let path = data_dir.join(format!("instance-{}", role.name()));
        let refuse = |error: std::io::Error| Failure::usage(format!("cannot keep {}: {error}", path.display()));
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::usage(format!(
                    "another `killfeed {}` works with data directory {}; give each a --data-dir of its own",
                    role.name(),
                    data_dir.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        let mut name = String::new();
        file.read_to_string(&mut name).map_err(refuse)?;
        if name.is_empty() {
            name = format!("{}-{}", role.name(), events::ledger::new_id());
            file.write_all(name.as_bytes()).and_then(|()| file.sync_all()).map_err(refuse)?;
        }
        Ok(Self { name, _file: file })
    }
}

async fn open_embedded(options: &Options, clock: Arc<dyn Clock>) -> Result<EmbeddedLog, Failure> {
    let dir = options.data_dir.join("log");
    let opened = tokio::task::spawn_blocking({
        let dir = dir.clone();
        let config = embedded::Config { size_limit_bytes: options.log_size_limit, ..embedded::Config::default() };
        move || EmbeddedLog::open(dir, config, clock)
    });
    match opened.await {
        Ok(Ok(log)) => Ok(log),
        Ok(Err(error)) => Err(Failure::usage(format!("cannot open the log in {}: {error}", dir.display()))),
        Err(error) => Err(Failure::negative(format!("opening the log panicked: {error}"))),
    }
}

/// What a start that can't serve its streams ends with.
pub(crate) fn not_served(options: &Options, error: &sinks::Error) -> Failure {
    match (error, &options.log) {
        (sinks::Error::LogBehind { .. }, LogKind::Embedded) => {
            let dir = options.data_dir.join("log");
            Failure::usage(format!(
                "{error}. Put back a whole copy of {dir}; or move {dir} away to begin a new log: rows stay as they are, and \
                 what was only in the old log is missing",
                dir = dir.display()
            ))
        }
        (sinks::Error::LogBehind { .. }, LogKind::Kafka(brokers)) => Failure::usage(format!(
            "{error}. Either {brokers} is another cluster than the one that these tables were filled from, or it lost \
             what it had acknowledged"
        )),
        (sinks::Error::Log(error), _) => Failure::usage(error),
        _ => Failure::usage(format!("cannot compare the log with the tables: {error}")),
    }
}

/// Also notices if the log's own thread is gone: what is asked of it then only waits.
async fn keep_retention(log: EmbeddedLog, stop: CancellationToken) -> Result<(), String> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = log.ended() => return Err("its writer has stopped; what was acknowledged is on disk".into()),
            () = tokio::time::sleep(RETENTION_INTERVAL) => {}
        }
        match log.enforce_retention().await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "log deleted what was past its retention"),
            Err(error) if error.is_retryable() => tracing::warn!(%error, "log retention; trying again"),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_and_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = Instance::take(dir.path(), Role::Process).unwrap();
        let other = Instance::take(dir.path(), Role::Sink).unwrap();
        assert_ne!(first.name, other.name);
        match Instance::take(dir.path(), Role::Process) {
            Err(Failure::Usage(lines)) => assert!(lines[0].contains("another `killfeed process`"), "{lines:?}"),
            _ => panic!("the name is taken"),
        }
        let name = first.name.clone();
        drop(first);
        assert_eq!(Instance::take(dir.path(), Role::Process).unwrap().name, name);
    }
}
