//! The data directory: made if it isn't there, and checked before anything relies on it.

use crate::exit::Failure;
use std::path::Path;

/// Makes the directory, and tries to write into it.
pub(crate) fn prepare(dir: &Path) -> Result<(), Failure> {
    no_file("data directory", dir, "--data-dir")?;
    let refuse = |what: &str, error| Failure::usage(format!("cannot {what} data directory {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(|error| refuse("make", error))?;
    let probe = dir.join(".writable");
    std::fs::write(&probe, b"").map_err(|error| refuse("write to", error))?;
    match std::fs::remove_file(&probe) {
        // Another role that starts at the same time has removed it.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(refuse("write to", error)),
        _ => Ok(()),
    }
}

/// Refuses a directory in whose place a file lies, or that would lie below one: the system's words for it name
/// neither the file nor the option.
pub(crate) fn no_file(what: &str, dir: &Path, option: &str) -> Result<(), Failure> {
    let Some(file) = dir.ancestors().find(|path| path.is_file()) else { return Ok(()) };
    let is = if file == dir { "it".into() } else { file.display().to_string() };
    Err(Failure::usage(format!("{what} {}: {is} is a file; name a directory with {option}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_its_place_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        match prepare(&file) {
            Err(Failure::Usage(lines)) => {
                let said = format!("data directory {}: it is a file; name a directory with --data-dir", file.display());
                assert_eq!(lines, [said]);
            }
            other => panic!("{other:?}"),
        }
        match prepare(&file.join("a/b")) {
            Err(Failure::Usage(lines)) => {
                let said = format!("{} is a file; name a directory", file.display());
                assert!(lines[0].contains(&said) && lines.len() == 1, "{lines:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(prepare(&dir.path().join("a/b")).is_ok());
    }
}
