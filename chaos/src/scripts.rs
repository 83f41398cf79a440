//! The scripts of `deploy/dev`, and where what they fetch is kept.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo's target folder, which this program was built into; what scripts fetch is kept there.
///
/// # Panics
/// If this program was moved out of it.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // `<target>/<profile>/chaos`, or `<target>/<profile>/deps/<test>`.
    let profile = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let target = profile.and_then(Path::parent);
    target.map_or_else(|| panic!("{} is in no target folder of cargo's", program.display()), Path::to_owned)
}

/// A script, told by its path below `deploy/dev`.
pub(crate) fn script(path: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev").join(path))
}

/// Runs it to its end; gives what it printed.
///
/// # Panics
/// With what it said, if it failed: nothing can be tried without what it was to start.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this needs servers, and {command:?} failed: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
