//! The directory of schemas: read at start, and again when a file in it changes.

use crate::exit::Failure;
use events::schema::{Directory, SharedRegistry};
use std::path::Path;
use std::time::Duration;
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

/// Keeps `registry` as the directory says. A file that turns bad is named in the logs, and what it said
/// before goes on to hold.
pub(crate) async fn watch(registry: SharedRegistry, mut directory: Directory, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
        let looked = tokio::task::spawn_blocking(move || {
            let changed = directory.reload_if_changed();
            (directory, changed)
        });
        let Ok((same, changed)) = looked.await else { return };
        directory = same;
        if let Some((changed, problems)) = changed {
            for problem in &problems {
                tracing::warn!(%problem, "schema file not used");
            }
            tracing::info!(schemas = changed.iter().count(), problems = problems.len(), "schemas reloaded");
            registry.replace(changed);
        }
    }
}
