//! The directory of schemas: read at start, and again when a file in it changes.

use super::streams::Streams;
use crate::exit::Failure;
use events::schema::{Directory, Registry, SharedRegistry};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;
use tokio_util::sync::CancellationToken;

/// How often the directory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Reads the directory.
///
/// # Errors
/// If it can't be made, or a file in it can't be used: a start with half of the schemas would put events
/// where they don't belong.
pub(crate) fn load(dir: &Path) -> Result<(SharedRegistry, Directory), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::usage(format!("cannot make schema directory {}: {error}", dir.display())))?;
    let mut directory = Directory::new(dir);
    let (registry, problems) = directory.reload();
    if problems.is_empty() {
        return Ok((SharedRegistry::new(registry), directory));
    }
    Err(Failure::Usage(problems.iter().map(|problem| format!("schema {problem}")).collect()))
}

/// Keeps the registry, and the streams that are served, as the directory says. A file that turns bad is
/// named in the logs, and what it said before goes on to hold; so are schemas that don't say what their
/// tables hold. Where a stream can't be made, ingest answers events for it retryably until it can.
pub(crate) async fn watch(streams: Arc<Streams>, mut directory: Directory, stop: CancellationToken) {
    let mut behind = false;
    warn_of_tables(&streams.registry.current(), &streams.store).await;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
        let looked = tokio::task::spawn_blocking(move || {
            let changed = directory.reload_if_changed();
            (directory, changed)
        });
        let Ok((same, changed)) = looked.await else { return };
        directory = same;
        let Some((changed, problems)) = changed else {
            if behind {
                behind = streams.follow(&streams.registry.current()).await.is_err();
            }
            continue;
        };
        for problem in &problems {
            tracing::warn!(%problem, "schema file not used");
        }
        let followed = streams.follow(&changed).await;
        behind = followed.is_err();
        if let Err(error) = followed {
            tracing::warn!(%error, "what schemas ask of the log can't be done yet; trying again, and events for it are asked to come again");
        }
        tracing::info!(schemas = changed.iter().count(), problems = problems.len(), "schemas reloaded");
        streams.registry.replace(changed);
        warn_of_tables(&streams.registry.current(), &streams.store).await;
    }
}

/// Says where a schema and its table disagree: nothing is mixed, but whoever reads the column misses
/// what went to `extra`. A file that was changed while nothing ran shows here, too.
async fn warn_of_tables(registry: &Registry, store: &Store) {
    let types: BTreeSet<&str> = registry.iter().map(|schema| &*schema.event_type).collect();
    for event_type in types {
        let Ok(table) = decode::table_name(event_type) else { continue };
        let head = match store.head(&table).await {
            Ok(head) => head.filter(|head| head.event_type() == Some(event_type)),
            Err(error) => {
                tracing::warn!(table, %error, "cannot compare a schema with its table");
                continue;
            }
        };
        let Some(head) = head else { continue };
        for disagreement in decode::disagreements(head.schema(), &registry.versions(event_type)) {
            tracing::warn!(event_type, table, disagreement, "a schema says otherwise than its table");
        }
    }
}
