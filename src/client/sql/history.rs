//! Where the shell keeps what was typed, for nobody but its user to read.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Statements that are kept.
pub(super) const KEPT: usize = 5_000;

/// The file, by what the environment says: `KILLFEED_HISTORY`, none if that is empty; else in the directory for the
/// state of programs. None without a home.
pub(super) fn path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(file) = variable("KILLFEED_HISTORY") {
        return Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
    }
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("killfeed/sql_history"))
}

/// Makes the file if it isn't there, and closes it to others if it is open to them.
///
/// # Errors
/// If it can't be made, or is somebody else's.
pub(super) fn prepare(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    if opened.metadata()?.permissions().mode() & 0o077 != 0 {
        opened.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_it_is() {
        let at = |variables: &[(&str, &str)]| {
            let found =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            path(found).map(|path| path.display().to_string())
        };
        assert_eq!(at(&[("HOME", "/h")]).unwrap(), "/h/.local/state/killfeed/sql_history");
        let both = [("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(at(&both).unwrap(), "/s/killfeed/sql_history");
        assert_eq!(at(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]).unwrap(), "/h/.local/state/killfeed/sql_history");
        assert_eq!(at(&[("HOME", "/h"), ("KILLFEED_HISTORY", "x")]).unwrap(), "x");
        assert_eq!(at(&[("HOME", "/h"), ("KILLFEED_HISTORY", "")]), None);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/history");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        prepare(&file).unwrap();
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        std::fs::write(&file, "SELECT 1;\n").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        prepare(&file).unwrap();
        assert_eq!((mode(&file), std::fs::read_to_string(&file).unwrap().as_str()), (0o600, "SELECT 1;\n"));
    }
}
